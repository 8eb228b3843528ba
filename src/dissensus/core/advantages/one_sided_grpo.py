"""One-sided GRPO."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import Limit, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "one_sided_grpo",
    source="arXiv:2602.02710; as in tajwarfahim/maxrl at c0698eb, core_algos.py",
    profile=Profile(
        title="One-sided GRPO",
        evidence="code",
        is_shift_invariant=False,
        scale="neither",
        limit=Limit("2·√p", lambda p: 1.0 / np.sqrt(p), lambda p: 2.0 * np.sqrt(p)),
    ),
)
def one_sided_grpo(groups: RewardGroups, context: Context, *, eps: float = 0.0) -> FloatArray:
    """Centre on the group mean and divide by the root of that mean: between GRPO and MaxRL.

        A = (r − mean) / (√mean + eps);   W = √m (1−m);   B = 0

    GRPO's weight on hard prompts without its weight on easy ones. Unanimous and one-rollout groups
    get 0; so does a group whose mean is not positive, where the root means nothing. Meant for
    right-or-wrong rewards: on another scale than 0 and 1 the step length changes with its root. The
    published code adds eps 1e-6.
    """
    roots = np.sqrt(np.maximum(np.nan_to_num(groups.mean), 0.0))
    return divide_by_std(groups, np.where(roots > 0, roots, np.nan), eps)
