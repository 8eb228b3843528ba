"""NeMo-RL's leave-one-out advantage."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import ARCSINE, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError

_ROUNDING = 1e-12
"""Share of a group's squares that subtracting one of them can leave behind by rounding."""


@rule(
    "nemo_rl_loo",
    source="NeMo-RL 0.6.0, algorithms/utils.py and advantage_estimator.py",
    profile=Profile(
        title="NeMo-RL leave-one-out",
        evidence="library",
        is_centred=False,
        scale="invariant",
        limit=ARCSINE,
    ),
)
def nemo_rl_loo(groups: RewardGroups, context: Context, *, eps: float = 1e-6) -> FloatArray:
    """Reward minus the mean of the others, over the standard deviation of the *others*.

        A = (r − mean_others) / (std_others(ddof 1) + eps), undivided where the others agree

    Both default switches of NeMo-RL's GRPO on. Every rollout is measured on a scale of its own, so
    B is not 0: at k = 1 of 8 the lone correct rollout, whose others all agree, gets 1 and the wrong
    ones −0.378, a push of −0.21; at k = G−1 the mirror image. That switch from divided to undivided
    is also why rewards of another scale give the same only away from k = 1 and k = G−1. Dividing
    there, as a rounding residue in the variance can make any code do, gives ±1/eps; here others
    agree when their range is within the groups' tolerance. Unanimous and one-rollout groups get 0,
    two rollouts are never divided. Any rewards; meant for G ≥ 3.
    """
    if not eps >= 0:
        raise InputError("The 'eps' parameter must be ≥ 0", got=eps)
    size, squares = groups.size, np.square(groups.std()) * groups.size
    share = groups.expand(size / np.maximum(size - 1, 1))
    left = groups.expand(squares) - share * np.square(groups.centered)
    # Half their squared range is at most this sum.
    agree_below = np.maximum(0.5 * groups.tol**2, _ROUNDING * squares)
    divided = (left > groups.expand(agree_below)) & groups.expand(size > 2)
    left /= groups.expand(np.maximum(size - 2, 1))
    scale = np.where(divided, np.sqrt(np.maximum(left, 0.0)) + eps, 1.0)
    advantages: FloatArray = groups.centered * share / scale
    return advantages
