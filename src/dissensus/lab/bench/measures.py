"""What is read off held-out curves: rates at a share of the budget, area, first crossing."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.core.groups import FloatArray
from dissensus.lab.bench.records import TrainingRecord

__all__ = ["area", "first_crossing", "rates_at", "rising", "spent_at"]

Spent: TypeAlias = Literal["generated", "trained", "steps", "tokens", "extra", "seconds"]


def rates_at(record: TrainingRecord, shares: ArrayLike) -> FloatArray:
    """(F, H) solve rate of every held-out prompt when a share of the budget was generated.

    Linear between evaluations, and the last one's after it: budget that was never asked for counts
    as spent.

    Args:
        record: A training.
        shares: (F,) of the budget, in [0, 1].
    """
    found = record.evaluations
    left, weight = _between(found.generated, np.asarray(shares, dtype=np.float64) * record.budget)
    rates, right = found.rates, np.minimum(left + 1, len(found.generated) - 1)
    return np.asarray((1.0 - weight)[:, None] * rates[left] + weight[:, None] * rates[right])


def spent_at(record: TrainingRecord, what: Spent, shares: ArrayLike) -> FloatArray:
    """(F,) what was spent when a share of the budget was generated; linear between evaluations."""
    found = record.evaluations
    at = np.asarray(shares, dtype=np.float64) * record.budget
    return np.asarray(np.interp(at, found.generated, getattr(found, what)), dtype=np.float64)


def area(record: TrainingRecord) -> FloatArray:
    """(H,) mean solve rate of every held-out prompt over the budget, by the trapezoid rule."""
    knots = np.clip(record.evaluations.generated / record.budget, 0.0, 1.0)
    knots = np.unique(np.concatenate([[0.0], knots, [1.0]]))
    rates = rates_at(record, knots)
    return np.asarray(np.diff(knots) @ (rates[1:] + rates[:-1]) / 2.0)


def rising(values: ArrayLike) -> FloatArray:
    """Least-squares fit that never falls (isotonic regression).

        fit_i = max over j ≤ i of min over k ≥ i of mean(values_j … values_k)

    Example:
        >>> rising([1.0, 3.0, 2.0, 4.0]).tolist()
        [1.0, 2.5, 2.5, 4.0]
    """
    y = np.asarray(values, dtype=np.float64)
    total = np.concatenate([[0.0], np.cumsum(y)])
    place = np.arange(len(y))
    start, end = place[:, None], place[None, :]
    means = (total[1:][None, :] - total[:-1][:, None]) / np.maximum(end - start + 1, 1)
    means = np.where(end >= start, means, np.inf)
    least = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(np.where(start <= end, least, -np.inf).max(axis=0))


def first_crossing(shares: ArrayLike, values: ArrayLike, target: float) -> float | None:
    """Where a curve, smoothed to never fall, first reaches a target; linear between points.

    Returns:
        A share, or `None` where it does not get there.

    Example:
        >>> first_crossing([0.0, 0.5, 1.0], [0.2, 0.4, 0.3], 0.3)
        0.333333333333
        >>> first_crossing([0.0, 0.5, 1.0], [0.2, 0.4, 0.3], 0.36) is None
        True
    """
    x, y = np.asarray(shares, dtype=np.float64), rising(values)
    above = np.flatnonzero(y >= target - _ROUNDING)
    if not len(above):
        return None
    i = int(above[0])
    if i == 0 or y[i] <= y[i - 1]:
        return float(x[i])
    part = min(1.0, (target - y[i - 1]) / (y[i] - y[i - 1]))
    return round(float(x[i - 1] + part * (x[i] - x[i - 1])), 12)


_ROUNDING = 1e-12


def _between(knots: NDArray[np.int64], at: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
    """Position of the knot to the left of each place, and how far it lies towards the next one."""
    left = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 1)
    right = np.minimum(left + 1, len(knots) - 1)
    gap = knots[right] - knots[left]
    weight = np.divide(at - knots[left], gap, out=np.zeros(len(at)), where=gap > 0)
    return left, np.clip(weight, 0.0, 1.0)
