"""Records as rows of the tables: Arrow tables that are ready to be written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dissensus.core.disagreement import GroupSummary
from dissensus.core.groups import BoolArray, FloatArray, RewardGroups
from dissensus.runs.records import Ids, Record, Texts, pick
from dissensus.runs.schema import SCHEMAS

__all__ = ["encode", "group_table", "prompt_table", "rollout_table", "scalar_table", "to_text"]


def encode(table: pa.Table, *, row_group_size: int | None = None) -> memoryview:
    """A table as the bytes of one Parquet file."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", row_group_size=row_group_size)
    return memoryview(buffer.getvalue())


def group_table(record: Record, groups: RewardGroups, summary: GroupSummary) -> pa.Table:
    """One row per group."""
    n = len(groups)
    first = _first_rows(groups)
    trained = record.trained
    if trained is None:
        trained = np.full(record.n_rollouts, record.split == "train")
    truncated = record.truncated
    columns = {
        **_key(record, n),
        "epoch": _repeat(record.epoch, n),
        "group_id": _strings(pick(record.group_ids, first)),
        "prompt_id": _strings(pick(record.prompt_ids, first)),
        "rollouts": summary.rollouts,
        "size": summary.size,
        "mean": _number(summary.mean),
        "std": _number(summary.std),
        "min": _number(groups.min),
        "max": _number(groups.max),
        "correct": summary.correct,
        "unanimous": summary.is_unanimous,
        "all_wrong": summary.is_all_wrong,
        "all_correct": summary.is_all_correct,
        "silent": summary.is_silent,
        "trained": groups.sum_by_group(trained).astype(np.int64),
        "contrast": _number(summary.contrast),
        "push": _number(summary.push),
        "length_mean": _mean_of_known(groups, record.lengths),
        "truncated": None if truncated is None else groups.sum_by_group(truncated).astype(np.int64),
        "policy_version": _repeat(record.policy_version, n),
        "time_s": _repeat(record.time_s, n),
    }
    return _table("groups", columns, n)


def rollout_table(
    record: Record, groups: RewardGroups, keep_text: BoolArray | None = None
) -> pa.Table:
    """One row per rollout of this rank; completions where `keep_text` (N,) allows them."""
    rows, n = record.local, record.n_local
    trained, truncated, lengths = record.trained, record.truncated, record.lengths
    scored = groups.is_scored[rows]
    correct = None if groups.is_correct is None else pa.array(groups.is_correct[rows], mask=~scored)
    columns = {
        **_key(record, n),
        "row": np.arange(record.n_rollouts)[rows],
        "group_id": _strings(record.group_ids[rows]),
        "prompt_id": _strings(record.prompt_ids[rows]),
        "reward": _number(record.rewards[rows]),
        "correct": correct,
        "advantage_used": _number(record.advantages_used, rows),
        "advantage_framework": _number(record.advantages_framework, rows),
        "length": None if lengths is None else _number(np.rint(lengths[rows])).cast(pa.int64()),
        "truncated": None if truncated is None else truncated[rows],
        "trained": _repeat(record.split == "train", n) if trained is None else trained[rows],
        "rewards_by_function": _by_function(record.rewards_by_function, rows, n),
        "completion": _kept_texts(record.completions, keep_text, rows),
    }
    return _table("rollouts", columns, n)


def prompt_table(record: Record, rows: Sequence[int], has_text: Sequence[bool]) -> pa.Table:
    """One row per prompt; `rows` are positions among this rank's rows."""
    ids = record.prompt_ids[record.local]
    columns = {
        "step": _repeat(record.step, len(rows)),
        "generation": _repeat(record.generation, len(rows)),
        "prompt_id": _strings(pick(ids, rows)),
        "prompt": _some_texts(record.prompts, rows, has_text),
        "reference": _some_texts(record.references, rows, has_text),
    }
    return _table("prompts", columns, len(rows))


