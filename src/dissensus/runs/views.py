"""The SQL of a run: which rows count, and the roll-ups per step and per prompt.

One text serves three readers: views.sql in the run's folder, `Run`, and compaction.
"""

from __future__ import annotations

from collections.abc import Callable

from dissensus.runs.scan import live
from dissensus.runs.schema import TABLES

__all__ = ["PROMPT_SUMS", "STEP_SUMS", "VIEWS_SQL", "prompts_from_sums", "steps_from_sums"]

STEP_SUMS = """
SELECT step, split,
  count(DISTINCT generation) AS generations,
  min(generation) AS first_generation,
  max(generation) AS last_generation,
  count(*) AS groups,
  sum(rollouts)::BIGINT AS rollouts,
  sum(size)::BIGINT AS scored_rollouts,
  sum(trained)::BIGINT AS trained_rollouts,
  count(*) FILTER (size > 0) AS scored_groups,
  sum(unanimous::BIGINT)::BIGINT AS unanimous,
  sum(all_wrong::BIGINT)::BIGINT AS all_wrong,
  sum(all_correct::BIGINT)::BIGINT AS all_correct,
  sum(silent::BIGINT)::BIGINT AS silent,
  count(correct) FILTER (size > 0) AS groups_correct_known,
  count(silent) AS groups_silent_known,
  sum(std) FILTER (size > 0) AS std_sum,
  sum(correct)::BIGINT AS correct_rollouts,
  sum(size) FILTER (correct IS NOT NULL)::BIGINT AS correct_known_rollouts,
  sum(mean * size) AS reward_sum,
  sum(trained) FILTER (NOT silent)::BIGINT AS effective_rollouts,
  sum(contrast) FILTER (trained > 0) AS contrast_sum,
  sum(length_mean * rollouts) AS length_sum,
  sum(rollouts) FILTER (length_mean IS NOT NULL)::BIGINT AS length_rollouts,
  sum(truncated)::BIGINT AS truncated,
  max(policy_version) AS policy_version,
  max(epoch) AS epoch,
  min(time_s) AS time_s
FROM {source} GROUP BY step, split"""
"""Mergeable sums per step and split over rows of groups."""

_MERGE_STEPS = """
SELECT step, split,
  sum(generations)::BIGINT AS generations,
  min(first_generation) AS first_generation,
  max(last_generation) AS last_generation,
  {sums},
  max(policy_version) AS policy_version,
  max(epoch) AS epoch,
  min(time_s) AS time_s
FROM {source} GROUP BY step, split"""

_STEP_COUNTS = (
    "groups", "rollouts", "scored_rollouts", "trained_rollouts", "scored_groups", "unanimous",
    "all_wrong", "all_correct", "silent", "groups_correct_known", "groups_silent_known",
    "correct_rollouts", "correct_known_rollouts", "effective_rollouts", "length_rollouts",
    "truncated",
)  # fmt: skip
_STEP_SUMS = ("std_sum", "reward_sum", "contrast_sum", "length_sum")

_STEPS = """
SELECT step, split, generations, first_generation, last_generation, groups, rollouts,
  scored_rollouts, trained_rollouts, unanimous, all_wrong, all_correct, silent,
  scored_groups, groups_correct_known, groups_silent_known,
  std_sum / nullif(scored_groups, 0) AS std_mean,
  correct_rollouts / nullif(correct_known_rollouts, 0) AS solve_rate,
  reward_sum / nullif(scored_rollouts, 0) AS reward_mean,
  CASE WHEN groups_silent_known > 0 AND (split = 'train' OR trained_rollouts > 0)
    THEN coalesce(effective_rollouts, 0) / rollouts END AS effective_rollout_frac,
  CASE WHEN groups_silent_known > 0 AND (split = 'train' OR trained_rollouts > 0)
    THEN 1000 * coalesce(contrast_sum, 0) / rollouts END AS contrast_per_1000_rollouts,
  length_sum / nullif(length_rollouts, 0) AS length_mean,
  truncated, policy_version, epoch, time_s
FROM ({merged}) ORDER BY first_generation, split"""

PROMPT_SUMS = """
SELECT prompt_id, split,
  count(*) AS groups,
  sum(rollouts)::BIGINT AS rollouts,
  sum(size)::BIGINT AS scored_rollouts,
  sum(trained)::BIGINT AS trained_rollouts,
  count(*) FILTER (size > 0) AS scored_groups,
  sum(unanimous::BIGINT)::BIGINT AS unanimous,
  sum(all_wrong::BIGINT)::BIGINT AS all_wrong,
  sum(all_correct::BIGINT)::BIGINT AS all_correct,
  sum(silent::BIGINT)::BIGINT AS silent,
  sum(correct)::BIGINT AS correct_rollouts,
  sum(size) FILTER (correct IS NOT NULL)::BIGINT AS correct_known_rollouts,
  sum(mean * size) AS reward_sum,
  min(step) AS first_step,
  max(step) AS last_step,
  max(generation) AS last_generation,
  arg_max({{'k': correct}}, generation)['k'] AS last_correct,
  arg_max(size, generation) AS last_size
FROM {source} GROUP BY prompt_id, split"""
"""Mergeable sums per prompt and split over rows of groups.

`arg_max` passes over what is null, but not over a struct that holds it: where the correctness of
the last group is unknown, that of an earlier one must not stand in its place.
"""

