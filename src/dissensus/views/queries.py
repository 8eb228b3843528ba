"""SQL that several views share, over the live rows of a run.

Views never loop over rows: a run can hold millions of groups, and DuckDB aggregates them where they
lie. Every function here returns a handful of rows.
"""

from __future__ import annotations

from typing import Any, Protocol

import pyarrow as pa

from dissensus.runs.sums import sorted_sum

__all__ = [
    "IS_GRADED",
    "IS_TRAIN",
    "MEASURES",
    "MEASURE_COLUMNS",
    "Measures",
    "Source",
    "ordered_buckets",
    "rolled_buckets",
    "rows",
]

#: Condition that selects training groups. Everything else (evaluation) is held out.
IS_TRAIN = "split = 'train'"

#: Condition that selects groups whose rewards differ although all rollouts are wrong, or all are
#: correct: rewards say more than correctness does, and k = 0 or k = G is not unanimity.
IS_GRADED = "size > 0 AND NOT unanimous AND correct IN (0, size)"

_COUNTS = (
    "groups", "rollouts", "unscored", "trained", "scored", "known", "unanimous", "all_wrong",
    "all_correct", "heard", "silent", "unheard_trained", "effective", "no_contrast",
)  # fmt: skip

#: Aggregates of rows of `generations`, the sums of each generation; `Measures` reads them.
MEASURES = (
    ", ".join(f"coalesce(sum({name}), 0)::BIGINT AS {name}" for name in _COUNTS)
    + f""",
    coalesce({sorted_sum("contrast")}, 0) AS contrast,
    {sorted_sum("std_sum")} / nullif(sum(scored), 0) AS std_mean,
    sum(correct_sum) / nullif(sum(size_sum), 0) AS solve_rate,
    {sorted_sum("reward_sum")} / nullif(sum(size_sum), 0) AS reward_mean,
    {sorted_sum("length_sum")} / nullif(sum(length_rollouts), 0) AS length_mean,
    sum(truncated_sum) / nullif(sum(truncated_rollouts), 0) AS truncated_frac
"""
)


#: The same measures as columns over rows of those aggregates, by the rules of `Measures`.
MEASURE_COLUMNS = """
    groups, rollouts, trained, scored,
    unanimous / nullif(scored, 0) AS unanimous,
    CASE WHEN known = scored THEN all_wrong / nullif(scored, 0) END AS all_wrong,
    CASE WHEN known = scored THEN all_correct / nullif(scored, 0) END AS all_correct,
    silent / nullif(heard, 0) AS silent,
    std_mean,
    CASE WHEN known = scored AND scored > 0 THEN solve_rate END AS solve_rate,
    reward_mean,
    CASE WHEN heard > 0 AND unheard_trained = 0 THEN effective / nullif(rollouts, 0) END
        AS effective_rollout_frac,
    CASE WHEN heard > 0 AND no_contrast = 0 AND known IN (0, scored)
        THEN 1000 * (contrast / nullif(rollouts, 0)) END AS contrast_per_1000_rollouts,
    length_mean, truncated_frac
"""


class Source(Protocol):
    """What a view needs from a run: SQL over the table `groups` (`Snapshot` has it)."""

    def sql(self, query: str, /) -> pa.Table:
        """Run one query."""


