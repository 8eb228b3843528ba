"""One prompt with a known solve rate p: the number of correct rollouts is Binomial(G, p).

Every function broadcasts, accepts the limits p = 0 and p = 1, and returns a NumPy scalar for scalar
arguments. Stated errors are relative, hold for p as the float64 number it is, for p from 1e-9 to
1 − 1e-9 and G ≤ 4096, and are checked against 60-digit arithmetic in the tests. (1 − p is exact for
p ≥ ½, so nothing is lost near 1.) Results below 1e-300 may underflow to 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray
from dissensus.core.laws import _kernels
from dissensus.core.laws._inputs import (
    SignatureLike,
    as_group_size,
    as_probability,
    broadcast,
    contrast_of,
    positive_negative_of,
)

__all__ = [
    "all_correct_rate",
    "all_wrong_rate",
    "expected_contrast",
    "expected_push",
    "unanimous_rate",
]


def all_wrong_rate(p: ArrayLike, group_size: ArrayLike) -> FloatArray:
    """Probability that no rollout of a group is correct.

        (1 − p)^G

    Args:
        p: Solve rate, in [0, 1].
        group_size: G, whole and ≥ 1; broadcasts against p.

    Returns:
        Probability, broadcast shape. Error: 2e-13.

    Raises:
        InputError: p outside [0, 1] or NaN, G not a whole number ≥ 1, shapes that do not broadcast.

    Example:
        >>> float(all_wrong_rate(0.5, 8))
        0.00390625
    """
    rate, size = broadcast(p=as_probability(p), group_size=as_group_size(group_size))
    with np.errstate(under="ignore"):
        # log1p keeps the digits that 1 − p drops for small p; above one half 1 − p is exact.
        small = np.exp(size * np.log1p(-np.minimum(rate, 0.5)))
        return np.where(rate < 0.5, small, np.power(1.0 - rate, size))[()]


def all_correct_rate(p: ArrayLike, group_size: ArrayLike) -> FloatArray:
    """Probability that every rollout of a group is correct.

        p^G

    Args, errors and accuracy as `all_wrong_rate`.

    Example:
        >>> float(all_correct_rate(0.5, [8])[0])
        0.00390625
    """
    rate, size = broadcast(p=as_probability(p), group_size=as_group_size(group_size))
    with np.errstate(under="ignore"):
        return np.power(rate, size)


def unanimous_rate(p: ArrayLike, group_size: ArrayLike) -> FloatArray:
    """Probability that all rollouts agree, and GRPO, Dr. GRPO, DAPO and RLOO stay silent.

        p^G + (1 − p)^G

    1 for a group of one. Never call this with a *mean* solve rate: the rate is convex in p, and a
    population is far more unanimous than its mean prompt (`beta_unanimous_rate`).

    Args, errors and accuracy as `all_wrong_rate`.

    Example:
        >>> unanimous_rate([0.0, 0.5], 8).tolist()
        [1.0, 0.0078125]

    Source: arXiv:2607.00152, the silent rate.
    """
    return all_wrong_rate(p, group_size) + all_correct_rate(p, group_size)


def expected_contrast(signature: SignatureLike, p: ArrayLike) -> FloatArray:
    """Expected contrast of one group: the coefficient of Δs in the expected update.

        E[W] = Σ_k C(G,k) p^k (1−p)^(G−k) W(k),      W(k) = m(1−m)(A₊(k) − A₋(k)),  m = k/G

    For GRPO W is the group's σ, for Dr. GRPO σ², whence E[W] = p(1−p)(1 − 1/G). Unanimous groups
    contribute 0.

    Args:
        signature: A rule's advantages for every k (`advantages.signature`).
        p: Solve rate, any shape.

    Returns:
        E[W], shape of p, in units of the advantage. Error: 1e-13 of E[|W|].

    Raises:
        InputError: p outside [0, 1], or a signature with missing or non-finite entries.

    Example:
        >>> from types import SimpleNamespace
        >>> dr_grpo = SimpleNamespace(group_size=4, contrast=np.array([0, 3, 4, 3, 0]) / 16)
        >>> round(float(expected_contrast(dr_grpo, 0.5)), 12)      # p(1−p)(1 − 1/4)
        0.1875
    """
    return average_binomial(contrast_of(signature), as_probability(p))


def expected_push(signature: SignatureLike, p: ArrayLike) -> FloatArray:
    """Expected mean advantage of one group: the coefficient with which a rule pushes every rollout.

        E[B] = Σ_k C(G,k) p^k (1−p)^(G−k) B(k),      B(k) = m·A₊(k) + (1−m)·A₋(k),  m = k/G

    0 for every mean-centred rule. At k = 0 and k = G only the advantage that exists counts.

    Args, errors and accuracy as `expected_contrast`.

    Example:
        >>> from types import SimpleNamespace
        >>> sign = SimpleNamespace(group_size=2, positive=np.ones(3), negative=-np.ones(3))
        >>> float(expected_push(sign, 0.75))
        0.5
    """
    positive, negative = positive_negative_of(signature)
    m = np.arange(len(positive)) / (len(positive) - 1)
    return average_binomial(m * positive + (1.0 - m) * negative, as_probability(p))


def average_binomial(values: FloatArray, p: FloatArray) -> FloatArray:
    """Σ_k Bin(k; G, p) · values[k], for checked p in [0, 1] and G = len(values) − 1 ≥ 0.

    Values of (G+1, F) give a last axis F.
    """
    inside = (p > 0) & (p < 1) & (len(values) > 1)
    is_zero = (p == 0)[..., None] if values.ndim > 1 else p == 0
    out = np.where(is_zero, values[0], values[-1])
    if inside.any():
        out = np.array(out, dtype=np.float64)
        out[inside] = _kernels.average_over_counts(values, _kernels.log_binomial, p[inside])
    return np.asarray(out)[()]
