"""Roll-ups: sums of every part of `groups`, by step, generation and prompt: views open at once.

A roll-up is a cache: it can be deleted at any time, a reader then takes the part itself, and the
next compaction writes it again. A change of its columns gets a new version in the file name, and
files of other versions are ignored.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.runs import store
from dissensus.runs.arrow import encode
from dissensus.runs.database import connect
from dissensus.runs.schema import SCHEMAS
from dissensus.runs.store import Segment
from dissensus.runs.sums import (
    GENERATIONS,
    HELDOUT,
    OUTCOMES,
    PROMPT_OUTCOMES,
    ROLLUP_VERSION,
    TOPS,
    VISITS,
)
from dissensus.runs.totals import update_total
from dissensus.runs.views import PROMPT_SUMS, STEP_SUMS

__all__ = [
    "CUT_BY_STEP",
    "KINDS",
    "ROLLUP_VERSION",
    "find",
    "is_usable",
    "last_step",
    "rollup_path",
    "update",
]

KINDS: dict[str, str] = {
    "steps": STEP_SUMS,
    "by_prompt": PROMPT_SUMS,
    "generations": GENERATIONS,
    "outcomes": OUTCOMES,
    "prompt_outcomes": PROMPT_OUTCOMES,
    "visits": VISITS,
    "heldout": HELDOUT,
    "tops": TOPS,
}
"""Kind of roll-up → the SQL that makes it from rows of groups."""

CUT_BY_STEP = frozenset({"steps", "generations", "outcomes", "visits", "heldout"})
"""Kinds whose rows say their step and split: of a cut attempt, the rows that count can be taken."""

_ROWS_PER_GROUP = {"visits": 8_192}
"""Small row groups: a reader of one prompt takes one of them."""

_NAME = re.compile(r"part-\d+-\d+\.v(\d+)\.parquet")


def rollup_path(run_dir: Path, kind: str, part: Segment) -> Path:
    """Where the roll-up of a part of `groups` is put."""
    name = f"{part.path.stem}.v{ROLLUP_VERSION}.parquet"
    return run_dir / "rollups" / kind / f"attempt={part.attempt}" / name


def find(run_dir: Path, kind: str, segment: Segment) -> Path | None:
    """The roll-up of a segment, where there is a readable one."""
    if not segment.is_part:
        return None
    path = rollup_path(run_dir, kind, segment)
    try:
        pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return None
    return path


def is_usable(kind: str, path: Path, end: int | None) -> bool:
    """Whether the rows that count can be told from a roll-up of an attempt that is cut at `end`."""
    return end is None or kind in CUT_BY_STEP or last_step(path) < end


def last_step(path: Path) -> int:
    """Highest step in a roll-up per prompt, from the statistics in the file."""
    metadata = pq.read_metadata(path)
    index = metadata.schema.to_arrow_schema().get_field_index("last_step")
    groups = [metadata.row_group(i).column(index) for i in range(metadata.num_row_groups)]
    return max((int(group.statistics.max) for group in groups), default=-1)


def update(run_dir: Path) -> int:
    """Write the roll-ups that are missing, delete those whose part is gone; returns how many new.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """
    parts = [s for s in store.list_live(run_dir, "groups") if s.is_part]
    wanted = {rollup_path(run_dir, kind, part): (kind, part) for kind in KINDS for part in parts}
    missing = {path: made for path, made in wanted.items() if find(run_dir, *made) is None}
    # One thread: this runs beside the training process, which wants the cores.
    with contextlib.closing(connect(threads=1)) as connection:
        for path, (kind, part) in missing.items():
            table = _sums(connection, kind, part.path)
            store.commit_bytes(path, encode(table, row_group_size=_ROWS_PER_GROUP.get(kind)))
        for attempt in {part.attempt for part in parts}:
            rolled = {
                part.path.name: rollup_path(run_dir, "prompt_outcomes", part)
                for part in parts
                if part.attempt == attempt
            }
            update_total(run_dir, attempt, rolled, connection)
    for path in (run_dir / "rollups").glob("*/*/part-*.parquet"):
        match = _NAME.fullmatch(path.name)
        if match and int(match.group(1)) == ROLLUP_VERSION and path not in wanted:
            path.unlink(missing_ok=True)
    return len(missing)


def _sums(connection: Any, kind: str, path: Path) -> pa.Table:
    empty = SCHEMAS["groups"].empty_table()
    rows = pa.concat_tables(
        [empty, pq.ParquetFile(path).read(columns=_needed(path))],
        promote_options="default",
    )
    connection.register("part_rows", rows)
    table = connection.sql(KINDS[kind].format(source="part_rows")).to_arrow_table()
    connection.unregister("part_rows")
    return table


def _needed(path: Path) -> list[str]:
    return [name for name in pq.read_schema(path).names if name in SCHEMAS["groups"].names]
