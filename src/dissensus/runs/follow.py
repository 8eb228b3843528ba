"""Which files of a run a follower of it reads: roll-ups of parts, and the groups of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dissensus.runs import attempts, rollups
from dissensus.runs.run import Run
from dissensus.runs.scan import live, read_parquet, scan
from dissensus.runs.store import Segment

__all__ = ["Pieces", "pieces", "rows_of", "sums_of"]


_AS_IT_IS = ", hive_partitioning=false"


class Pieces(NamedTuple):
    """The files of `groups` that hold live rows.

    Attributes:
        ends: Attempt → the step from which a later one supersedes it, or `None`.
        rolled: Part with all roll-ups → its segment.
        direct: Other file → its segment.
    """

    ends: dict[int, int | None]
    rolled: dict[Path, Segment]
    direct: dict[Path, Segment]


def pieces(run: Run, before: Pieces) -> Pieces:
    """Look at what a run consists of now.

    Args:
        run: The run.
        before: What it consisted of at the last look: its roll-ups are not looked at again.
    """
    ends = attempts.end_steps(run.attempts)
    known = before.rolled if before.ends == ends else {}
    found = Pieces(ends, {}, {})
    for segment in run.segments(ends):
        if segment.path in known:
            found.rolled[segment.path] = segment
            continue
        paths = {kind: rollups.find(run.path, kind, segment) for kind in rollups.KINDS}
        end = ends[segment.attempt]
        is_rolled = all(p is not None and rollups.is_usable(k, p, end) for k, p in paths.items())
        (found.rolled if is_rolled else found.direct)[segment.path] = segment
    return found


def rows_of(segments: Sequence[Segment], ends: dict[int, int | None]) -> str:
    """SQL for the live groups of some files."""
    return scan("groups", segments, ends)


def sums_of(held: Pieces, kind: str) -> str:
    """SQL for the rows of one kind of roll-up that count."""
    found = []
    for end in {held.ends[segment.attempt] for segment in held.rolled.values()}:
        files = [
            rollups.rollup_path(_run_dir(path), kind, segment)
            for path, segment in held.rolled.items()
            if held.ends[segment.attempt] == end
        ]
        is_cut = end is not None and kind in rollups.CUT_BY_STEP
        keep = f" WHERE {live('groups', end)}" if is_cut else ""
        found.append(f"SELECT * FROM {read_parquet(files, _AS_IT_IS)}{keep}")  # noqa: S608
    return " UNION ALL BY NAME ".join(found)


def _run_dir(path: Path) -> Path:
    """The run of a file groups/attempt=…/rank=…/….parquet."""
    return path.parents[3]