_PROMPT_COUNTS = (
    "groups", "rollouts", "scored_rollouts", "trained_rollouts", "scored_groups", "unanimous",
    "all_wrong", "all_correct", "silent", "correct_rollouts", "correct_known_rollouts",
)  # fmt: skip

_PROMPTS = """
SELECT prompt_id, split, {sums},
  sum(correct_rollouts) / nullif(sum(correct_known_rollouts), 0) AS solve_rate,
  sum(reward_sum) / nullif(sum(scored_rollouts), 0) AS reward_mean,
  min(first_step) AS first_step,
  max(last_step) AS last_step,
  max(last_generation) AS last_generation,
  arg_max({{'k': last_correct}}, last_generation)['k'] AS last_correct,
  arg_max(last_size, last_generation) AS last_size
FROM ({source}) GROUP BY prompt_id, split ORDER BY split, prompt_id"""


def steps_from_sums(source: str) -> str:
    """One row per step and split, from sums of any number of pieces of the run."""
    sums = [f"sum({name})::BIGINT AS {name}" for name in _STEP_COUNTS]
    sums += [f"sum({name}) AS {name}" for name in _STEP_SUMS]
    merged = _MERGE_STEPS.format(sums=",\n  ".join(sums), source=f"({source})")
    return _STEPS.format(merged=merged)


def prompts_from_sums(source: str) -> str:
    """One row per prompt and split, from sums of any number of pieces of the run."""
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in _PROMPT_COUNTS)
    return _PROMPTS.format(sums=sums, source=source)


_FIRST_SEEN = """
SELECT * FROM {source}
QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY prompt IS NULL, generation, rank) = 1"""
"""Every rank writes the prompts it sees, so one prompt can stand there several times."""


def derived_views(source: Callable[[str], str]) -> dict[str, str]:
    """Name → SQL of the views that are made from the live rows of the tables."""
    return {
        "steps": steps_from_sums(STEP_SUMS.format(source=source("groups"))),
        "by_prompt": prompts_from_sums(PROMPT_SUMS.format(source=source("groups"))),
        "prompts": _FIRST_SEEN.format(source=source("prompts")),
    }


# ---- views.sql -------------------------------------------------------------------------------

_HEAD = """\
-- The rows of this run that count, for plain DuckDB (1.1 or newer).
-- In the run's folder:        duckdb -init views.sql
-- From anywhere else, first:  SET VARIABLE dissensus_run = '/path/of/the/run';
--                       or:   SET file_search_path = '/path/of/the/run';
-- A view lists the files whenever it is queried, so it follows a run that is being written. Where a
-- query meets a file that compaction has just replaced, DuckDB says so: ask again.
"""

_ATTEMPTS = """
CREATE OR REPLACE VIEW attempts AS
SELECT attempt, start_step, first_generation, started_s, min(start_step) OVER (
    ORDER BY attempt ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS end_step
FROM read_json({path}, columns={{attempt: 'BIGINT', start_step: 'BIGINT',
    first_generation: 'BIGINT', started_s: 'DOUBLE'}});
"""

# Rows of a part and of the segments it covers are the same rows, so of every generation the file
# with the last name is taken ("part" > "generation"). One scan decides, whatever is on disk then.
# The partition holds columns that are constant in a row's copies: filters on them go below it.
_TABLE = """
CREATE OR REPLACE VIEW {name} AS
SELECT t.* EXCLUDE (filename) FROM (
  FROM read_parquet({path}, union_by_name=true, hive_partitioning=true,
    hive_types={{'attempt': BIGINT, 'rank': BIGINT}}, filename=true)
  QUALIFY filename = max(filename) OVER (PARTITION BY attempt, rank, {key})
) t JOIN attempts a USING (attempt) WHERE a.end_step IS NULL OR {live};
"""

_KEYS = {
    "groups": "generation, step, split",
    "rollouts": "generation, step, split, group_id",
    "prompts": "generation, step",
    "scalars": "segment, step, split, name",
}


def _in_run(pattern: str) -> str:
    # The folder's own name is no pattern: in runs/lr[1], [1] would also stand for runs/lr1.
    folder = r"regexp_replace(getvariable('dissensus_run')::VARCHAR, '([*?\[])', '[\1]', 'g')"
    return f"coalesce({folder} || '/', '') || '{pattern}'"


def _views_sql() -> str:
    parts = [_HEAD, _ATTEMPTS.format(path=_in_run("attempts/*.json"))]
    for table in TABLES:
        name = "prompt_sightings" if table == "prompts" else table
        path = _in_run(f"{table}/*/*/*.parquet")
        alive = live(table, "a.end_step", "t.")
        parts.append(_TABLE.format(name=name, path=path, key=_KEYS[table], live=alive))
    views = derived_views(lambda table: "prompt_sightings" if table == "prompts" else table)
    parts += [f"\nCREATE OR REPLACE VIEW {name} AS {sql};\n" for name, sql in views.items()]
    return "".join(parts)


VIEWS_SQL: str = _views_sql()
"""Content of views.sql, the same in every run of this version."""
