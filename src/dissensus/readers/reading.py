"""SQL that reads a log where it lies: canonical columns over raw ones, and only those asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dissensus.errors import InputError
from dissensus.readers.base import CANONICAL, Container, Layout, quote_name
from dissensus.readers.sniff import csv_header, is_gzip, parquet_columns
from dissensus.runs.scan import quote

__all__ = ["FILE_INDEX", "MAX_ROW_BYTES", "Reading", "file_list"]

MAX_ROW_BYTES = 64 << 20
"""Longest line of a JSON log; a longer one is listed as unreadable."""

FILE_INDEX = "enum_code(filename::log_files)::BIGINT"
"""SQL of the place of a row's file among the files of the log."""

_MAX_EXACT = 1 << 53
_PLAIN_PATHS = ", hive_partitioning=false"  # a folder named step=7 is no column
_PLAIN = ("BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR")
_MAY_BE_FRACTION = re.compile("double|float|decimal|string")
_GLOB = re.compile(r"[*?\[]")


class _Shape(NamedTuple):
    """What must be equal in files that are read together; names where the file says them."""

    is_gzip: bool = False
    delimiter: str = ","
    names: tuple[str, ...] | None = None
    types: tuple[str, ...] | None = None


class _Part(NamedTuple):
    """Files that have one layout."""

    layout: Layout
    files: list[Path]


