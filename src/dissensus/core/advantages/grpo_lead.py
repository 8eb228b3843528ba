"""GRPO-LEAD."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts
from dissensus.core.advantages.profile import Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_sides_by_std
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "grpo_lead",
    source="Zhang et al. 2025, arXiv:2504.09696; as in aeroplanepaper/GRPO-LEAD at 9344bef",
    profile=Profile(
        title="GRPO-LEAD",
        evidence="code",
        rewards="binary",
        is_centred=False,
        scale="invariant",
    ),
)
def grpo_lead(
    groups: RewardGroups,
    context: Context,
    *,
    low: float = 0.4,
    high: float = 1.5,
    midpoint: float = 0.75,
    steepness: float = 10.0,
    ddof: int = 1,
    eps: float = 0.0,
) -> FloatArray:
    """GRPO with successes on hard prompts and failures on easy ones amplified.

        A = w(m) · A_GRPO where A_GRPO > 0, else w(1−m) · A_GRPO
        w(x) = low + (high − low) / (1 + exp(steepness (x − midpoint)))

    The two sides weigh differently, so B = σ (w(m) − w(1−m)) (for ddof 0): positive below m = ½,
    negative above; W = σ [(1−m) w(m) + m w(1−m)]. Unanimous and one-rollout groups get 0. m is the
    share of correct rollouts, so correctness must be known; the rewards themselves may be anything.
    The published code adds eps 1e-6. Left out: the other two parts of the paper, which are rewards:
    a bonus for short correct answers, and −1 for wrong ones.

    Raises:
        InputError: Correctness is unknown.
    """
    m = counts(groups, "grpo_lead").share
    above, below = (
        low + (high - low) / (1.0 + np.exp(steepness * (x - midpoint))) for x in (m, 1.0 - m)
    )
    return divide_sides_by_std(groups, groups.std(ddof), eps, above=above, below=below)
