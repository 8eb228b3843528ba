"""Batches of logged rollouts as numpy columns, in chunks of whole generations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dissensus.audit.blackbox.moments import Floats, Ints
from dissensus.errors import InputError

__all__ = ["Chunk", "LogBatch", "chunks"]

LogBatch: TypeAlias = pa.RecordBatch | pa.Table | Mapping[str, Any]

_ADVANTAGE = ("advantage", "advantage_used", "advantage_framework")
_CHUNK_ROWS = 65_536
_LONGEST_GENERATION = 1_000_000
_LARGEST_ROW = 2.0**31
"""Times the number of batches in a chunk this still is a 64-bit integer."""


class Chunk(NamedTuple):
    """Rows of whole generations.

    Attributes:
        step: (N,) optimiser step.
        generation: (N,) number of the sampling.
        batch: (N,) stretches of one generation, numbered 0 … B−1.
        group: (N,) group within the generation, numbered 0 … P−1 over the chunk.
        group_key: (P,) hash of the group's id.
        prompt: (N,) number of the prompt; None where the log has no prompts.
        reward: (N,) NaN where the log has none.
        advantage: (N,) NaN where the log says NaN.
        has_advantage: (N,) False where the log says nothing.
        row: (N,) position in the batch; None where the log has none.
        length: (N,) tokens; None where the log has none.
        group_names: (P,) the ids as text.
    """

    step: Ints
    generation: Ints
    batch: Ints
    group: Ints
    group_key: NDArray[np.uint64]
    prompt: Ints | None
    reward: Floats
    advantage: Floats
    has_advantage: NDArray[np.bool_]
    row: Ints | None
    length: Floats | None
    group_names: NDArray[Any]


def chunks(batches: Iterable[LogBatch]) -> Iterator[Chunk]:
    """Cut a stream into chunks of at least 65,536 rows that end where a generation ends.

    Rows of one generation must follow each other; a log of one chunk is sorted where they do not.
    A generation of more than a million rows is cut at a group.

    Raises:
        InputError: A batch lacks step (or generation), group_id, reward, or any advantage; a column
            holds something else than it should; groups of a longer log are in pieces.
    """
    held: list[pa.Table] = []
    rows, enough, is_first = 0, _CHUNK_ROWS, True
    for batch in batches:
        table = _table(batch)
        for start in range(0, table.num_rows, _CHUNK_ROWS):
            held.append(table.slice(start, _CHUNK_ROWS))
            rows += held[-1].num_rows
            if rows >= enough:
                whole = pa.concat_tables(held, promote_options="default").combine_chunks()
                cut = _last_boundary(whole)
                if cut:
                    yield _chunk(_in_order(whole.slice(0, cut)))
                    is_first = False
                held, rows = [whole.slice(cut)], whole.num_rows - cut
                # One long generation is put together again only when it has doubled.
                enough = _CHUNK_ROWS if cut else min(2 * rows, max(rows + 1, _LONGEST_GENERATION))
    if rows:
        whole = pa.concat_tables(held, promote_options="default").combine_chunks()
        yield _chunk(_together(whole) if is_first else _in_order(whole))


def _table(batch: LogBatch) -> pa.Table:
    if isinstance(batch, pa.RecordBatch):
        table = pa.Table.from_batches([batch])
    elif isinstance(batch, pa.Table):
        table = batch
    else:
        table = pa.table({name: _column(values) for name, values in batch.items()})
    names = set(table.column_names)
    advantage = next((name for name in _ADVANTAGE if name in names), None)
    missing = [name for name in ("group_id", "reward") if name not in names]
    if not names & {"step", "generation"}:
        missing.append("step")
    if advantage is None:
        missing.append("advantage")
    if missing:
        raise InputError(
            f"a log needs the column{'s' * (len(missing) > 1)} {', '.join(missing)}",
            where="audit of a log",
            got=", ".join(table.column_names),
        )
    if "split" in names:
        table = table.filter(pc.equal(pc.fill_null(table["split"], "train"), "train"))
    return _canonical(table, str(advantage))


def _column(values: Any) -> Any:
    return values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)


def _canonical(table: pa.Table, advantage: str) -> pa.Table:
    names = set(table.column_names)
    step = "step" if "step" in names else "generation"
    generation = "generation" if "generation" in names else step
    # Rows without a step belong to no generation that the log names.
    columns = {
        "step": pc.fill_null(_cast(table, step, pa.int64()), -1),
        "generation": pc.fill_null(_cast(table, generation, pa.int64()), -1),
        "group_id": _cast(table, "group_id", pa.string()),
        "reward": _cast(table, "reward", pa.float64()),
        "advantage": _cast(table, advantage, pa.float64()),
    }
    if "prompt_id" in names:
        columns["prompt_id"] = _cast(table, "prompt_id", pa.string())
    for name in ("row", "length"):
        if name in names:
            columns[name] = _cast(table, name, pa.float64())
    return pa.table(columns)


def _cast(table: pa.Table, name: str, dtype: pa.DataType) -> pa.ChunkedArray:
    try:
        return table[name].cast(dtype)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        said = " ".join(str(error).split())[:120]
        raise InputError(
            f"the column {name} does not hold {dtype}", where="audit of a log", got=said
        ) from error


def _last_boundary(table: pa.Table) -> int:
    """Rows up to the last change of generation; 0 when the chunk must grow on."""
    generation = table["generation"].to_numpy()
    change = np.flatnonzero(np.diff(generation)) + 1
    if len(change):
        return int(change[-1])
    if table.num_rows < _LONGEST_GENERATION:
        return 0
    group = table["group_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    change = np.flatnonzero(np.diff(group)) + 1
    return int(change[-1]) if len(change) else table.num_rows


def _together(table: pa.Table) -> pa.Table:
    """The rows by generation, where they lie so far apart that most groups are torn."""
    generation = table["generation"].to_numpy()
    stretch = np.r_[0, np.cumsum(np.diff(generation) != 0)]
    order = np.argsort(generation, kind="stable")
    n_generations = 1 + np.count_nonzero(np.diff(generation[order]))
    if stretch[-1] < 2 * n_generations:
        return table
    names, ids = _encode(table["group_id"])
    apart = np.unique(stretch * len(names) + ids, return_counts=True)[1]
    _, codes = np.unique(generation, return_inverse=True)
    joined = np.unique(codes * len(names) + ids, return_counts=True)[1]
    torn = np.mean(apart == 1) > 0.5 and np.mean(joined == 1) < 0.5
    return table.take(order) if torn else table


def _in_order(table: pa.Table) -> pa.Table:
    """The rows as they are: in a longer log nobody knows where the rest of a torn group is."""
    if _together(table) is not table:
        raise InputError(
            "the rows of a generation lie far apart",
            where="audit of a log",
            got=f"groups in pieces among {table.num_rows:,} rows",
            hint="sort the log by step first",
        )
    return table


def _chunk(table: pa.Table) -> Chunk:
    generation = table["generation"].to_numpy()
    batch = np.r_[0, np.cumsum(np.diff(generation) != 0)]  # a block logged again is a new batch
    names, ids = _encode(table["group_id"])
    span = len(names) + 1
    keys, group = np.unique(batch * span + ids, return_inverse=True)
    group_names = names[np.minimum(keys % span, len(names) - 1)]
    prompt = _encode(table["prompt_id"])[1] if "prompt_id" in table.column_names else None
    return Chunk(
        step=table["step"].to_numpy(),
        generation=generation,
        batch=batch,
        group=group,
        group_key=_hash_text(group_names),
        prompt=prompt,
        reward=_floats(table["reward"]),
        advantage=_floats(table["advantage"]),
        has_advantage=~table["advantage"].is_null().to_numpy(),
        row=_whole(_optional(table, "row")),
        length=_optional(table, "length"),
        group_names=group_names,
    )


def _optional(table: pa.Table, name: str) -> Floats | None:
    """A column of finite numbers; None where it is not there or one is missing."""
    if name not in table.column_names or table[name].null_count:
        return None
    values: Floats = table[name].to_numpy()
    return values if np.isfinite(values).all() else None


def _whole(values: Floats | None) -> Ints | None:
    """Positions as integers; None where they are too large to be any."""
    if values is None or np.abs(values).max(initial=0.0) >= _LARGEST_ROW:
        return None
    return values.astype(np.int64)


def _floats(column: pa.ChunkedArray) -> Floats:
    values: Floats = pc.fill_null(column, float("nan")).to_numpy().astype(np.float64)
    return values


def _encode(column: pa.ChunkedArray) -> tuple[NDArray[Any], Ints]:
    """Distinct texts and the position of each row's text among them; null is a text of its own."""
    encoded = pc.fill_null(column, "").combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    return encoded.dictionary.to_numpy(zero_copy_only=False), encoded.indices.to_numpy().astype(
        np.int64
    )


def _hash_text(names: NDArray[Any]) -> NDArray[np.uint64]:
    """(P,) 64-bit hashes of texts, one by one: in a table all are as wide as the longest."""
    raw = b"".join(blake2b(name.encode(), digest_size=8).digest() for name in names)
    return np.frombuffer(raw, dtype=np.uint64)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit integers (the finaliser of splitmix64)."""
    out = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    out = (out ^ (out >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return out ^ (out >> np.uint64(31))
