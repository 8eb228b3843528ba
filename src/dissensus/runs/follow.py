"""Which files of a run a follower of it reads: sums of parts, and the groups of the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dissensus.runs import attempts, rollups
from dissensus.runs.run import Run
from dissensus.runs.scan import live, read_parquet, scan
from dissensus.runs.store import Segment

__all__ = ["Pieces", "pieces", "rows_of", "sums_of", "totals_of"]

_AS_IT_IS = ", hive_partitioning=false"
"""Roll-ups of one version have the same columns: their footers need not be read beforehand."""


class Pieces(NamedTuple):
    """The files of `groups` that hold live rows.

    Attributes:
        ends: Attempt → the step from which a later one supersedes it, or `None`.
        parts: Files that compaction has written.
        segments: Files of one generation.
    """

    ends: dict[int, int | None]
    parts: dict[Path, Segment]
    segments: dict[Path, Segment]


def pieces(run: Run) -> Pieces:
    """Look at what a run consists of now."""
    found = Pieces(attempts.end_steps(run.attempts), {}, {})
    for segment in run.segments(found.ends):
        (found.parts if segment.is_part else found.segments)[segment.path] = segment
    return found


def rows_of(segments: Sequence[Segment], ends: dict[int, int | None]) -> str:
    """SQL for the live groups of some files."""
    return scan("groups", segments, ends)


def sums_of(
    run: Run, kind: str, parts: Iterable[Segment], ends: dict[int, int | None]
) -> str | None:
    """SQL for the rows of one kind of roll-up that count, made from the part where there is none.

    Args:
        run: The run.
        kind: A key of `rollups.KINDS`.
        parts: Parts of `groups`.
        ends: Attempt → the step from which a later one supersedes it.

    Returns:
        `None` where there are no parts.
    """
    files: dict[int | None, list[Path]] = {}
    bare = []
    for part in parts:
        path = run.rollup(kind, part, ends)
        if path is None:
            bare.append(part)
        else:
            files.setdefault(ends[part.attempt], []).append(path)
    found = []
    for end, paths in files.items():
        is_cut = end is not None and kind in rollups.CUT_BY_STEP
        keep = f" WHERE {live('groups', end)}" if is_cut else ""
        found.append(f"(SELECT * FROM {read_parquet(paths, _AS_IT_IS)}{keep})")  # noqa: S608
    if bare:
        found.append(f"({rollups.KINDS[kind].format(source=f'({rows_of(bare, ends)})')})")
    return " UNION ALL BY NAME ".join(found) or None


def totals_of(
    run: Run, parts: Iterable[Segment], ends: dict[int, int | None]
) -> tuple[str | None, list[Segment]]:
    """SQL for the totals per prompt that can be used, and the parts that none of them covers.

    Args:
        run: The run.
        parts: Parts of `groups`.
        ends: Attempt → the step from which a later one supersedes it.
    """
    found: list[Path] = []
    rest = list(parts)
    for attempt in sorted({part.attempt for part in rest}):
        total = run.total(attempt, ends[attempt])
        names = {part.path.name for part in rest if part.attempt == attempt}
        if total is not None and total.covers <= names:
            found.append(total.path)
            rest = [p for p in rest if p.attempt != attempt or p.path.name not in total.covers]
    return (f"(FROM {read_parquet(found, _AS_IT_IS)})" if found else None), rest
