"""What the report computes from groups, from sums: the same functions on the same counts."""

from __future__ import annotations

import pyarrow as pa

from dissensus.views import correctness
from dissensus.views.distributions import COLUMNS, HeatMap, outcomes_from_counts
from dissensus.views.forecast import BUCKETS, Forecast, forecast_unanimous
from dissensus.views.live_views.source import LiveSource
from dissensus.views.queries import IS_TRAIN, MEASURE_COLUMNS, MEASURES, rolled_buckets, rows
from dissensus.views.summary import TimePoint, timeline_points

__all__ = [
    "correctness_unknown",
    "forecast",
    "heat_map",
    "steps_table",
    "timeline",
]


def correctness_unknown(source: LiveSource) -> str | None:
    """`correctness.why_unknown` of a run in sums."""
    return source.remember("correctness", lambda: correctness.why_unknown_in_sums(source))


def timeline(source: LiveSource) -> list[TimePoint]:
    """The timeline of the report: measures of at most 48 stretches of generations."""
    return source.remember("timeline", lambda: timeline_points(source))


def steps_table(source: LiveSource) -> pa.Table:
    """One row per training step: the measures, and what is summed along the run."""
    query = f"""SELECT step, {MEASURE_COLUMNS}, effective, tokens, time_s FROM (
            SELECT step, {MEASURES}, sum(length_sum) AS tokens, min(time_s) AS time_s
            FROM generations WHERE {IS_TRAIN} GROUP BY step
        ) ORDER BY step"""  # noqa: S608 — no outside text
    return source.remember("steps", lambda: source.sql(query))


def forecast(source: LiveSource, buckets: int = BUCKETS) -> Forecast | None:
    """`forecast_unanimous` of a run in sums."""
    return source.remember(
        ("forecast", buckets),
        lambda: forecast_unanimous(source, buckets=buckets, table="outcomes"),
    )


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
