"""The solve rates a population is held on, and the chance of every count at each of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray
from dissensus.core.laws import _kernels

__all__ = ["ENDS", "likelihood", "solve_rates"]

_STEPS = 200
ENDS = 6.2e-5
"""Smallest rate of the grid above 0; (1 − p)^256 there is 0.984."""


def solve_rates() -> FloatArray:
    """(201,) rates p = sin²(πj/400): 0, 1, and finest where counts resolve most.

    The standard error of a rate is sqrt(p(1−p)/n), so equal steps of arcsin√p are equally many
    standard errors everywhere.

    Example:
        >>> p = solve_rates()
        >>> p[[0, 100, 200]].round(12).tolist(), bool(p[1] < ENDS)
        ([0.0, 0.5, 1.0], True)
    """
    p = np.sin(np.pi / 2.0 * np.arange(_STEPS + 1) / _STEPS) ** 2
    # Exactly symmetric, so that no result depends on which side is called correct.
    return np.asarray(np.where(p <= 0.5, p, 1.0 - p[::-1]))


def likelihood(correct: ArrayLike, size: ArrayLike, rates: FloatArray) -> FloatArray:
    """(C, m) chance of k of n at each solve rate.

    Example:
        >>> likelihood([0, 1], 1, np.array([0.0, 0.25])).tolist()
        [[1.0, 0.75], [0.0, 0.25]]
    """
    k, n = (each[:, None] for each in np.broadcast_arrays(*map(np.atleast_1d, (correct, size))))
    k, n = k.astype(np.float64), n.astype(np.float64)
    inside = (rates > 0) & (rates < 1)
    out = np.zeros((len(k), len(rates)))
    with np.errstate(under="ignore"):
        out[:, inside] = np.exp(_kernels.log_binomial(k, n, rates[inside][None, :]))
    out[:, rates == 0] = k == 0
    out[:, rates == 1] = k == n
    return out
