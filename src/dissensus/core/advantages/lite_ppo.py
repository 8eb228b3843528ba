"""Lite PPO."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import IDENTITY, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "lite_ppo",
    source="Liu et al. 2025, arXiv:2508.08221, section 4",
    scope="batch",
    profile=Profile(title="Lite PPO", evidence="library", limit=IDENTITY),
)
def lite_ppo(
    groups: RewardGroups, context: Context, *, ddof: int = 1, eps: float = 1e-4
) -> FloatArray:
    """Centre on the group mean, divide by the std of the *raw* rewards of the batch.

        A = (r − group mean) / (std_batch(ddof) + eps);   W = σ² / (std_batch + eps);   B = 0

    The batch std holds the variance between prompts too, so this is Dr. GRPO with a step length
    that follows the batch. Statistics come from `context.reference` where it is given. Unanimous
    groups get 0. TRL's `scale_rewards="batch"` (eps 1e-4); ROLL's `norm_std_type="batch"` (1e-6).
    The paper's token-mean loss is not part of the advantage.
    """
    population = groups if context.reference is None else context.reference
    scored = population.scored(population.rewards)
    std = np.std(scored, ddof=ddof) if len(scored) > ddof else np.nan
    return divide_by_std(groups, std, eps)
