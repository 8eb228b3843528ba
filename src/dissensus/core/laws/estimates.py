"""Rates of unanimity, and expected contrast, estimated from logged rollouts without bias."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from dissensus.core.groups import FloatArray
from dissensus.core.laws._inputs import (
    SignatureLike,
    as_counts,
    as_group_size,
    broadcast,
    contrast_of,
)
from dissensus.errors import InputError

__all__ = [
    "unbiased_all_correct_rate",
    "unbiased_all_wrong_rate",
    "unbiased_expected_contrast",
    "unbiased_unanimous_rate",
]


def unbiased_all_correct_rate(
    correct: ArrayLike, size: ArrayLike, group_size: ArrayLike
) -> FloatArray:
    """Unbiased estimate of p^G from k correct of n logged rollouts of a prompt.

        C(k, G) / C(n, G)

    the chance that G of the n rollouts, drawn without replacement, are all correct.

    Args:
        correct: k, whole, 0 … n.
        size: n, whole, ≥ G.
        group_size: G, whole and ≥ 1; all three broadcast.

    Returns:
        Estimate in [0, 1], broadcast shape. Relative error: G · 1.2e-16.

    Raises:
        InputError: Counts that are not whole, k > n, G > n (nothing unbiased exists), or shapes
            that do not broadcast.

    Example:
        >>> float(unbiased_all_correct_rate(3, 4, 2))      # 3 of the 6 pairs
        0.5
    """
    right, count, wanted = _checked(correct, size, group_size)
    return _drawn_rate(right, count, wanted)


def unbiased_all_wrong_rate(
    correct: ArrayLike, size: ArrayLike, group_size: ArrayLike
) -> FloatArray:
    """Unbiased estimate of (1−p)^G from k correct of n logged rollouts of a prompt.

        C(n−k, G) / C(n, G)

    Args, errors and accuracy as `unbiased_all_correct_rate`.

    Example:
        >>> float(unbiased_all_wrong_rate(1, 4, 2))
        0.5
    """
    right, count, wanted = _checked(correct, size, group_size)
    return _drawn_rate(count - right, count, wanted)


def unbiased_unanimous_rate(
    correct: ArrayLike, size: ArrayLike, group_size: ArrayLike
) -> FloatArray:
    """Unbiased estimate of the unanimous rate from k correct of n logged rollouts of a prompt.

        [C(k, G) + C(n−k, G)] / C(n, G)

    Unbiased for p^G + (1−p)^G whatever p is, hence its mean over prompts is unbiased for the mean
    rate. The plug-in at p̂ = k/n is biased upward, most where n is near G. For G = 1 it is 1.

    Args, errors and accuracy as `unbiased_all_correct_rate`.

    Example:
        >>> unbiased_unanimous_rate([0, 2, 4], 4, 2).round(4).tolist()
        [1.0, 0.3333, 1.0]
    """
    right, count, wanted = _checked(correct, size, group_size)
    out = _drawn_rate(right, count, wanted) + _drawn_rate(count - right, count, wanted)
    return np.minimum(out, 1.0)


def unbiased_expected_contrast(
    signature: SignatureLike, correct: ArrayLike, size: ArrayLike
) -> FloatArray:
    """Unbiased estimate of a rule's expected contrast from k correct of n logged rollouts.

        Σ_j C(k, j) C(n−k, G−j) / C(n, G) · W(j)

    the mean contrast of G of the n rollouts, drawn without replacement. Unbiased for E[W] whatever
    p is, hence so are sums of it over prompts.

    Args:
        signature: A rule's advantages for every count at the wanted G.
        correct: k, whole, 0 … n.
        size: n, whole, ≥ G; broadcasts against `correct`.

    Returns:
        Estimate in units of the advantage, broadcast shape. Relative error: 1e-10 for n ≤ 4096.

    Raises:
        InputError: As `unbiased_unanimous_rate`, or a signature with non-finite contrast.

    Example:
        >>> from types import SimpleNamespace
        >>> pairs = SimpleNamespace(group_size=2, contrast=np.array([0, 0.5, 0]))
        >>> float(unbiased_expected_contrast(pairs, 2, 4).round(6))      # 4 of the 6 pairs split
        0.333333
    """
    contrast = contrast_of(signature)
    group_size = len(contrast) - 1
    right, count, _ = _checked(correct, size, group_size)
    pairs, inverse = np.unique(
        np.stack([right.ravel(), count.ravel()]), axis=1, return_inverse=True
    )
    k, n = pairs[0][:, None], pairs[1][:, None]
    j = np.arange(group_size + 1.0)[None, :]
    possible = (j <= k) & (group_size - j <= n - k)
    log_weight = (
        _log_choose(k, np.minimum(j, k))
        + _log_choose(n - k, np.clip(group_size - j, 0.0, n - k))
        - _log_choose(n, np.full_like(n, group_size))
    )
    with np.errstate(under="ignore"):
        mean = np.where(possible, np.exp(log_weight), 0.0) @ contrast
    return np.asarray(mean[inverse.ravel()].reshape(right.shape), dtype=np.float64)[()]


def _log_choose(n: FloatArray, k: FloatArray) -> FloatArray:
    # ln C(n, k) = −ln(n+1) − ln B(k+1, n−k+1)
    return np.asarray(-np.log1p(n) - special.betaln(k + 1.0, n - k + 1.0), dtype=np.float64)


def _checked(
    correct: ArrayLike, size: ArrayLike, group_size: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    right, count, wanted = broadcast(
        correct=as_counts(correct, "correct"),
        size=as_counts(size, "size", least=1),
        group_size=as_group_size(group_size),
    )
    if (right > count).any():
        raise InputError("correct must not exceed size", where="unbiased rate")
    if (wanted > count).any():
        raise InputError(
            "group_size must not exceed size: nothing is unbiased beyond the logged rollouts",
            where="unbiased rate",
            got=float(wanted[wanted > count].flat[0]),
            hint="fit_beta extrapolates under a stated model",
        )
    return right, count, wanted


def _drawn_rate(right: FloatArray, size: FloatArray, group_size: FloatArray) -> FloatArray:
    """C(right, G) / C(size, G) = Π_{j<G} (right − j)/(size − j): products of ratios ≤ 1."""
    table = np.stack([np.ravel(right), np.ravel(size), np.ravel(group_size)], axis=1)
    rows, inverse = np.unique(table, axis=0, return_inverse=True)
    k, n, wanted = rows.T
    out = np.where(k >= wanted, 1.0, 0.0)
    alive = np.flatnonzero(out)
    j = 0
    with np.errstate(under="ignore"):
        while len(alive):
            out[alive] *= (k[alive] - j) / (n[alive] - j)
            j += 1
            alive = alive[wanted[alive] > j]
    return np.asarray(out[inverse.ravel()].reshape(right.shape), dtype=np.float64)[()]
