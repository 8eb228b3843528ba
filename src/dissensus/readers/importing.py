"""A log becomes a run: its rollouts are recorded generation by generation, in bounded memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dissensus.errors import InputError, RunError
from dissensus.readers.log import Log
from dissensus.runs import Recorder

__all__ = ["Imported", "import_log"]

_UNIT = ("step", "generation", "split", "round")
_MAX_ROLLOUTS = 32_768
_COLUMNS = [
    *_UNIT,
    "row",
    "group_id",
    "prompt_id",
    "reward",
    "correct",
    "advantage",
    "length",
    "truncated",
    "trained",
    "rewards_by_function",
    "policy_version",
    "completion",
    "prompt",
    "reference",
]


class Imported(NamedTuple):
    """What was written: numbers of generations and rollouts, and what the recorder dropped."""

    generations: int
    rollouts: int
    dropped: dict[str, int]


def import_log(
    log: Log,
    run_dir: str | os.PathLike[str],
    *,
    on_progress: Callable[[int], None] | None = None,
) -> Imported:
    """Write a log as a run.

    A generation with more than 32,768 rollouts is written as several, cut between groups, and so is
    one in which the log says only of some groups which rollouts are correct: that of the others
    stays unknown.

    Args:
        log: The log.
        run_dir: Folder of the run; must not exist, or be empty.
        on_progress: Called with the number of rollouts written so far.

    Raises:
        InputError: The folder holds something.
        RunError: The run cannot be written.
    """
    target = Path(run_dir)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError("the run must be a new folder", where=str(target))
    has_correct = "correct" in log.columns or log.grouping.kind == "counts"
    metadata = {**log.info["metadata"], "imported_from": str(log.path)}
    written = generations = 0
    with (
        tempfile.TemporaryDirectory(prefix="dissensus-") as folder,
        Recorder(
            target,
            metadata=metadata,
            correct=log.threshold,
            text_budget_bytes=None,
            compact_every=500,
        ) as recorder,
    ):
        for whole in _generations(log.sorted_rollouts(Path(folder), _COLUMNS)):
            whole = _as_logged(whole)  # noqa: PLW2901
            for piece, is_judged in _by_judgement(whole) if has_correct else [(whole, None)]:
                _record(recorder, piece, is_judged=is_judged, has=log.columns)
                recorder.flush()  # nothing is dropped as long as one generation waits at a time
                generations += 1
                written += piece.num_rows
                if on_progress is not None:
                    on_progress(written)
        dropped = dict(recorder.dropped)
    if dropped:
        raise RunError(f"not everything could be written ({dropped})", where=str(target))
    return Imported(generations, written, dropped)


def _generations(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Stretches of one generation, split and round, at most `_MAX_ROLLOUTS` unless one group is."""
    held: list[pa.Table] = []
    for batch in batches:
        table = pa.Table.from_batches([batch])
        for piece in _cut(table, _UNIT):
            if held and not _same(held[-1], piece, _UNIT):
                yield pa.concat_tables(held)
                held = []
            for part in (
                _cut(piece, ("group_id",)) if _size(held) + len(piece) > _MAX_ROLLOUTS else [piece]
            ):
                if (
                    _size(held) + len(part) > _MAX_ROLLOUTS
                    and held
                    and not _same(held[-1], part, ("group_id",))
                ):
                    yield pa.concat_tables(held)
                    held = []
                held.append(part)
    if held:
        yield pa.concat_tables(held)


def _as_logged(table: pa.Table) -> pa.Table:
    """Groups in the order of their first rows; sorting has put their names in order."""
    place = table["row"].to_numpy()
    names = table["group_id"].combine_chunks()
    starts = pc.fill_null(pc.not_equal(names[1:], names[:-1]), True).to_numpy(zero_copy_only=False)
    group = np.concatenate([[0], np.cumsum(starts)]).astype(np.int64)
    first = np.full(group[-1] + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, group, place)
    return table.take(np.lexsort((place, first[group])))


def _size(tables: list[pa.Table]) -> int:
    return sum(len(table) for table in tables)


def _cut(table: pa.Table, names: tuple[str, ...]) -> Iterator[pa.Table]:
    """Cut a table where any of these columns changes."""
    changes = np.zeros(max(len(table) - 1, 0), dtype=bool)
    for name in names:
        values = table[name].combine_chunks()
        differ = pc.not_equal(values[1:], values[:-1])
        changes |= pc.fill_null(differ, True).to_numpy(zero_copy_only=False)
    ends = [0, *(np.flatnonzero(changes) + 1).tolist(), len(table)]
    for first, last in pairwise(ends):
        if last > first:
            yield table.slice(first, last - first)


def _same(before: pa.Table, after: pa.Table, names: tuple[str, ...]) -> bool:
    return all(before[name][-1].as_py() == after[name][0].as_py() for name in names)


def _by_judgement(table: pa.Table) -> Iterator[tuple[pa.Table, bool]]:
    """The groups whose scored rollouts are all said to be right or wrong, and the other groups."""
    scored = pc.and_(pc.is_valid(table["reward"]), pc.is_finite(pc.fill_null(table["reward"], 0)))
    doubtful = table["group_id"].filter(pc.and_(scored, pc.is_null(table["correct"])))
    unjudged = pc.is_in(table["group_id"], value_set=doubtful.combine_chunks().unique())
    for mask, is_judged in ((pc.invert(unjudged), True), (unjudged, False)):
        piece = table.filter(mask)
        if piece.num_rows:
            yield piece, is_judged


def _record(
    recorder: Recorder, table: pa.Table, *, is_judged: bool | None, has: frozenset[str]
) -> None:
    """Write one generation; `is_judged` None: the recorder finds out what is correct."""
    advantages = _floats(table, "advantage") if "advantage" in has else None
    correct = None if is_judged is None else _flags(table, "correct") if is_judged else "unknown"
    policy = table["policy_version"][0].as_py() if "policy_version" in has else None
    recorder.record(
        step=table["step"][0].as_py() or 0,
        split=table["split"][0].as_py() or "train",
        round=table["round"][0].as_py() or 0,
        group_ids=_texts(table, "group_id"),
        prompt_ids=_texts(table, "prompt_id"),
        rewards=_floats(table, "reward"),
        correct=correct,
        trained=_flags(table, "trained") if "trained" in has else None,
        lengths=_floats(table, "length") if "length" in has else None,
        truncated=_flags(table, "truncated") if "truncated" in has else None,
        advantages_used=advantages,
        advantages_framework=advantages,
        rewards_by_function=_functions(table) if "rewards_by_function" in has else None,
        policy_version=policy,
        completions=table["completion"].to_pylist() if "completion" in has else None,
        prompts=table["prompt"].to_pylist() if "prompt" in has else None,
        references=table["reference"].to_pylist() if "reference" in has else None,
    )


def _floats(table: pa.Table, name: str) -> Any:
    return table[name].cast(pa.float64()).to_numpy()


def _flags(table: pa.Table, name: str) -> Any:
    return pc.fill_null(table[name], False).to_numpy()


def _texts(table: pa.Table, name: str) -> list[str]:
    return [value or "" for value in table[name].to_pylist()]


def _functions(table: pa.Table) -> dict[str, Any]:
    rows = table["rewards_by_function"].to_pylist()
    names = {key for row in rows for key, _ in row or ()}
    values = {name: np.full(len(rows), np.nan) for name in sorted(names)}
    for i, row in enumerate(rows):
        for key, value in row or ():
            values[key][i] = np.nan if value is None else value
    return values
