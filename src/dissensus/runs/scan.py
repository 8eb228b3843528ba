"""SQL over the files of a run that count, and checks on those files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.errors import InputError
from dissensus.runs.schema import SCHEMAS
from dissensus.runs.store import Segment

__all__ = [
    "COLUMN_NAMES",
    "check_columns",
    "conditions",
    "holds_any",
    "is_sound",
    "live",
    "quote",
    "quoted",
    "read_parquet",
    "scan",
]

COLUMN_NAMES: dict[str, list[str]] = {
    table: [*schema.names, "attempt", "rank"] for table, schema in SCHEMAS.items()
}
"""Columns of each table as readers get them: those of the schema, and the two of the path."""


_GLOB = re.compile(r"[*?\[]")
"""What DuckDB would take for a pattern: a folder runs/lr[1] must not read runs/lr1 as well."""


def scan(table: str, segments: Sequence[Segment], ends: dict[int, int | None]) -> str:
    """SQL for the live rows of some segments: the columns of this version, nulls where missing."""
    names = ", ".join(f'"{name}"' for name in COLUMN_NAMES[table])
    types = {field.name: _duckdb_type(field.type) for field in SCHEMAS[table]}
    types |= {"attempt": "BIGINT", "rank": "BIGINT"}
    nulls = ", ".join(f'NULL::{types[name]} AS "{name}"' for name in COLUMN_NAMES[table])
    empty = f"SELECT {nulls} WHERE false"
    if not segments:
        return empty
    files = read_parquet(
        [s.path for s in segments],
        extra=", union_by_name=true, hive_partitioning=true"
        ", hive_types={'attempt': BIGINT, 'rank': BIGINT}",
    )
    # Every value in this text is a number, a column of the schema, or a quoted path.
    rows = f"SELECT {names} FROM ({empty} UNION ALL BY NAME SELECT * FROM {files})"  # noqa: S608
    cut = {s.attempt: ends[s.attempt] for s in segments if ends[s.attempt] is not None}
    conditions = [f"(attempt <> {a} OR {live(table, end)})" for a, end in cut.items()]
    return f"{rows} WHERE {' AND '.join(conditions)}" if conditions else rows


def live(table: str, end: object, row: str = "") -> str:
    """SQL condition on a row of an attempt that a later one, from step `end` on, supersedes.

    What was sampled for training at step `end` is sampled again. An evaluation at `end` is one of
    the very weights that training goes on from, and is not repeated: it counts, with the prompts it
    saw. A restart at 0 goes on from nothing, and supersedes all.

    Args:
        table: Table of the rows.
        end: The step, as a number or as SQL.
        row: What precedes a column, for example `"t."`.
    """
    kept = "" if table == "prompts" else f"{row}split <> 'train' AND "
    return f"({row}step < {end} OR ({kept}{end} > 0 AND {row}step = {end}))"


def read_parquet(paths: Sequence[Path], extra: str = ", union_by_name=true") -> str:
    """SQL that reads some files, whatever columns each of them has; `extra` are other options."""
    files = ", ".join(quote(_GLOB.sub(r"[\g<0>]", str(path))) for path in paths)
    return f"read_parquet([{files}]{extra})"


def _duckdb_type(kind: pa.DataType) -> str:
    if pa.types.is_map(kind):
        return "MAP(VARCHAR, DOUBLE)"
    names = {pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.bool_(): "BOOLEAN"}
    return names.get(kind, "VARCHAR")


def holds_any(segment: Segment, wanted: set[int]) -> bool:
    """Whether a segment can hold one of the numbers; −1 − n stands for all above n."""
    return any(
        segment.first <= number <= segment.last or (number < 0 and segment.last > -1 - number)
        for number in wanted
    )


def is_sound(path: Path) -> bool:
    """Whether a file can be read to its end; one that is gone is not broken."""
    try:
        pq.ParquetFile(path).read()
    except FileNotFoundError:
        return True
    except (OSError, pa.ArrowException):
        return False
    return True


def check_columns(table: str, columns: Sequence[str] | None) -> list[str]:
    """Names of the columns to read.

    Raises:
        InputError: The table has no such column.
    """
    names = list(COLUMN_NAMES[table] if columns is None else columns)
    unknown = [name for name in names if name not in COLUMN_NAMES[table]]
    if unknown or not names:
        raise InputError(
            f"there is no such column in {table}",
            got=unknown,
            hint=f"columns are {', '.join(COLUMN_NAMES[table])}",
        )
    return names


def quoted(names: Sequence[str]) -> str:
    """Names of columns as SQL."""
    return ", ".join(f'"{name}"' for name in names)


def conditions(
    *,
    step: int | None = None,
    generation: int | None = None,
    group_id: int | str | None = None,
    name: str | None = None,
    split: str | None = None,
) -> list[str]:
    """SQL conditions on the columns that are asked for; None asks nothing."""
    found = [
        f"{column} = {int(number)}"
        for column, number in (("step", step), ("generation", generation))
        if number is not None
    ]
    found += [
        f"{column} = {quote(str(text))}"
        for column, text in (("group_id", group_id), ("name", name), ("split", split))
        if text is not None
    ]
    return found


def quote(text: str) -> str:
    """A string literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
