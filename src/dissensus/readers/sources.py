"""Which files a log consists of, and which format they have."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dissensus.errors import InputError, UnsupportedError
from dissensus.readers.base import CANONICAL, Format, Layout, Sample, printable
from dissensus.readers.counts import KOFN, count_layout
from dissensus.readers.formats import FORMATS, FRAMEWORK_FORMATS, GENERIC_FORMATS, format_names
from dissensus.readers.layouts import Chosen, choose_layouts
from dissensus.readers.sniff import sniff
from dissensus.readers.tabular import TABLE, cast, guess_mapping, raw_type, table_layout

__all__ = ["Source", "find_source"]

_NUMBER = re.compile(r"(\d+)")
_MAX_FILES = 200_000
_ENCODINGS = {
    b"\xff\xfe": ("UTF-16 text", "iconv -f UTF-16 -t UTF-8 makes text of it that can be read"),
    b"\xfe\xff": ("UTF-16 text", "iconv -f UTF-16 -t UTF-8 makes text of it that can be read"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it with zstd -d; gzip is read as it is"),
    b"BZh": ("compressed by bzip2", "unpack it with bunzip2; gzip is read as it is"),
    b"\xfd7zXZ": ("compressed by xz", "unpack it with unxz; gzip is read as it is"),
}
"""What a file begins with that no reader reads: what it is, and what to do."""
_KEYS = ("step", "generation", "group_id", "prompt_id", "reward")


class Source(NamedTuple):
    """A log that was recognised.

    Attributes:
        path: What was asked for.
        files: Its files, numbers in their names in order.
        sample: The beginning of the first file.
        format: Its format.
        layout: What the columns of most files mean.
        others: What they mean in files that have others.
        notes: What was left out.
    """

    path: Path
    files: tuple[Path, ...]
    sample: Sample
    format: Format
    layout: Layout
    others: Mapping[Path, Layout]
    notes: tuple[str, ...] = ()


def find_source(
    path: Path,
    *,
    format: str,  # noqa: A002
    mapping: Mapping[str, str],
    trust_pickle: bool,
) -> Source:
    """Recognise a log by its content.

    Raises:
        InputError: There is nothing to read, or no format, or more than one, recognises it.
        UnsupportedError: Reading it could run code, and it is not trusted.
    """
    if format != "auto" and format not in format_names():
        raise InputError(
            "there is no such format", got=format, hint=f"formats are {', '.join(format_names())}"
        )
    _check_mapping_names(mapping)
    candidates = _list_files(path)
    samples = [sniff(file) if file == path else _sniffed(file) for file in candidates]
    readable = [sample for sample in samples if sample.columns or sample.container != "unknown"]
    chosen, matching = _choose(path, readable, samples, format, mapping)
    matching = _of_one_container(matching)
    if chosen.needs_trust is not None and not trust_pickle:
        raise UnsupportedError(
            f"{chosen.title} is refused: {chosen.needs_trust}",
            where=str(path),
            hint="--trust-pickle reads it if you trust whoever wrote it",
        )
    damaged = _damaged_companions(chosen, matching, samples)
    by_file = {sample.file: sample for sample in matching}
    found = [file for file in candidates if file in by_file or file in damaged]
    files = tuple(chosen.choose_files(found))
    readable_files = [file for file in files if file in by_file]
    if not readable_files:
        raise InputError(f"no file of format {chosen.name} is left to read", where=str(path))
    sample = _union(by_file[readable_files[0]], [by_file[file] for file in readable_files])
    layouts = _layouts(chosen, [by_file[file] for file in readable_files], sample, mapping)
    notes = []
    if other := len(candidates) - len(found):
        notes.append(f"{other} of {len(candidates)} files are of another kind and were not read")
    if left := len(found) - len(files):
        notes.append(f"{left} of {len(found)} files were not read: they {chosen.left_out}")
    if layouts.left:
        notes.append(
            f"{len(layouts.left)} of {len(files)} files were not read: their groups are "
            f"{layouts.left_text}; give them by themselves"
        )
        files = tuple(file for file in files if file not in layouts.left)
    return Source(path, files, sample, chosen, layouts.layout, layouts.others, tuple(notes))


def _layouts(
    format_: Format, samples: Sequence[Sample], union: Sample, mapping: Mapping[str, str]
) -> Chosen:
    """The layout of every file."""
    common = _mapped_layout(format_, union, mapping)
    if format_.convert is not None:
        return Chosen(common, {})

    def own(sample: Sample) -> Layout | None:
        is_whole = sample.has(*mapping.values()) and (mapping or format_.matches(sample))
        return _mapped_layout(format_, sample, mapping) if is_whole else None

    return choose_layouts(samples, common, own)


def _damaged_companions(
    format_: Format, matching: Sequence[Sample], samples: Sequence[Sample]
) -> frozenset[Path]:
    """Files in which nothing can be recognised, but which are named like those of the log.

    They are read with the others, so that what is wrong with them is listed.
    """
    good = {sample.file for sample in matching}
    columns = {name for sample in matching for name in sample.columns}
    suffixes = {file.suffix for file in good}
    kinds = {"unknown"} if format_.convert is not None else {"unknown", *format_.containers}
    return frozenset(
        sample.file
        for sample in samples
        if sample.file not in good
        and sample.container in kinds
        and sample.file.suffix in suffixes
        and (not sample.columns or (sample.columns.keys() < columns and _is_cut(sample)))
    )


def _is_cut(sample: Sample) -> bool:
    """Whether a text file breaks off in its first line, as far as its ends show."""
    if sample.container != "jsonl" or b"\n" in sample.head.strip():
        return False
    with sample.file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) != b"\n"


def _list_files(path: Path) -> list[Path]:
    if path.is_dir():
        found = [
            Path(folder) / name
            for folder, _, names in os.walk(path)
            for name in names
            if not name.startswith(".") and (Path(folder) / name).is_file()
        ]
        run = next((file.parent for file in found if file.name == "run.json"), None)
        if run is not None:
            raise InputError("the folder holds recorded runs", where=str(path), hint=f"give {run}")
        if not found:
            raise InputError("the folder holds no files", where=str(path))
        if len(found) > _MAX_FILES:
            raise InputError(f"the folder holds more than {_MAX_FILES} files", where=str(path))
        return sorted(found, key=_natural)
    if not path.exists():
        raise InputError("there is no such folder or file", where=str(path))
    if not path.is_file():
        raise InputError("it is neither a file nor a folder", where=str(path))
    if path.stat().st_size == 0:
        raise InputError("the file is empty", where=str(path))
    return [path]


def _sniffed(file: Path) -> Sample:
    """A file of a folder; one that cannot be opened is like one of another kind."""
    try:
        return sniff(file)
    except InputError:
        return Sample(file, "unknown", {})


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts step_9 before step_10."""
    parts = _NUMBER.split(str(path))
    return [(int(part), "") if i % 2 else (-1, part) for i, part in enumerate(parts)]


