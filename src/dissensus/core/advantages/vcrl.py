"""VCRL."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts
from dissensus.core.advantages.profile import ARCSINE, Limit, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups

LEAST = 0.3


def _is_silent(correct: IntArray, group_size: int) -> BoolArray:
    wrong = group_size - correct
    is_unanimous = (correct == 0) | (wrong == 0)
    return np.asarray(is_unanimous | (correct * wrong < LEAST * (group_size**2 // 4)))


@rule(
    "vcrl",
    source="arXiv:2509.19803, variance-based dynamic sampling, as a review of it states it",
    profile=Profile(
        title="VCRL",
        evidence="secondary",
        rewards="binary",
        scale="invariant",
        is_silent=_is_silent,
        limit=Limit(
            "2·arcsin√p where 4p(1−p) ≥ 0.3, else constant",
            lambda p: np.where(4 * p * (1 - p) >= LEAST, ARCSINE.slope(p), 0.0),
        ),
    ),
)
def vcrl(
    groups: RewardGroups,
    context: Context,
    *,
    least: float = LEAST,
    ddof: int = 0,
    eps: float = 0.0,
) -> FloatArray:
    """GRPO on groups whose reward variance is near the largest that their size allows.

        A = 1[v ≥ least] · (r − mean)/(std(ddof) + eps),   v = k(G−k)/⌊G²/4⌋ = var/var_max
        W = 1[v ≥ least] · σ for ddof 0, eps 0;   B = 0

    Groups of little disagreement are discarded, which as an advantage is 0: k = 0, k = G, and at
    16 rollouts also k = 1 and k = 15. Right-or-wrong rewards only. The paper raises `least` from
    0.3 to 0.8 after the first steps: pass another value then. Left out: the memory bank of
    high-variance prompts that refills the batch.

    Raises:
        InputError: Correctness is unknown.
    """
    _, right, wrong = counts(groups, "vcrl")
    is_kept = right * wrong >= least * (groups.size**2 // 4)
    return divide_by_std(groups, np.where(is_kept, groups.std(ddof), np.nan), eps)