class Reading:
    """The files of a log as one table of SQL; files can be replaced by a repaired copy.

    Args:
        files: The files.
        container: What they are.
        layout: What the columns of most of them mean.
        others: What they mean in files that have others.
    """

    def __init__(
        self,
        files: Sequence[Path],
        container: Container,
        layout: Layout,
        others: Mapping[Path, Layout],
    ) -> None:
        self.files = tuple(files)
        self.container = container
        self.layout = layout
        self.repaired: dict[Path, Path] = {}
        self._shapes = {
            file: _shape(file, container, others.get(file, layout)) for file in self.files
        }
        parts: dict[int, _Part] = {}
        for file in self.files:
            each = others.get(file, layout)
            parts.setdefault(id(each), _Part(each, [])).files.append(file)
        self._parts = list(parts.values())

    def prepare(self) -> str:
        """SQL that must be run once before any other."""
        names = ", ".join(quote(str(file)) for file in self.files)
        return f"CREATE TYPE log_files AS ENUM ({names})"

    def rows(self, canonical: Iterable[str], *, where: str = "") -> str:
        """SQL of these canonical columns, one row per rollout (per group for counts).

        Columns that the log does not have are null. `filename` and `file_index` may be asked for.

        Args:
            canonical: Column names.
            where: SQL condition on canonical columns.
        """
        names = list(dict.fromkeys(canonical))
        if self.layout.has_group_steps and {"step", "generation"} & set(names):
            rows = self._rows_of_group_steps(names)
            return f"SELECT * FROM ({rows}) WHERE {where}" if where else rows  # noqa: S608
        rows = self._plain_rows(names)
        return f"SELECT * FROM ({rows}) WHERE {where}" if where else rows  # noqa: S608

    def broken_lists(self) -> str | None:
        """SQL of two numbers of rows: of missing or unequal lists, and of empty ones.

        None where no layout has lists. Taking lists apart gives no row for either.
        """
        counts = []
        for part in self._parts:
            if lists := part.layout.unnest:
                # What is in the lists is of no interest here.
                layout = replace(part.layout, raw=dict.fromkeys(lists, "JSON[]"))
                rows = self._raw_rows(lists, _Part(replace(layout, unnest=()), part.files))
                lengths = ", ".join(f"len({quote_name(raw)})" for raw in lists)
                least, most = (f"{name}({lengths})" for name in ("least", "greatest"))
                gone = [f"{quote_name(raw)} IS NULL" for raw in layout.required if raw in lists]
                broken = " OR ".join([f"{least} < {most}", *gone])
                counts.append(
                    f"""SELECT count(*) FILTER ({broken}) AS broken,
                    count(*) FILTER ({most} = 0) AS empty FROM ({rows})"""  # noqa: S608
                )
        if not counts:
            return None
        return f"SELECT sum(broken), sum(empty) FROM ({' UNION ALL '.join(counts)})"  # noqa: S608

    def _rows_of_group_steps(self, names: Sequence[str]) -> str:
        """As `rows`, with the smallest step of each group as the step of its rows."""
        # A join of a small table; a window over the rows would hold their text in memory.
        keys = self._plain_rows(["group_id", "split", "step"])
        first = f"SELECT group_id, split, min(step) AS step FROM ({keys}) GROUP BY ALL"  # noqa: S608
        kept = [name for name in names if name not in ("step", "generation")]
        rows = self._plain_rows([*dict.fromkeys([*kept, "group_id", "split"])])
        picked = ", ".join(
            f"first.step AS {name}" if name in ("step", "generation") else f"r.{quote_name(name)}"
            for name in names
        )
        return f"SELECT {picked} FROM ({rows}) AS r JOIN ({first}) AS first USING (group_id, split)"  # noqa: S608

    def _plain_rows(self, names: Sequence[str]) -> str:
        return " UNION ALL ".join(self._rows_of_part(names, part) for part in self._parts)

    def _rows_of_part(self, names: Sequence[str], part: _Part) -> str:
        columns = part.layout.columns
        picked = []
        for name in names:
            if name == "filename":
                picked.append("filename")
            elif name == "file_index":
                picked.append(f"{FILE_INDEX if len(self.files) > 1 else '0::BIGINT'} AS file_index")
            elif name in columns:
                picked.append(f"({columns[name]}) AS {quote_name(name)}")
            else:
                picked.append(f"NULL::{CANONICAL[name]} AS {quote_name(name)}")
        needed = _raw_needed(part.layout, [columns[name] for name in names if name in columns])
        has_file = any("filename" in text for text in picked)
        raw = self._raw_rows(needed, part, with_file=has_file)
        return f"SELECT {', '.join(picked)} FROM ({raw})"  # noqa: S608

    def _raw_rows(self, names: Sequence[str], part: _Part, *, with_file: bool = False) -> str:
        """SQL of raw columns; lists that lie parallel are taken apart."""
        clean: dict[_Shape, list[Path]] = {}
        for file in part.files:
            if file not in self.repaired:
                clean.setdefault(self._shapes[file], []).append(file)
        pieces = [
            f"SELECT {self._picked(names, part.layout, shape, with_file=with_file)} "  # noqa: S608
            f"FROM {self._clean(files, shape, names, part.layout, with_file=with_file)}"
            for shape, files in clean.items()
        ]
        copies = [self.repaired[file] for file in part.files if file in self.repaired]
        if copies:
            picked = self._picked(names, part.layout, None, with_file=with_file)
            pieces.append(f"SELECT {picked} FROM read_parquet({file_list(copies)}{_PLAIN_PATHS})")  # noqa: S608
        return " UNION ALL ".join(pieces)

    def _picked(
        self, names: Sequence[str], layout: Layout, shape: _Shape | None, *, with_file: bool
    ) -> str:
        """Raw columns of some files of one shape, null where they have none; None: of copies."""
        picked = []
        for name in names:
            value, kind = quote_name(name), layout.raw[name]
            if shape is not None and shape.names is not None and name not in shape.names:
                value = f"NULL::{kind}"
            elif shape is None and kind.startswith("STRUCT"):  # a copy holds documents as text
                document = quote(json.dumps(kind.removesuffix("[]")))
                value = f"[json_transform(document, {document}) FOR document IN {value}]"
            elif shape is None and kind.removesuffix("[]") not in _PLAIN:
                value = f"CAST(CAST({value} AS JSON) AS {kind})"
            elif shape is not None and name in self._to_check(layout, shape):
                value = self._whole(value, kind)
            if name in layout.unnest:
                value = f"unnest({value})"
            picked.append(f"{value} AS {quote_name(name)}")
        return ", ".join([*picked, *(["filename"] if with_file else [])])

    def _to_check(self, layout: Layout, shape: _Shape) -> frozenset[str]:
        """Raw integers of which DuckDB would round a fraction without a word."""
        kinds = dict(zip(shape.names or (), shape.types or (), strict=False))
        is_typed = self.container == "parquet"
        return frozenset(
            name
            for name, kind in layout.raw.items()
            if (kind == "BIGINT" or (kind == "BIGINT[]" and name in layout.unnest))
            and (not is_typed or _MAY_BE_FRACTION.search(kinds.get(name, "")))
        )

    def _whole(self, value: str, kind: str) -> str:
        """SQL of integers from numbers; a fraction, or what a double cannot tell, is an error."""
        # The error names the file, so that this one is repaired.
        where = """ || filename || '"'""" if len(self.files) > 1 else ""
        number = f"CAST({value} AS DOUBLE)" if kind == "BIGINT" else "CAST(number AS DOUBLE)"
        whole = (
            f"CASE WHEN {number} = trunc({number}) AND abs({number}) < {_MAX_EXACT} "
            f"THEN CAST({number} AS BIGINT) WHEN {number} IS NOT NULL "
            f"""THEN CAST(error('no integer in "'{where}) AS BIGINT) END"""
        )
        return whole if kind == "BIGINT" else f"[{whole} FOR number IN {value}]"

    def _clean(
        self,
        files: Sequence[Path],
        shape: _Shape,
        names: Sequence[str],
        layout: Layout,
        *,
        with_file: bool,
    ) -> str:
        paths = file_list(files)
        doubtful = self._to_check(layout, shape)
        is_named = with_file or (len(self.files) > 1 and not doubtful.isdisjoint(names))
        filename = ", filename=true" if is_named else ""
        doubles = {name: layout.raw[name].replace("BIGINT", "DOUBLE") for name in doubtful}
        raw = {**layout.raw, **doubles}
        if self.container == "parquet":
            return f"read_parquet({paths}{filename}{_PLAIN_PATHS})"
        rest = f"compression={quote('gzip' if shape.is_gzip else 'none')}{filename}{_PLAIN_PATHS})"
        if self.container == "csv":
            types = {name: raw.get(name, "VARCHAR") for name in shape.names or ()}
            return (
                f"read_csv({paths}, header=true, auto_detect=false, "
                f"delim={quote(shape.delimiter)}, quote='\"', escape='\"', "
                f"columns={_struct(types)}, strict_mode=true, "
                f"max_line_size={MAX_ROW_BYTES}, {rest}"
            )
        columns = _struct({name: raw[name] for name in names})
        kind = "newline_delimited" if self.container == "jsonl" else "array"
        return f"read_json({paths}, format={quote(kind)}, records=true, columns={columns}, {rest}"


