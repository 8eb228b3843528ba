"""Statistics of groups as SQL aggregates, with the definitions of `core.disagreement`.

    sums     one row per group: counts and sums over its rollouts, made in one scan of the log
    groups   the columns of `runs.schema` from those sums

Correctness is decided over the whole log, as `core.correctness` does: two reward values are wrong
and correct, with a third it is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = [
    "KEYS",
    "SCORED",
    "TOL",
    "Correctness",
    "Sums",
    "count_sums",
    "groups_from_sums",
    "rollout_sums",
]

TOL = 1e-6
"""Rewards closer than this are one value, in reward units."""

KEYS = ("step", "generation", "split", "round", "group_id")
"""Columns that together name a group."""

SCORED = "CASE WHEN isfinite(reward) THEN reward END"
"""The reward of a scored rollout; null for NaN and infinities, as for none."""

_INT, _REAL = "BIGINT", "DOUBLE"


class Correctness(NamedTuple):
    """Which reward is correct: the upper of two values, or the rollout's own column.

    Attributes:
        low: Reward of a wrong rollout; `None` where correctness is unknown or a column.
        high: Reward of a correct one.
        is_column: Whether the log says for each rollout whether it is correct.
    """

    low: float | None = None
    high: float | None = None
    is_column: bool = False


class Sums(NamedTuple):
    """Sums of groups: what is kept in a table, and what is the same in every row of it.

    Attributes:
        measured: SQL of the sums.
        fixed: Further columns, SQL over those of `measured`; a table of them would take memory.
    """

    measured: str
    fixed: tuple[str, ...] = ()


def rollout_sums(
    rows: str, has: frozenset[str], keys: Sequence[str] = KEYS, *, scale: float = 1.0
) -> Sums:
    """SQL of the sums of every group.

    Args:
        rows: SQL of canonical columns, one row per rollout.
        has: Canonical columns that the log has; what it has not costs nothing.
        keys: Columns that name a group, among those of `rows`.
        scale: Power of two that rewards are divided by before they are squared.
    """
    small, grown = ("r", "") if scale == 1 else (f"r / {scale!r}", f" * {scale!r}")
    parts = [
        *keys,
        "any_value(prompt_id) AS prompt_id" if "prompt_id" in has else "NULL AS prompt_id",
        "count(*) AS rollouts",
        "count(r) AS size",
        f"avg({small}){grown} AS mean",
        f"stddev_pop({small}){grown} AS std",
        "min(r) AS min",
        "max(r) AS max",
        _if("correct" in has, "count(*) FILTER (r IS NOT NULL AND correct)", "right_count", _INT),
        _if(
            "correct" in has,
            "count(*) FILTER (r IS NOT NULL AND correct IS NULL)",
            "unjudged",
            _INT,
        ),
        _if("advantage" in has, "max(abs(advantage))", "loudest", _REAL),
        _if("advantage" in has, "sum(CASE WHEN r IS NOT NULL THEN advantage END)", "pushes", _REAL),
        _if("advantage" in has, "sum(advantage * r)", "products", _REAL),
        _if(
            {"advantage", "correct"} <= has,
            "sum(CASE WHEN r IS NOT NULL AND correct THEN advantage END)",
            "right_pushes",
            _REAL,
        ),
        _if("length" in has, "avg(length)", "length_mean", _REAL),
        _if("truncated" in has, "count(*) FILTER (truncated)", "truncated", _INT),
        _if("trained" in has, "count(*) FILTER (trained)", "trained", _INT),
        _if("policy_version" in has, "max(policy_version)", "policy_version", _INT),
        _if("line" in has, "min(line)", "first", _INT),
        _if("file_index" in has, "min(file_index) < max(file_index)", "is_spread", "BOOLEAN"),
    ]
    fixed = tuple(part for part in parts if part.startswith("NULL"))
    parts = [part for part in parts if part not in fixed]
    scored = f"SELECT *, {SCORED} AS r FROM ({rows})"  # noqa: S608 — no outside text
    measured = f"SELECT {', '.join(parts)} FROM ({scored}) GROUP BY {', '.join(keys)}"  # noqa: S608
    return Sums(measured, fixed)


def count_sums(rows: str) -> Sums:
    """SQL of the sums of groups that are given as `correct_count` of `size` rollouts."""
    measured = f"""SELECT step, generation, split, round, group_id, prompt_id,
        size, correct_count / size AS mean,
        sqrt((correct_count / size) * (1 - correct_count / size)) AS std,
        CASE WHEN correct_count < size THEN 0.0 ELSE 1.0 END AS min,
        CASE WHEN correct_count > 0 THEN 1.0 ELSE 0.0 END AS max,
        correct_count AS right_count, line AS first FROM ({rows})"""  # noqa: S608
    reals = ("loudest", "pushes", "products", "right_pushes", "length_mean")
    integers = ("truncated", "trained", "policy_version")
    return Sums(
        measured,
        (
            "size AS rollouts",
            "0::BIGINT AS unjudged",
            *(f"NULL::{_REAL} AS {name}" for name in reals),
            *(f"NULL::{_INT} AS {name}" for name in integers),
            "false AS is_spread",
        ),
    )


def groups_from_sums(sums: str, correctness: Correctness) -> str:
    """SQL of the columns of `runs.schema`'s `groups`.

    Args:
        sums: Name of the table of sums.
        correctness: Which reward is correct.
    """
    against = "(products - pushes * mean) / nullif(size, 0)"
    if correctness.is_column:
        correct = "CASE WHEN unjudged = 0 AND size > 0 THEN right_count END"
        contrast = f"""CASE WHEN unjudged = 0
            THEN (coalesce(right_pushes, 0) - pushes * right_count / nullif(size, 0))
                / nullif(size, 0)
            ELSE {against} END"""
    elif correctness.low is not None and correctness.high is not None:
        low, span = repr(correctness.low), repr(correctness.high - correctness.low)
        correct = f"CASE WHEN size > 0 THEN round((mean - {low}) / {span} * size)::BIGINT END"
        contrast = f"{against} / {span}"
    else:
        correct, contrast = "NULL::BIGINT", against
    return f"""SELECT step, generation, split, round, NULL::DOUBLE AS epoch, group_id, prompt_id,
        rollouts, size, mean, CASE WHEN max - min <= {TOL} THEN 0.0 ELSE std END AS std, min, max,
        correct,
        coalesce(max - min <= {TOL}, false) AS unanimous,
        correct = 0 AS all_wrong, correct = size AS all_correct,
        loudest = 0 AS silent,
        coalesce(trained, CASE WHEN split = 'train' THEN rollouts ELSE 0 END) AS trained,
        CASE WHEN isfinite(contrast) THEN contrast END AS contrast,
        pushes / nullif(size, 0) AS push,
        length_mean, truncated, policy_version, NULL::DOUBLE AS time_s, first
        FROM (SELECT *, {correct} AS correct, {contrast} AS contrast
            FROM {sums})"""  # noqa: S608


def _if(is_there: bool, expression: str, name: str, kind: str) -> str:
    return f"{expression if is_there else f'NULL::{kind}'} AS {name}"
