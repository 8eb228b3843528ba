"""The SQL of the roll-ups that views are made from: sums finer than a step, and rows put in order.

A floating sum depends on the order of its terms, so those that a report shows are taken in the
order of their values: first over the groups of a generation, then over the generations. All else
that it needs is integers. Hence any number of threads, processes and files gives the same digits.

All but `PROMPT_OUTCOMES` and `TOPS` keep step and split in every row, so that an attempt can be cut
where a later one starts. Rows of two files never need merging there, for a generation lies in one.
"""

from __future__ import annotations

__all__ = [
    "COUNTS",
    "GENERATIONS",
    "HELDOUT",
    "OUTCOMES",
    "PROMPT_OUTCOMES",
    "PROMPT_TOTALS",
    "PROMPT_TOTALS_MERGED",
    "ROLLUP_VERSION",
    "TOPS",
    "TOPS_KEPT",
    "VISITS",
    "prompt_outcomes_merged",
    "sorted_sum",
]

ROLLUP_VERSION = 2
"""Goes into the names of the files: what another version has written is not read."""

_TRAINED = "coalesce(trained, rollouts)"
_GRADED = "size > 0 AND NOT unanimous AND correct IN (0, size)"
_SIGMA = "CASE WHEN unanimous THEN 0.0 ELSE std END"
TOPS_KEPT = 500
"""So many of the groups that weighed most are kept of every part."""

_LEVELS = 50
"""Disagreements within 2 % are counted together; of two-valued rewards none are that near."""


def sorted_sum(value: str) -> str:
    """SQL of a sum of doubles that does not depend on the order of the rows.

    Args:
        value: SQL of the terms.
    """
    return f"sum({value} ORDER BY {value})"


GENERATIONS = f"""
SELECT generation, step, split,
  count(*) AS groups,
  coalesce(sum(rollouts), 0)::BIGINT AS rollouts,
  coalesce(sum(rollouts - size), 0)::BIGINT AS unscored,
  coalesce(sum({_TRAINED}), 0)::BIGINT AS trained,
  count(*) FILTER (size > 0) AS scored,
  count(*) FILTER (size > 0 AND correct IS NOT NULL) AS known,
  count(*) FILTER (size > 0 AND unanimous) AS unanimous,
  count(*) FILTER (size > 0 AND unanimous AND correct = 0) AS all_wrong,
  count(*) FILTER (size > 0 AND unanimous AND correct = size) AS all_correct,
  count(*) FILTER (silent IS NOT NULL) AS heard,
  count(*) FILTER (silent) AS silent,
  count(*) FILTER (silent IS NULL AND {_TRAINED} > 0) AS unheard_trained,
  coalesce(sum({_TRAINED}) FILTER (NOT silent), 0)::BIGINT AS effective,
  count(*) FILTER (contrast IS NULL AND size > 0 AND {_TRAINED} > 0) AS no_contrast,
  coalesce({sorted_sum("contrast")} FILTER ({_TRAINED} > 0), 0) AS contrast,
  {sorted_sum("std")} FILTER (size > 0) AS std_sum,
  sum(correct)::BIGINT AS correct_sum,
  sum(size)::BIGINT AS size_sum,
  {sorted_sum("mean * size")} FILTER (size > 0) AS reward_sum,
  {sorted_sum("length_mean * rollouts")} AS length_sum,
  sum(rollouts) FILTER (length_mean IS NOT NULL)::BIGINT AS length_rollouts,
  sum(truncated)::BIGINT AS truncated_sum,
  sum(rollouts) FILTER (truncated IS NOT NULL)::BIGINT AS truncated_rollouts,
  count(*) FILTER ({_GRADED}) AS graded,
  coalesce(bool_or(NOT unanimous) FILTER (size > 0 AND correct IS NULL), false) AS unknown_split,
  min(mean) FILTER (size > 0 AND correct IS NULL) AS unknown_low,
  max(mean) FILTER (size > 0 AND correct IS NULL) AS unknown_high,
  min(min) FILTER (size > 0) AS reward_low,
  max(max) FILTER (size > 0) AS reward_high,
  min(size) AS size_low,
  max(size) AS size_high,
  min(time_s) AS time_s
FROM {{source}} GROUP BY generation, step, split"""  # noqa: S608 — no outside text
"""One row per generation: everything a curve over steps needs."""

OUTCOMES = f"""
SELECT generation, step, split, size::INTEGER AS size, correct::INTEGER AS correct,
  (CASE WHEN unanimous OR std <= 0 THEN NULL ELSE round({_LEVELS} * ln(std)) END)::INTEGER AS level,
  count(*)::INTEGER AS groups,
  count(*) FILTER ({_GRADED})::INTEGER AS graded,
  sum({_SIGMA}) AS sigma_sum
FROM {{source}} WHERE size > 0 GROUP BY ALL"""  # noqa: S608
"""How many groups of a generation had k of n correct, and which disagreement."""

