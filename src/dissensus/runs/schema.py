"""The four tables of a run: columns, units, meanings, and how the format grows.

Growth is additive: a column keeps its name, type and meaning for ever, and a new one is nullable.
A reader therefore reads files of any version, older ones with nulls, newer ones without the columns
it does not know. `attempt` and `rank` are not columns: they are in the path (hive partitions), so
that DuckDB, Polars and pandas add them by themselves.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa

__all__ = ["COLUMNS", "SCHEMAS", "SCHEMA_VERSION", "TABLES", "Column"]

SCHEMA_VERSION = 1
"""Version written into the metadata of every file, and into run.json."""


class Column(NamedTuple):
    """One column of a table: its Arrow type, its unit ("" for a pure number), its meaning."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str


_INT, _FLOAT, _BOOL, _TEXT = pa.int64(), pa.float64(), pa.bool_(), pa.string()

_KEY = (
    Column("step", _INT, "optimiser step", "step at which the rollouts were sampled"),
    Column("generation", _INT, "", "one sampling of a batch; unique in the run"),
    Column("split", _TEXT, "", '"train", or the name of an evaluation set'),
    Column("round", _INT, "", "0, or the refill or pilot round inside one step"),
)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "groups": (
        *_KEY,
        Column("epoch", _FLOAT, "epochs", "position in the data set, where the trainer knows it"),
        Column("group_id", _TEXT, "", "rollouts of one prompt in one sampling"),
        Column("prompt_id", _TEXT, "", "row of the data set"),
        Column("rollouts", _INT, "rollouts", "all rollouts of the group, unscored ones included"),
        Column("size", _INT, "rollouts", "scored rollouts; every statistic is over these"),
        Column("mean", _FLOAT, "reward", "mean reward"),
        Column("std", _FLOAT, "reward", "population standard deviation (ddof 0): disagreement σ"),
        Column("min", _FLOAT, "reward", "smallest reward"),
        Column("max", _FLOAT, "reward", "largest reward"),
        Column("correct", _INT, "rollouts", "correct rollouts k; null where it is unknown"),
        Column("unanimous", _BOOL, "", "max − min ≤ the recorder's tolerance"),
        Column("all_wrong", _BOOL, "", "unanimous, and k = 0; null where correctness is unknown"),
        Column(
            "all_correct", _BOOL, "", "unanimous, and k = size; null where correctness is unknown"
        ),
        Column("silent", _BOOL, "", "every advantage used is 0; null without advantages"),
        Column("trained", _INT, "rollouts", "rollouts that the optimiser was given"),
        Column("contrast", _FLOAT, "advantage", "W = Cov(A, correct), or Cov(A, R) where unknown"),
        Column("push", _FLOAT, "advantage", "B = mean advantage of the group"),
        Column("length_mean", _FLOAT, "tokens", "mean completion length"),
        Column("truncated", _INT, "rollouts", "completions cut at the length limit"),
        Column("policy_version", _INT, "", "version of the weights that sampled the group"),
        Column("time_s", _FLOAT, "s since 1970, UTC", "when record() was called"),
    ),
    "rollouts": (
        *_KEY,
        Column("row", _INT, "", "position in the gathered batch"),
        Column("group_id", _TEXT, "", "as in groups"),
        Column("prompt_id", _TEXT, "", "as in groups"),
        Column("reward", _FLOAT, "reward", "total reward; null for an unscored rollout"),
        Column("correct", _BOOL, "", "null where unknown, or unscored"),
        Column("advantage_used", _FLOAT, "advantage", "what the optimiser received"),
        Column("advantage_framework", _FLOAT, "advantage", "what the framework itself computed"),
        Column("length", _INT, "tokens", "completion length"),
        Column("truncated", _BOOL, "", "cut at the length limit"),
        Column("trained", _BOOL, "", "given to the optimiser"),
        Column(
            "rewards_by_function",
            pa.map_(_TEXT, _FLOAT),
            "reward",
            "unweighted reward of each function; a null value where it gave none",
        ),
        Column("completion", _TEXT, "", "text; null when not given or dropped by the text budget"),
    ),
    "prompts": (
        Column("step", _INT, "optimiser step", "step of the first sighting"),
        Column("generation", _INT, "", "generation of the first sighting"),
        Column("prompt_id", _TEXT, "", "row of the data set"),
        Column("prompt", _TEXT, "", "text; null when dropped by the text budget"),
        Column("reference", _TEXT, "", "reference answer, where the trainer has one"),
    ),
    "scalars": (
        Column("segment", _INT, "", "number of the file; scalars have numbers of their own"),
        Column("step", _INT, "optimiser step", "step the value belongs to"),
        Column("split", _TEXT, "", '"train", or the name of an evaluation set'),
        Column("name", _TEXT, "", "name of the quantity"),
        Column("value", _FLOAT, "as named", "value; null where it was NaN"),
        Column("time_s", _FLOAT, "s since 1970, UTC", "when scalars() was called"),
    ),
}

TABLES: tuple[str, ...] = tuple(COLUMNS)


def _schema(table: str) -> pa.Schema:
    fields = [
        pa.field(c.name, c.type, metadata={"unit": c.unit, "meaning": c.meaning})
        for c in COLUMNS[table]
    ]
    metadata: dict[str, Any] = {
        "dissensus_table": table,
        "dissensus_schema_version": str(SCHEMA_VERSION),
    }
    return pa.schema(fields, metadata=metadata)


SCHEMAS: dict[str, pa.Schema] = {table: _schema(table) for table in TABLES}
"""Arrow schema of each table, with units and meanings as field metadata."""