def file_list(files: Iterable[Path]) -> str:
    """A list of paths as SQL, with the characters that DuckDB would take for a pattern escaped."""
    return "[" + ", ".join(quote(_GLOB.sub(r"[\g<0>]", str(file))) for file in files) + "]"


def _shape(file: Path, container: Container, layout: Layout) -> _Shape:
    if container == "parquet":
        columns = parquet_columns(file)
        return _Shape(names=tuple(columns), types=tuple(columns.values())) if columns else _Shape()
    if container != "csv":
        return _Shape(is_gzip(file))
    delimiter, names = csv_header(file)
    twice = [name for name in layout.raw if names.count(name) > 1]
    if twice:
        raise InputError(f"it has more than one column {twice[0]}", where=str(file))
    return _Shape(is_gzip(file), delimiter, names)


def _raw_needed(layout: Layout, expressions: Iterable[str]) -> list[str]:
    text = "\n".join(expressions)
    named = [raw for raw in layout.raw if _names(raw, text)]
    # A row must be read from somewhere even when only constants are asked for.
    named += [raw for raw in layout.unnest[:1] if not set(named) & set(layout.unnest)]
    return named or list(layout.raw)[:1]


def _names(raw: str, text: str) -> bool:
    return quote_name(raw) in text or re.search(rf"(?<!\w){re.escape(raw)}(?!\w)", text) is not None


def _struct(types: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{quote(name)}: {quote(kind)}" for name, kind in types.items()) + "}"