class Measures:
    """The measures of a set of groups; fractions are in 0..1, `None` is unknown.

    Attributes:
        groups: Number of groups.
        rollouts: Rollouts generated (R), those not trained on included.
        unscored_rollouts: Rollouts without a reward, which no other measure is over.
        trained_rollouts: Rollouts trained on (U).
        unanimous: Share of scored groups whose rewards are all equal.
        all_wrong: Share that is unanimous with no rollout correct.
        all_correct: Share that is unanimous with every rollout correct.
        silent: Share with zero advantage everywhere under the estimator in use.
        std_mean: Mean over groups of the population standard deviation of rewards.
        solve_rate: Correct rollouts / scored rollouts.
        reward_mean: Mean reward over scored rollouts.
        effective_rollout_frac: Trained rollouts in non-silent groups / rollouts generated.
        contrast_per_1000_rollouts: 1000 · Σ W of trained groups / rollouts generated. `None` where
            correctness is known of some groups only: W is another quantity in the others.
        length_mean: Mean completion length in tokens.
        truncated_frac: Share of rollouts that were cut off.
    """

    __slots__ = (
        "all_correct",
        "all_wrong",
        "contrast_per_1000_rollouts",
        "effective_rollout_frac",
        "groups",
        "length_mean",
        "reward_mean",
        "rollouts",
        "silent",
        "solve_rate",
        "std_mean",
        "trained_rollouts",
        "truncated_frac",
        "unanimous",
        "unscored_rollouts",
    )

    def __init__(self, row: dict[str, Any]) -> None:
        scored, rollouts = int(row["scored"]), int(row["rollouts"])
        # One group of unknown correctness makes every split by cause unknown: a batch that happens
        # to show two reward values would otherwise pass for a measurement of correctness.
        is_known = scored > 0 and row["known"] == scored
        self.groups = int(row["groups"])
        self.rollouts = rollouts
        self.unscored_rollouts = int(row["unscored"])
        self.trained_rollouts = int(row["trained"])
        self.unanimous = _share(row["unanimous"], scored)
        self.all_wrong = _share(row["all_wrong"], scored) if is_known else None
        self.all_correct = _share(row["all_correct"], scored) if is_known else None
        self.silent = _share(row["silent"], row["heard"])
        self.std_mean = _real(row["std_mean"])
        self.solve_rate = _real(row["solve_rate"]) if is_known else None
        self.reward_mean = _real(row["reward_mean"])
        has_silent = row["heard"] > 0 and row["unheard_trained"] == 0
        self.effective_rollout_frac = _share(row["effective"], rollouts) if has_silent else None
        has_one_kind = is_known or row["known"] == 0
        has_contrast = row["heard"] > 0 and row["no_contrast"] == 0 and has_one_kind
        contrast = _share(row["contrast"], rollouts) if has_contrast else None
        self.contrast_per_1000_rollouts = None if contrast is None else 1000.0 * contrast
        self.length_mean = _real(row["length_mean"])
        self.truncated_frac = _real(row["truncated_frac"])

    def to_json(self) -> dict[str, Any]:
        """All measures by name."""
        return {name: getattr(self, name) for name in sorted(self.__slots__)}


def rows(source: Source, query: str) -> list[dict[str, Any]]:
    """Run a query whose answer is small, as one dict per row."""
    found: list[dict[str, Any]] = source.sql(query).to_pylist()
    return found


def ordered_buckets(count: int, *, by: str = "step, generation") -> str:
    """SQL of a subquery: the training groups, with a column `bucket` (1..count).

    Generations are put in order of step and cut into `count` stretches with equally many
    generations; a run with fewer generations gets one bucket per generation.

    Args:
        count: Largest number of buckets.
        by: What a stretch is made of; `"step"` keeps the generations of one step together.
    """
    return f"""(
        SELECT g.*, o.bucket FROM groups AS g JOIN (
            SELECT {by}, ntile({int(count)}) OVER (ORDER BY {by}) AS bucket
            FROM (SELECT DISTINCT {by} FROM groups WHERE {IS_TRAIN})
        ) AS o USING ({by}) WHERE {IS_TRAIN})"""  # noqa: S608 — no outside text


def rolled_buckets(table: str, count: int, *, by: str = "step, generation") -> str:
    """`ordered_buckets` over a table of sums.

    Args:
        table: `generations`, `counts` or `outcomes`.
        count: Largest number of buckets.
        by: What a stretch is made of.
    """
    return f"""(
        SELECT g.*, o.bucket FROM {table} AS g JOIN (
            SELECT {by}, ntile({int(count)}) OVER (ORDER BY {by}) AS bucket
            FROM (SELECT DISTINCT {by} FROM generations WHERE {IS_TRAIN})
        ) AS o USING ({by}) WHERE {IS_TRAIN})"""  # noqa: S608 — no outside text


def _share(part: Any, whole: Any) -> float | None:
    return float(part) / float(whole) if whole else None


def _real(value: Any) -> float | None:
    return None if value is None else float(value)