def scalar_table(segment: int, rows: Sequence[tuple[int, str, str, float, float]]) -> pa.Table:
    """One row per scalar: step, split, name, value, time_s."""
    steps, splits, names, values, times = zip(*rows, strict=True)
    columns = {
        "segment": _repeat(segment, len(rows)),
        "step": pa.array(steps, pa.int64()),
        "split": to_text(list(splits)),
        "name": to_text(list(names)),
        "value": _number(np.asarray(values, dtype=np.float64)),
        "time_s": pa.array(times, pa.float64()),
    }
    return _table("scalars", columns, len(rows))


def to_text(texts: Sequence[Any]) -> Any:
    r"""Text column; what UTF-8 cannot hold (lone surrogates) becomes "?", objects their str().

    Example:
        >>> to_text(["a", None, "\ud800b", 7]).to_pylist()
        ['a', None, '?b', '7']
    """
    try:
        return pa.array(texts, pa.string())
    except (UnicodeEncodeError, pa.ArrowTypeError, pa.ArrowInvalid):
        clean = [t if t is None else str(t).encode("utf-8", "replace").decode() for t in texts]
        return pa.array(clean, pa.string())


# ---- columns ---------------------------------------------------------------------------------


def _table(name: str, columns: Mapping[str, Any], n_rows: int) -> pa.Table:
    schema = SCHEMAS[name]
    arrays = []
    for field in schema:
        column = columns[field.name]
        if column is None:
            column = pa.nulls(n_rows, field.type)
        elif isinstance(column, np.ndarray):
            column = pa.array(column, field.type)
        arrays.append(column)
    return pa.Table.from_arrays(arrays, schema=schema)


def _key(record: Record, n_rows: int) -> dict[str, Any]:
    names = ("step", "generation", "round")
    columns = {name: _repeat(getattr(record, name), n_rows) for name in names}
    return {**columns, "split": pa.repeat(to_text([record.split])[0], n_rows)}


def _repeat(value: Any, n_rows: int) -> Any:
    return None if value is None else pa.repeat(pa.scalar(value), n_rows)


def _first_rows(groups: RewardGroups) -> NDArray[np.int64]:
    first = np.empty(len(groups), dtype=np.int64)
    first[groups.index[::-1]] = np.arange(groups.n_rollouts - 1, -1, -1)
    return first


def _mean_of_known(groups: RewardGroups, values: FloatArray | None) -> Any:
    if values is None:
        return None
    known = ~np.isnan(values)
    total = groups.sum_by_group(np.where(known, values, 0.0))
    count = groups.sum_by_group(known)
    return _number(np.divide(total, count, out=np.full(len(groups), np.nan), where=count > 0))


def _number(values: FloatArray | None, rows: slice = slice(None)) -> Any:
    """Float column with null for NaN."""
    return None if values is None else pa.array(values[rows], pa.float64(), from_pandas=True)


def _by_function(functions: Mapping[str, FloatArray] | None, rows: slice, n_rows: int) -> Any:
    if not functions:
        return None
    values = np.stack([v[rows] for v in functions.values()], axis=1).ravel()
    offsets = np.arange(n_rows + 1, dtype=np.int32) * len(functions)
    positions = np.tile(np.arange(len(functions), dtype=np.int32), n_rows)
    return pa.MapArray.from_arrays(
        pa.array(offsets), to_text(list(functions)).take(pa.array(positions)), _number(values)
    )


def _strings(ids: Ids) -> Any:
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu":
        return pa.array(ids).cast(pa.string())
    return to_text(ids.tolist() if isinstance(ids, np.ndarray) else ids)


def _kept_texts(texts: Texts | None, keep: BoolArray | None, rows: slice) -> Any:
    if texts is None or keep is None:
        return None if texts is None else to_text(texts)
    flags = keep[rows].tolist()
    return to_text([text if kept else None for text, kept in zip(texts, flags, strict=True)])


def _some_texts(texts: Texts | None, rows: Sequence[int], has_text: Sequence[bool]) -> Any:
    if texts is None:
        return None
    return to_text([texts[r] if kept else None for r, kept in zip(rows, has_text, strict=True)])
