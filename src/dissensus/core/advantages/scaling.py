"""The one division that several rules share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError

__all__ = ["divide_by_std"]


def divide_by_std(groups: RewardGroups, std: ArrayLike, eps: float) -> FloatArray:
    """Centred rewards over (std + eps), 0 in unanimous groups whatever eps is.

    Args:
        groups: P groups of N rollouts.
        std: (P,) per group, or one number for the batch; NaN (too few rollouts) gives 0.
        eps: Added to std, outside the root; ≥ 0.
    """
    if not eps >= 0:
        raise InputError("The 'eps' parameter must be ≥ 0", got=eps)
    denominator = np.broadcast_to(np.asarray(std, dtype=np.float64) + eps, (len(groups),))
    usable = np.where(denominator > 0, denominator, np.inf)  # 0 or unknown: no advantage
    advantages: FloatArray = groups.expand(usable)  # divided in place: fresh memory is what costs
    return np.divide(groups.centered, advantages, out=advantages)
