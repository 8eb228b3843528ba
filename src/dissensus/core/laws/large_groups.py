"""The limit of large groups by numbers, for rules whose limit nobody has written down."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray
from dissensus.core.laws._inputs import SignatureLike, as_probability
from dissensus.core.laws.objective import implied_objective, objective_slope

__all__ = ["LargeGroups", "large_groups"]

_SIZES = (128, 256, 512)
_ROUNDING = 1e-11


class LargeGroups(NamedTuple):
    """Estimates of f′ and f, with the errors that the extrapolation sees itself.

    Attributes:
        p: (n,) solve rates.
        slope: (n,) f′(p).
        slope_error: (n,) estimated error of it; inf where nothing converges.
        objective: (n,) f(p) − f(1/2).
        objective_error: (n,) estimated error of it.
    """

    p: FloatArray
    slope: FloatArray
    slope_error: FloatArray
    objective: FloatArray
    objective_error: FloatArray


def large_groups(signature_of: Callable[[int], SignatureLike], p: ArrayLike) -> LargeGroups:
    """Extrapolate what a rule climbs to groups without end, from groups of 128, 256 and 512.

        f′ ≈ 2·F′_512 − F′_256   (Richardson: exact up to 1/G² where F′_G is a series in 1/G)

    The error is |the same from 256 and 128 − this|, plus what is missing if the three values shrink
    by another factor than the series says, as at a kink of the rule. Near p = 0 and p = 1, where
    512·p(1−p) is not large, the error says that these groups are too small.

    Args:
        signature_of: G → the rule's signature (`advantages.signature` in a neutral context).
        p: Solve rate, any shape.

    Raises:
        InputError: p outside [0, 1], or a broken signature.

    Example:
        >>> from dissensus import advantages
        >>> grpo = advantages.get("grpo")
        >>> found = large_groups(lambda size: advantages.signature(grpo, size), 0.5)
        >>> round(float(found.slope), 4)                   # 1/sqrt(p(1−p))
        2.0
    """
    rate = as_probability(p)
    signatures = [signature_of(size) for size in _SIZES]
    slope = _extrapolate([objective_slope(each, rate) for each in signatures])
    heights = [implied_objective(each, rate) - implied_objective(each, 0.5) for each in signatures]
    return LargeGroups(rate, *slope, *_extrapolate(heights))


def _extrapolate(values: list[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Limit and error of a sequence at G, 2G, 4G."""
    small, middle, large = values
    first, last = middle - small, large - middle
    limit = large + last
    with np.errstate(divide="ignore", invalid="ignore"):
        shrinks_by = first / last
        missing = np.abs(last) * np.abs(1.0 / (shrinks_by - 1.0) - 1.0)
    missing = np.where(shrinks_by > 1.0, missing, np.inf)
    rounding = _ROUNDING * np.maximum(1.0, np.abs(large))
    is_settled = (np.abs(first) <= rounding) & (np.abs(last) <= rounding)
    error = np.abs(limit - (middle + first)) + np.where(is_settled, 0.0, missing)
    return np.asarray(limit), np.asarray(np.maximum(error, rounding))
