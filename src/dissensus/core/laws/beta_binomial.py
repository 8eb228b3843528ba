"""Prompts whose solve rate is uncertain, p ~ Beta(a, b): the count is beta-binomial.

Stated errors are relative, for a and b from 1e-6 to 1e6 and G ≤ 4096, and are checked against
60-digit arithmetic in the tests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray
from dissensus.core.laws import _kernels
from dissensus.core.laws._inputs import (
    SignatureLike,
    as_group_size,
    as_positive,
    broadcast,
    contrast_of,
)

__all__ = [
    "beta_all_correct_rate",
    "beta_all_wrong_rate",
    "beta_expected_contrast",
    "beta_unanimous_rate",
]

_BLOCK = 1 << 16


def beta_all_correct_rate(a: ArrayLike, b: ArrayLike, group_size: ArrayLike) -> FloatArray:
    """Probability that all G rollouts are correct when p ~ Beta(a, b).

        E[p^G] = B(a+G, b) / B(a, b) = Π_{j<G} (a+j)/(a+b+j)

    Args:
        a: First parameter, finite and > 0.
        b: Second parameter, finite and > 0.
        group_size: G, whole and ≥ 1; all three broadcast.

    Returns:
        Probability, broadcast shape. Error: 1e-12.

    Raises:
        InputError: a or b not finite or ≤ 0, G not a whole number ≥ 1, or shapes that do not
            broadcast.

    Example:
        >>> round(float(beta_all_correct_rate(1, 1, 8)), 12)      # ∫ p⁸ dp = 1/9
        0.111111111111
    """
    return _rising_ratio(as_positive(a, "a"), as_positive(b, "b"), as_group_size(group_size))


def beta_all_wrong_rate(a: ArrayLike, b: ArrayLike, group_size: ArrayLike) -> FloatArray:
    """Probability that all G rollouts are wrong when p ~ Beta(a, b).

        E[(1−p)^G] = B(a, b+G) / B(a, b)

    Args, errors and accuracy as `beta_all_correct_rate`.

    Example:
        >>> round(float(beta_all_wrong_rate(1, 3, 2)), 12)      # 3/4 · 4/5
        0.6
    """
    return _rising_ratio(as_positive(b, "b"), as_positive(a, "a"), as_group_size(group_size))


def beta_unanimous_rate(a: ArrayLike, b: ArrayLike, group_size: ArrayLike) -> FloatArray:
    """Probability that all G rollouts agree when p ~ Beta(a, b).

        [B(a+G, b) + B(a, b+G)] / B(a, b)

    1 for a group of one. This is the law to use for a population or an uncertain prompt, never
    `unanimous_rate` at the mean.

    Args, errors and accuracy as `beta_all_correct_rate`.

    Example:
        >>> round(float(beta_unanimous_rate(1, 1, 8)), 12)      # 2/9
        0.222222222222
    """
    out = beta_all_correct_rate(a, b, group_size) + beta_all_wrong_rate(a, b, group_size)
    return np.minimum(out, 1.0)


def beta_expected_contrast(signature: SignatureLike, a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Expected contrast of one group when p ~ Beta(a, b).

        E[W] = Σ_k BetaBin(k; G, a, b) W(k)

    Args:
        signature: A rule's advantages for every k (`advantages.signature`).
        a: First parameter, finite and > 0.
        b: Second parameter, finite and > 0; broadcasts against a.

    Returns:
        E[W], broadcast shape, in units of the advantage. Error: 1e-12 of E[|W|]; 1e-13 for GRPO.

    Raises:
        InputError: a or b not finite or ≤ 0, a broken signature, shapes that do not broadcast.

    Example:
        >>> from types import SimpleNamespace
        >>> dr_grpo = SimpleNamespace(group_size=2, contrast=np.array([0, 0.25, 0]))
        >>> round(float(beta_expected_contrast(dr_grpo, 1, 1)), 12)      # k is uniform on 0, 1, 2
        0.083333333333
    """
    first, second = broadcast(a=as_positive(a, "a"), b=as_positive(b, "b"))
    out = _kernels.average_over_counts(
        contrast_of(signature), _kernels.log_beta_binomial, first, second
    )
    return out[()]


def _rising_ratio(a: FloatArray, b: FloatArray, group_size: FloatArray) -> FloatArray:
    """Π_{j<G} (a+j)/(a+b+j), as a sum of logarithms of one sign: nothing cancels."""
    first, second, size = broadcast(a=a, b=b, group_size=group_size)
    first, second, size = (np.asarray(each)[..., np.newaxis] for each in (first, second, size))
    log_rate = np.zeros(size.shape[:-1])
    largest, width = int(size.max(initial=0)), max(1, _BLOCK // max(1, size.size))
    for start in range(0, largest, width):  # in blocks: a group may hold millions of rollouts
        j = np.arange(start, min(start + width, largest))
        log_rate -= np.where(size > j, np.log1p(second / (first + j)), 0.0).sum(axis=-1)
    with np.errstate(under="ignore"):
        return np.exp(log_rate)
