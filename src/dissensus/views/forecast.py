"""The unanimous rate a closed form predicts, beside the one that was measured.

Each stretch of generations is predicted from *earlier* generations only. A Beta(a, b) fitted to the
counts of those groups says how solve rates are spread over prompts, and

    P(all-wrong) = B(a, b+G)/B(a, b),   P(all-correct) = B(a+G, b)/B(a, b).

Beside it stands the naive plug-in p̄^G + (1−p̄)^G at the mean solve rate p̄ of the same groups, which
pretends that all prompts are equally hard and therefore predicts far too little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dissensus.core import laws
from dissensus.views.queries import Source, rolled_buckets, rows

__all__ = ["BUCKETS", "Forecast", "ForecastPoint", "forecast_from_counts", "forecast_unanimous"]

#: Stretches of generations a curve is drawn with.
BUCKETS = 24
_WINDOW_GROUPS = 512


class ForecastPoint(NamedTuple):
    """Measured and predicted shares for one stretch of generations; predictions may be `None`."""

    step: float
    groups: int
    unanimous: float
    all_wrong: float
    all_correct: float
    predicted: float | None
    predicted_all_wrong: float | None
    predicted_all_correct: float | None
    plug_in: float | None


class Forecast(NamedTuple):
    """A run's unanimous rate against the closed form.

    Attributes:
        points: One per stretch of generations, oldest first.
        measured: Unanimous share of the groups that have a prediction.
        predicted: Beta-binomial prediction for the same groups.
        plug_in: Naive prediction for the same groups.
        next_unanimous: Prediction for the generation after the last recorded one.
        error: Mean absolute difference of prediction and measurement, weighted by groups.
    """

    points: list[ForecastPoint]
    measured: float | None
    predicted: float | None
    plug_in: float | None
    next_unanimous: float | None
    error: float | None


class _Counts(NamedTuple):
    """Histogram of (correct, size) over groups."""

    correct: NDArray[np.int64]
    size: NDArray[np.int64]
    groups: NDArray[np.int64]


def forecast_unanimous(
    source: Source, *, buckets: int = BUCKETS, table: str = "counts"
) -> Forecast | None:
    """Predict the unanimous share of every stretch of training generations from earlier ones.

    Args:
        source: A run; correctness must be known.
        buckets: Largest number of stretches.
        table: Where groups are counted: `counts`, or `outcomes` of a `LiveSource`.

    Returns:
        `None` if the correctness of any group is unknown, if rewards differ among rollouts that are
        all wrong or all correct (the closed form counts those groups as unanimous), or if nothing
        was scored.
    """
    found = rows(
        source,
        f"""SELECT bucket, sum(step * groups) / sum(groups) AS step, correct, size,
            sum(groups)::BIGINT AS groups, sum(graded)::BIGINT AS graded
        FROM {rolled_buckets(table, buckets)} GROUP BY bucket, correct, size
        ORDER BY bucket, size, correct""",  # noqa: S608 — no outside text
    )
    return forecast_from_counts(found)


def forecast_from_counts(found: Sequence[dict[str, Any]]) -> Forecast | None:
    """`forecast_unanimous` from groups that have been counted.

    Args:
        found: Rows with bucket, step (a mean), correct, size, groups, and how many are graded; in
            the order of the buckets.
    """
    if not found or any(row["correct"] is None or row["graded"] for row in found):
        return None
    histograms = [
        [row for row in found if row["bucket"] == bucket]
        for bucket in sorted({row["bucket"] for row in found})
    ]
    counts = [_counts(each) for each in histograms]
    points = [
        _point(_mean_step(each), counts[i], _window(counts[:i]))
        for i, each in enumerate(histograms)
    ]
    ahead = _predict(_window(counts), counts[-1])
    return _forecast(points, None if ahead is None else ahead[0] + ahead[1])


def _counts(found: Sequence[dict[str, Any]]) -> _Counts:
    columns = (
        np.array([row[name] for row in found], dtype=np.int64)
        for name in ("correct", "size", "groups")
    )
    return _Counts(*columns)


def _mean_step(found: Sequence[dict[str, Any]]) -> float:
    groups = sum(row["groups"] for row in found)
    return float(sum(row["step"] * row["groups"] for row in found) / groups)


def _window(earlier: Sequence[_Counts]) -> _Counts | None:
    """Take the most recent stretches until they hold enough groups to fit a Beta to."""
    taken: list[_Counts] = []
    held = 0
    for counts in reversed(earlier):
        taken.append(counts)
        held += int(counts.groups.sum())
        if held >= _WINDOW_GROUPS:
            break
    if not taken:
        return None
    return _merged(taken)


def _merged(taken: Sequence[_Counts]) -> _Counts:
    """Add histograms up: the fit costs by the number of different counts."""
    correct, size, groups = (np.concatenate(parts) for parts in zip(*taken, strict=True))
    pairs, place = np.unique(np.stack([correct, size]), axis=1, return_inverse=True)
    return _Counts(pairs[0], pairs[1], np.bincount(place.ravel(), groups).astype(np.int64))


def _predict(window: _Counts | None, target: _Counts) -> tuple[float, float, float] | None:
    """All-wrong and all-correct share by the Beta fit, unanimous share by the plug-in."""
    # Groups of one are always unanimous and say nothing about how prompts differ.
    if window is None or window.size.max() < 2:
        return None
    a, b = laws.fit_beta(window.correct, window.size, weights=window.groups)
    mean = float((window.correct * window.groups).sum() / (window.size * window.groups).sum())
    sizes, weights = target.size, target.groups / target.groups.sum()
    return (
        float(np.sum(weights * laws.beta_all_wrong_rate(a, b, sizes))),
        float(np.sum(weights * laws.beta_all_correct_rate(a, b, sizes))),
        float(np.sum(weights * laws.unanimous_rate(mean, sizes))),
    )


def _point(step: float, counts: _Counts, window: _Counts | None) -> ForecastPoint:
    groups = int(counts.groups.sum())
    wrong = float(counts.groups[counts.correct == 0].sum() / groups)
    right = float(counts.groups[counts.correct == counts.size].sum() / groups)
    predicted = _predict(window, counts)
    if predicted is None:
        return ForecastPoint(step, groups, wrong + right, wrong, right, None, None, None, None)
    low, high, naive = predicted
    return ForecastPoint(step, groups, wrong + right, wrong, right, low + high, low, high, naive)


def _forecast(points: list[ForecastPoint], ahead: float | None) -> Forecast:
    scored = [p for p in points if p.predicted is not None and p.plug_in is not None]
    if not scored:
        return Forecast(points, None, None, None, ahead, None)
    weights = np.array([p.groups for p in scored], dtype=np.float64)
    table = np.array([(p.unanimous, p.predicted, p.plug_in) for p in scored], dtype=np.float64)
    measured, predicted, naive = (weights @ table / weights.sum()).tolist()
    error = float(weights @ np.abs(table[:, 0] - table[:, 1]) / weights.sum())
    return Forecast(points, measured, predicted, naive, ahead, error)
