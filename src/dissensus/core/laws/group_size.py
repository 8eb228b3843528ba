"""How much of the large-group signal a group of G keeps, and how large G must be.

φ is summed over a window of counts around Gp, so no table of length G is made and solve rates of
1e-9 are ordinary. Where Gp(1−p) ≥ 1e5 the window would be wide; there an expansion is exact.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray
from dissensus.core.laws import _kernels
from dissensus.core.laws._inputs import as_group_size, as_probability, broadcast
from dissensus.errors import InputError

__all__ = ["fidelity", "group_size_law", "required_group_size"]

# 12 standard deviations and 60 counts on either side leave out less than 1e-20 of the sum.
_WINDOW_STDS, _WINDOW_COUNTS = 12.0, 60.0
_EXPANSION_FROM = 1e5
# What rounding may take from φ: a wanted fidelity that is met exactly counts as met.
_ROUNDING = 4e-15


def fidelity(p: ArrayLike, group_size: ArrayLike) -> FloatArray:
    """Share of the large-group GRPO signal that groups of G keep in expectation.

        φ(G, p) = E[σ] / sqrt(p(1−p)) = E[sqrt(m(1−m))] / sqrt(p(1−p)) ≈ 1 − 1/(8Gp(1−p))

    with k ~ Binomial(G, p), m = k/G. φ never falls as G grows: σ is concave in m, and the m of a
    subgroup has the whole group's m as its mean (Jensen). 0 for a group of one, and 0, the limit,
    at p = 0 and p = 1.

    Args:
        p: Solve rate, in [0, 1].
        group_size: G, whole and ≥ 1; broadcasts against p.

    Returns:
        φ in [0, 1), broadcast shape. Relative error: 1e-14 for p from 1e-9 to 1 − 1e-9, G ≤ 4096.

    Raises:
        InputError: p outside [0, 1] or NaN, G not a whole number ≥ 1, shapes that do not broadcast.

    Example:
        >>> fidelity([0.5, 0.05], 8).round(4).tolist()
        [0.9278, 0.539]

    Source: arXiv:2607.00152, group-size law.
    """
    rate, size = broadcast(p=as_probability(p), group_size=as_group_size(group_size))
    # σ is the same with correct and wrong exchanged, and 1 − p is exact above one half.
    rate = np.minimum(rate, 1.0 - rate)
    inside = (rate > 0) & (size > 1)
    out = np.zeros(rate.shape)
    if inside.any():
        pairs, inverse = _kernels.unique_rows(rate[inside], size[inside])
        out[inside] = _fidelity(pairs[:, 0], pairs[:, 1])[inverse]
    return out[()]


def group_size_law(p: ArrayLike, *, fidelity: float = 0.95) -> FloatArray:
    """Group size for a wanted fidelity by the closed form, unrounded.

        G = 1 / (8 (1 − φ) p(1−p))

    The leading term for large G: it asks for too little where p is small (26 where 42 are needed
    at p = .05, φ = .9). `required_group_size` is exact.

    Args:
        p: Solve rate, any shape.
        fidelity: Wanted φ, strictly between 0 and 1.

    Returns:
        G as a real number, shape of p; inf at p = 0 and p = 1.

    Raises:
        InputError: p outside [0, 1], or a fidelity outside (0, 1).

    Example:
        >>> round(float(group_size_law(0.5, fidelity=0.95)), 9)
        10.0

    Source: arXiv:2607.00152, group-size law.
    """
    rate, target = as_probability(p), _as_target(fidelity)
    with np.errstate(divide="ignore", over="ignore"):
        return 1.0 / (8.0 * (1.0 - target) * rate * (1.0 - rate))


def required_group_size(p: ArrayLike, *, fidelity: float = 0.95) -> FloatArray:
    """Smallest group size with at least the wanted fidelity.

        min { G : φ(G, p) ≥ fidelity }

    Found by bisection from the closed form, exact because φ never falls in G. A φ within 4e-15 of
    the wanted one counts as met; where one rollout more changes φ by less than that (large groups:
    8(1−φ)²p(1−p) < 4e-15) the result is that much early, a relative 4e-15/(1−φ).

    Args:
        p: Solve rate, any shape.
        fidelity: Wanted φ, strictly between 0 and 1, at most 1 − 1e-8.

    Returns:
        Whole numbers as float64, shape of p; inf at p = 0 and p = 1, where no size is enough.

    Raises:
        InputError: p outside [0, 1], such a fidelity, or a p for which G would exceed 2^50.

    Example:
        >>> required_group_size([0.5, 0.1, 0.0], fidelity=0.95).tolist()
        [11.0, 36.0, inf]

    Source: arXiv:2607.00152, group-size law; the exact requirement is this project's.
    """
    rate, target = as_probability(p), _as_target(fidelity)
    if target > 1.0 - 1e-8:
        raise InputError("The 'fidelity' parameter must be at most 1 − 1e-8", got=fidelity)
    rate = np.minimum(rate, 1.0 - rate)
    wanted = group_size_law(rate, fidelity=target)
    if ((rate > 0) & (wanted > 2.0**50)).any():
        raise InputError(
            "the group size for this p and fidelity exceeds 2^50", got=float(rate[rate > 0].min())
        )
    values, inverse = np.unique(rate, return_inverse=True)
    sizes = np.full(len(values), np.inf)
    inside = values > 0
    sizes[inside] = _smallest(values[inside], target)
    return sizes[inverse].reshape(rate.shape)[()]


def _as_target(fidelity: float) -> float:
    if not 0.0 < fidelity < 1.0:
        raise InputError("The 'fidelity' parameter must lie strictly in (0, 1)", got=fidelity)
    return float(fidelity)


def _smallest(p: FloatArray, target: float) -> FloatArray:
    """Bisection for all p at once: `low` always fails, `high` always suffices."""
    low = np.ones_like(p)
    high = np.maximum(2.0, np.ceil(group_size_law(p, fidelity=target)))
    target -= _ROUNDING
    while (failing := fidelity(p, high) < target).any():
        low = np.where(failing, high, low)
        high = np.where(failing, 2.0 * high, high)
    while (open_ := high - low > 1).any():
        middle = np.where(open_, np.floor((low + high) / 2), high)
        enough = fidelity(p, middle) >= target
        high = np.where(enough, middle, high)
        low = np.where(enough, low, middle)
    return high


def _fidelity(p: FloatArray, group_size: FloatArray) -> FloatArray:
    """φ for 0 < p ≤ ½ and G ≥ 2, both (rows,), in bounded memory."""
    out = np.empty_like(p)
    spread = group_size * p * (1.0 - p)
    wide = spread >= _EXPANSION_FROM
    out[wide] = _fidelity_expansion(p[wide], spread[wide])
    out[~wide] = _fidelity_sum(p[~wide], group_size[~wide])
    return out


def _fidelity_expansion(p: FloatArray, spread: FloatArray) -> FloatArray:
    """Delta method to second order in 1/(Gp(1−p)); the third is below 1e-15 from 1e5 on."""
    second = (7.0 - 16.0 * p * (1.0 - p)) / (128.0 * spread**2)
    return np.asarray(1.0 - 1.0 / (8.0 * spread) - second, dtype=np.float64)


def _fidelity_sum(p: FloatArray, group_size: FloatArray) -> FloatArray:
    mean = group_size * p
    reach = _WINDOW_STDS * np.sqrt(mean * (1.0 - p)) + _WINDOW_COUNTS
    first = np.maximum(1.0, np.floor(mean - reach))
    last = np.minimum(group_size - 1.0, np.ceil(mean + reach))
    width = last - first + 1.0
    out = np.empty_like(p)
    # Rows of like width share a block, so that one huge group does not widen the rest.
    order = np.argsort(width, kind="stable")
    start = 0
    while start < len(p):
        rows = max(1, int(_kernels.CHUNK // width[order[start]]))
        block = order[start : start + rows]
        while len(block) > 1 and width[block[-1]] > 2.0 * width[block[0]]:
            block = block[: len(block) // 2]
        out[block] = _fidelity_block(p[block], group_size[block], first[block], last[block])
        start += len(block)
    return out


def _fidelity_block(
    p: FloatArray, group_size: FloatArray, first: FloatArray, last: FloatArray
) -> FloatArray:
    size, rate = group_size[:, None], p[:, None]
    k = first[:, None] + np.arange(int((last - first).max()) + 1)[None, :]
    beyond = k > last[:, None]
    k = np.minimum(k, last[:, None])
    log_term = _kernels.log_binomial(k, size, rate)
    with np.errstate(under="ignore"):
        # sqrt(m(1−m)/(p(1−p))) is near 1 where the sum lives, for every G and p.
        term = np.exp(log_term) * np.sqrt((k / (size * rate)) * ((size - k) / (size - size * rate)))
    return np.asarray(np.where(beyond, 0.0, term).sum(axis=1), dtype=np.float64)
