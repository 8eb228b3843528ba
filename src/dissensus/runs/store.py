"""Files of a run: their names, which of them count, and how one is put on disk.

A file becomes visible under its final name only when all of it is on disk: it is written to a
temporary name in the same folder, fsynced, moved over the final name, and the folder is fsynced.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from dissensus.errors import RunError

__all__ = [
    "Segment",
    "commit_bytes",
    "commit_json",
    "committing",
    "list_live",
    "list_segments",
    "live_only",
    "next_generation",
    "part_name",
    "read_json",
    "segment_path",
    "sync_file",
    "temporary_files",
]

_NAME = re.compile(r"(?:generation-(\d{9,})|part-(\d{9,})-(\d{9,}))\.parquet")
_FOLDER = re.compile(r"attempt=(\d+)")
_RANK = re.compile(r"rank=(\d+)")
_LISTINGS = 20


class Segment(NamedTuple):
    """One Parquet file of a table, covering the generations first … last."""

    path: Path
    attempt: int
    rank: int
    first: int
    last: int
    is_part: bool


def segment_path(run_dir: Path, table: str, attempt: int, rank: int, generation: int) -> Path:
    """Where the rows of one generation are put."""
    return _folder(run_dir, table, attempt, rank) / f"generation-{generation:09d}.parquet"


def part_name(span: tuple[int, int]) -> str:
    """Name of the file where compaction puts the generations of `span`, both ends included."""
    return f"part-{span[0]:09d}-{span[1]:09d}.parquet"


def _folder(run_dir: Path, table: str, attempt: int, rank: int) -> Path:
    return run_dir / table / f"attempt={attempt}" / f"rank={rank}"


# ---- listing ---------------------------------------------------------------------------------


def list_segments(run_dir: Path, table: str) -> list[Segment]:
    """Every segment and part of a table, covered ones included, in one pass over the folders."""
    found = []
    for attempt, attempt_dir in _numbered(run_dir / table, _FOLDER):
        for rank, rank_dir in _numbered(attempt_dir, _RANK):
            for entry in _entries(rank_dir):
                match = _NAME.fullmatch(entry.name)
                if match is None:
                    continue
                one, first, last = match.groups()
                span = (int(one), int(one)) if one else (int(first), int(last))
                path = Path(entry.path)
                found.append(Segment(path, attempt, rank, *span, is_part=one is None))
    return sorted(found, key=lambda s: (s.attempt, s.rank, s.first, -s.last, not s.is_part))


def live_only(segments: Iterable[Segment]) -> list[Segment]:
    """Leave out what a part covers; expects the order of `list_segments`.

    Example:
        >>> part = Segment(Path("p"), 1, 0, 0, 4, is_part=True)
        >>> late = Segment(Path("s"), 1, 0, 3, 3, is_part=False)
        >>> [s.path.name for s in live_only([part, late])]
        ['p']
    """
    live: list[Segment] = []
    reach: dict[tuple[int, int], int] = {}
    for segment in segments:
        key = (segment.attempt, segment.rank)
        if segment.last <= reach.get(key, -1):
            continue
        if segment.is_part:
            reach[key] = segment.last
        live.append(segment)
    return live


def list_live(run_dir: Path, table: str) -> list[Segment]:
    """The segments that count, also while a compaction is under way.

    Reading a folder is not atomic: a part can appear and what it covers disappear while it is being
    read, and then neither is seen. A part is always there before anything is deleted, so a listing
    is complete when the next one finds the same parts.
    """
    before = list_segments(run_dir, table)
    for _ in range(_LISTINGS):
        after = list_segments(run_dir, table)
        if _parts(before) == _parts(after):
            return live_only(before)
        before = after
    return live_only(before)


def _parts(segments: list[Segment]) -> set[Path]:
    return {segment.path for segment in segments if segment.is_part}


def next_generation(run_dir: Path, tables: Iterable[str]) -> int:
    """One more than the highest generation any attempt or rank has put on disk; 0 in a new run."""
    numbers = [segment.last for table in tables for segment in list_segments(run_dir, table)]
    return max(numbers, default=-1) + 1


def temporary_files(folder: Path) -> list[Path]:
    """Unfinished files below a folder, left by a process that was killed."""
    return [path for path in folder.rglob(".*.tmp") if path.is_file()]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise RunError(f"cannot list the folder ({error.strerror})", where=str(folder)) from error


def _numbered(folder: Path, pattern: re.Pattern[str]) -> Iterator[tuple[int, Path]]:
    for entry in _entries(folder):
        match = pattern.fullmatch(entry.name)
        if match is not None:
            yield int(match.group(1)), Path(entry.path)


# ---- committing ------------------------------------------------------------------------------


@contextlib.contextmanager
def committing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; put it at `path` when the block ends without an error.

    The temporary name starts with a dot and does not end in .parquet, so that no glob and no
    data-set scan takes it for data. A folder that is missing is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def commit_bytes(path: Path, data: bytes | memoryview, *, sync: bool = True) -> None:
    """Put `data` at `path`: all of it or nothing, and on disk when this returns.

    Args:
        path: Final name; what is there is replaced.
        data: The whole content.
        sync: False for files whose last version may be lost with the power, as the heartbeat.

    Raises:
        OSError: The disk is full, the folder cannot be made or written.
    """
    with committing(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def commit_json(path: Path, value: Any, *, sync: bool = True) -> None:
    """Put `value` at `path` as one JSON document, with the guarantees of `commit_bytes`."""
    text = json.dumps(value, indent=1, default=str, allow_nan=False)
    commit_bytes(path, (text + "\n").encode("utf-8", "backslashreplace"), sync=sync)


def sync_file(path: Path) -> None:
    """Wait until the content of a file is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # a folder that may be written but not read cannot be synced
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise  # the others say that this file system cannot sync a folder
    finally:
        os.close(descriptor)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON document of a run.

    Raises:
        RunError: The file cannot be read, or does not hold a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError("there is no such file", where=str(path)) from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError("the file is not readable JSON", where=str(path), got=str(error)) from error
    if not isinstance(value, dict):
        raise RunError(
            "the file must hold a JSON object", where=str(path), got=type(value).__name__
        )
    return value
