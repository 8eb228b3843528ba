"""Runs in which all is unlike that may be: splits, sizes, rounds, attempts, what is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dissensus import Recorder

KINDS = ("two-valued", "graded", "three-valued", "no advantages")
RESUMED_AT = 8
STEPS = 12


def record_messy(
    folder: Path, kind: str, between: Callable[[int], None] = lambda _: None, seed: int = 0
) -> None:
    """Record a run that was resumed amid the steps of its first attempt.

    Args:
        folder: Of the run.
        kind: What rewards say: correct or wrong alone; that and more, with a threshold; more than
            two values without one; or two values, without advantages in some generations.
        between: Called with every step that has been flushed.
        seed: Of all that is drawn.
    """
    rng = np.random.default_rng(seed)
    correct = 0.5 if kind == "graded" else None
    for attempt, steps in enumerate((range(RESUMED_AT + 3), range(RESUMED_AT, STEPS))):
        metadata = {"estimator": "grpo(ddof=0, eps=0.0)", "seed": seed}
        with Recorder(folder, start_step=steps[0], correct=correct, metadata=metadata) as recorder:
            for step in steps:
                if step % 3 == 0:
                    for split in ("eval", "eval-hard"):
                        recorder.record(**_batch(rng, kind, step, split=split))
                for number in range(1 + step % 2):
                    recorder.record(**_batch(rng, kind, step, number=number))
                recorder.flush()
                between(100 * attempt + step)


def _batch(
    rng: np.random.Generator, kind: str, step: int, *, split: str = "train", number: int = 0
) -> dict[str, Any]:
    sizes = rng.choice([1, 2, 4, 4, 4, 7], 9)
    prompts = rng.choice(12, len(sizes), replace=False)
    of = np.repeat(np.arange(len(sizes)), sizes)
    rate = 1.0 / (1.0 + np.exp(-2.5 * np.sin(7.0 * prompts) - 0.05 * step))
    rewards = (rng.random(len(of)) < rate[of]).astype(float)
    if kind == "graded":
        rewards = np.where(rewards > 0, rewards, rng.choice([0.0, 0.1], len(of)))
    if kind == "three-valued":
        rewards *= rng.choice([0.5, 1.0], len(of))
    rewards[rng.random(len(of)) < 0.1] = np.nan
    rewards[of == 3] = np.nan  # a group without any reward
    advantages = np.zeros(len(of))
    for group in range(len(sizes)):
        inside = (of == group) & np.isfinite(rewards)
        if inside.any() and rewards[inside].std() > 0:
            advantages[inside] = (rewards[inside] - rewards[inside].mean()) / rewards[inside].std()
    is_logged = split == "train" and not (kind == "no advantages" and step % 4 == 1)
    trained = np.isfinite(rewards) & ((of % 4 > 0) | (number > 0)) & (split == "train")
    return {
        "step": step, "split": split, "round": number, "rewards": rewards,
        "group_ids": [f"{split}-{group}" for group in of],  # the same ones in every generation
        "prompt_ids": [f"p{prompt}" for prompt in prompts[of]],
        "trained": trained, "advantages_used": advantages if is_logged else None,
        "lengths": rng.integers(5, 90, len(of)) if step % 5 else None,
        "truncated": rng.random(len(of)) < 0.1 if step % 5 else None,
    }  # fmt: skip


def forget_prompts(folder: Path, forgotten: str = "p3") -> None:
    """Take the prompt of some groups away, as in a run imported from a log that names none."""
    for path in sorted((folder / "groups").glob("**/generation-*.parquet")):
        table = pq.ParquetFile(path).read()
        place = table.schema.get_field_index("prompt_id")
        ids = [None if each == forgotten else each for each in table["prompt_id"].to_pylist()]
        column = pa.array(ids, pa.string())
        pq.write_table(table.set_column(place, table.schema.field(place), column), path)
