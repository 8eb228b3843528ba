"""GDPO."""

from collections.abc import Mapping

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import ARCSINE, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.advantages.transforms import Whiten
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError


@rule(
    "gdpo",
    source="Liu et al. 2026, arXiv:2601.05242; as in NVlabs/GDPO at b080e63",
    needs=("rewards_by_function",),
    then=(Whiten(ddof=1, eps=1e-8, by="token"),),
    profile=Profile(
        title="GDPO",
        evidence="code",
        scale="invariant",
        shifts_with_batch=True,
        limit=ARCSINE,
    ),
)
def gdpo(
    groups: RewardGroups,
    context: Context,
    *,
    weights: Mapping[str, float] | None = None,
    ddof: int = 1,
    eps: float = 1e-6,
) -> FloatArray:
    """Normalise each reward function in its group, add them up, whiten over the batch.

        A = whiten( Σ_f w_f (r_f − mean_f) / (std_f(ddof) + eps) )

    So no function drowns another because its numbers are larger or spread wider. One function alone
    is GRPO over the batch std of its advantages: W = σ/s, B = 0. A function on which the group
    agrees adds 0; a group unanimous on all of them gets 0 as long as the batch mean is 0, which it
    is where lengths do not go with reward. Whitened by token (`context.lengths`), as the authors'
    verl code does; their TRL code and TRL whiten by rollout and add 1e-4 to both deviations. A
    function that gave NaN adds nothing to that rollout. A reference batch, which has total rewards
    only, counts as one function. Left out: conditioning one reward on another.

    Raises:
        InputError: `weights` names no reward function, or a function has not one reward per
            rollout.
    """
    by_function = context.rewards_by_function or {}
    # The reference batch of the whitening step has its total as the one function, which no weight
    # names, and whose weight the whitening divides away.
    is_total = [id(each) for each in by_function.values()] == [id(groups.rewards)]
    weights = {} if is_total or weights is None else weights
    unknown = sorted(set(weights) - set(by_function))
    if unknown:
        raise InputError(
            "weights must name reward functions",
            where="gdpo",
            got=unknown[0],
            hint=f"one of {', '.join(map(str, by_function))}",
        )
    total: FloatArray | None = None
    for name, rewards in by_function.items():
        each = groups.with_rewards(rewards)
        advantages = divide_by_std(each, each.std(ddof), eps)
        advantages *= weights.get(name, 1.0)
        total = advantages if total is None else np.add(total, advantages, out=total)
    return np.zeros(groups.n_rollouts) if total is None else total
