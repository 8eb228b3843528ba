"""The signature of a rule: what it gives to correct and wrong rollouts for every k of G."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dissensus.core.advantages.base import AdvantageEstimator, Context
from dissensus.core.advantages.tokens import mean_over_tokens
from dissensus.core.groups import BoolArray, FloatArray, RewardGroups
from dissensus.errors import InputError, MissingContextError

__all__ = ["Signature", "signature"]


class Signature:
    """A₊(k), A₋(k) for k = 0 … G correct of G, and what follows from them.

    With m = k/G, the update of a prompt is W·Δs + B·s̄ (theory: section 2).

    Attributes:
        group_size: G.
        positive: (G+1,) advantage of a correct rollout; NaN at k = 0, where there is none.
        negative: (G+1,) advantage of a wrong rollout; NaN at k = G.
        contrast: (G+1,) W = m(1−m)(A₊ − A₋); 0 at k = 0 and k = G.
        push: (G+1,) B = m·A₊ + (1−m)·A₋.
        is_silent: (G+1,) every advantage of the group is zero.

    Example:
        >>> from dissensus import advantages
        >>> advantages.signature(advantages.get("grpo"), group_size=4).contrast.round(4).tolist()
        [0.0, 0.433, 0.5, 0.433, 0.0]
    """

    def __init__(self, positive: FloatArray, negative: FloatArray) -> None:
        if positive.shape != negative.shape or positive.ndim != 1 or len(positive) < 2:
            raise InputError(
                "a signature needs two arrays of length G+1 ≥ 2",
                got=(positive.shape, negative.shape),
            )
        self.group_size = len(positive) - 1
        k = np.arange(self.group_size + 1)
        m = k / self.group_size
        plus, minus = np.where(m > 0, positive, 0.0), np.where(m < 1, negative, 0.0)
        self.positive = np.where(m > 0, positive, np.nan)
        self.negative = np.where(m < 1, negative, np.nan)
        # k(G − k)/G² is exact where m(1 − m) would lose digits near k = G.
        self.contrast = k * (self.group_size - k) / self.group_size**2 * (plus - minus)
        self.push = m * plus + (1 - m) * minus
        self.is_silent: BoolArray = (plus == 0) & (minus == 0)

    def __repr__(self) -> str:
        return f"Signature(group_size={self.group_size}, contrast={self.contrast.round(4)})"


def signature(
    estimator: Callable[..., FloatArray],
    group_size: int,
    *,
    rewards: tuple[float, float] = (0.0, 1.0),
    context: Context | Callable[[RewardGroups], Context] | None = None,
) -> Signature:
    """Compute a signature by calling the estimator on groups with k = 0 … G correct rollouts.

    Works for any callable `estimator(groups)`, ours or a framework's. Each group is also called by
    itself: a rule whose answer then changes looks at the batch, and has a signature only given a
    reference batch.

    Args:
        estimator: An `AdvantageEstimator`, or any function of `RewardGroups` that gives (N,).
        group_size: G ≥ 2.
        rewards: Reward of a wrong and of a correct rollout.
        context: What the rule needs beyond rewards, or a function of the groups that gives it
            (`neutral_context`). A state is copied, not changed. Of a rule per token, each rollout's
            advantage is the mean over its tokens.

    Raises:
        MissingContextError: The rule looks at the batch or at history, and has no reference.
        InputError: Equal rewards, G < 2, or advantages that differ among equal rollouts.

    Source: theory, section 2; arXiv:2607.00152, theorem 1, for the centred rules.
    """
    if group_size != int(group_size) or group_size < 2:
        raise InputError(
            "The 'group_size' of a signature must be a whole number ≥ 2", got=group_size
        )
    wrong, correct = rewards
    if not (np.isfinite(wrong) and np.isfinite(correct) and correct != wrong):
        raise InputError("The 'rewards' of a signature must be two different numbers", got=rewards)
    k = np.arange(group_size + 1)
    is_correct = np.arange(group_size) < k[:, None]
    call = _caller(estimator, context)
    table = np.where(is_correct, correct, wrong)
    together = call(RewardGroups.from_dense(table, correct=is_correct))
    _require_group_scope(call, table, is_correct, together, estimator)
    return Signature(
        _common_value(together, is_correct, estimator),
        _common_value(together, ~is_correct, estimator),
    )


def _caller(
    estimator: Callable[..., FloatArray],
    context: Context | Callable[[RewardGroups], Context] | None,
) -> Callable[[RewardGroups], FloatArray]:
    """`groups → (P, G)` advantages, with the state copied so that asking leaves no trace."""
    is_bare = context is None and not isinstance(estimator, AdvantageEstimator)
    scope = getattr(estimator, "scope", "group")
    if scope == "batch" and (context is None or getattr(context, "reference", context) is None):
        raise MissingContextError(
            f"{estimator!r} looks at the whole batch",
            where="signature",
            hint="pass context=Context(reference=RewardGroups…)",
        )

    def call(groups: RewardGroups) -> FloatArray:
        used = context(groups) if callable(context) else context or Context()
        if used.state is not None:
            used = replace(used, state=used.state.copy())
        advantages = estimator(groups) if is_bare else estimator(groups, used)
        values = np.asarray(advantages, dtype=np.float64)
        if getattr(estimator, "is_per_token", False) and used.token_offsets is not None:
            values = mean_over_tokens(values, used.token_offsets)
        if values.size != groups.n_rollouts:
            raise InputError(
                "an estimator must give one advantage per rollout",
                where=repr(estimator),
                got=values.shape,
            )
        return values.reshape(len(groups), -1)

    return call


def _require_group_scope(
    call: Callable[[RewardGroups], FloatArray],
    table: FloatArray,
    is_correct: BoolArray,
    together: FloatArray,
    estimator: Callable[..., FloatArray],
) -> None:
    for row in sorted({0, 1, len(table) // 2, len(table) - 1}):
        alone = call(
            RewardGroups.from_dense(table[row : row + 1], correct=is_correct[row : row + 1])
        )
        if not np.allclose(alone[0], together[row], rtol=1e-6, atol=1e-9):
            raise MissingContextError(
                f"what it gives to {row} correct of {table.shape[1]} depends on the other groups",
                where=f"signature of {estimator!r}",
                hint="a batch rule has a signature only given a reference batch",
            )


def _common_value(
    advantages: FloatArray, mask: BoolArray, estimator: Callable[..., FloatArray]
) -> FloatArray:
    """(G+1,) the one advantage under the mask in each row; NaN where the mask is empty."""
    count = mask.sum(axis=1)
    high = np.where(mask, advantages, -np.inf).max(axis=1)
    low = np.where(mask, advantages, np.inf).min(axis=1)
    spread = np.where(count > 0, high - low, 0.0)
    if np.any(spread > 1e-6 * np.maximum(1.0, np.abs(np.where(count > 0, high, 0.0)))):
        row = int(np.argmax(spread))
        raise InputError(
            "rollouts of equal reward get different advantages, so no signature exists",
            where=f"signature of {estimator!r}, {row} correct of {mask.shape[1]}",
            got=float(spread[row]),
        )
    total = np.where(mask, advantages, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
