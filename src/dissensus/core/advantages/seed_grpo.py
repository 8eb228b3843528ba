"""SEED-GRPO."""

from typing import Literal

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.tables import RolloutTable, run_bounds
from dissensus.core.groups import FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError


@rule(
    "seed_grpo",
    source="Chen et al. 2025, arXiv:2505.12346, as a review of it states it",
    needs=("clusters",),
    profile=Profile(title="SEED-GRPO", evidence="secondary"),
)
def seed_grpo(
    groups: RewardGroups,
    context: Context,
    *,
    alpha: float = 0.5,
    shape: Literal["linear", "exponential"] = "linear",
) -> FloatArray:
    """Dr. GRPO, scaled down where the answers of a group mean many different things.

        A = f(α·SE/log G) · (r − mean);   W = f · σ²;   B = 0
        SE = −(1/C) Σ_c log(n_c/G) over the C clusters;   f(u) = 1 − u, or exp(−u)

    `context.clusters` labels the meaning of each completion within its group. SE is 0 where all
    agree, and log G where all differ. Any rewards; unanimous (k = 0, k = G) and one-rollout groups
    get 0. Left out: clusters weighted by the likelihood of their completions instead of counted,
    and the focal shape; the value of α in the paper is not known here.

    Args:
        groups: P groups of N rollouts.
        context: With `clusters`.
        alpha: α in [0, 1]: how much a group of all different answers loses.
        shape: f, `linear` or `exponential`.

    Raises:
        InputError: α outside [0, 1], or no such shape.
    """
    if not 0 <= alpha <= 1:
        raise InputError("The 'alpha' parameter must lie in [0, 1]", got=alpha)
    if shape not in ("linear", "exponential"):
        raise InputError("The 'shape' parameter must be 'linear' or 'exponential'", got=shape)
    share = alpha * _entropy_share(groups, np.asarray(context.clusters))
    factor = 1.0 - share if shape == "linear" else np.exp(-share)
    return np.asarray(groups.centered * groups.expand(factor), dtype=np.float64)


def _entropy_share(groups: RewardGroups, clusters: IntArray) -> FloatArray:
    """(P,) SE/log G in [0, 1]; 0 for groups of fewer than two scored rollouts."""
    table = RolloutTable(groups)
    # Numbers of labels instead of labels, which floats may not tell apart.
    codes = np.unique(clusters, return_inverse=True)[1].astype(np.float64)
    ascending = np.sort(table.of(codes), axis=1)
    with np.errstate(invalid="ignore"):  # between two filled entries
        first, last = run_bounds(np.diff(ascending, axis=1) > 0)
    is_end = (last == np.arange(table.width)) & (first < groups.size[:, None])
    log_sizes = np.log(last - first + 1, out=np.zeros(table.shape), where=is_end)
    log_group = np.log(np.maximum(groups.size, 2))
    entropy = log_group - log_sizes.sum(axis=1) / np.maximum(is_end.sum(axis=1), 1)
    return np.where(groups.size > 1, entropy / log_group, 0.0)