def _choose(
    path: Path,
    samples: Sequence[Sample],
    every: Sequence[Sample],
    name: str,
    mapping: Mapping[str, str],
) -> tuple[Format, list[Sample]]:
    if name != "auto":
        chosen = next(each for each in FORMATS if each.name == name)
        fitting = [sample for sample in samples if sample.container in chosen.containers]
        matching = [sample for sample in fitting if chosen.matches(sample)]
        if not fitting:
            raise _unrecognised(path, every, [chosen])
        return chosen, matching or fitting
    tables = [FRAMEWORK_FORMATS, *((each,) for each in GENERIC_FORMATS)]
    for formats in tables:
        hits = {each.name: (each, found) for each in formats if (found := _matching(each, samples))}
        if len(hits) > 1:
            most = max(len(found) for _, found in hits.values())
            best = [key for key, (_, found) in hits.items() if len(found) == most]
            if len(best) > 1:
                raise _ambiguous(path, {key: hits[key][1] for key in best})
            return hits[best[0]]
        if hits:
            return next(iter(hits.values()))
    if mapping:
        chosen = KOFN if "correct_count" in mapping else TABLE
        fitting = [
            sample
            for sample in samples
            if sample.container in chosen.containers and sample.has(*mapping.values())
        ]
        if fitting:
            return chosen, fitting
        _check_fields(mapping, next((each for each in every if each.columns), every[0]))
    raise _unrecognised(path, every, FORMATS)


