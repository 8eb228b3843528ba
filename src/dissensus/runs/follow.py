"""Which files of a run a follower of it reads: sums of parts, and the groups of the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dissensus.runs import attempts, rollups, totals
from dissensus.runs.run import Run
from dissensus.runs.scan import live, read_parquet, scan
from dissensus.runs.store import Segment

__all__ = ["Pieces", "pieces", "rows_of", "sums_of"]

_AS_IT_IS = ", hive_partitioning=false"


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
    parts = list(parts)
    if kind == "prompt_outcomes":
        parts = _without_totals(run, parts, ends, files)
    for part in parts:
        path, end = rollups.find(run.path, kind, part), ends[part.attempt]
        if path is not None and rollups.is_usable(kind, path, end):
            files.setdefault(end, []).append(path)
        else:
            bare.append(part)
    found = []
    for end, paths in files.items():
        is_cut = end is not None and kind in rollups.CUT_BY_STEP
        keep = f" WHERE {live('groups', end)}" if is_cut else ""
        found.append(f"(SELECT * FROM {read_parquet(paths, _AS_IT_IS)}{keep})")  # noqa: S608
    if bare:
        found.append(f"({rollups.KINDS[kind].format(source=f'({rows_of(bare, ends)})')})")
    return " UNION ALL BY NAME ".join(found) or None


def _without_totals(
    run: Run,
    parts: list[Segment],
    ends: dict[int, int | None],
    files: dict[int | None, list[Path]],
) -> list[Segment]:
    """Put the totals that cover some of the parts into `files`, and return the other parts."""
    for attempt in {part.attempt for part in parts}:
        total = totals.find_total(run.path, attempt)
        names = {part.path.name for part in parts if part.attempt == attempt}
        end = ends[attempt]
        if total is None or not total.covers <= names:
            continue
        if rollups.is_usable("prompt_outcomes", total.path, end):
            files.setdefault(end, []).append(total.path)
            parts = [p for p in parts if p.attempt != attempt or p.path.name not in total.covers]
    return parts
