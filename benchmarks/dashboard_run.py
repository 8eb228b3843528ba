"""A recorded run of any size, made without training: numbers straight into parts and roll-ups.

    python -m benchmarks.dashboard_run FOLDER [--groups 10000000] [--seed 0]

Prompts have Bernoulli solve rates, logit(p) ~ N(−0.5, 2.5²), that rise by 3 over the run; groups
are drawn in epochs over the prompts and get the advantages of GRPO. Every hundredth generation
evaluates.
Rollouts, with their text, are written for one generation in `--rollouts-every`: the others are
counted in their groups, as in a run whose text budget is spent.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dissensus import Recorder
from dissensus.runs import SCHEMAS, rollups, store

_ROWS = 65_536
_EVALUATES_EVERY = 100
_SECONDS_A_STEP = 20.0


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a run is made.

    Attributes:
        groups: Training groups, rounded up to whole generations.
        group_size: Rollouts per group.
        prompts: Training prompts.
        groups_per_generation: Groups of one generation, which is one step.
        generations_per_part: Generations of one file.
        rollouts_every: One generation in how many has its rollouts on disk.
        seed: Of all that is drawn.
    """

    groups: int = 10_000_000
    group_size: int = 8
    prompts: int = 100_000
    groups_per_generation: int = 512
    generations_per_part: int = 500
    rollouts_every: int = 20
    seed: int = 0

    @property
    def steps(self) -> int:
        """Training generations."""
        return -(-self.groups // self.groups_per_generation)

    @property
    def generations(self) -> int:
        """Those that evaluate included."""
        return self.steps + self.steps // (_EVALUATES_EVERY - 1)


def write_run(folder: Path, size: Size) -> None:
    """Write a finished run."""
    metadata = {"source": "benchmarks.dashboard_run", "estimator": "grpo(ddof=0, eps=0.0)"}
    Recorder(folder, metadata={**metadata, "seed": size.seed}, correct=0.5).close()
    rng = np.random.default_rng(size.seed)
    logit = rng.normal(-0.5, 2.5, size.prompts)
    _write(folder, "prompts", (0, size.generations - 1), _prompts(size))
    queue = _epochs(rng, size.prompts)
    for first in range(0, size.generations, size.generations_per_part):
        last = min(first + size.generations_per_part, size.generations) - 1
        drawn = _draw(queue, (last + 1 - first) * size.groups_per_generation)
        groups, kept = _part(rng, size, logit, drawn, first)
        if kept is not None:
            _write(folder, "rollouts", (first, last), kept)
        _write(folder, "groups", (first, last), groups)
    rollups.update(folder)


def _epochs(rng: np.random.Generator, prompts: int) -> Iterator[np.ndarray]:
    while True:
        yield from np.array_split(rng.permutation(prompts), max(1, prompts // 64))


def _draw(queue: Iterator[np.ndarray], count: int) -> np.ndarray:
    drawn: list[np.ndarray] = []
    while sum(map(len, drawn)) < count:
        drawn.append(next(queue))
    return np.concatenate(drawn)[:count]


def _part(
    rng: np.random.Generator, size: Size, logit: np.ndarray, drawn: np.ndarray, first: int
) -> tuple[pa.Table, pa.Table | None]:
    each, n = size.groups_per_generation, size.group_size
    generation = first + np.arange(len(drawn)) // each
    evaluates = generation % _EVALUATES_EVERY == _EVALUATES_EVERY - 1
    step = generation - generation // _EVALUATES_EVERY - evaluates
    prompt = np.where(evaluates, np.arange(len(drawn)) % each, drawn)
    rate = 1.0 / (1.0 + np.exp(-logit[prompt] - 3.0 * generation / max(1, size.generations)))
    k = rng.binomial(n, rate)
    mean = k / n
    std = np.sqrt(mean * (1.0 - mean))
    length = rng.integers(80, 900, len(k)).astype(np.float64)
    number = pa.array(np.arange(len(k)) + first * each)
    names = _text("p", prompt)
    group_ids = pc.cast(number, pa.string())
    columns = {
        "step": step, "generation": generation, "round": np.zeros_like(k),
        "split": pc.if_else(pa.array(evaluates), "eval", "train"), "group_id": group_ids,
        "prompt_id": pc.if_else(pa.array(evaluates), pc.replace_substring(names, "p", "e"), names),
        "rollouts": np.full_like(k, n), "size": np.full_like(k, n), "mean": mean, "std": std,
        "min": (k == n).astype(float), "max": (k > 0).astype(float), "correct": k,
        "unanimous": (k == 0) | (k == n), "all_wrong": k == 0, "all_correct": k == n,
        "silent": (k == 0) | (k == n), "trained": np.where(evaluates, 0, n), "contrast": std,
        "push": np.zeros(len(k)), "length_mean": length, "truncated": (length > 880).astype(int),
        "policy_version": step, "time_s": 1.7e9 + step * _SECONDS_A_STEP,
    }  # fmt: skip
    groups = _conform("groups", columns, len(k))
    kept = groups.filter(pa.array(generation % size.rollouts_every == 0))
    return groups, _rollouts(rng, size, kept) if kept.num_rows else None


def _rollouts(rng: np.random.Generator, size: Size, groups: pa.Table) -> pa.Table:
    n = size.group_size
    of = np.repeat(np.arange(groups.num_rows), n)
    k, mean, std = (groups[name].to_numpy()[of] for name in ("correct", "mean", "std"))
    correct = np.tile(np.arange(n), groups.num_rows) < k
    advantage = np.where(std > 0, (correct - mean) / np.where(std > 0, std, 1.0), 0.0)
    taken = groups.take(pa.array(of))
    length = rng.integers(80, 900, len(of))
    row = np.arange(len(of)) % (size.groups_per_generation * n)
    answer = pc.if_else(pa.array(correct), "12", "13")
    text = pc.binary_join_element_wise(
        "Seven and five: count on from seven.\nThat takes",
        pa.array(length).cast(pa.string()),
        "tokens.\nanswer",
        answer,
        " ",
    )
    columns = {
        **{name: taken[name] for name in ("step", "generation", "split", "round")},
        **{name: taken[name] for name in ("group_id", "prompt_id")},
        "row": row, "reward": correct.astype(float), "correct": correct,
        "advantage_used": advantage, "advantage_framework": advantage, "length": length,
        "truncated": length > 880, "trained": pc.equal(taken["split"], "train"), "completion": text,
    }  # fmt: skip
    return _conform("rollouts", columns, len(of))


def _prompts(size: Size) -> pa.Table:
    names = _text("p", np.arange(size.prompts))
    columns = {
        "step": np.zeros(size.prompts, dtype=np.int64),
        "generation": np.zeros(size.prompts, dtype=np.int64),
        "prompt_id": names,
        "prompt": pc.binary_join_element_wise("What is seven and five, asked as", names, " "),
        "reference": pa.array(["12"] * size.prompts),
    }
    return _conform("prompts", columns, size.prompts)


def _text(letter: str, numbers: np.ndarray) -> pa.Array:
    return pc.binary_join_element_wise(letter, pa.array(numbers).cast(pa.string()), "")


def _conform(table: str, columns: dict, rows: int) -> pa.Table:
    schema = SCHEMAS[table]
    arrays = [
        pa.chunked_array([pa.nulls(rows, field.type)])
        if field.name not in columns
        else _column(columns[field.name]).cast(field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def _column(values: object) -> pa.ChunkedArray:
    if isinstance(values, pa.ChunkedArray):
        return values
    return pa.chunked_array([pa.array(values) if isinstance(values, np.ndarray) else values])


def _write(folder: Path, table: str, span: tuple[int, int], rows: pa.Table) -> None:
    path = folder / table / "attempt=1" / "rank=0" / store.part_name(span)
    with store.committing(path) as temporary:
        pq.write_table(rows, temporary, compression="zstd", row_group_size=_ROWS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for name in ("groups", "prompts", "groups_per_generation", "rollouts_every", "seed"):
        default = getattr(Size, name)
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    given = vars(parser.parse_args())
    folder = given.pop("folder")
    started = time.perf_counter()
    write_run(folder, Size(**given))
    files = [path.stat().st_size for path in folder.rglob("*.parquet")]
    print(f"{sum(files) / 1e6:,.0f} MB in {time.perf_counter() - started:.0f} s: {folder}")


if __name__ == "__main__":
    main()
