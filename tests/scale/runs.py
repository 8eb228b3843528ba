"""Runs with numbers whose sums depend on the order of the terms, in every state of their files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from dissensus import Recorder, Run
from dissensus.runs import compact
from dissensus.views.summary import summarise_run
from dissensus.views.summed import AddUp, Summed

GENERATIONS = 12


def record(folder: Path, *, start: int = 0) -> Path:
    """Rewards over twelve orders of magnitude, groups of 2 to 6, unscored rollouts, two splits."""
    rng = np.random.default_rng(start)
    recorder = Recorder(folder, metadata={"estimator": "grpo"}, correct=0.5, start_step=start)
    with recorder:
        for generation in range(start, GENERATIONS):
            split = "eval" if generation % 6 == 5 else "train"
            groups = np.repeat(np.arange(24), rng.integers(2, 7, 24))
            rewards = rng.normal(size=len(groups)) * 10.0 ** rng.integers(-6, 7, len(groups))
            rewards[rng.random(len(groups)) < 0.05] = np.nan
            rewards[groups == 3] = np.nan  # a group, and its prompt, without any reward
            rewards[groups == 5] = 1.0
            prompts = np.where(groups == 3, 900 + generation, rng.permutation(60)[groups])
            recorder.record(
                step=generation,
                split=split,
                group_ids=groups,
                prompt_ids=prompts,
                rewards=rewards,
                advantages_used=rng.normal(size=len(groups)) if split == "train" else None,
                lengths=rng.integers(1, 4000, len(groups)),
            )
    return folder


def record_attempts(folder: Path) -> Path:
    """The same three times: the second attempt resumes amid the first, the third amid the second.

    What they leave: steps 0 to 2 of the first, 3 to 8 of the second, 9 to 11 of the third.
    """
    for start in (0, 3, 9):
        record(folder, start=start)
    return folder


def copied(folder: Path, to: Path, state: str) -> Run:
    """A copy of a run whose files are put together in another way."""
    shutil.copytree(folder, to)
    if state.startswith("parts of"):
        compact(to, generations_per_part=int(state.split()[2]), grace_s=0)
    if state.endswith("without roll-ups"):
        shutil.rmtree(to / "rollups")
    if state.endswith("without totals"):
        shutil.rmtree(to / "rollups" / "totals")
    if state.endswith("some rolled up"):
        for path in sorted((to / "rollups").glob("*/*/part-*"))[::2]:
            path.unlink()
    if state.endswith("a broken roll-up each"):  # its footer is sound, so that reading finds out
        for kind in (to / "rollups").iterdir():
            path = min(kind.glob("*/*.parquet"))
            content = path.read_bytes()
            path.write_bytes(
                content[:4] + bytes(len(content) // 2) + content[4:][len(content) // 2 :]
            )
    return Run(to)


STATES = (
    "segments",
    "parts of 5",
    "parts of 4",
    "parts of 5 without roll-ups",
    "parts of 4 without totals",
    "parts of 4 some rolled up",
    "parts of 4 with a broken roll-up each",
)


def numbers(run: Run, add_up: AddUp | None = None) -> dict[str, Any]:
    """All that a report says in numbers, exactly."""
    source = Summed(run) if add_up is None else Summed(run, add_up)
    summary = summarise_run(source)
    said = summary.to_json()
    said.pop("source")
    return said | {"timeline": [(p.step, p.measures.to_json()) for p in summary.timeline]}
