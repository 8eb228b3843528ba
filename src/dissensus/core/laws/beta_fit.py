"""The Beta distribution of solve rates that best explains recorded counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from dissensus.core.groups import FloatArray
from dissensus.core.laws._inputs import as_counts, broadcast
from dissensus.errors import InputError

__all__ = ["BetaFit", "fit_beta"]

_CONCENTRATION = (1e-6, 1e6)
_LOGIT_MEAN = (-25.0, 25.0)
_STARTS = np.log(np.logspace(-6, 6, 13))
_STEPS = 200
_ROUNDING = 1e-15
"""Of the mean log likelihood: what a step can gain beyond it is lost in the digits."""
_LEAST_DAMPING = 1e-4
_FARTHEST = 4.0
"""Longest step, in logits and in powers of e: where the curve bends up its lengths mean little."""


class BetaFit(NamedTuple):
    """A Beta(a, b) distribution of solve rates.

    Attributes:
        a: First parameter.
        b: Second parameter.

    Example:
        >>> a, b = BetaFit(1.0, 3.0)
        >>> BetaFit(a, b).mean
        0.25
    """

    a: float
    b: float

    @property
    def mean(self) -> float:
        """Mean solve rate, a/(a+b)."""
        return self.a / (self.a + self.b)

    @property
    def concentration(self) -> float:
        """The sum a + b: small where prompts are right or wrong for good, large where alike."""
        return self.a + self.b

    @property
    def is_boundary(self) -> bool:
        """Whether the likelihood still rose at the edge of what `fit_beta` searches."""
        low, high = _CONCENTRATION
        edge = special.expit(_LOGIT_MEAN[0])
        inside = low * 1.001 < self.concentration < high / 1.001
        return not (inside and min(self.a, self.b) > 1.001 * edge * self.concentration)


def fit_beta(correct: ArrayLike, size: ArrayLike, *, weights: ArrayLike | None = None) -> BetaFit:
    """Fit Beta(a, b) to the counts of many groups by maximum likelihood.

        max_{a,b} Σ_i n_i log BetaBin(k_i; G_i, a, b)

    Ascends by Newton's method. Sizes may differ. The search holds
    1e-6 ≤ a+b ≤ 1e6; where the likelihood rises beyond, the fit lies on the edge and says so by
    `is_boundary`:

    - every group unanimous, both kinds present: a+b = 1e-6, and the mean is the all-correct share
      (of the groups of two or more, with the single rollouts);
    - every rollout wrong (or right): a+b = 1e-6 and a mean of 1.4e-11 (or 1 minus that);
    - counts no wider than binomial: a+b = 1e6, nearly a point mass at the mean.

    Args:
        correct: k_i, correct rollouts of each group.
        size: G_i, scored rollouts of each group, ≥ 1; broadcasts. At least one must be ≥ 2.
        weights: n_i ≥ 0, number of groups that row i stands for; None means 1.

    Returns:
        BetaFit(a, b).

    Raises:
        InputError: No groups, k > G, counts that are not whole, weights below 0, or no group of two
            (single rollouts say nothing about how prompts differ).

    Example:
        >>> fit = fit_beta([0, 1, 2, 3, 4], 4)      # uniform counts: Beta(1, 1)
        >>> round(fit.a, 3), round(fit.b, 3)
        (1.0, 1.0)
    """
    k, n, count = _checked(correct, size, weights)
    if ((k == 0) | (k == n)).all():
        # The supremum lies at a+b → 0, where each prompt is right or wrong for good.
        share = float(count[k > 0].sum() / count.sum())
        x = np.clip(special.logit(share), *_LOGIT_MEAN)
        return BetaFit(*_parameters(np.array([x, np.log(_CONCENTRATION[0])])))
    mean, moment = _moments(k, n, count)
    # Far from its peak the likelihood is flat: the climb begins at the best of many concentrations
    # beside the moments' one, which is the upper edge itself where counts are no wider than
    # binomial.
    likelihood = _Likelihood(k, n, count)
    starts = [np.array([special.logit(mean), y]) for y in (np.log(moment), *_STARTS)]
    return BetaFit(*_parameters(_ascend(likelihood, max(starts, key=likelihood.value))))


class _Likelihood:
    """Mean log likelihood of counts in x = (logit of the mean, log of a+b), and its derivatives.

    With A_i the share of the groups with more than i correct rollouts, B_i with more than i wrong
    ones and C_i with more than i in all, it is, but for a constant,

        Σ_i A_i log(a+i) + B_i log(b+i) − C_i log(a+b+i)

    so that one evaluation costs by the largest group, needs no special function, and keeps its
    digits at any a+b.
    """

    def __init__(self, k: FloatArray, n: FloatArray, count: FloatArray) -> None:
        share = count / count.sum()
        more = np.stack([_more_than(x, share, int(n.max())) for x in (k, n - k, n)])
        self._more = more * np.array([[1.0], [1.0], [-1.0]])
        self._i = np.arange(more.shape[1], dtype=np.float64)

    def value(self, x: FloatArray) -> float:
        """At one point."""
        a, b = _parameters(x)
        return float(np.sum(self._more * np.log(self._i + np.array([[a], [b], [a + b]]))))

    def slopes(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Gradient (2,) and Hessian (2, 2) at one point."""
        a, b = _parameters(x)
        at = self._i + np.array([[a], [b], [a + b]])
        first = self._more / at
        right, wrong, total = first.sum(axis=1).tolist()
        right_2, wrong_2, total_2 = (-first / at).sum(axis=1).tolist()
        # ∂a/∂logit = ab/(a+b) = −∂b/∂logit;  ∂a/∂log(a+b) = a, ∂b/∂log(a+b) = b.
        spread = a * b / (a + b)
        along = a * right + b * wrong + (a + b) * total
        across = spread * (right - wrong)
        bend = (b - a) / (a + b) * across + spread**2 * (right_2 + wrong_2)
        mixed = across + spread * (a * right_2 - b * wrong_2)
        stretch = along + a * a * right_2 + b * b * wrong_2 + (a + b) ** 2 * total_2
        return np.array([across, along]), np.array([[bend, mixed], [mixed, stretch]])


