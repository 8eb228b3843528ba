"""Parquet text as it is encoded: a value that is repeated a million times is in memory once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

__all__ = ["cut_by_bytes", "open_encoded", "text_keys"]

_TEXT = ("STRING", "JSON", "NONE")
_VALUE_BYTES = 16


def open_encoded(file: Path) -> pq.ParquetFile:
    """Open a Parquet file so that text, also in lists and structs, is read as dictionaries."""
    schema = pq.read_metadata(file).schema
    columns = [schema.column(i) for i in range(len(schema.names))]
    paths = [
        column.path
        for column in columns
        if column.physical_type == "BYTE_ARRAY" and column.logical_type.type in _TEXT
    ]
    return pq.ParquetFile(file, read_dictionary=paths)


def cut_by_bytes(batch: pa.RecordBatch, limit: int) -> list[pa.RecordBatch]:
    """Slices whose values take at most `limit` bytes when they are unpacked; at least one row."""
    total = np.zeros(batch.num_rows, dtype=np.int64)
    for column in batch.columns:
        total += _row_bytes(column)
    ends = np.cumsum(total)
    pieces, start = [], 0
    while start < batch.num_rows:
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + limit, side="right")))
        pieces.append(batch.slice(start, stop - start))
        start = stop
    return pieces


def text_keys(array: Any) -> list[object]:
    """For every row something that is equal where texts, or the texts of its messages, are."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return list(array.indices.to_pylist())
    if pa.types.is_struct(kind):
        fields = [text_keys(array.field(i)) for i in range(kind.num_fields)]
        return list(zip(*fields, strict=True)) if fields else [None] * len(array)
    if _is_list(kind):
        keys = text_keys(array.values)
        offsets = array.offsets.to_pylist()
        return [tuple(keys[first:last]) for first, last in pairwise(offsets)]
    return list(array.to_pylist())


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _row_bytes(array: Any) -> Any:
    """About the bytes that each row takes as values of its own."""
    kind, count = array.type, len(array)
    if pa.types.is_dictionary(kind):
        sizes = np.append(_row_bytes(array.dictionary), _VALUE_BYTES)
        return sizes[pc.fill_null(array.indices.cast(pa.int64()), -1)]  # a null is behind them
    if pa.types.is_struct(kind):
        fields = [_row_bytes(array.field(i)) for i in range(kind.num_fields)]
        return sum(fields, np.full(count, _VALUE_BYTES))
    if _is_list(kind):
        ends = np.concatenate([[0], np.cumsum(_row_bytes(array.values))])
        return np.diff(ends[array.offsets.to_numpy()]) + _VALUE_BYTES
    try:
        lengths = pc.fill_null(pc.binary_length(array), 0)
    except pa.ArrowNotImplementedError:  # no text
        return np.full(count, _VALUE_BYTES)
    return np.asarray(lengths) + _VALUE_BYTES
