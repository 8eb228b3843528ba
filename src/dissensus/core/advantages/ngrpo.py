"""NGRPO."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import ARCSINE, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError


@rule(
    "ngrpo",
    source="arXiv:2509.18851; as in nangongrui-ngr/NGRPO at e7a3804",
    profile=Profile(
        title="NGRPO",
        evidence="code",
        is_centred=False,
        is_shift_invariant=False,
        scale="neither",
        is_silent=lambda k, size: np.asarray(k == size, dtype=np.bool_),
        limit=ARCSINE,
    ),
)
def ngrpo(
    groups: RewardGroups,
    context: Context,
    *,
    max_reward: float = 1.0,
    virtual: int = 1,
    ddof: int = 1,
    eps: float = 0.0,
) -> FloatArray:
    """GRPO with the statistics of the group joined by rollouts that were never sampled, all right.

        A = (r − mean⁺) / (std⁺(ddof) + eps)    over the rewards and `virtual` times `max_reward`

    The virtual rollouts pull the mean up, so everything sampled is pushed down: B < 0 wherever
    somebody failed. k = 0 gets −1/sqrt(G+1) each (one virtual rollout, ddof 1), k = G gets 0. As G
    grows the virtual rollout counts for less, and GRPO is left. Any rewards up to `max_reward`,
    which states the best one on their scale: 1 fits rewards 0 and 1 as well as −1 and 1. A lone
    rollout is treated as any group, where the published code gives its raw reward; that code adds
    eps 1e-6. Left out: the asymmetric clip of the paper, and its filter of all-correct groups.

    Raises:
        InputError: virtual < 0 or eps < 0.
    """
    if not (virtual >= 0 and eps >= 0):
        raise InputError(
            "The 'virtual' and 'eps' parameters must be ≥ 0", where="ngrpo", got=(virtual, eps)
        )
    size, mean = groups.size, np.nan_to_num(groups.mean)
    joined = np.maximum(size + virtual, 1)
    up = (max_reward - mean) * virtual / joined  # how far the virtual rollouts lift the mean
    squares = np.nan_to_num(np.square(groups.std()) * size) + (max_reward - mean) * up * size
    std = np.sqrt(np.maximum(squares, 0.0) / np.maximum(joined - ddof, 1))
    # Rewards within tolerance of the best are the best: rounding is nothing to learn from.
    learns = (joined > ddof) & ~(groups.is_unanimous() & (np.abs(max_reward - mean) <= groups.tol))
    usable = np.where(learns & (std + eps > 0), std + eps, np.inf)
    advantages: FloatArray = groups.centered - groups.expand(up)
    advantages /= groups.expand(usable)
    return advantages
