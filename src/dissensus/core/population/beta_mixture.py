"""A mixture of Beta distributions of solve rates: few parameters, smooth, for few groups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from dissensus.core.groups import FloatArray
from dissensus.core.laws import BetaFit, _kernels, fit_beta
from dissensus.core.population.counts import Counts
from dissensus.core.population.rates import solve_rates

__all__ = ["BetaMixture", "fit_beta_mixture"]

_LOG_RANGE = (-7.0, 9.0)


class BetaMixture(NamedTuple):
    """Beta(a_c, b_c) with weight w_c.

    Attributes:
        weights: (K,) sum to 1.
        a: (K,) first parameters.
        b: (K,) second parameters.
    """

    weights: FloatArray
    a: FloatArray
    b: FloatArray

    def on_rates(self, rates: FloatArray) -> FloatArray:
        """Weights of the grid of rates with the same mean: each mass is shared by its neighbours.

            w_j = E[hat_j(p)],  hat_j = the tent that is 1 at p_j and 0 at its neighbours

        Example:
            >>> uniform = BetaMixture(np.ones(1), np.ones(1), np.ones(1))
            >>> uniform.on_rates(np.array([0.0, 0.5, 1.0])).round(12).tolist()
            [0.25, 0.5, 0.25]
        """
        a, b = self.a[:, None], self.b[:, None]
        mass = np.diff(special.betainc(a, b, rates), axis=1)
        first = np.diff(special.betainc(a + 1.0, b, rates), axis=1) * a / (a + b)
        width = np.diff(rates)
        up = (first - rates[:-1] * mass) / width
        out = np.zeros((len(self.a), len(rates)))
        out[:, :-1] += mass - up
        out[:, 1:] += up
        return np.maximum(self.weights @ out, 0.0)


def fit_beta_mixture(counts: Counts, components: int, start: FloatArray) -> BetaMixture:
    """Fit a mixture of Beta distributions by maximum likelihood.

    L-BFGS with the exact gradient from one start: `start` cut into equally heavy parts by solve
    rate, each with its mean and spread. One component is `laws.fit_beta`.

    Args:
        counts: Recorded groups, at least one of two rollouts.
        components: K ≥ 1.
        start: Weights of `solve_rates()`, such as the non-parametric fit.

    Returns:
        The mixture, by mean solve rate.

    Example:
        >>> counts = Counts.from_groups([0, 1, 2, 3, 4], 4, weights=[50] * 5)
        >>> fit = fit_beta_mixture(counts, 1, np.ones(201) / 201)
        >>> fit.a.round(2).tolist(), fit.b.round(2).tolist()
        ([1.0], [1.0])
    """
    if components == 1:
        single: BetaFit = fit_beta(counts.correct, counts.size, weights=counts.groups)
        return BetaMixture(np.ones(1), np.array([single.a]), np.array([single.b]))
    # Deferred: scipy.optimize takes longer to import than the rest.
    from scipy import optimize

    share = counts.groups / counts.total
    found = optimize.minimize(
        _loss,
        _start(components, start),
        args=(counts.correct, counts.size, share),
        jac=True,
        bounds=[(-12.0, 12.0)] * components + [_LOG_RANGE] * (2 * components),
        method="L-BFGS-B",
        options={"maxiter": 400, "ftol": 1e-12, "gtol": 1e-8},
    )
    logit, log_a, log_b = found.x.reshape(3, components)
    a, b = np.exp(log_a), np.exp(log_b)
    order = np.argsort(a / (a + b))
    return BetaMixture(special.softmax(logit)[order], a[order], b[order])


def _start(components: int, weights: FloatArray) -> FloatArray:
    rates = solve_rates()
    below = np.concatenate([[0.0], np.cumsum(weights)[:-1]]) + weights / 2.0
    part = np.minimum((below * components).astype(int), components - 1)
    out = np.zeros((3, components))
    for c in range(components):
        mine = np.where(part == c, weights, 0.0) + 1e-6 / len(rates)
        mine /= mine.sum()
        mean = np.clip(mine @ rates, 0.02, 0.98)
        spread = max(float(mine @ np.square(rates - mean)), 1e-4)
        total = np.clip(mean * (1.0 - mean) / spread - 1.0, 0.3, 100.0)
        out[1, c], out[2, c] = np.log(mean * total), np.log((1.0 - mean) * total)
    return np.asarray(out.ravel())


def _loss(
    x: FloatArray, k: FloatArray, n: FloatArray, share: FloatArray
) -> tuple[float, FloatArray]:
    """Mean negative log-likelihood and its gradient in (logits, log a, log b)."""
    logit, log_a, log_b = x.reshape(3, -1)[:, :, None]
    a, b = np.exp(log_a), np.exp(log_b)
    weight = special.softmax(logit, axis=0)
    each = np.log(weight) + _kernels.log_beta_binomial(k, n, a, b)
    total = np.logaddexp.reduce(each, axis=0)
    belongs = np.exp(each - total) * share
    common = special.digamma(a + b) - special.digamma(n + a + b)
    slope_a = a * (special.digamma(k + a) - special.digamma(a) + common)
    slope_b = b * (special.digamma(n - k + b) - special.digamma(b) + common)
    gradient = [
        belongs.sum(axis=1) - weight[:, 0],
        (belongs * slope_a).sum(axis=1),
        (belongs * slope_b).sum(axis=1),
    ]
    return -float(share @ total), -np.concatenate(gradient)
