"""ScaleRL."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import IDENTITY, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "scale_rl",
    source="Khatri et al. 2025, arXiv:2510.13786, section 4",
    scope="batch",
    profile=Profile(title="ScaleRL", evidence="paper", limit=IDENTITY),
)
def scale_rl(
    groups: RewardGroups, context: Context, *, ddof: int = 1, eps: float = 0.0
) -> FloatArray:
    """Centre on the group mean, divide by the std of the *centred* rewards of the batch.

        A = (r − group mean) / (s + eps);   W = σ² / (s + eps);   B = 0

    with s² = Σ (r − group mean)² / (N − ddof) over the N rollouts of split groups: the recipe
    removes the unanimous ones, which get 0. Statistics come from `context.reference` where it is
    given. Unlike Lite PPO the variance between prompts does not enter s. Any rewards, any G. The
    paper names no ddof. Left out: the CISPO loss with its prompt average, and the retirement of
    prompts at a historical solve rate of 0.9.
    """
    population = groups if context.reference is None else context.reference
    count = population.size[~population.is_unanimous()].sum() - ddof
    squares = float(population.centered @ population.centered)
    return divide_by_std(groups, np.sqrt(squares / count) if count > 0 else np.nan, eps)
