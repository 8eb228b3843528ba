"""The fixed-reference sign advantage."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts
from dissensus.core.advantages.profile import Limit, Profile, never
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "sign",
    source="Nie et al. 2026, arXiv:2605.07689",
    profile=Profile(
        title="Sign",
        evidence="abstract",
        rewards="binary",
        is_centred=False,
        scale="invariant",
        is_silent=never,
        limit=Limit("2·p", lambda p: np.full_like(p, 2.0), lambda p: 2.0 * p),
    ),
)
def sign(groups: RewardGroups, context: Context) -> FloatArray:
    """One for a correct rollout, minus one for a wrong one, whatever the others did.

        A₊ = 1,   A₋ = −1;   W = 2 m(1−m);   B = 2m − 1

    A fixed reference of ½ instead of the group's mean, so no group is silent: k = 0 pushes all its
    rollouts down, k = G all of them up, and a lone rollout learns as well. The price is a push on
    everything sampled and the variance that comes with it. Right-or-wrong rewards on any scale.

    Raises:
        InputError: Correctness is unknown.
    """
    return np.where(counts(groups, "sign").is_correct, 1.0, -1.0)
