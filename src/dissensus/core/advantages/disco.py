"""DisCO."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts, to_rollouts
from dissensus.core.advantages.profile import LOGIT, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "disco",
    source="arXiv:2505.12366; as in Optimization-AI/DisCO at bd2b078",
    profile=Profile(
        title="DisCO-b", evidence="code", rewards="binary", scale="invariant", limit=LOGIT
    ),
)
def disco(groups: RewardGroups, context: Context) -> FloatArray:
    """Mean score of the correct rollouts against the mean score of the wrong ones.

        A₊ = 1/m,   A₋ = −1/(1−m);   W = 1 on every split group;   B = 0

    The basic form (DisCO-b) with log-likelihood scores, averaged over tokens, whose gradient is Δs
    itself: σ drops out. Unanimous groups get 0, and count in the number of prompts divided by.
    Correctness must be known. Left out: the softmax over wrong rollouts of the full method
    (temperature τ), the ratio score, and the squared-hinge bound on the KL divergence, which are
    losses.

    Raises:
        InputError: Correctness is unknown.
    """
    is_correct, right, wrong = counts(groups, "disco")
    split = (right > 0) & (wrong > 0)
    for_correct = np.where(split, groups.size / np.maximum(right, 1), 0.0)
    for_wrong = np.where(split, -groups.size / np.maximum(wrong, 1), 0.0)
    return to_rollouts(groups, is_correct, for_correct, for_wrong)
