"""Dr. GRPO."""

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import IDENTITY, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "dr_grpo",
    source="Liu et al. 2025, arXiv:2503.20783; contrast: arXiv:2607.00152, thm. 1",
    profile=Profile(title="Dr. GRPO", evidence="library", limit=IDENTITY),
)
def dr_grpo(groups: RewardGroups, context: Context) -> FloatArray:
    """Centre on the group mean, without a division.

        A = r − mean;   W = σ²;   B = 0

    Unanimous and one-rollout groups get 0. The paper's sum over tokens divided by a constant is a
    loss normalisation, and not part of the advantage.
    """
    return groups.centered
