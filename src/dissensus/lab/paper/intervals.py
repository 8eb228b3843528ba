"""Intervals: what another seed would give, and how well a curve is met."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["OverSeeds", "over_seeds", "r_squared"]


class OverSeeds(NamedTuple):
    """A number measured once per seed.

    Attributes:
        mean: Over the seeds.
        low: Where one more seed would fall in 95 of 100 cases: lower end; NaN for a single seed.
        high: Upper end.
        values: One per seed.
    """

    mean: float
    low: float
    high: float
    values: tuple[float, ...]


def over_seeds(values: ArrayLike) -> OverSeeds:
    """Summarise by the interval for one more seed, as a value printed for one seed needs.

        mean ± t₀.₉₇₅(n−1) · s · sqrt(1 + 1/n)

    Example:
        >>> over_seeds([1.0, 2.0, 3.0]).mean, round(over_seeds([1.0, 2.0, 3.0]).high, 3)
        (2.0, 6.968)
    """
    from scipy import stats

    x = np.asarray(values, dtype=np.float64)
    reach = float("nan")
    if len(x) > 1:
        reach = float(stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) * np.sqrt(1 + 1 / len(x)))
    mean = float(x.mean())
    return OverSeeds(mean, mean - reach, mean + reach, tuple(x.tolist()))


def r_squared(measured: ArrayLike, predicted: ArrayLike) -> float:
    """1 − Σ(measured − predicted)² / Σ(measured − mean measured)², with nothing fitted.

    Example:
        >>> r_squared([0.0, 1.0], [0.0, 0.5])
        0.5
    """
    found, expected = np.asarray(measured), np.asarray(predicted)
    return float(1 - np.square(found - expected).sum() / np.square(found - found.mean()).sum())
