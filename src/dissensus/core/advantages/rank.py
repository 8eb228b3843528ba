"""Ranks instead of rewards."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import IDENTITY, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.tables import RolloutTable, net_wins
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "rank",
    source="centred ranks of Salimans et al. 2017, arXiv:1703.03864, applied within a group",
    profile=Profile(title="Rank", evidence="recollection", scale="invariant", limit=IDENTITY),
)
def rank(groups: RewardGroups, context: Context) -> FloatArray:
    """Spread the rollouts evenly over [−1, 1] by the rank of their reward.

        A = (others beaten − others lost to)/(G − 1) = (2·rank − (G + 1))/(G − 1)
        W = σ² · G/(G−1) for rewards 0 and 1;   B = 0

    Any rewards; only their order counts, so outliers and reward scales do not. Rewards closer than
    the tolerance of the groups tie, so right-or-wrong rewards of any two values give RLOO on 0 and
    1. Unanimous (k = 0, k = G) and one-rollout groups get 0. All pairs of a group are compared, in
    time N·G. Left out: the evolution strategies that the ranks come from; there is no one paper for
    language models.
    """
    table = RolloutTable(groups)
    wins = net_wins(table.of(groups.rewards), groups.tol)
    return table.back(wins / np.maximum(groups.size - 1, 1)[:, None])
