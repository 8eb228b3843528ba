"""What a file is, told from its first bytes and rows, never from its name."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from dissensus.errors import InputError
from dissensus.readers.base import Container, Sample

__all__ = [
    "CSV_DELIMITERS",
    "csv_delimiter",
    "csv_header",
    "ends_with_array",
    "is_gzip",
    "leading_pairs",
    "open_bytes",
    "parquet_columns",
    "sniff",
]

CSV_DELIMITERS = (",", "\t", ";", "|")
_HEAD_BYTES = 1 << 16
_MAX_DOCUMENT_BYTES = 16 << 20
_LINES = 64
_ROWS = 8
_BOM = b"\xef\xbb\xbf"


def sniff(file: Path) -> Sample:
    """Look at the beginning of a file (Parquet: at its footer).

    Raises:
        InputError: The file cannot be opened.
    """
    try:
        with open_bytes(file) as stream:
            head = stream.read(_HEAD_BYTES)
    except (OSError, EOFError) as error:
        raise InputError(f"the file cannot be read ({error})", where=str(file)) from error
    container = _container(head)
    if container == "parquet":
        return Sample(file, container, parquet_columns(file), head=head)
    if container in ("jsonl", "json"):
        return _json_sample(file, head)
    if container == "csv":
        return _csv_sample(file, head)
    return Sample(file, container, {}, head=head)


def open_bytes(file: Path) -> IO[bytes]:
    """Open a file for reading, through gzip where it is compressed."""
    stream: Any = gzip.open(file) if is_gzip(file) else file.open("rb")  # noqa: SIM115
    opened: IO[bytes] = stream
    return opened


def is_gzip(file: Path) -> bool:
    """Whether the file begins with gzip's magic number."""
    with file.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def ends_with_array(file: Path) -> bool:
    """Whether nothing comes after the first JSON array, as far as the ends of a file show.

    DuckDB reads the first array and says nothing of what follows it.
    """
    with open_bytes(file) as stream:
        head = stream.read(_HEAD_BYTES).removeprefix(_BOM).lstrip()
        if not head.startswith(b"["):
            return True
        is_whole = not stream.read(1)
    if not is_whole:
        return is_gzip(file) or _last_bytes(file).endswith(b"]")
    try:
        end = json.JSONDecoder().raw_decode(head.decode("utf-8", "replace"))[1]
    except (ValueError, RecursionError):  # the slow pass says what is wrong
        return True
    return not head.decode("utf-8", "replace")[end:].strip()


def _last_bytes(file: Path) -> bytes:
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - _HEAD_BYTES))
        return stream.read().rstrip()


def leading_pairs(text: str) -> Iterator[tuple[str, Any]]:
    """The key-value pairs of a JSON object that are complete, up to where the text breaks off.

    Example:
        >>> list(leading_pairs('{"a": 1, "b": [2, 3], "c": "unfini'))
        [('a', 1), ('b', [2, 3])]
    """
    decoder, at = json.JSONDecoder(), _skip(text, text.find("{") + 1)
    while at < len(text) and text[at] == '"':
        try:
            key, at = decoder.raw_decode(text, at)
            at = _skip(text, at)
            if text[at : at + 1] != ":":
                return
            value, at = decoder.raw_decode(text, _skip(text, at + 1))
        except (ValueError, RecursionError):
            return
        at = _skip(text, at)
        if at >= len(text):  # a number at the very end may be cut
            return
        yield key, value
        at = _skip(text, at + 1)


def csv_delimiter(header: str) -> str:
    """The delimiter that cuts a header line into most names."""
    return max(CSV_DELIMITERS, key=header.count)


def csv_header(file: Path) -> tuple[str, tuple[str, ...]]:
    """The delimiter and the column names of a CSV file."""
    with open_bytes(file) as stream:
        line = _decode(stream.readline(_HEAD_BYTES)).rstrip("\r\n")
    delimiter = csv_delimiter(line)
    return delimiter, tuple(next(csv.reader([line], delimiter=delimiter), ()))


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _container(head: bytes) -> Container:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04"):
        return "torch"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "pickle"
    text = head.removeprefix(_BOM).lstrip()
    if text[:1] == b"{":
        return "jsonl"
    if text[:1] == b"[":
        return "json"
    line = text.split(b"\n", 1)[0]
    is_text = b"\x00" not in line and any(each.encode() in line for each in CSV_DELIMITERS)
    return "csv" if is_text else "unknown"


def parquet_columns(file: Path) -> dict[str, str]:
    """Names and Arrow types of a Parquet file's columns; empty where they cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except (OSError, ValueError, pa.ArrowException):  # names may be broken UTF-8
        return {}
    return {field.name: str(field.type) for field in schema}


def _json_sample(file: Path, head: bytes) -> Sample:
    if head.removeprefix(_BOM).lstrip()[:1] == b"[":
        rows = _array_rows(head)
        return Sample(file, "json", _keys(rows), rows, head)
    with open_bytes(file) as stream:
        text = _decode(stream.readline(_MAX_DOCUMENT_BYTES) + stream.read(_HEAD_BYTES))
        # A document over several lines has none that is an object and begins at its margin.
        lines = [line for line in text.split("\n")[:_LINES] if line.startswith("{")]
        rows = [row for line in lines if (row := _object(line)) is not None][:_ROWS]
        if rows:
            return Sample(file, "jsonl", _keys(rows), rows, head)
        text += _decode(stream.read(_MAX_DOCUMENT_BYTES))
    whole = _object(text)
    document = dict(leading_pairs(text)) if whole is None else whole
    container: Container = "json" if "\n" in text.strip() else "jsonl"
    return Sample(file, container, _keys([document]), [document] if document else [], head)


def _decode(data: bytes) -> str:
    return data.removeprefix(_BOM).decode("utf-8", "replace")


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _array_rows(head: bytes) -> list[dict[str, Any]]:
    text = head.removeprefix(_BOM).decode("utf-8", "replace")
    rows: list[dict[str, Any]] = []
    decoder, at = json.JSONDecoder(), _skip(text, text.find("[") + 1)
    while at < len(text) and len(rows) < _ROWS:
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        if isinstance(value, dict):
            rows.append(value)
        at = _skip(text, at)
        at = _skip(text, at + 1)
    return rows


def _csv_sample(file: Path, head: bytes) -> Sample:
    text = head.removeprefix(_BOM).decode("utf-8", "replace")
    delimiter = csv_delimiter(text.splitlines()[0])
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error:
        lines = []
    if not lines:
        return Sample(file, "csv", {}, head=head)
    header = lines[0]
    rows = [dict(zip(header, line, strict=False)) for line in lines[1 : _ROWS + 1]]
    return Sample(file, "csv", dict.fromkeys(header, ""), rows, head)


def _keys(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {key: "" for row in rows for key in row}
