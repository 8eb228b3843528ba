"""Compaction: many small segments become one part, and parts get their roll-ups.

The part is put on disk first, what it covers is deleted later; readers ignore a covered segment, so
a crash at any point leaves a run that reads the same.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.runs import attempts, rollups, store
from dissensus.runs.scan import is_sound
from dissensus.runs.schema import SCHEMAS, TABLES
from dissensus.runs.store import Segment

__all__ = [
    "GENERATION_TABLES",
    "GRACE_S",
    "Compacted",
    "compact",
    "compact_range",
    "compacting",
    "remove_covered",
]

GENERATION_TABLES = ("prompts", "rollouts", "groups")
"""Tables whose files carry the number of a generation; scalars count by themselves."""

GRACE_S = 5.0
"""Seconds between a new part and the deletion of what it covers: readers finish in that time."""

ABANDONED_S = 3600.0
"""A temporary file that nobody has touched for this long belongs to a process that was killed."""

_ROWS_PER_GROUP = 65_536
_BYTES_PER_GROUP = 32 * 1024**2


class Compacted(NamedTuple):
    """What `compact` did.

    Attributes:
        parts: Parts written.
        segments: Files they replace.
        removed: Covered files deleted.
        unreadable: Files left alone because they cannot be read.
    """

    parts: int
    segments: int
    removed: int
    unreadable: tuple[str, ...]


def compact(
    run_dir: str | Path, *, generations_per_part: int = 500, grace_s: float = GRACE_S
) -> Compacted:
    """Put the segments of a run into few large parts.

    The attempt that is being recorded keeps its last, incomplete stretch: its own process compacts
    that. Calling this twice does nothing the second time.

    Args:
        run_dir: Folder of the run.
        generations_per_part: Generations per part.
        grace_s: Seconds between writing parts and deleting what they cover.

    Raises:
        RunError: The folder is absent or not a run.
        OSError: The disk is full, or the folder cannot be written.
    """
    run_dir = Path(run_dir).absolute()
    attempts.read_info(run_dir)
    is_running = attempts.run_state(run_dir) == "running"
    known = attempts.read_attempts(run_dir)
    newest = max((a.attempt for a in known), default=0)
    firsts = {a.attempt: a.first_generation for a in known}
    total = Compacted(0, 0, 0, ())
    with compacting(run_dir, wait=True):
        for tables in (GENERATION_TABLES, ("scalars",)):
            for (attempt, rank), end in _ends(run_dir, tables).items():
                stretches = _stretches(firsts.get(attempt, 0), end, generations_per_part)
                for first, last in stretches:
                    if is_running and attempt == newest and last >= end:
                        continue
                    done = compact_range(run_dir, attempt, rank, first, last, tables=tables)
                    total = _add(total, done)
        rollups.update(run_dir)
        if total.parts and grace_s > 0:
            time.sleep(grace_s)
        folders = {**_ends(run_dir, TABLES)}
        removed = sum(remove_covered(run_dir, attempt, rank) for attempt, rank in folders)
        for path in store.temporary_files(run_dir):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > ABANDONED_S:
                    path.unlink()
    return total._replace(removed=removed)


def compact_range(
    run_dir: Path,
    attempt: int,
    rank: int,
    first: int,
    last: int,
    *,
    tables: Sequence[str] = GENERATION_TABLES,
    breathe: Callable[[], None] = lambda: None,
) -> Compacted:
    """Write one part per table for the generations first … last; deletes nothing.

    Raises:
        OSError: The disk is full, or the folder cannot be written. Nothing is lost then.
    """
    total = Compacted(0, 0, 0, ())
    for table in tables:
        inside = [
            s
            for s in store.list_live(run_dir, table)
            if (s.attempt, s.rank) == (attempt, rank) and first <= s.first and s.last <= last
        ]
        broken: set[Path] = {s.path for s in inside if not _has_footer(s.path)}
        try:
            done = _write_parts(table, inside, broken, breathe)
        except (OSError, pa.ArrowException):
            found = {s.path for s in inside if not is_sound(s.path)}
            if found <= broken:
                raise  # not what was read, but the disk
            broken = found
            done = _write_parts(table, inside, broken, breathe)
        total = _add(total, done._replace(unreadable=tuple(sorted(map(str, broken)))))
    if "groups" in tables:
        rollups.update(run_dir)
    return total


@contextlib.contextmanager
def compacting(run_dir: Path, *, wait: bool) -> Iterator[bool]:
    """Let one process at a time compact a run: two at once could write parts that overlap.

    Gives False when another process is at it and `wait` is False. The lock goes with the process.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield True
        return
    with (run_dir / ".compact.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # a file system without locks
            pass
        yield True


def remove_covered(run_dir: Path, attempt: int, rank: int) -> int:
    """Delete the segments and parts that a larger part covers; returns how many."""
    removed = 0
    for table in TABLES:
        found = [s for s in store.list_segments(run_dir, table) if s[1:3] == (attempt, rank)]
        live = {segment.path for segment in store.live_only(found)}
        for segment in found:
            if segment.path not in live:
                segment.path.unlink(missing_ok=True)
                removed += 1
    return removed


def _ends(run_dir: Path, tables: Sequence[str]) -> dict[tuple[int, int], int]:
    """(attempt, rank) → the highest number on disk."""
    ends: dict[tuple[int, int], int] = {}
    for table in tables:
        for segment in store.list_segments(run_dir, table):
            key = (segment.attempt, segment.rank)
            ends[key] = max(segment.last, ends.get(key, -1))
    return dict(sorted(ends.items()))


def _stretches(first: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of `size` numbers from the attempt's first to its last on disk."""
    for start in range(first, end + 1, size):
        yield start, start + size - 1


def _write_parts(
    table: str, segments: list[Segment], broken: set[Path], breathe: Callable[[], None]
) -> Compacted:
    """One part per run of neighbours: a part must not cover, and so hide, a broken file."""
    runs: list[list[Segment]] = [[]]
    for segment in segments:
        if segment.path in broken:
            runs.append([])
        else:
            runs[-1].append(segment)
    several = [run for run in runs if len(run) > 1]
    for run in several:
        span = (run[0].first, run[-1].last)
        path = run[0].path.with_name(store.part_name(span))
        _write_part(path, _schema_of(table, run), run, breathe)
    return Compacted(len(several), sum(map(len, several)), 0, ())


def _has_footer(path: Path) -> bool:
    try:
        pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return False
    return True


def _schema_of(table: str, segments: list[Segment]) -> pa.Schema:
    """This version's columns, then those that a newer version has added."""
    schema = SCHEMAS[table]
    for segment in segments:
        for field in pq.read_schema(segment.path):
            if field.name not in schema.names:
                schema = schema.append(field)
    return schema


def _write_part(
    path: Path, schema: pa.Schema, segments: list[Segment], breathe: Callable[[], None]
) -> None:
    rows = 0
    with store.committing(path) as temporary:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for table in _batches(segments, schema, breathe):
                writer.write_table(table)
                rows += table.num_rows
        store.sync_file(temporary)
        if pq.read_metadata(temporary).num_rows != rows:
            raise OSError(f"{path.name} does not hold the rows it should")


def _batches(
    segments: list[Segment], schema: pa.Schema, breathe: Callable[[], None]
) -> Iterator[pa.Table]:
    """Tables of a good size for a row group, in the order of the generations."""
    waiting: list[pa.Table] = []
    for segment in segments:
        waiting.append(_conform(pq.ParquetFile(segment.path).read(), schema))
        breathe()
        if (
            sum(t.num_rows for t in waiting) >= _ROWS_PER_GROUP
            or sum(t.nbytes for t in waiting) >= _BYTES_PER_GROUP
        ):
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema`, nulls for those that an older version did not write."""
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _add(a: Compacted, b: Compacted) -> Compacted:
    return Compacted(
        a.parts + b.parts,
        a.segments + b.segments,
        a.removed + b.removed,
        a.unreadable + b.unreadable,
    )
