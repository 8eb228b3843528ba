"""SEED-GRPO."""

from typing import Literal

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.tables import RolloutTable, equal_counts
from dissensus.core.groups import FloatArray, RewardGroups
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
    share = alpha * _entropy_share(groups, context)
    factor = 1.0 - share if shape == "linear" else np.exp(-share)
    return np.asarray(groups.centered * groups.expand(factor), dtype=np.float64)


def _entropy_share(groups: RewardGroups, context: Context) -> FloatArray:
    """(P,) SE/log G in [0, 1]; 0 for groups of fewer than two scored rollouts."""
    table = RolloutTable(groups)
    sizes = equal_counts(table.of(np.asarray(context.clusters), fill=0), table.exists)
    # A cluster of n counts once: as n rollouts of 1/n each.
    share = 1.0 / np.arange(1, table.width + 1)
    weights, log_sizes = share[sizes - 1], (-np.log(share) * share)[sizes - 1]
    if table.exists is not None:
        weights, log_sizes = weights * table.exists, log_sizes * table.exists
    clusters = np.maximum(weights.sum(axis=1), 1.0)
    log_group = np.log(np.maximum(groups.size, 2))
    entropy = log_group - log_sizes.sum(axis=1) / clusters
    return np.where(groups.size > 1, entropy / log_group, 0.0)
