"""SQL that reads a log where it lies: canonical columns over raw ones, and only those asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dissensus.readers.base import CANONICAL, Container, Layout, quote_name
from dissensus.readers.sniff import csv_delimiter, is_gzip
from dissensus.runs.scan import quote

__all__ = ["MAX_ROW_BYTES", "Reading", "file_list"]

MAX_ROW_BYTES = 64 << 20
"""Longest line of a JSON log; a longer one is listed as unreadable."""

_GLOB = re.compile(r"[*?\[]")


class Reading:
    """The files of a log as one table of SQL; files can be replaced by a repaired copy.

    Args:
        files: The files.
        container: What they are.
        layout: What their columns mean.
        header: First line of a CSV file.
        names: All columns of a CSV file, in order.
    """

    def __init__(
        self,
        files: Sequence[Path],
        container: Container,
        layout: Layout,
        *,
        header: str = "",
        names: Sequence[str] = (),
    ) -> None:
        self.files = tuple(files)
        self.container = container
        self.layout = layout
        self.repaired: dict[Path, Path | None] = {}
        self._delimiter = csv_delimiter(header) if header else ","
        self._names = tuple(names)

    def rows(self, canonical: Iterable[str], *, where: str = "") -> str:
        """SQL of these canonical columns, one row per rollout (per group for counts).

        Columns that the log does not have are null. `filename` and `file_index` may be asked for.

        Args:
            canonical: Column names.
            where: SQL condition on canonical columns.
        """
        names = list(dict.fromkeys(canonical))
        columns = self.layout.columns
        picked = []
        for name in names:
            if name == "filename":
                picked.append("filename")
            elif name == "file_index":
                picked.append(f"{self._file_index()} AS file_index")
            elif name in columns:
                picked.append(f"({columns[name]}) AS {quote_name(name)}")
            else:
                picked.append(f"NULL::{CANONICAL[name]} AS {quote_name(name)}")
        needed = self._raw_needed(columns[name] for name in names if name in columns)
        has_file = any("filename" in text for text in picked)
        rows = f"SELECT {', '.join(picked)} FROM ({self.raw(needed, with_file=has_file)})"  # noqa: S608
        return f"SELECT * FROM ({rows}) WHERE {where}" if where else rows  # noqa: S608

    def raw(self, names: Sequence[str], *, with_file: bool = False) -> str:
        """SQL of raw columns; lists that lie parallel are taken apart."""
        clean = [file for file in self.files if file not in self.repaired]
        copies = [copy for copy in self.repaired.values() if copy is not None]
        pieces = []
        if clean:
            source = self._clean(clean, names, with_file=with_file)
            pieces.append(f"SELECT {self._picked(names, with_file)} FROM {source}")  # noqa: S608
        if copies:
            picked = self._picked(names, with_file)
            pieces.append(f"SELECT {picked} FROM read_parquet({file_list(copies)})")  # noqa: S608
        if not pieces:
            types = {**self.layout.raw, "filename": "VARCHAR"}
            wanted = [*names, *(["filename"] if with_file else [])]
            nulls = [
                f"NULL::{self._element(types[name], name)} AS {quote_name(name)}" for name in wanted
            ]
            return f"SELECT {', '.join(nulls)} WHERE false"
        return " UNION ALL ".join(pieces)

    def _element(self, kind: str, name: str) -> str:
        return kind.removesuffix("[]") if name in self.layout.unnest else kind

    def _picked(self, names: Sequence[str], with_file: bool) -> str:
        unnested = self.layout.unnest
        picked = [
            f"unnest({quote_name(name)}) AS {quote_name(name)}"
            if name in unnested
            else quote_name(name)
            for name in names
        ]
        return ", ".join([*picked, *(["filename"] if with_file else [])])

    def _clean(self, files: Sequence[Path], names: Sequence[str], *, with_file: bool) -> str:
        paths = file_list(files)
        filename = ", filename=true" if with_file else ""
        if self.container == "parquet":
            union = "true" if len(files) > 1 else "false"
            return f"read_parquet({paths}, union_by_name={union}{filename})"
        compression = "gzip" if is_gzip(files[0]) else "none"
        if self.container == "csv":
            types = {name: self.layout.raw.get(name, "VARCHAR") for name in self._names}
            return (
                f"read_csv({paths}, header=true, auto_detect=false, "
                f"delim={quote(self._delimiter)}, quote='\"', escape='\"', "
                f"columns={_struct(types)}, strict_mode=true, "
                f"max_line_size={MAX_ROW_BYTES}, compression={quote(compression)}{filename})"
            )
        columns = _struct({name: self.layout.raw[name] for name in names})
        shape = "newline_delimited" if self.container == "jsonl" else "array"
        return (
            f"read_json({paths}, format={quote(shape)}, records=true, columns={columns}, "
            f"compression={quote(compression)}{filename})"
        )

    def _raw_needed(self, expressions: Iterable[str]) -> list[str]:
        text = "\n".join(expressions)
        named = [raw for raw in self.layout.raw if _names(raw, text)]
        # A row must be read from somewhere even when only constants are asked for.
        named += [raw for raw in self.layout.unnest[:1] if not set(named) & set(self.layout.unnest)]
        return named or list(self.layout.raw)[:1]

    def _file_index(self) -> str:
        if len(self.files) == 1:
            return "0::BIGINT"
        names = ", ".join(quote(str(file)) for file in self.files)
        return f"(list_position([{names}], filename) - 1)::BIGINT"


def file_list(files: Iterable[Path]) -> str:
    """A list of paths as SQL, with the characters that DuckDB would take for a pattern escaped."""
    return "[" + ", ".join(quote(_GLOB.sub(r"[\g<0>]", str(file))) for file in files) + "]"


def _names(raw: str, text: str) -> bool:
    return quote_name(raw) in text or re.search(rf"(?<!\w){re.escape(raw)}(?!\w)", text) is not None


def _struct(types: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{quote(name)}: {quote(kind)}" for name, kind in types.items()) + "}"
