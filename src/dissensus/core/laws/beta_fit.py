"""The Beta distribution of solve rates that best explains recorded counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from dissensus.core.groups import FloatArray
from dissensus.core.laws import _kernels
from dissensus.core.laws._inputs import as_counts, broadcast
from dissensus.errors import InputError

__all__ = ["BetaFit", "fit_beta"]

_CONCENTRATION = (1e-6, 1e6)
_LOGIT_MEAN = (-25.0, 25.0)


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

    Starts from the moments and ascends with the exact gradient. Sizes may differ. The search holds
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
    # Far from its peak the likelihood is flat: try a few concentrations beside the moments' one,
    # which is the upper edge itself where counts are no wider than binomial.
    fits = [_ascend(mean, start, k, n, count) for start in (moment, 1.0, 0.05, 50.0)]
    best = min(fits, key=lambda x: _loss(x, k, n, count)[0])
    return BetaFit(*_parameters(best))


def _ascend(
    mean: float, concentration: float, k: FloatArray, n: FloatArray, count: FloatArray
) -> FloatArray:
    # Deferred: scipy.optimize takes longer to import than the rest of the laws.
    from scipy import optimize

    low, high = np.log(_CONCENTRATION)
    found = optimize.minimize(
        _loss,
        np.array([special.logit(mean), np.clip(np.log(concentration), low, high)]),
        args=(k, n, count),
        jac=True,
        bounds=[_LOGIT_MEAN, (low, high)],
        method="L-BFGS-B",
        options={"maxiter": 500, "ftol": 1e-15, "gtol": 1e-10},
    )
    return np.asarray(found.x, dtype=np.float64)


def _loss(
    x: FloatArray, k: FloatArray, n: FloatArray, count: FloatArray
) -> tuple[float, FloatArray]:
    """Mean negative log likelihood and its gradient in (logit mean, log concentration)."""
    a, b = _parameters(x)
    share = count / count.sum()
    log_probability = _kernels.log_beta_binomial(k, n, a, b)
    common = special.digamma(a + b) - special.digamma(n + a + b)
    slope_a = share @ (special.digamma(k + a) - special.digamma(a) + common)
    slope_b = share @ (special.digamma(n - k + b) - special.digamma(b) + common)
    # ∂a/∂logit = ab/(a+b) = −∂b/∂logit;  ∂a/∂log(a+b) = a, ∂b/∂log(a+b) = b.
    gradient = [a * b / (a + b) * (slope_a - slope_b), a * slope_a + b * slope_b]
    return -float(share @ log_probability), -np.array(gradient)


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
