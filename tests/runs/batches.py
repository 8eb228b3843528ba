"""Small generations for the tests of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from dissensus.runs import Recorder


def batch(step: int, rewards: list[float] | None = None, size: int = 2, **more: Any) -> dict:
    """One generation: groups of `size` in order, ids made from the step."""
    rewards = [1.0, 0.0, 1.0, 1.0] if rewards is None else rewards
    groups = [i // size for i in range(len(rewards))]
    return {
        "step": step,
        "group_ids": [f"s{step}g{g}" for g in groups],
        "prompt_ids": [f"p{g}" for g in groups],
        "rewards": rewards,
        **more,
    }


def record_steps(run_dir: Path, steps: range, **options: Any) -> None:
    """Record one generation per step, and close."""
    with Recorder(run_dir, steps.start, strict=True, **options) as recorder:
        for step in steps:
            recorder.record(**batch(step))


def plain_duckdb(run_dir: Path) -> duckdb.DuckDBPyConnection:
    """What a user without this package has: DuckDB and the run's own views."""
    connection = duckdb.connect()
    connection.execute(f"SET VARIABLE dissensus_run = '{run_dir}'")
    connection.execute((run_dir / "views.sql").read_text())
    return connection


def files_of(run_dir: Path, table: str) -> list[str]:
    """Names of a table's files, without the empty one."""
    found = (run_dir / table).glob("attempt=*/rank=*/*.parquet")
    return sorted(p.name for p in found if p.name != "schema.parquet")
