"""What a prompt did over all parts of an attempt in one file, so that a reader merges nothing.

A prompt comes again in every epoch: sums per prompt of forty parts have nearly as many rows as the
groups themselves. The total is a cache like every roll-up, and says which parts it covers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.runs import store
from dissensus.runs.arrow import encode
from dissensus.runs.scan import read_parquet
from dissensus.runs.sums import ROLLUP_VERSION, prompt_outcomes_merged

__all__ = ["Total", "find_total", "update_total"]

_COVERS = b"dissensus.parts"


class Total(NamedTuple):
    """Sums of several parts.

    Attributes:
        path: Its file, with the columns of the `prompt_outcomes` roll-up.
        covers: Names of the parts of `groups` whose rows it holds.
    """

    path: Path
    covers: frozenset[str]


def find_total(run_dir: Path, attempt: int) -> Total | None:
    """The total of an attempt, where there is a readable one."""
    path = _path(run_dir, attempt)
    try:
        metadata = pq.read_metadata(path).metadata or {}
        return Total(path, frozenset(json.loads(metadata[_COVERS])))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def update_total(run_dir: Path, attempt: int, rolled: Mapping[str, Path], connection: Any) -> None:
    """Add what is new to the total of an attempt, or make it anew where it covers what is gone.

    Args:
        run_dir: Folder of the run.
        attempt: Number of the attempt.
        rolled: Name of every part of `groups` → its `prompt_outcomes` roll-up.
        connection: To DuckDB.

    Raises:
        OSError: The disk is full, or the folder cannot be written.
    """
    total = find_total(run_dir, attempt)
    if len(rolled) < 2 or (total is not None and total.covers == rolled.keys()):
        return
    sources = sorted(rolled.items())
    if total is not None and total.covers <= rolled.keys():
        sources = [(name, path) for name, path in sources if name not in total.covers]
        sources.append(("total", total.path))
    files = read_parquet([path for _, path in sources], ", hive_partitioning=false")
    merged = prompt_outcomes_merged(f"SELECT * FROM {files}")  # noqa: S608 — names of our own files
    table = connection.sql(f"{merged} ORDER BY prompt_id, size, correct").to_arrow_table()
    covers = {_COVERS: json.dumps(sorted(rolled)).encode()}
    store.commit_bytes(_path(run_dir, attempt), encode(table.replace_schema_metadata(covers)))


def _path(run_dir: Path, attempt: int) -> Path:
    name = f"prompt_outcomes.v{ROLLUP_VERSION}.parquet"
    return run_dir / "rollups" / "totals" / f"attempt={attempt}" / name
