"""KRPO."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.tables import RolloutTable
from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError


def _is_silent(correct: IntArray, group_size: int) -> BoolArray:
    return np.asarray(correct == 0, dtype=np.bool_)


@rule(
    "krpo",
    source="arXiv:2505.07527; as in billhhh/KRPO_LLMs_RL at df1ae2b",
    profile=Profile(
        title="KRPO (Kalman filter)",
        evidence="code",
        is_centred=False,
        is_shift_invariant=False,
        is_silent=_is_silent,
        is_ordered=True,
    ),
)
def krpo(
    groups: RewardGroups,
    context: Context,
    *,
    process_var: float = 1e-5,
    reward_var: float = 1e-2,
    initial_mean: float = 0.0,
    initial_var: float = 1.0,
    eps: float = 1e-8,
) -> FloatArray:
    """Track the mean reward by a Kalman filter that walks through the rollouts of a group.

        P′ = P + Q;   κ = P′/(P′ + R);   x ← x + κ(r − x);   P ← (1 − κ)P′
        A = (r − x)/(sqrt(P) + eps),   with x and P after the update

    Any rewards. The filter starts anew in each group, at x = initial_mean: the *order* of the
    rollouts matters, so there is no signature, and W and B are those of the order at hand. Rewards
    of 0 keep x at 0, so k = 0 gets 0; k = G does not: its first rollouts get small positive
    advantages, since x starts below them. Unanimous rewards other than initial_mean get them too.
    Adding a constant to all rewards changes the advantages. Left out: nothing of the advantage.

    Args:
        groups: P groups of N rollouts; the order is that of the rows, unscored ones skipped.
        context: Not used.
        process_var: Q ≥ 0, in squared reward units, as the other variances.
        reward_var: R > 0.
        initial_mean: x before the first rollout.
        initial_var: P before the first rollout, ≥ 0.
        eps: Added to sqrt(P); ≥ 0.

    Raises:
        InputError: A variance below its bound.
    """
    if not (process_var >= 0 and reward_var > 0 and initial_var >= 0 and eps >= 0):
        raise InputError(
            "krpo needs process_var ≥ 0, reward_var > 0, initial_var ≥ 0 and eps ≥ 0",
            got=(process_var, reward_var, initial_var, eps),
        )
    table = RolloutTable(groups)
    rewards = table.of(groups.rewards, fill=0.0)
    advantages = np.zeros(table.shape)
    mean, variance = np.full(len(groups), initial_mean), initial_var
    for position in range(table.width):  # one step for all groups: P does not depend on rewards
        predicted = variance + process_var
        gain = predicted / (predicted + reward_var)
        variance = (1.0 - gain) * predicted
        mean += gain * (rewards[:, position] - mean)
        scale = np.sqrt(variance) + eps
        if scale > 0:
            advantages[:, position] = (rewards[:, position] - mean) / scale
    return table.back(advantages)
