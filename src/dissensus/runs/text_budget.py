"""Which groups keep their text, so that a long run does not fill the disk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dissensus.core.groups import BoolArray, FloatArray, RewardGroups

__all__ = [
    "BYTES_PER_ROLLOUT",
    "BYTES_PER_TOKEN",
    "SHARE_OF_REST",
    "choose_groups",
    "estimate_bytes",
]

BYTES_PER_TOKEN = 4.0
"""Bytes of text that one token is taken for, where only lengths are known on every rank."""

BYTES_PER_ROLLOUT = 2048.0
"""Bytes that one completion is taken for, where not even lengths are known."""

SHARE_OF_REST = 1 / 200
"""Share of the remaining budget that one generation may take in the second half of the budget."""


def choose_groups(
    groups: RewardGroups,
    bytes_per_rollout: FloatArray,
    *,
    budget_bytes: float,
    used_bytes: float,
    generation: int,
) -> tuple[BoolArray, float]:
    """Say which rollouts keep their text: groups keep or lose it as a whole.

    Until half of the budget is spent everything is kept. From then on one generation gets at most
    1/200 of what is left, so that the budget is never spent completely and late steps still have
    text; split groups come first, since reading two completions side by side is what text is for.

    The choice depends on gathered numbers alone, so that every rank makes the same one.

    Args:
        groups: The generation's rewards by group.
        bytes_per_rollout: (N,) size of each completion, or an estimate of it.
        budget_bytes: Budget of the run; infinite for no limit.
        used_bytes: What earlier generations were allowed.
        generation: Seeds the order in which groups are taken.

    Returns:
        (N,) True where the text is kept, and the bytes it takes from the budget.

    Example:
        >>> groups = RewardGroups.from_flat([1, 0, 1, 1], [0, 0, 1, 1])
        >>> size = np.full(4, 100.0)
        >>> keep, used = choose_groups(
        ...     groups, size, budget_bytes=80_000, used_bytes=40_000, generation=0
        ... )
        >>> keep.tolist(), used
        ([True, True, False, False], 200.0)
    """
    needed = groups.sum_by_group(bytes_per_rollout)
    half = budget_bytes / 2
    allowance = half - used_bytes
    if needed.sum() > allowance:
        allowance = max(allowance, (budget_bytes - max(used_bytes, half)) * SHARE_OF_REST)
    if needed.sum() <= allowance:
        return np.ones(groups.n_rollouts, dtype=np.bool_), float(needed.sum())
    shuffled = np.random.default_rng(generation).permutation(len(groups))
    order = shuffled[np.argsort(groups.is_unanimous()[shuffled], kind="stable")]
    fits = np.cumsum(needed[order]) <= allowance
    chosen = np.zeros(len(groups), dtype=np.bool_)
    chosen[order[fits]] = True
    return groups.expand(chosen), float(needed[chosen].sum())


def estimate_bytes(n_rollouts: int, lengths: NDArray[np.float64] | None) -> FloatArray:
    """(N,) bytes of the completions, from what every rank knows of all of them."""
    if lengths is None:
        return np.full(n_rollouts, BYTES_PER_ROLLOUT)
    return np.nan_to_num(lengths, nan=BYTES_PER_ROLLOUT / BYTES_PER_TOKEN) * BYTES_PER_TOKEN
