"""Small logs that several tests write in several containers."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

CONTAINERS = ("jsonl", "json", "csv", "parquet")


def rollouts(
    seed: int = 0, *, steps: int = 3, prompts: int = 5, size: int = 4, values=(0.0, 1.0)
) -> list[dict[str, Any]]:
    """Rollouts of a toy run; advantages are centred rewards."""
    rng = np.random.default_rng(seed)
    rows = []
    for step in range(steps):
        for prompt in range(prompts):
            rewards = rng.choice(values, size=size)
            rows += [
                {
                    "step": step,
                    "group_id": f"{step}-{prompt}",
                    "prompt_id": f"p{prompt}",
                    "reward": float(reward),
                    "advantage": float(reward - rewards.mean()),
                    "length": int(rng.integers(1, 50)),
                    "completion": f"text {step} {prompt} {i}",
                }
                for i, reward in enumerate(rewards)
            ]
    return rows


def write(path: Path, rows: list[dict[str, Any]], container: str) -> Path:
    """Write rows; the name says nothing about the content."""
    if container == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif container == "json":
        path.write_text(json.dumps(rows, indent=1))
    elif container == "csv":
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path
