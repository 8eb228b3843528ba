"""What the report computes from groups, from sums: the same functions on the same counts."""

from __future__ import annotations

import math

import pyarrow as pa

from dissensus.views import correctness
from dissensus.views.distributions import COLUMNS, HeatMap, outcomes_from_counts
from dissensus.views.forecast import BUCKETS, Forecast, forecast_from_counts
from dissensus.views.live_views.source import ROLLED_MEASURES, LiveSource, rolled_buckets
from dissensus.views.queries import IS_TRAIN, MEASURE_COLUMNS, Measures, rows
from dissensus.views.summary import TIMELINE_POINTS, TimePoint

__all__ = [
    "correctness_unknown",
    "forecast",
    "heat_map",
    "steps_table",
    "timeline",
]


def correctness_unknown(source: LiveSource) -> str | None:
    """`correctness.why_unknown` of a run in sums."""

    def ask() -> str | None:
        found = rows(
            source,
            f"""SELECT coalesce(sum(groups), 0) AS groups, coalesce(sum(scored), 0) AS scored,
                coalesce(sum(scored - known), 0) AS unknown, bool_or(unknown_split) AS is_split,
                max(unknown_high) - min(unknown_low) AS spread
            FROM generations WHERE {IS_TRAIN}""",  # noqa: S608 — no outside text
        )[0]
        return correctness.reason(found)

    return source.remember("correctness", ask)


def timeline(source: LiveSource) -> list[TimePoint]:
    """The timeline of the report: measures of at most 48 stretches of generations."""

    def ask() -> list[TimePoint]:
        counted = rows(
            source,
            f"SELECT count(DISTINCT (step, generation)) AS n FROM generations WHERE {IS_TRAIN}",  # noqa: S608
        )[0]["n"]
        length = math.ceil(counted / TIMELINE_POINTS)
        points = math.ceil(counted / max(length, 1))
        found = rows(
            source,
            f"""SELECT bucket, (min(step) + max(step)) / 2 AS middle, {ROLLED_MEASURES}
            FROM {rolled_buckets("generations", max(points, 1))}
            GROUP BY bucket ORDER BY bucket""",  # noqa: S608 — no outside text
        )
        return [TimePoint(float(row["middle"]), Measures(row)) for row in found]

    return source.remember("timeline", ask)


def steps_table(source: LiveSource) -> pa.Table:
    """One row per training step: the measures, and what is summed along the run."""
    query = f"""SELECT step, {MEASURE_COLUMNS}, effective, tokens, time_s FROM (
            SELECT step, {ROLLED_MEASURES}, sum(length_sum) AS tokens, min(time_s) AS time_s
            FROM generations WHERE {IS_TRAIN} GROUP BY step
        ) ORDER BY step"""  # noqa: S608 — no outside text
    return source.remember("steps", lambda: source.sql(query))


def forecast(source: LiveSource, buckets: int = BUCKETS) -> Forecast | None:
    """`forecast_unanimous` of a run in sums."""

    def ask() -> Forecast | None:
        stretches = rolled_buckets("outcomes", buckets)
        found = rows(
            source,
            f"""SELECT bucket, sum(step * groups) / sum(groups) AS step, correct, size,
                sum(groups)::BIGINT AS groups, sum(graded)::BIGINT AS graded
            FROM {stretches} GROUP BY bucket, correct, size
            ORDER BY bucket, size, correct""",  # noqa: S608 — no outside text
        )
        return forecast_from_counts(found)

    return source.remember(("forecast", buckets), ask)


def heat_map(source: LiveSource) -> HeatMap | None:
    """`outcomes_over_time` of a run in sums."""

    def ask() -> HeatMap | None:
        found = rows(
            source,
            f"""SELECT bucket, size, correct, sum(groups)::BIGINT AS groups,
                (min(min(step)) OVER stretch + max(max(step)) OVER stretch) / 2 AS middle
            FROM {rolled_buckets("outcomes", COLUMNS, by="step")} GROUP BY bucket, size, correct
            WINDOW stretch AS (PARTITION BY bucket)""",  # noqa: S608 — no outside text
        )
        return outcomes_from_counts(found)

    return source.remember("outcomes", ask)
