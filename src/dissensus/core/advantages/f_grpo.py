"""F-GRPO."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts
from dissensus.core.advantages.profile import Limit, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError


@rule(
    "f_grpo",
    source="Plyusov et al. 2026, arXiv:2602.06717, eq. 11–13",
    profile=Profile(
        title="F-GRPO",
        evidence="paper",
        rewards="binary",
        scale="invariant",
        limit=Limit(
            "√(p(1−p)) + arcsin√p",
            lambda p: np.sqrt((1.0 - p) / p),
            lambda p: np.sqrt(p * (1.0 - p)) + np.arcsin(np.sqrt(p)),
        ),
    ),
)
def f_grpo(
    groups: RewardGroups,
    context: Context,
    *,
    gamma: float = 1.0,
    ddof: int = 1,
    eps: float = 0.0,
) -> FloatArray:
    """GRPO, turned down on prompts that are solved often.

        A = (1−m)^gamma · (r − mean) / (std(ddof) + eps);   W = (1−m)^gamma σ for ddof 0;   B = 0

    m is the share of correct rollouts, so correctness must be known; the rewards themselves may be
    anything. The weight keeps common correct answers from crowding out rare ones that the group did
    not sample. gamma 0 is GRPO; the paper runs 0.5 and 1. Unanimous and one-rollout groups get 0.
    The same factor on DAPO or CISPO changes their losses, which are not part of the advantage.

    Raises:
        InputError: Correctness is unknown, or gamma < 0.
    """
    if not gamma >= 0:
        raise InputError("The 'gamma' parameter must be ≥ 0", got=gamma)
    weight = np.power(1.0 - counts(groups, "f_grpo").share, gamma)
    advantages = divide_by_std(groups, groups.std(ddof), eps)
    advantages *= groups.expand(weight)
    return advantages
