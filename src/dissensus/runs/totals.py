"""Totals per prompt: the roll-ups `prompt_outcomes` of all parts of an attempt, added up in a file.

A prompt comes back in every part, so in a long run these roll-ups are nearly as large as the groups
themselves; their total is as large as the prompts. It names the parts that it covers, is renewed
with every new part, and is a cache like every roll-up.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.runs import store
from dissensus.runs.arrow import encode
from dissensus.runs.scan import read_parquet
from dissensus.runs.store import Segment
from dissensus.runs.sums import prompt_outcomes_merged

__all__ = ["KIND", "Total", "find_total", "total_path", "write_total"]

KIND = "prompt_totals"
_COVERED = b"dissensus.parts"
_AT_A_TIME = 4
"""Parts that are merged at a time: memory is for them and the prompts, however many there are."""


class Total(NamedTuple):
    """A file of totals, and the names (without ending) of the parts of `groups` it covers."""

    path: Path
    covered: frozenset[str]


def total_path(run_dir: Path, parts: Sequence[Segment], version: int) -> Path:
    """Where the total of some parts of one attempt is put."""
    span = (min(part.first for part in parts), max(part.last for part in parts))
    name = f"{Path(store.part_name(span)).stem}.v{version}.parquet"
    return run_dir / "rollups" / KIND / f"attempt={parts[0].attempt}" / name


def find_total(run_dir: Path, parts: Sequence[Segment], version: int) -> Total | None:
    """The total that covers most of some parts of one attempt, and nothing else."""
    names = {part.path.stem for part in parts}
    found = [
        Total(path, covered)
        for path in total_path(run_dir, parts, version).parent.glob(f"part-*.v{version}.parquet")
        if (covered := _covered(path)) and covered <= names
    ]
    return max(found, key=lambda total: len(total.covered), default=None)


def write_total(connection: Any, path: Path, start: Total | None, added: dict[str, Path]) -> None:
    """Add roll-ups of parts up.

    Args:
        connection: Of DuckDB.
        path: Where the total is put.
        start: A total to go on from.
        added: Name of a part → its roll-up `prompt_outcomes`.
    """
    files = list(added.values())
    query = "" if start is None else _rows_of([start.path])
    connection.execute("DROP TABLE IF EXISTS total")
    for first in range(0, len(files), _AT_A_TIME):
        some = _rows_of(files[first : first + _AT_A_TIME])
        both = f"{query} UNION ALL BY NAME {some}" if query else some
        connection.execute(f"CREATE OR REPLACE TABLE total AS {prompt_outcomes_merged(both)}")
        query = "(FROM total)"
    table = connection.sql("FROM total ORDER BY prompt_id, size, correct").to_arrow_table()
    connection.execute("DROP TABLE total")
    names = sorted({*added, *(() if start is None else start.covered)})
    table = table.replace_schema_metadata({_COVERED: json.dumps(names).encode()})
    store.commit_bytes(path, encode(table))


def _rows_of(paths: Sequence[Path]) -> str:
    return f"(FROM {read_parquet(paths, ', hive_partitioning=false')})"


def _covered(path: Path) -> frozenset[str]:
    try:
        metadata = pq.read_schema(path).metadata or {}
        return frozenset(json.loads(metadata.get(_COVERED, b"[]")))
    except (OSError, pa.ArrowException, ValueError, TypeError):
        return frozenset()
