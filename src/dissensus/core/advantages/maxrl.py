"""MaxRL."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import LOG, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "maxrl",
    source="arXiv:2602.02710; as in tajwarfahim/maxrl at c0698eb",
    profile=Profile(
        title="MaxRL", evidence="code", is_shift_invariant=False, scale="invariant", limit=LOG
    ),
)
def maxrl(groups: RewardGroups, context: Context, *, eps: float = 0.0) -> FloatArray:
    """Centre on the group mean and divide by it: maximum likelihood instead of expected reward.

        A = (r − mean) / (mean + eps);   W = 1 − m;   B = 0

    A correct rollout gets (1−m)/m, a wrong one −1. Unanimous and one-rollout groups get 0; so does
    a group whose mean is not positive, where the division means nothing. The published code adds
    eps 1e-6. For right-or-wrong rewards it climbs −Σ_{j<G} (1−p)^j / j, the first G−1 terms of
    log p: the paper's G-th lies in the score of groups at k = 0, which this form leaves silent and
    `vr_cond` does not.
    """
    return divide_by_std(groups, np.where(groups.mean > 0, groups.mean, np.nan), eps)
