"""How outcomes are spread, over the course of a run: k of G, solve rates, held-out accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from dissensus.views.queries import IS_TRAIN, Source, ordered_buckets, rows

__all__ = [
    "COLUMNS",
    "HeatMap",
    "HeldoutPoint",
    "heldout_curve",
    "outcomes_from_counts",
    "outcomes_over_time",
    "solve_rates_over_time",
]

#: Stretches of a heat map.
COLUMNS = 40
_PROMPT_COLUMNS = 12
# Wide bins: with groups of 8, bins of 10 % would hold one or two of the possible rates in turn.
_RATE_LABELS = ["0 %", "<20 %", "20–40 %", "40–60 %", "60–80 %", "≥80 %", "100 %"]


class HeatMap(NamedTuple):
    """Shares by outcome and time.

    Attributes:
        steps: (T,) middle step of each stretch of the run.
        labels: (K,) outcome of each row, worst first.
        shares: (K, T) share of the groups (or prompts) of that stretch; columns sum to 1.
        counted: (T,) groups (or prompts) behind each column.
        left_out_frac: Share of groups with another group size than the one shown.
    """

    steps: list[float]
    labels: list[str]
    shares: list[list[float]]
    counted: list[int]
    left_out_frac: float


class HeldoutPoint(NamedTuple):
    """One evaluation of one split; rates are `None` where correctness is unknown.

    Attributes:
        split: Name of the split.
        step: Training step it was done at.
        solve_rate: Correct / scored rollouts.
        standard_error: Of the solve rate, over the P prompts with a score (ddof 1 over their rates,
            / sqrt(P)).
        reward_mean: Mean reward.
        prompts: Distinct prompts.
        rollouts: Rollouts.
    """

    split: str
    step: int
    solve_rate: float | None
    standard_error: float | None
    reward_mean: float | None
    prompts: int
    rollouts: int


def outcomes_over_time(source: Source) -> HeatMap | None:
    """Share of groups with k correct rollouts, for the most frequent group size.

    Returns:
        `None` where the correctness of any group is unknown.
    """
    found = rows(
        source,
        f"""SELECT bucket, size, correct, count(*) AS groups,
            (min(min(step)) OVER stretch + max(max(step)) OVER stretch) / 2 AS middle
        FROM {ordered_buckets(COLUMNS, by="step")} WHERE size > 0 GROUP BY bucket, size, correct
        WINDOW stretch AS (PARTITION BY bucket)""",  # noqa: S608 — no outside text
    )
    return outcomes_from_counts(found)


def outcomes_from_counts(found: Sequence[dict[str, Any]]) -> HeatMap | None:
    """`outcomes_over_time` from groups that have been counted.

    Args:
        found: Rows with bucket, size, correct, groups, and the middle step of the bucket.
    """
    if not found or any(row["correct"] is None for row in found):
        return None
    by_size: dict[int, int] = {}
    for row in found:
        by_size[row["size"]] = by_size.get(row["size"], 0) + row["groups"]
    group_size = max(by_size, key=lambda size: (by_size[size], size))
    kept = [row for row in found if row["size"] == group_size]
    cells = {(row["bucket"], int(row["correct"])): int(row["groups"]) for row in kept}
    return _heat_map(
        {row["bucket"]: float(row["middle"]) for row in kept},
        [str(k) for k in range(group_size + 1)],
        cells,
        1.0 - by_size[group_size] / sum(by_size.values()),
    )


def solve_rates_over_time(source: Source) -> HeatMap | None:
    """Share of prompts by their pooled solve rate within each of a few stretches of the run.

    All rollouts of a prompt in the stretch are pooled; never and always solved have own rows.

    Returns:
        `None` where the correctness of any group is unknown.
    """
    found = rows(
        source,
        f"""WITH pooled AS (
            SELECT bucket, prompt, sum(correct) AS k, sum(size) AS n,
                bool_and(correct IS NOT NULL) AS known, min(step) AS first, max(step) AS last
            FROM {ordered_buckets(_PROMPT_COLUMNS, by="step")} WHERE size > 0
            GROUP BY bucket, prompt
        )
        SELECT bucket,
            CASE WHEN k = 0 THEN 0 WHEN k = n THEN 6 ELSE 1 + (5 * k) // n END AS level,
            count(*) AS prompts, bool_and(known) AS known,
            (min(min(first)) OVER stretch + max(max(last)) OVER stretch) / 2 AS middle
        FROM pooled GROUP BY bucket, level
        WINDOW stretch AS (PARTITION BY bucket)""",  # noqa: S608 — no outside text
    )
    if not found or not all(row["known"] for row in found):
        return None
    cells = {(row["bucket"], int(row["level"])): int(row["prompts"]) for row in found}
    middles = {row["bucket"]: float(row["middle"]) for row in found}
    return _heat_map(middles, _RATE_LABELS, cells, 0.0)


def heldout_curve(source: Source) -> list[HeldoutPoint]:
    """Every evaluation of every split, by split and step."""
    found = rows(
        source,
        f"""WITH per_prompt AS (
            SELECT split, step, prompt, sum(rollouts) AS rollouts, sum(size) AS size,
                sum(correct) AS correct, bool_and(correct IS NOT NULL OR size = 0) AS known,
                sum(mean * size) FILTER (size > 0) AS reward
            FROM groups WHERE NOT {IS_TRAIN} GROUP BY split, step, prompt
        )
        SELECT split, step, bool_and(known) AS known, count(*) AS prompts,
            sum(rollouts) AS rollouts, sum(reward) / nullif(sum(size), 0) AS reward_mean,
            sum(correct) / nullif(sum(size), 0) AS solve_rate,
            stddev_samp(correct / nullif(size, 0)) / sqrt(count(*) FILTER (size > 0)) AS error
        FROM per_prompt GROUP BY split, step ORDER BY split, step""",  # noqa: S608
    )
    return [
        HeldoutPoint(
            split=str(row["split"]),
            step=int(row["step"]),
            solve_rate=row["solve_rate"] if row["known"] else None,
            standard_error=row["error"] if row["known"] else None,
            reward_mean=row["reward_mean"],
            prompts=int(row["prompts"]),
            rollouts=int(row["rollouts"]),
        )
        for row in found
    ]


def _heat_map(
    middles: dict[int, float],
    labels: list[str],
    cells: dict[tuple[int, int], int],
    left_out_frac: float,
) -> HeatMap:
    buckets = sorted(middles)
    counted = [sum(cells.get((b, k), 0) for k in range(len(labels))) for b in buckets]
    shares = [
        [cells.get((b, k), 0) / total for b, total in zip(buckets, counted, strict=True)]
        for k in range(len(labels))
    ]
    return HeatMap([middles[b] for b in buckets], labels, shares, counted, left_out_frac)
