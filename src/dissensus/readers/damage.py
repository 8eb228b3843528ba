"""The slow pass over a damaged file: every row that cannot be read is listed, the rest is kept.

DuckDB reads a clean file without help. Where it stops at an error, this reads that file row by row,
writes the good rows to a Parquet copy, and says of each other row what was wrong with it.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.errors import InputError
from dissensus.readers.base import BadRow, Container, Layout, printable
from dissensus.readers.dictionaries import cut_by_bytes, open_encoded
from dissensus.readers.jsonstream import JsonStream
from dissensus.readers.reading import MAX_ROW_BYTES
from dissensus.readers.sniff import csv_delimiter, open_bytes
from dissensus.readers.tabular import NO, YES

__all__ = ["MAX_LISTED", "Damage", "repair"]

MAX_LISTED = 100
"""Rows that are listed; all are counted."""

_BATCH_ROWS = 4096
_BATCH_BYTES = 16 << 20
_BOM = b"\xef\xbb\xbf"
_INT64 = 1 << 63
_BROKEN_TEXT = "\ufffd"
_POINT = re.compile("[.eEnN]")
_ESCAPE = re.compile(r"\\(?:u[0-9a-f]{4}|.)")
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass
class Damage:
    """What of a log could not be read.

    Attributes:
        rows_read: Rows of the files that needed the slow pass.
        rows_kept: Those of them that were kept.
        bad: The first rows that could not be read as they are, at most `MAX_LISTED`.
        bad_count: Number of all of them.
        strict: Raise at the first.
    """

    rows_read: int = 0
    rows_kept: int = 0
    bad: list[BadRow] = field(default_factory=list)
    bad_count: int = 0
    strict: bool = False

    def report(self, row: BadRow) -> None:
        """Count a bad row, and list it among the first.

        Raises:
            InputError: The reader is strict.
        """
        row = row._replace(file=printable(row.file), expected=printable(row.expected))
        if self.strict:
            where = f"{row.file}, row {row.row}" if row.row else row.file
            raise InputError(f"expected {row.expected}", where=where)
        self.bad_count += 1
        if len(self.bad) < MAX_LISTED:
            self.bad.append(row)


class _Row(NamedTuple):
    """One row as Python has it, or what was expected in its place."""

    number: int
    values: Mapping[str, Any] | None
    problem: str = ""


class _Repair(NamedTuple):
    """What a repair needs to know."""

    layout: Layout
    nullable: frozenset[str]
    name: str
    damage: Damage


def repair(
    file: Path,
    copy: Path,
    *,
    container: Container,
    layout: Layout,
    nullable: frozenset[str],
    name: str,
    damage: Damage,
) -> None:
    """Read a damaged file row by row and write what can be kept of it.

    Args:
        file: The damaged file.
        copy: Parquet file to write, with the raw columns of the layout and `filename`.
        container: What the file is.
        layout: What its columns are.
        nullable: Required columns that may be null, as long as they are there.
        name: Name of the file in messages.
        damage: Where to count and list.
    """
    task = _Repair(layout, nullable, name, damage)
    readers: dict[str, Callable[[Path, Layout], Iterator[_Row]]] = {
        "jsonl": _json_lines,
        "json": _json_array,
        "csv": _csv_rows,
        "parquet": _parquet_rows,
    }
    types = {raw: _arrow_type(kind) for raw, kind in layout.raw.items()}
    schema = pa.schema([*types.items(), ("filename", pa.string())])
    with pq.ParquetWriter(copy, schema, compression="zstd") as writer:
        kept: list[dict[str, Any]] = []
        size = 0
        for row in readers[container](file, layout):
            damage.rows_read += 1
            values = _checked(row, task)
            if values is None:
                continue
            damage.rows_kept += 1
            kept.append({**values, "filename": str(file)})
            size += sum(map(_weight, values.values()))
            if len(kept) >= _BATCH_ROWS or size > _BATCH_BYTES:
                writer.write_table(pa.Table.from_pylist(kept, schema=schema))
                kept, size = [], 0
        writer.write_table(pa.Table.from_pylist(kept, schema=schema))


def _weight(value: Any) -> int:
    """About the bytes that a value takes."""
    if isinstance(value, str):
        return len(value)
    return 16 + (sum(map(_weight, value)) if isinstance(value, list) else 0)


def _checked(row: _Row, task: _Repair) -> dict[str, Any] | None:
    """The values of a row in their types; None where it is left out."""
    problem, kept = row.problem, "nothing"
    values: dict[str, Any] = {}
    if row.values is not None:
        lost = []
        for raw, kind in task.layout.raw.items():
            found = row.values.get(raw)
            if raw in task.layout.required and (
                raw not in row.values or (found is None and raw not in task.nullable)
            ):
                problem = f"a value in {raw}"
                break
            try:
                values[raw] = _convert(found, kind, is_flag=raw in task.layout.flags)
            except (ValueError, OverflowError):
                expected = _expected(kind, raw, is_flag=raw in task.layout.flags)
                if raw in task.layout.required:
                    problem = expected
                    break
                values[raw] = None
                lost.append(expected)
        else:
            check = task.layout.check
            problem = _unequal_lists(values, task.layout) or (check(values) if check else "")
            if lost and not problem:
                task.damage.report(
                    BadRow(task.name, row.number, " and ".join(lost), "the row without it")
                )
            elif row.problem and not problem:
                kept = "the row"
                task.damage.report(BadRow(task.name, row.number, row.problem, kept))
                return values
    if problem:
        task.damage.report(BadRow(task.name, row.number, problem, kept))
        return None
    return values


def _unequal_lists(values: Mapping[str, Any], layout: Layout) -> str:
    lengths = {len(values[raw]) for raw in layout.unnest if values.get(raw) is not None}
    if len(lengths) <= 1:
        return ""
    return f"lists of one length in {', '.join(layout.unnest)}"


# ---- values ----------------------------------------------------------------------------------


def _convert(  # noqa: C901 — one line per type
    value: Any, kind: str, *, is_flag: bool = False
) -> Any:
    """A value in its type, with the same leniency as the fast path.

    Raises:
        ValueError: It is none.
    """
    if value is None:
        return None
    if kind.endswith("[]"):
        if not isinstance(value, list):
            raise ValueError
        return [_convert(each, kind.removesuffix("[]")) for each in value]
    if kind == "DOUBLE":
        return _number(value)
    if kind in ("BIGINT", "INTEGER"):
        return _integer(value)
    if kind == "BOOLEAN":
        return _boolean(value)
    if kind == "VARCHAR" and isinstance(value, str):
        if is_flag and value.strip() and value.strip().lower() not in (*YES, *NO):
            float(value)
        return _SURROGATE.sub(_BROKEN_TEXT, value)
    if kind == "VARCHAR" and isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if kind.startswith("MAP") and not isinstance(value, dict):
        raise ValueError
    is_json = kind != "VARCHAR" or isinstance(value, dict | list)
    return _SURROGATE.sub(_BROKEN_TEXT, _document(value) if is_json else str(value))


def _document(value: Any) -> str:
    """JSON as DuckDB writes it: ids are made from it."""
    text = json.dumps(value, default=str, ensure_ascii=False, separators=(",", ":"))
    return _ESCAPE.sub(lambda found: found[0][:2] + found[0][2:].upper(), text)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        return float(value) if value.strip() else None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    raise ValueError


def _integer(value: Any) -> int | None:
    if isinstance(value, str):
        if not value.strip():
            return None
        value = float(value) if _POINT.search(value) else int(value)
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError
        value = int(value)
    if not isinstance(value, int) or not -_INT64 <= value < _INT64:
        raise ValueError
    return int(value)


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in YES or text in NO:
        return text in YES
    if text in ("0", "1"):
        return text == "1"
    raise ValueError


def _expected(kind: str, raw: str, *, is_flag: bool) -> str:
    if is_flag:
        return f"true or false in {raw}"
    words = {"DOUBLE": "a number", "BIGINT": "an integer", "BOOLEAN": "true or false"}
    if kind.endswith("[]"):
        return f"a list ({kind}) in {raw}"
    return f"{words.get(kind, kind)} in {raw}"


def _arrow_type(kind: str) -> pa.DataType:
    if kind.endswith("[]"):
        return pa.list_(_arrow_type(kind.removesuffix("[]")))
    names = {"BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_()}
    return names.get(kind, pa.string())


# ---- rows of each container ------------------------------------------------------------------


def _json_lines(file: Path, _: Layout) -> Iterator[_Row]:
    with open_bytes(file) as stream:
        number = 0
        for number, line in enumerate(_lines(stream), start=1):
            if line is None:
                yield _Row(number, None, f"a line of at most {MAX_ROW_BYTES >> 20} MiB")
            elif line.strip():
                yield _json_row(number, line.removeprefix(_BOM) if number == 1 else line)


def _lines(stream: IO[bytes]) -> Iterator[bytes | None]:
    """Lines of bounded length; None for one that is longer. An unreadable rest is one bad line."""
    while True:
        try:
            line = stream.readline(MAX_ROW_BYTES + 1)
            if len(line) > MAX_ROW_BYTES:
                while line and not line.endswith(b"\n"):
                    line = stream.readline(MAX_ROW_BYTES)
                yield None
                continue
        except (OSError, EOFError, ValueError):  # a broken or cut gzip stream
            yield b"\xff"
            return
        if not line:
            return
        yield line


def _json_row(number: int, line: bytes) -> _Row:
    problem = ""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        text, problem = line.decode("utf-8", "replace"), "valid UTF-8"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        whole = "" if line.endswith(b"\n") else " (the last line is cut off)"
        return _Row(number, None, problem or f"a JSON object{whole}")
    if not isinstance(value, dict):
        return _Row(number, None, "a JSON object")
    return _Row(number, value, problem)


def _json_array(file: Path, _: Layout) -> Iterator[_Row]:
    """Elements of one JSON array, or objects over several lines, read piece by piece."""
    number = 0
    with open_bytes(file) as opened:
        stream = JsonStream(opened, max_chars=MAX_ROW_BYTES)
        end = "]" if stream.next_char() == "[" else ""
        stream.next_char("[")
        while stream.next_char(",") != end:
            number += 1
            try:
                value = stream.value()
            except ValueError:
                yield _Row(number, None, "the rest of a JSON array")
                return
            if isinstance(value, dict):
                yield _Row(number, value)
            else:
                yield _Row(number, None, "a JSON object")


def _csv_rows(file: Path, _: Layout) -> Iterator[_Row]:
    csv.field_size_limit(MAX_ROW_BYTES)
    with open_bytes(file) as stream:
        first = stream.readline(MAX_ROW_BYTES).removeprefix(_BOM).decode("utf-8", "replace")
        delimiter = csv_delimiter(first)
        header = next(csv.reader([first], delimiter=delimiter))
        texts = (
            "\n" if line is None else line.decode("utf-8", "surrogateescape")
            for line in _lines(stream)
        )
        reader = csv.reader(texts, delimiter=delimiter)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield _Row(reader.line_num + 1, None, f"a CSV row ({error})")
                continue
            yield from _csv_row(reader.line_num + 1, cells, header)


def _csv_row(number: int, cells: list[str], header: list[str]) -> Iterator[_Row]:
    if not cells:
        return
    if len(cells) != len(header):
        yield _Row(number, None, f"{len(header)} cells, got {len(cells)}")
        return
    problem = ""
    if any("\udc80" <= char <= "\udcff" for cell in cells for char in cell):
        problem = "valid UTF-8"
    values = {name: cell or None for name, cell in zip(header, cells, strict=True)}
    yield _Row(number, values, problem)


def _parquet_rows(file: Path, layout: Layout) -> Iterator[_Row]:
    try:
        parquet = open_encoded(file)
        names = [name for name in parquet.schema_arrow.names if name in layout.raw]
        groups = parquet.num_row_groups
    except (OSError, pa.ArrowException) as error:
        yield _Row(0, None, f"a Parquet file ({str(error).splitlines()[0][:120]})")
        return
    end = 0
    for group in range(groups):
        number, end = end, end + parquet.metadata.row_group(group).num_rows
        try:
            batches = parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=names)
            for batch in batches:
                for piece in cut_by_bytes(batch, _BATCH_BYTES):
                    yield from _batch_rows(piece, number, names)
                    number += piece.num_rows
        except (OSError, pa.ArrowException, ValueError) as error:
            text = str(error).splitlines()[0][:120]
            rows = f"rows {number + 1} to {end}"
            yield _Row(number + 1, None, f"{rows} in readable pages ({text})")


def _batch_rows(batch: pa.RecordBatch, before: int, names: list[str]) -> Iterator[_Row]:
    columns = {name: _values(batch.column(name)) for name in names}
    for i in range(batch.num_rows):
        found = {name: values[i] for name, values in columns.items()}
        problem = "valid UTF-8" if any(v is _BROKEN_TEXT for v in found.values()) else ""
        yield _Row(before + i + 1, found, problem)


def _values(array: Any) -> list[Any]:
    """Values of a column; a text that is not UTF-8 becomes a mark of that."""
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:
        return [_value(each) for each in array]


def _value(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return _BROKEN_TEXT