PROMPT_OUTCOMES = f"""
SELECT prompt_id, size::INTEGER AS size, correct::INTEGER AS correct,
  count(*)::INTEGER AS groups,
  count(*) FILTER (unanimous)::INTEGER AS unanimous,
  sum(rollouts)::BIGINT AS rollouts,
  sum({_TRAINED})::BIGINT AS trained,
  count(*) FILTER ({_GRADED})::INTEGER AS graded,
  count(*) FILTER (contrast IS NULL AND {_TRAINED} > 0)::INTEGER AS unrecorded,
  sum({_TRAINED} * abs(contrast)) AS used,
  sum({_TRAINED} * {_SIGMA}) AS grpo,
  sum({_TRAINED} * {_SIGMA} * {_SIGMA}) AS dr_grpo,
  sum(contrast) FILTER ({_TRAINED} > 0) AS contrast,
  sum(mean * size) AS reward_sum,
  sum(step)::DOUBLE AS step_sum,
  sum(step::DOUBLE * step) AS step_square_sum,
  min(step) AS first_step,
  max(step) AS last_step,
  max(generation) AS last_generation
FROM {{source}} WHERE size > 0 AND split = 'train' AND prompt_id IS NOT NULL
GROUP BY ALL"""  # noqa: S608
"""How often a training prompt had k of n correct, and what its groups weighed."""

VISITS = """
SELECT prompt_id, generation, step, split, round, group_id, rollouts, size, mean, std, correct,
  unanimous, silent, trained, contrast, push, length_mean, truncated
FROM {source} WHERE prompt_id IS NOT NULL ORDER BY prompt_id, generation"""
"""The groups of a part sorted by prompt: those of one prompt lie together."""

HELDOUT = """
SELECT generation, step, split, prompt_id, rollouts, size, mean, correct
FROM {source} WHERE split <> 'train' ORDER BY generation"""
"""The groups that evaluate, which are few."""

TOPS = f"""
SELECT generation, step, split, group_id, prompt_id, rollouts, size, mean, std, correct, trained,
  contrast, length_mean, {_TRAINED} * abs(contrast) AS weight, max(step) OVER () AS last_step
FROM {{source}} WHERE split = 'train' AND contrast <> 0 AND {_TRAINED} > 0
ORDER BY weight DESC, generation DESC, group_id LIMIT {TOPS_KEPT}"""  # noqa: S608
"""The groups with the largest n·|W| of n trained rollouts, the newest first among equals."""

COUNTS = """
SELECT generation, step, split, size, correct, sum(groups)::BIGINT AS groups,
  sum(graded)::BIGINT AS graded
FROM {source} GROUP BY ALL"""
"""From rows of `OUTCOMES`: how many groups of a generation had k of n correct."""

PROMPT_TOTALS = """
SELECT prompt_id, sum(groups)::BIGINT AS visits, sum(rollouts)::BIGINT AS rollouts,
  sum(correct::BIGINT * groups)::BIGINT AS correct, sum(size::BIGINT * groups)::BIGINT AS scored,
  max(last_step) AS last_step, bool_and(correct IS NOT NULL) AS known
FROM {source} GROUP BY prompt_id"""
"""From rows of `PROMPT_OUTCOMES`: what every training prompt did; visits are scored groups."""

PROMPT_TOTALS_MERGED = """
SELECT prompt_id, sum(visits)::BIGINT AS visits, sum(rollouts)::BIGINT AS rollouts,
  sum(correct)::BIGINT AS correct, sum(scored)::BIGINT AS scored, max(last_step) AS last_step,
  bool_and(known) AS known
FROM {source} GROUP BY prompt_id"""
"""From rows of `PROMPT_TOTALS` of several pieces of a run."""

_PROMPT_COUNTS = ("groups", "unanimous", "graded", "unrecorded")
_PROMPT_SUMS = (
    "rollouts", "trained", "used", "grpo", "dr_grpo", "contrast", "reward_sum", "step_sum",
    "step_square_sum",
)  # fmt: skip


def prompt_outcomes_merged(source: str) -> str:
    """SQL that merges the rows of several pieces of `PROMPT_OUTCOMES`.

    Args:
        source: SQL of those rows.
    """
    counts = ", ".join(f"sum({name})::INTEGER AS {name}" for name in _PROMPT_COUNTS)
    sums = ", ".join(f"sum({name}) AS {name}" for name in _PROMPT_SUMS)
    return f"""SELECT prompt_id, size, correct, {counts}, {sums}, min(first_step) AS first_step,
        max(last_step) AS last_step, max(last_generation) AS last_generation
    FROM ({source}) GROUP BY prompt_id, size, correct"""  # noqa: S608 — no outside text
