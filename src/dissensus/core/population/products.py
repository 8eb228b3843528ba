"""Intervals of products and ratios of averages over a population, to first order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dissensus.core.groups import FloatArray
from dissensus.core.population.compatible import Compatible, Interval
from dissensus.core.population.population import Population

__all__ = ["Product", "product_of_averages"]


class Product(NamedTuple):
    """Values with their intervals.

    Attributes:
        value: (F,) at the population.
        range: Two (F,) ends.
    """

    value: FloatArray
    range: Interval


def product_of_averages(
    population: Population, allowed: Compatible, *factors: tuple[FloatArray, float]
) -> Product:
    """Π_j (Σ θ_j w)^a_j over the distributions that counts allow.

    The logarithm is linear near the population, with gradient Σ_j a_j θ_j / (θ_jᵀŵ), so its
    interval is that of a linear quantity: numerator and denominator move together, as they must in
    the ratio of two group sizes. What is left out is of second order in the relative change of each
    average. Where an average may vanish the upper end is huge or infinite. NaN where one is not
    positive.

    Args:
        population: ŵ.
        allowed: All distributions the counts allow.
        factors: Pairs of (F, m) or (m,) values θ at every solve rate and the power a.

    Example:
        >>> from dissensus.core.population.counts import Counts
        >>> from dissensus.core.population.estimate import fit_population
        >>> found = fit_population(Counts.from_groups([0, 1, 2] * 400, 2))
        >>> p = found.population.rates
        >>> ratio = product_of_averages(found.population, found.allowed, (p, 1.0), (1 - p, -1.0))
        >>> bool(ratio.range.low[0] < 1.0 < ratio.range.high[0])
        True
    """
    weights = population.weights
    log, powers = np.zeros(1), 0.0
    gradient = np.zeros((1, len(weights)))
    with np.errstate(divide="ignore", invalid="ignore"):
        for theta, power in factors:
            rows = np.atleast_2d(theta)
            average = rows @ weights
            average = np.where(average > 0, average, np.nan)
            log = log + power * np.log(average)
            gradient = gradient + power * rows / average[:, None]
            powers += power
    known = np.isfinite(log)
    ends = allowed.range_of(np.where(known[:, None], gradient, 0.0))
    with np.errstate(over="ignore", under="ignore"):
        low, high = (
            np.where(known, np.exp(log + end - powers), np.nan) for end in (ends.low, ends.high)
        )
    return Product(np.exp(log), Interval(low, high))