def _ambiguous(path: Path, found: Mapping[str, Sequence[Sample]]) -> InputError:
    """Several formats are in a folder, or in a file: which of them where."""
    counts = Counter(sample.file for samples in found.values() for sample in samples)
    if max(counts.values()) > 1:
        what = f"it could be {' or '.join(found)}"
        return InputError(what, where=str(path), hint="say --format NAME")
    parts = []
    for name, samples in found.items():
        first = samples[0].file.relative_to(path)
        more = f" and {len(samples) - 1} more" if len(samples) > 1 else ""
        parts.append(f"{name} ({printable(str(first))}{more})")
    return InputError(
        f"the folder holds logs of several formats: {', '.join(parts)}",
        where=str(path),
        hint="give one of its folders or files, or say --format NAME",
    )


def _of_one_container(samples: Sequence[Sample]) -> list[Sample]:
    """Samples of the container that most of them have: a table in two forms is counted once."""
    most = Counter(sample.container for sample in samples).most_common(1)[0][0]
    return [sample for sample in samples if sample.container == most]


def _matching(format_: Format, samples: Sequence[Sample]) -> list[Sample]:
    return [
        sample
        for sample in samples
        if sample.container in format_.containers and format_.matches(sample)
    ]


def _unrecognised(path: Path, samples: Sequence[Sample], tried: Sequence[Format]) -> InputError:
    first = next((each for each in samples if each.columns), samples[0])
    if first.container == "parquet" and not first.columns:
        return InputError("the footer of this Parquet file cannot be read", where=str(first.file))
    for magic, (encoding, hint) in _ENCODINGS.items():
        if first.head.startswith(magic):
            raise InputError(f"the file is {encoding}", where=str(first.file), hint=hint)
    columns = printable(", ".join(list(first.columns)[:12]))
    what = f"{first.container} with columns {columns}" if columns else f"{first.container} content"
    names = ", ".join(each.name for each in tried)
    hint = "--map reward=COLUMN --map group_id=COLUMN says what its columns mean"
    return InputError(
        f"no reader recognises it ({what}; tried {names})", where=str(path), hint=hint
    )


def _union(first: Sample, samples: Sequence[Sample]) -> Sample:
    """The first sample, with the columns that any file has."""
    columns = {name: kind for sample in reversed(samples) for name, kind in sample.columns.items()}
    return first._replace(columns={**first.columns, **columns})


def _check_mapping_names(mapping: Mapping[str, str]) -> None:
    unknown = [name for name in mapping if name not in CANONICAL]
    if unknown:
        raise InputError(
            "--map names a column that does not exist",
            got=unknown,
            hint=f"the left side is one of {', '.join(CANONICAL)}",
        )


def _mapped_layout(format_: Format, sample: Sample, mapping: Mapping[str, str]) -> Layout:
    if format_.convert is None:
        _check_fields(mapping, sample)
    if not mapping:
        return format_.layout(sample)
    if format_.name == TABLE.name:
        return table_layout(sample, {**guess_mapping(sample.columns), **mapping})
    if format_.name == KOFN.name and {"correct_count", "size"} <= mapping.keys():
        return count_layout(sample, mapping)
    layout = format_.layout(sample)
    raw = {column: raw_type(name, column, sample) for name, column in mapping.items()}
    columns = {name: cast(name, column, sample) for name, column in mapping.items()}
    keys = [raw for name, raw in mapping.items() if name in _KEYS]
    return replace(
        layout,
        raw={**raw, **layout.raw},
        columns={**layout.columns, **columns},
        required=tuple(dict.fromkeys([*layout.required, *keys])),
    )


def _check_fields(mapping: Mapping[str, str], sample: Sample) -> None:
    missing = [raw for raw in mapping.values() if not sample.has(raw)]
    if missing:
        raise InputError(
            f"--map names columns that the log does not have: {', '.join(missing)}",
            where=str(sample.file),
            hint=f"it has {printable(', '.join(list(sample.columns)[:20]))}",
        )
