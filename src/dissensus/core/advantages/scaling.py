"""The division that several rules share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError

__all__ = ["denominators", "divide_by_std", "divide_sides_by_std"]


def divide_by_std(groups: RewardGroups, std: ArrayLike, eps: float) -> FloatArray:
    """Centred rewards over (std + eps), 0 in unanimous groups whatever eps is.

    Args:
        groups: P groups of N rollouts.
        std: (P,) per group, or one number for the batch; NaN (too few rollouts) gives 0.
        eps: Added to std, outside the root; ≥ 0.
    """
    # Divided in place: fresh memory is what costs.
    advantages: FloatArray = groups.expand(denominators(groups, std, eps))
    return np.divide(groups.centered, advantages, out=advantages)


def divide_sides_by_std(
    groups: RewardGroups, std: ArrayLike, eps: float, *, above: FloatArray, below: FloatArray
) -> FloatArray:
    """`divide_by_std`, times (P,) `above` for rewards above the group mean, else times `below`."""
    denominator = denominators(groups, std, eps)
    advantages: FloatArray = groups.expand(below / denominator)
    np.copyto(advantages, groups.expand(above / denominator), where=groups.centered > 0)
    advantages *= groups.centered
    return advantages


def denominators(groups: RewardGroups, std: ArrayLike, eps: float) -> FloatArray:
    """(P,) std + eps; inf where that is 0 or unknown, which divides everything to 0.

    Raises:
        InputError: eps < 0.
    """
    if not eps >= 0:
        raise InputError("The 'eps' parameter must be ≥ 0", got=eps)
    denominator = np.broadcast_to(np.asarray(std, dtype=np.float64) + eps, (len(groups),))
    return np.where(denominator > 0, denominator, np.inf)
