"""SQL that reads a log where it lies: canonical columns over raw ones, and only those asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dissensus.readers.base import CANONICAL, Container, Layout, quote_name
from dissensus.readers.sniff import csv_header, is_gzip
from dissensus.runs.scan import quote

__all__ = ["FILE_INDEX", "MAX_ROW_BYTES", "Reading", "file_list"]

MAX_ROW_BYTES = 64 << 20
"""Longest line of a JSON log; a longer one is listed as unreadable."""

FILE_INDEX = "enum_code(filename::log_files)::BIGINT"
"""SQL of the place of a row's file among the files of the log."""

_PLAIN = ("BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR")
_GLOB = re.compile(r"[*?\[]")


class _Shape(NamedTuple):
    """What must be equal in files that are read together."""

    is_gzip: bool = False
    delimiter: str = ","
    names: tuple[str, ...] | None = None


class Reading:
    """The files of a log as one table of SQL; files can be replaced by a repaired copy.

    Args:
        files: The files.
        container: What they are.
        layout: What their columns mean.
    """

    def __init__(self, files: Sequence[Path], container: Container, layout: Layout) -> None:
        self.files = tuple(files)
        self.container = container
        self.layout = layout
        self.repaired: dict[Path, Path] = {}
        self._shapes = {file: _shape(file, container) for file in self.files}

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
        columns = self.layout.columns
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
        needed = self._raw_needed(columns[name] for name in names if name in columns)
        has_file = any("filename" in text for text in picked)
        return f"SELECT {', '.join(picked)} FROM ({self.raw(needed, with_file=has_file)})"  # noqa: S608

    def raw(self, names: Sequence[str], *, with_file: bool = False) -> str:
        """SQL of raw columns; lists that lie parallel are taken apart."""
        clean: dict[_Shape, list[Path]] = {}
        for file in self.files:
            if file not in self.repaired:
                clean.setdefault(self._shapes[file], []).append(file)
        pieces = [
            f"SELECT {self._picked(names, shape.names, with_file=with_file)} "  # noqa: S608
            f"FROM {self._clean(files, shape, names, with_file=with_file)}"
            for shape, files in clean.items()
        ]
        if self.repaired:
            picked = self._picked(names, None, with_file=with_file, is_copy=True)
            copies = file_list(self.repaired.values())
            pieces.append(f"SELECT {picked} FROM read_parquet({copies})")  # noqa: S608
        return " UNION ALL ".join(pieces)

    def _picked(
        self,
        names: Sequence[str],
        there: tuple[str, ...] | None,
        *,
        with_file: bool,
        is_copy: bool = False,
    ) -> str:
        """Raw columns of some files; null where they have none of that name."""
        picked = []
        for name in names:
            value, kind = quote_name(name), self.layout.raw[name]
            if there is not None and name not in there:
                value = f"NULL::{kind}"
            elif is_copy and kind.startswith("STRUCT"):  # a copy holds documents as text
                shape = quote(json.dumps(kind.removesuffix("[]")))
                value = f"[json_transform(document, {shape}) FOR document IN {value}]"
            elif is_copy and kind.removesuffix("[]") not in _PLAIN:
                value = f"CAST(CAST({value} AS JSON) AS {kind})"
            if name in self.layout.unnest:
                value = f"unnest({value})"
            picked.append(f"{value} AS {quote_name(name)}")
        return ", ".join([*picked, *(["filename"] if with_file else [])])

    def _clean(
        self, files: Sequence[Path], shape: _Shape, names: Sequence[str], *, with_file: bool
    ) -> str:
        paths = file_list(files)
        filename = ", filename=true" if with_file else ""
        if self.container == "parquet":
            union = "true" if len(files) > 1 else "false"
            return f"read_parquet({paths}, union_by_name={union}{filename})"
        rest = f"compression={quote('gzip' if shape.is_gzip else 'none')}{filename})"
        if self.container == "csv":
            types = {name: self.layout.raw.get(name, "VARCHAR") for name in shape.names or ()}
            return (
                f"read_csv({paths}, header=true, auto_detect=false, "
                f"delim={quote(shape.delimiter)}, quote='\"', escape='\"', "
                f"columns={_struct(types)}, strict_mode=true, "
                f"max_line_size={MAX_ROW_BYTES}, {rest}"
            )
        columns = _struct({name: self.layout.raw[name] for name in names})
        kind = "newline_delimited" if self.container == "jsonl" else "array"
        return f"read_json({paths}, format={quote(kind)}, records=true, columns={columns}, {rest}"

    def _raw_needed(self, expressions: Iterable[str]) -> list[str]:
        text = "\n".join(expressions)
        named = [raw for raw in self.layout.raw if _names(raw, text)]
        # A row must be read from somewhere even when only constants are asked for.
        named += [raw for raw in self.layout.unnest[:1] if not set(named) & set(self.layout.unnest)]
        return named or list(self.layout.raw)[:1]


def file_list(files: Iterable[Path]) -> str:
    """A list of paths as SQL, with the characters that DuckDB would take for a pattern escaped."""
    return "[" + ", ".join(quote(_GLOB.sub(r"[\g<0>]", str(file))) for file in files) + "]"


def _shape(file: Path, container: Container) -> _Shape:
    if container == "parquet":
        return _Shape()
    if container != "csv":
        return _Shape(is_gzip(file))
    delimiter, names = csv_header(file)
    return _Shape(is_gzip(file), delimiter, names)


def _names(raw: str, text: str) -> bool:
    return quote_name(raw) in text or re.search(rf"(?<!\w){re.escape(raw)}(?!\w)", text) is not None


def _struct(types: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{quote(name)}: {quote(kind)}" for name, kind in types.items()) + "}"
