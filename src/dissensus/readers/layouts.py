"""Files of one log that do not look alike: each is read by its own layout, and they add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dissensus.readers.base import Layout, Sample, quote_name, text_id

__all__ = ["Chosen", "choose_layouts", "complete_layout", "merge_layouts"]


class Chosen(NamedTuple):
    """Layouts of the files of a log.

    Attributes:
        layout: That of most files, with the notes of all.
        others: Layouts of the files that have another one.
        left: Files whose groups are known in another way, so that they are another log.
        left_text: How the groups of the first of those are known.
    """

    layout: Layout
    others: Mapping[Path, Layout]
    left: frozenset[Path] = frozenset()
    left_text: str = ""


def choose_layouts(
    samples: Sequence[Sample], common: Layout, layout_of: Callable[[Sample], Layout | None]
) -> Chosen:
    """Find the layout of every file; a file that fits the common one has that.

    Args:
        samples: The files of the log, in order.
        common: The layout made from the columns of all files together.
        layout_of: The layout of a file by itself; None where it has none.
    """
    kinds: dict[tuple[tuple[str, str], ...], list[Sample]] = {}
    for sample in samples:
        kinds.setdefault(tuple(sample.columns.items()), []).append(sample)
    if len(kinds) == 1:
        return Chosen(common, {})
    layouts = [common]
    index: dict[Path, int] = {}
    for alike in kinds.values():
        own = layout_of(alike[0])
        if own is None or _fits(common, own, alike[0]):
            own = common
        at = next((i for i, each in enumerate(layouts) if _are_equal(each, own)), len(layouts))
        if at == len(layouts):
            layouts.append(own)
        index.update((sample.file, at) for sample in alike)
    files = [sample.file for sample in samples]
    ways = Counter(_way(layouts[index[file]]) for file in files)
    way = ways.most_common(1)[0][0]
    kept = [file for file in files if _way(layouts[index[file]]) == way]
    left = [file for file in files if file not in set(kept)]
    most = Counter(index[file] for file in kept).most_common(1)[0][0]
    used = [layouts[at] for at in sorted({index[file] for file in kept})]
    counts = {id(layouts[at]): n for at, n in Counter(index[file] for file in kept).items()}
    return Chosen(
        replace(layouts[most], notes=_notes(used, counts)),
        {file: layouts[index[file]] for file in kept if index[file] != most},
        frozenset(left),
        layouts[index[left[0]]].grouping.text if left else "",
    )


def complete_layout(layout: Layout, *, without_step: str) -> Layout:
    """The layout with the keys that every table needs.

    Args:
        layout: As the format made it.
        without_step: SQL of the step of a log that has none.
    """
    columns = dict(layout.columns)
    if "step" not in columns:
        columns["step"] = columns.get("generation", without_step)
    columns.setdefault("generation", columns["step"])
    for name, usual in (("split", "'train'"), ("round", "0::BIGINT")):
        columns[name] = f"coalesce({columns[name]}, {usual})" if name in columns else usual
    if "prompt_id" not in columns and "prompt" in columns:
        columns["prompt_id"] = text_id(columns["prompt"])
    return replace(layout, columns=columns)


def merge_layouts(layouts: Sequence[Layout]) -> Layout:
    """What holds for the files of all layouts together.

    An expression that is not the same everywhere becomes the name of its canonical column.
    """
    first = layouts[0]
    columns: dict[str, str] = {}
    for name in dict.fromkeys(name for each in layouts for name in each.columns):
        found = {each.columns.get(name) for each in layouts}
        same = found.pop() if len(found) == 1 else None
        columns[name] = quote_name(name) if same is None else same
    unnest = tuple(dict.fromkeys(name for each in layouts for name in each.unnest))
    return replace(first, columns=columns, unnest=unnest)


def _fits(common: Layout, own: Layout, sample: Sample) -> bool:
    """Whether the common layout says of this file all that its own would, and asks no more."""
    more = common.raw.keys() - own.raw.keys()
    return (
        all(common.columns.get(name) == sql for name, sql in own.columns.items())
        and all(common.raw.get(name) == kind for name, kind in own.raw.items())
        and not more & sample.columns.keys()
        and set(common.unnest) & own.raw.keys() == set(own.unnest)
        and set(common.required) <= sample.columns.keys() | set(own.required)
        and _way(common) == _way(own)
    )


def _are_equal(one: Layout, other: Layout) -> bool:
    return (one.raw, one.columns, one.required, one.unnest, one.grouping, one.notes) == (
        (other.raw, other.columns, other.required, other.unnest, other.grouping, other.notes)
    )


def _way(layout: Layout) -> tuple[object, ...]:
    """What must be the same in files whose groups are made together."""
    has_step = bool({"step", "generation"} & layout.columns.keys())
    grouping = layout.grouping
    return (
        grouping.kind,
        grouping.size,
        layout.has_group_steps,
        has_step,
        "visits" in layout.columns,
    )


def _notes(layouts: Sequence[Layout], counts: Mapping[int, int]) -> tuple[str, ...]:
    """Notes of all layouts; one that is not about all files says about how many it is."""
    total = sum(counts.values())
    files: Counter[str] = Counter()
    for layout in layouts:
        for note in layout.notes:
            files[note] += counts[id(layout)]
    return tuple(
        note if n == total else f"in {n} of {total} files: {note}" for note, n in files.items()
    )
