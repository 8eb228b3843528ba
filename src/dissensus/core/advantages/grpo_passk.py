"""verl's GRPO for pass@k."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import denominators
from dissensus.core.advantages.tables import RolloutTable
from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups


def _is_silent(correct: IntArray, group_size: int) -> BoolArray:
    return np.asarray(correct != 1, dtype=np.bool_)


@rule(
    "grpo_passk",
    source="Tang et al. 2025, arXiv:2503.19595; `grpo_passk` of verl at 1dda039b9",
    profile=Profile(
        title="GRPO for pass@k (verl)",
        evidence="library",
        is_centred=False,
        scale="invariant",
        is_silent=_is_silent,
    ),
)
def grpo_passk(
    groups: RewardGroups, context: Context, *, ddof: int = 1, eps: float = 1e-6
) -> FloatArray:
    """Reward only the best rollout of the group, by its lead over the second best.

        A = (r_max − r_second)/(std(ddof) + eps) for the best rollout, 0 for all others
        right-or-wrong rewards: W = (1 − 1/G) · A₊/G and B = A₊/G for k = 1, else 0

    Any rewards; for right-or-wrong ones, silent unless exactly one rollout is correct (k = 0,
    k = G, and every k ≥ 2). Unanimous and one-rollout groups get 0 (verl refuses the latter). Not
    centred: the others are never pushed down. Left out: the paper's other objectives.
    """
    table = RolloutTable(groups)
    rewards = table.of(groups.rewards, fill=-np.inf)
    best = np.argmax(rewards, axis=1)
    rows = np.arange(len(groups))
    top = rewards[rows, best]
    second = np.partition(rewards, -2, axis=1)[:, -2] if table.width > 1 else top
    usable = (groups.size > 1) & ~groups.is_unanimous()
    lead = np.subtract(top, second, out=np.zeros(len(groups)), where=usable)
    advantages = np.zeros(table.shape)
    advantages[rows, best] = lead / denominators(groups, groups.std(ddof), eps)
    return table.back(advantages)