def _more_than(values: FloatArray, share: FloatArray, most: int) -> FloatArray:
    """(most,) share of the values above 0, 1, … most − 1."""
    counted = np.bincount(values.astype(np.int64), share, minlength=most + 1)
    return np.asarray(counted[:0:-1].cumsum()[::-1], dtype=np.float64)


def _ascend(likelihood: _Likelihood, start: FloatArray) -> FloatArray:
    """Newton's method, damped where a step would not rise."""
    low, high = (np.array(ends) for ends in zip(_LOGIT_MEAN, np.log(_CONCENTRATION), strict=True))
    x = np.clip(start, low, high)
    value, damping = likelihood.value(x), 0.0
    for _ in range(_STEPS):
        gradient, hessian = likelihood.slopes(x)
        is_free = ((x > low) | (gradient > 0)) & ((x < high) | (gradient < 0))
        step = _step(gradient, hessian, is_free, damping)
        tried = np.clip(x + step, low, high)
        if gradient @ step <= _ROUNDING * max(1.0, abs(value)):
            return np.asarray(tried, dtype=np.float64)
        reached = likelihood.value(tried)
        if reached >= value:
            x, value, damping = tried, reached, damping / 16.0 if damping > _LEAST_DAMPING else 0.0
        else:
            damping = max(4.0 * damping, _LEAST_DAMPING)
    return x


def _step(
    gradient: FloatArray, hessian: FloatArray, is_free: NDArray[np.bool_], damping: float
) -> FloatArray:
    """Where a damped Newton step leads; coordinates that are held at an edge stay."""
    bent = np.where(np.outer(is_free, is_free), -hessian, np.diag([1.0, 1.0]))
    values, axes = np.linalg.eigh(bent)
    # Along a direction in which the likelihood bends up Newton's step would lead down.
    lengths = np.maximum(np.abs(values), 1e-12) + damping
    step = axes @ ((axes.T @ np.where(is_free, gradient, 0.0)) / lengths)
    return np.asarray(step * (_FARTHEST / max(_FARTHEST, np.abs(step).max())), dtype=np.float64)


def _parameters(x: FloatArray) -> tuple[float, float]:
    concentration = np.exp(x[1])
    return float(special.expit(x[0]) * concentration), float(special.expit(-x[0]) * concentration)


def _moments(k: FloatArray, n: FloatArray, count: FloatArray) -> tuple[float, float]:
    """Mean solve rate, and the concentration whose spread matches that of pairs of rollouts."""
    mean = float((count @ k) / (count @ n))
    pairs = count @ (n * (n - 1))
    # Two rollouts of one prompt are both correct with probability mean² + mean(1−mean)/(a+b+1).
    both = float((count @ (k * (k - 1))) / pairs)
    correlation = (both - mean**2) / (mean * (1.0 - mean))
    return mean, 1.0 / np.clip(correlation, 1e-6, 1.0 - 1e-6) - 1.0


def _checked(
    correct: ArrayLike, size: ArrayLike, weights: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    count = np.asarray(1.0 if weights is None else weights, dtype=np.float64)
    if not (np.isfinite(count) & (count >= 0)).all():
        raise InputError("The 'weights' parameter must be finite and ≥ 0", where="fit_beta")
    k, n, repeats = (
        np.ravel(x)
        for x in broadcast(
            correct=as_counts(correct, "correct"),
            size=as_counts(size, "size", least=1),
            weights=count,
        )
    )
    if (k > n).any():
        raise InputError("correct must not exceed size", where="fit_beta")
    pairs, inverse = np.unique(np.stack([k, n], axis=1), axis=0, return_inverse=True)
    total = np.bincount(inverse.ravel(), weights=repeats, minlength=len(pairs))
    pairs, total = pairs[total > 0], total[total > 0]
    if not (pairs[:, 1] >= 2).any():
        raise InputError(
            "no group of two or more rollouts: single ones say nothing about how prompts differ",
            where="fit_beta",
        )
    return pairs[:, 0], pairs[:, 1], np.asarray(total, dtype=np.float64)
