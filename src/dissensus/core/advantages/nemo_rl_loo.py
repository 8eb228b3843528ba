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
        scale="neither",
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
    share = size / np.maximum(size - 1, 1)
    freedom = np.where(size > 2, size - 2.0, np.nan)  # NaN: no std, so undivided
    # Half their squared range is at most the sum of squares of the others.
    agree_below = np.maximum(0.5 * groups.tol**2, _ROUNDING * squares) / freedom
    variance = np.square(groups.centered)  # of the others, made in place: fresh memory is slow
    variance *= groups.expand(-share / freedom)
    variance += groups.expand(squares / freedom)
    divided = variance > groups.expand(agree_below)
    scale = np.sqrt(np.maximum(variance, 0.0, out=variance), out=variance)
    scale += eps
    np.copyto(scale, 1.0, where=~divided)
    advantages: FloatArray = groups.expand(share)
    advantages *= groups.centered
    advantages /= scale
    return advantages
