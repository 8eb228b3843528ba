"""Probabilities of k correct of G, accurate to the last digits, and averages under them.

A binomial probability from gamma functions loses digits by cancellation (twelve remain at
G = 4096). Written as a divergence it does not: with q = 1 − p, m = k/G and
g(x) = log x! − x log x + x, which varies slowly,

    log Bin(k; G, p) = g(G) − g(k) − g(G−k) − G · KL(m ‖ p)

and for the beta-binomial, with N = a + b and the pooled rate r = (k+a)/(G+N),

    log BetaBin(k; G, a, b) = [g(G) − g(k) − g(G−k)]
                            + [g(k+a) + g(G−k+b) − g(G+N)] − [g(a) + g(b) − g(N)]
                            + log[ (G+N)/N · a/(k+a) · b/(G−k+b) ]
                            − G · KL(m ‖ r) − N · KL(a/N ‖ r)

Each divergence is computed from the difference k − Gp, never from two large logarithms.
The idea is C. Loader's, *Fast and accurate computation of binomial probabilities* (2000).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

from dissensus.core.groups import FloatArray

__all__ = [
    "CHUNK",
    "average_over_counts",
    "log_beta_binomial",
    "log_binomial",
    "log_factorial_rest",
    "unique_rows",
]

Values: TypeAlias = FloatArray | float

CHUNK = 1 << 20
"""Numbers held at once (8 MB) by anything that is tabulated over prompts × counts."""

_SERIES_FROM = 16.0
_HALF_LOG_2PI = 0.5 * np.log(2.0 * np.pi)


def unique_rows(first: FloatArray, *rest: FloatArray) -> tuple[FloatArray, NDArray[np.intp]]:
    """Distinct rows of one or two columns of numbers, (rows, columns), and where each one went.

    Example:
        >>> unique_rows(np.array([2.0, 1.0, 2.0]))[1].tolist()
        [1, 0, 1]
    """
    if not rest:
        values, inverse = np.unique(first, return_inverse=True)
        return values[:, None], inverse.ravel()
    # Complex numbers sort by both parts: ten times faster than np.unique(axis=0).
    pairs, inverse = np.unique(first + 1j * rest[0], return_inverse=True)
    return np.stack([pairs.real, pairs.imag], axis=1), inverse.ravel()


def log_factorial_rest(x: Values) -> FloatArray:
    """g(x) = log x! − x log x + x, for real x ≥ 0; absolute error below 4e-15 up to x = 1e15.

    Example:
        >>> bool(log_factorial_rest(np.array([0.0]))[0] == 0.0)
        True
    """
    x = np.asarray(x, dtype=np.float64)
    large = np.maximum(x, _SERIES_FROM)
    inverse = 1.0 / large
    square = inverse * inverse
    # Stirling's series: the first term left out, 691/360360 x⁻¹¹, is below 1.1e-16 at x = 16.
    series = inverse * (
        1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188)))
    )
    out = np.asarray(_HALF_LOG_2PI + 0.5 * np.log(large) + series)
    below = x < _SERIES_FROM
    if below.any():
        small = x[below]
        out[below] = special.gammaln(small + 1.0) - special.xlogy(small, small) + small
    return out


def _divergence(
    k: Values, rest: Values, difference: FloatArray, mean: Values, mean_rest: Values
) -> FloatArray:
    """Sum k log(k/mean) + rest log(rest/mean_rest), given difference = k − mean."""
    # An argument that should be exactly −1 (k = 0) can round below it, and log1p would be NaN.
    first = special.xlog1py(k, np.maximum(difference / mean, -1.0))
    second = special.xlog1py(rest, np.maximum(-difference / mean_rest, -1.0))
    return np.asarray(first + second, dtype=np.float64)


def log_binomial(k: FloatArray, group_size: Values, p: Values) -> FloatArray:
    """Log probability of k correct of G, for 0 < p < 1; arguments broadcast.

    Example:
        >>> np.exp(log_binomial(np.arange(3.0), 2.0, 0.5)).round(12).tolist()
        [0.25, 0.5, 0.25]
    """
    q, rest = 1.0 - p, group_size - k
    mean, mean_rest = group_size * p, group_size * q
    # The difference is taken on the rare side, where the mean is small and carries less rounding.
    difference = np.where(p <= 0.5, k - mean, mean_rest - rest)
    with np.errstate(over="ignore", divide="ignore", under="ignore"):
        shape = log_factorial_rest(group_size) - log_factorial_rest(k) - log_factorial_rest(rest)
        return shape - _divergence(k, rest, difference, mean, mean_rest)


def log_beta_binomial(k: FloatArray, group_size: Values, a: Values, b: Values) -> FloatArray:
    """Log probability of k correct of G when p ~ Beta(a, b), a and b > 0; arguments broadcast.

    Example:
        >>> np.exp(log_beta_binomial(np.arange(4.0), 3.0, 1.0, 1.0)).round(12).tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    g, rest, prior = log_factorial_rest, group_size - k, a + b
    total = group_size + prior
    pooled, pooled_rest = (k + a) / total, (rest + b) / total
    # k − G·r, with the two products that nearly cancel divided once; a − N·r is its negative.
    difference = (k * b - rest * a) / total
    with np.errstate(over="ignore", divide="ignore", under="ignore"):
        sample = _divergence(k, rest, difference, group_size * pooled, group_size * pooled_rest)
        belief = _divergence(a, b, -difference, prior * pooled, prior * pooled_rest)
        shape = g(group_size) - g(k) - g(rest)
        shape = shape + (g(k + a) + g(rest + b) - g(total)) - (g(a) + g(b) - g(prior))
        factor = np.log(total / prior) - np.log1p(k / a) - np.log1p(rest / b)
        return np.asarray(shape + factor - sample - belief, dtype=np.float64)


def average_over_counts(
    values: FloatArray,
    log_probability: Callable[..., FloatArray],
    *parameters: FloatArray,
) -> FloatArray:
    """Σ_k probability(k) · values[k] for every row of parameters, in bounded memory.

    Args:
        values: (G+1,) or (G+1, F) finite numbers per count k = 0 … G.
        log_probability: Called as `log_probability(k, G, *parameters)` with (1, G+1) counts and
            (rows, 1) parameters.
        parameters: Arrays of one common shape.

    Returns:
        Array of that shape, with a last axis F where values have one.
    """
    shape = parameters[0].shape + values.shape[1:]
    # Solve rates repeat (k of 64 takes 65 values), and each one costs G+1 exponentials.
    table, inverse = unique_rows(*parameters)
    group_size = len(values) - 1
    counts = np.arange(group_size + 1, dtype=np.float64)[None, :]
    rows = max(1, CHUNK // (group_size + 1))
    out = np.empty((len(table), *values.shape[1:]))
    for start in range(0, len(table), rows):
        columns = [column[:, None] for column in table[start : start + rows].T]
        log_weights = log_probability(counts, float(group_size), *columns)
        with np.errstate(under="ignore"):
            out[start : start + rows] = np.exp(log_weights) @ values
    return out[inverse].reshape(shape)
