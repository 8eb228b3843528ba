"""The sums a summary is made from, taken share by share: of a run that does not fit into memory.

A share is one bare part, or a stretch of parts that have roll-ups, or a stretch of single
generations: it depends on the files alone, never on who adds it up. What comes of the shares can be
put together in any order, for floating sums are one a generation and all else is integers.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from dissensus.runs import rollups
from dissensus.runs.database import connect
from dissensus.runs.follow import pieces, rows_of, sums_of, totals_of
from dissensus.runs.run import Run
from dissensus.runs.store import Segment
from dissensus.runs.sums import COUNTS, PROMPT_TOTALS, PROMPT_TOTALS_MERGED

__all__ = ["SHARED", "Share", "add_up", "add_up_here", "merged", "plan_shares", "shared_sql"]

_CURVES = ("generations", "counts", "heldout_prompts", "unscored_prompts")
SHARED = (*_CURVES, "prompt_totals")
"""Tables that shares are added up to."""

_MEMORY = "640MiB"
_PARTS_AT_ONCE = 16
_SEGMENTS_AT_ONCE = 256


class Share(NamedTuple):
    """Files that one worker adds up, and what it makes of them.

    Attributes:
        run: The run; it knows which roll-ups turned out to be broken.
        parts: Files that compaction has written.
        segments: Files of one generation.
        ends: Attempt → the step from which a later one supersedes it, or `None`.
        tables: Which of `SHARED`.
        is_rolled_up: Whether all of it has been added up already, and is only read.
    """

    run: Run
    parts: tuple[Segment, ...]
    segments: tuple[Segment, ...]
    ends: dict[int, int | None]
    tables: tuple[str, ...]
    is_rolled_up: bool = False


def plan_shares(run: Run) -> list[Share]:
    """Cut what a run consists of now into shares."""
    found = pieces(run)
    ends, parts, segments = found.ends, list(found.parts.values()), list(found.segments.values())
    _, rest = totals_of(run, parts, ends)
    uncovered = set(rest)
    covered = [part for part in parts if part not in uncovered]
    rolled = {part for part in parts if run.rollup("generations", part, ends) is not None}
    shares = []
    for own, tables in ((rest, SHARED), (covered, _CURVES)):
        bare = [(part,) for part in own if part not in rolled]
        shares += [Share(run, each, (), ends, tables) for each in bare]
        few = _stretches([part for part in own if part in rolled], _PARTS_AT_ONCE)
        shares += [Share(run, each, (), ends, tables, is_rolled_up=True) for each in few]
    if covered:
        shares.append(Share(run, tuple(covered), (), ends, ("prompt_totals",), is_rolled_up=True))
    tails = _stretches(segments, _SEGMENTS_AT_ONCE)
    return shares + [Share(run, (), each, ends, SHARED) for each in tails]


def shared_sql(rows: Callable[[str], str]) -> dict[str, str]:
    """Table → SQL that makes it from rows of roll-ups.

    Args:
        rows: Gives SQL of the rows of one kind of roll-up.
    """
    return {
        "generations": f"FROM ({rows('generations')})",
        "counts": COUNTS.format(source=f"({rows('outcomes')})"),
        "prompt_totals": PROMPT_TOTALS.format(source=f"({rows('prompt_outcomes')})"),
        "heldout_prompts": f"""SELECT DISTINCT prompt_id FROM ({rows("heldout")})
            WHERE prompt_id IS NOT NULL""",  # noqa: S608 — no outside text
        "unscored_prompts": f"""SELECT DISTINCT prompt_id FROM ({rows("by_prompt")})
            WHERE split = 'train' AND scored_groups < groups AND prompt_id IS NOT NULL""",  # noqa: S608
    }


def add_up(share: Share, connection: Any) -> dict[str, pa.Table]:
    """The tables of one share.

    Args:
        share: What to add up.
        connection: To DuckDB.
    """

    def rows(kind: str) -> str:
        if share.segments:
            source = f"({rows_of(share.segments, share.ends)})"
            return rollups.KINDS[kind].format(source=source)
        return _of_parts(share, kind)

    totals = totals_of(share.run, share.parts, share.ends)
    queries = shared_sql(rows)
    tables: dict[str, pa.Table] = {}
    for name in share.tables:
        if name == "unscored_prompts" and not _has_unscored(tables["generations"]):
            continue  # sums of all prompts are read only where there is something to find
        tables[name] = connection.sql(queries[name]).to_arrow_table()
    if totals_of(share.run, share.parts, share.ends) != totals:
        # Compaction has replaced a total meanwhile: which parts were read is not known.
        return add_up(share, connection)
    return tables


def _of_parts(share: Share, kind: str) -> str:
    parts: Sequence[Segment] = share.parts
    found = None
    if kind == "prompt_outcomes":
        found, parts = totals_of(share.run, parts, share.ends)
    of_rest = sums_of(share.run, kind, parts, share.ends)
    both = " UNION ALL BY NAME ".join(each for each in (found, of_rest) if each)
    return both or rollups.KINDS[kind].format(source=f"({rows_of([], {})})")


def _has_unscored(generations: pa.Table) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.less(generations["scored"], generations["groups"])).as_py())


def add_up_here(
    shares: Iterable[Share], *, threads: int | None = None
) -> Iterator[dict[str, pa.Table]]:
    """The tables of each share, made one after the other in this process.

    Args:
        shares: What to add up.
        threads: So many of DuckDB; as many as there are cores where it is not said.
    """
    options = {} if threads is None else {"threads": threads}
    with (
        tempfile.TemporaryDirectory(prefix="dissensus-") as spill,
        contextlib.closing(
            connect(memory_limit=_MEMORY, temp_directory=spill, **options)
        ) as connection,
    ):
        for share in shares:
            yield add_up(share, connection)


def merged(name: str, source: str) -> str:
    """SQL that puts the rows of one table of several shares together.

    Args:
        name: One of `SHARED`.
        source: SQL of those rows.
    """
    if name == "prompt_totals":
        return PROMPT_TOTALS_MERGED.format(source=source)
    return f"SELECT DISTINCT * FROM {source}" if name.endswith("prompts") else f"FROM {source}"  # noqa: S608


def _stretches(files: Sequence[Segment], length: int) -> list[tuple[Segment, ...]]:
    return [tuple(files[i : i + length]) for i in range(0, len(files), length)]
