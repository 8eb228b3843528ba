"""RLOO."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import IDENTITY, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "rloo",
    source="Ahmadian et al. 2024, arXiv:2402.14740, eq. 8",
    profile=Profile(title="RLOO", evidence="library", limit=IDENTITY),
)
def rloo(groups: RewardGroups, context: Context) -> FloatArray:
    """Reward minus the mean of the *other* rollouts of the group.

        A = r − mean of the others = G/(G−1) · (r − mean);   W = G/(G−1) · σ²;   B = 0

    Unanimous and one-rollout groups get 0 (a single rollout has no others).
    """
    others = np.maximum(groups.size - 1, 1)
    advantages: FloatArray = groups.centered * groups.expand(groups.size / others)
    return advantages
