"""The variance-reduced conditional estimator of MaxRL."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts, to_rollouts
from dissensus.core.advantages.profile import LOG, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "vr_cond",
    source="arXiv:2602.02710; as in tajwarfahim/maxrl at c0698eb, maclaurin.py",
    profile=Profile(
        title="VR-COND",
        evidence="code",
        rewards="binary",
        is_centred=False,
        scale="invariant",
        is_silent=lambda k, size: np.asarray(k == size, dtype=np.bool_),
        limit=LOG,
    ),
)
def vr_cond(groups: RewardGroups, context: Context) -> FloatArray:
    """MaxRL that also pushes down a group in which nothing was correct.

        A₊ = (1−m)/m,   A₋ = −1;   W = 1 − m on split groups;   B = −1 at k = 0, else 0

    The mean score of the correct rollouts minus that of all: MaxRL on split groups, and 0 at k = G.
    Because the score is subtracted at k = 0 too, its mean is 0 over all k and the slope is exactly
    that of −Σ_{j≤G} (1−p)^j / j; MaxRL, silent there, has the first G−1 terms. Right-or-wrong
    rewards, any G; a lone wrong rollout gets −1. The published code gives 1/G of these numbers, for
    a loss that sums over the group.

    Raises:
        InputError: Correctness is unknown.
    """
    counted = counts(groups, "vr_cond")
    positive = counted.wrong / np.maximum(counted.correct, 1)
    return to_rollouts(groups, counted.is_correct, positive, -np.ones(len(groups)))
