"""Per-prompt counts: how many of n rollouts were correct, without the rollouts themselves.

Three shapes: a JSON object {prompt: [accuracy of each visit]}, a histogram of solve counts
(`correct_of_64,problems`), and rows with a count of correct rollouts and a group size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from dissensus.errors import InputError
from dissensus.readers.base import (
    CANONICAL,
    Format,
    Grouping,
    Layout,
    ReportBadRow,
    Sample,
    quote_name,
)
from dissensus.readers.jsonstream import JsonStream
from dissensus.readers.sniff import open_bytes, sniff
from dissensus.readers.tabular import cast, raw_type

__all__ = ["ACCURACY_LISTS", "COUNT_NAMES", "HISTOGRAM", "KOFN", "count_layout", "group_size_of"]

MAX_GROUP_SIZE = 1024
"""Largest group size that is looked for when only accuracies are given."""

_CONVERTED = ("step", "prompt_id", "correct_count", "size")
_MAX_ROUNDED = 64
_BATCH = 65_536
_MAX_VALUE_CHARS = 64 << 20
_HISTOGRAM = re.compile(r"correct_of_(\d{1,6})", re.IGNORECASE)
COUNT_NAMES: dict[str, tuple[str, ...]] = {
    "correct_count": ("correct_count", "num_correct", "n_correct", "correct", "k"),
    "size": ("size", "group_size", "num_rollouts", "n_rollouts", "num_samples", "total", "n"),
    "visits": ("visits", "problems", "prompts"),
}


# ---- a JSON object of accuracy lists ---------------------------------------------------------


def group_size_of(accuracies: Sequence[float]) -> int | None:
    """The smallest group size of which every accuracy is a multiple; None up to 1024.

    Example:
        >>> group_size_of([0.125, 1.0, 0.25])
        8
    """
    fractions = {round(value, 9) for value in accuracies}
    for largest, tol in ((MAX_GROUP_SIZE, 1e-6), (_MAX_ROUNDED, 1e-4)):
        for size in range(1, largest + 1):
            if all(abs(value - round(value * size) / size) <= tol for value in fractions):
                return size
    return None


def _is_accuracy_lists(sample: Sample) -> bool:
    if len(sample.rows) != 1 or not sample.columns:
        return False
    lists = list(sample.rows[0].values())
    return all(isinstance(each, list) and _are_fractions(each) for each in lists) and any(lists)


def _are_fractions(values: list[Any]) -> bool:
    return all(map(_is_fraction, values))


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1  # neither NaN nor infinite


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _size_in(sample: Sample) -> int | None:
    """The group size that the opening of a file shows; 0: every accuracy is 0 or 1."""
    lists = [each for row in sample.rows for each in row.values() if isinstance(each, list)]
    values = {value for each in lists for value in each if _is_fraction(value)}
    return 0 if values <= {0, 1} else group_size_of(list(values))


def _accuracy_layout(sample: Sample) -> Layout:
    size = _size_in(sample)
    if size is None:
        raise InputError(
            f"its accuracies are no multiples of 1/n for any n up to {MAX_GROUP_SIZE}",
            where=str(sample.file),
            hint="rows of correct_count and size can be read whatever the size",
        )
    if size == 0:
        text = "each accuracy is one group; all are 0 or 1, which fits any size: taken as 1 rollout"
        grouping = Grouping("counts", "guessed", text, 1)
    else:
        text = f"each accuracy is one group; all are multiples of 1/{size}"
        grouping = Grouping("counts", "likely", text, size)
    return Layout(
        raw={name: CANONICAL[name] for name in _CONVERTED},
        columns={name: name for name in _CONVERTED},
        grouping=grouping,
        notes=("no step numbers: step is the visit of the prompt, from 0",),
    )


def _convert_accuracies(file: Path, report: ReportBadRow) -> Iterator[pa.RecordBatch]:
    """Stream the groups of a document of any size in little memory.

    The size of the groups is that which the opening of the file shows.
    """
    size = _size_in(sniff(file))
    if size is None:
        report(0, f"multiples of 1/n for some n up to {MAX_GROUP_SIZE}", "nothing")
        return
    size = size or 1
    tol = 1e-4 if size <= _MAX_ROUNDED else 1e-6
    rows: list[tuple[int, str, int, int]] = []
    for row, (key, value) in enumerate(_pairs(file, report), start=1):
        if not isinstance(value, list):
            report(row, f"a list of accuracies for prompt {key[:40]!r}", "nothing")
            continue
        for visit, accuracy in enumerate(value):
            if not _is_fraction(accuracy):
                report(row, f"an accuracy from 0 to 1 at visit {visit + 1}", "its other visits")
                continue
            correct = round(accuracy * size)
            if abs(accuracy - correct / size) > tol:
                report(row, f"a multiple of 1/{size} at visit {visit + 1}", "its other visits")
                continue
            rows.append((visit, key, correct, size))
        if len(rows) >= _BATCH:
            yield _batch(rows)
            rows = []
    yield _batch(rows)


def _batch(rows: list[tuple[int, str, int, int]]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(_CONVERTED)
    kinds = (pa.int64(), pa.string(), pa.int64(), pa.int64())
    arrays = [pa.array(values, kind) for values, kind in zip(columns, kinds, strict=True)]
    return pa.record_batch(arrays, names=list(_CONVERTED))


def _pairs(file: Path, report: ReportBadRow) -> Iterator[tuple[str, Any]]:
    """The pairs of one JSON object, read piece by piece."""
    count = 0
    with open_bytes(file) as opened:
        stream = JsonStream(opened, max_chars=_MAX_VALUE_CHARS)
        stream.next_char("{")
        while (char := stream.next_char(",")) != "}":
            pair = _pair(stream) if char == '"' else None
            if pair is None:
                report(count + 1, "a complete JSON object", f"the {count} prompts before")
                return
            count += 1
            yield pair
        if stream.next_char("}"):
            report(count + 1, "nothing after the JSON object", f"the {count} prompts before")


def _pair(stream: JsonStream) -> tuple[str, Any] | None:
    try:
        key = stream.value()
        stream.next_char(":")
        return str(key), stream.value()
    except ValueError:
        return None


ACCURACY_LISTS = Format(
    name="accuracies",
    title="accuracies of each prompt's groups",
    containers=frozenset({"jsonl", "json"}),
    matches=_is_accuracy_lists,
    layout=_accuracy_layout,
    convert=_convert_accuracies,
)


# ---- rows with counts ------------------------------------------------------------------------


def _histogram_column(sample: Sample) -> str | None:
    return next((name for name in sample.columns if _HISTOGRAM.fullmatch(name.strip())), None)


def _histogram_layout(sample: Sample) -> Layout:
    column = _histogram_column(sample) or ""
    match = _HISTOGRAM.fullmatch(column.strip())
    size = int(match[1]) if match else 0
    visits = next(name for name in sample.columns if name != column)
    return Layout(
        raw={column: "BIGINT", visits: "BIGINT"},
        columns={
            "correct_count": quote_name(column),
            "size": f"{size}::BIGINT",
            "visits": quote_name(visits),
        },
        grouping=Grouping("counts", "exact", f"each problem is one group of {size}", size),
        required=(column, visits),
        check=_impossible(column, visits=visits, size=size),
        notes=("a histogram: problems have no names and no order",),
    )


HISTOGRAM = Format(
    name="histogram",
    title="number of problems by solve count",
    containers=frozenset({"csv"}),
    matches=lambda sample: _histogram_column(sample) is not None and len(sample.columns) == 2,
    layout=_histogram_layout,
)


def _impossible(
    correct: str, size_column: str | None = None, visits: str | None = None, *, size: int = 0
) -> Callable[[Mapping[str, Any]], str]:
    """A check of one row: what should have been there, or nothing."""

    def check(row: Mapping[str, Any]) -> str:
        total = size if size_column is None else row[size_column]
        if total < 1:
            return f"at least one rollout in {size_column}"
        if not 0 <= row[correct] <= total:
            return f"a number from 0 to {total} in {correct}"
        if visits is not None and row[visits] < 0:
            return f"no negative number in {visits}"
        return ""

    return check


def count_layout(sample: Sample, mapping: Mapping[str, str]) -> Layout:
    """One group per row: `correct_count` of `size` rollouts."""
    columns = {name: cast(name, raw, sample) for name, raw in mapping.items()}
    return Layout(
        raw={raw: raw_type(name, raw, sample) for name, raw in mapping.items()},
        columns=columns,
        grouping=Grouping(
            "counts",
            "exact",
            f"one per row: {mapping['correct_count']} of {mapping['size']} correct",
        ),
        required=tuple(
            mapping[name] for name in ("correct_count", "size", "visits") if name in mapping
        ),
        check=_impossible(mapping["correct_count"], mapping["size"], mapping.get("visits")),
    )


def _count_mapping(sample: Sample) -> dict[str, str]:
    by_name = {name.lower(): name for name in reversed(list(sample.columns))}
    names = {
        **COUNT_NAMES,
        "step": ("step", "global_step", "iteration"),
        "prompt_id": ("prompt_id", "problem_id", "question_id", "id"),
        "prompt": ("prompt", "problem", "question"),
    }
    hits = {
        canonical: next((by_name[name] for name in options if name in by_name), None)
        for canonical, options in names.items()
    }
    return {canonical: raw for canonical, raw in hits.items() if raw is not None}


def _is_kofn(sample: Sample) -> bool:
    found = _count_mapping(sample)
    has_reward = {"reward", "score", "rewards"} & {name.lower() for name in sample.columns}
    return "correct_count" in found and "size" in found and not has_reward


KOFN = Format(
    name="counts",
    title="correct rollouts of each group",
    containers=frozenset({"jsonl", "json", "csv", "parquet"}),
    matches=_is_kofn,
    layout=lambda sample: count_layout(sample, _count_mapping(sample)),
)
