"""What the writer thread does with one generation: rows, text budget, correctness, files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dissensus.core.correctness import InferredCorrectness
from dissensus.core.disagreement import summarise_groups
from dissensus.core.groups import BoolArray, RewardGroups
from dissensus.runs import arrow, store
from dissensus.runs.records import Ids, Record, pick
from dissensus.runs.text_budget import choose_groups, estimate_bytes

__all__ = ["Sink", "Written"]

PROMPT_SHARE = 0.25
"""Share of the text budget that prompts and references may take; completions get the rest."""


class Written(NamedTuple):
    """What became of the text of one generation."""

    texts_lost: int
    prompts_lost: int


class Sink:
    """Writes the generations of one rank of one attempt.

    Nothing here changes unless the files are on disk, so that a write that failed can be repeated.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        attempt: int,
        rank: int,
        tol: float,
        correct: float | None,
        text_budget_bytes: float,
        text_bytes: float = 0.0,
        prompt_bytes: float = 0.0,
        reward_values: Iterable[float] = (),
        world_size: int = 1,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        self.run_dir, self.attempt, self.rank = run_dir, attempt, rank
        self.tol, self.correct = tol, correct
        self.correctness = InferredCorrectness(tol, reward_values)
        self.budget_bytes = text_budget_bytes
        self.text_bytes, self.prompt_bytes = text_bytes, prompt_bytes
        self._prompt_budget = text_budget_bytes * PROMPT_SHARE / world_size
        self._world_size = world_size
        self._seen: set[Any] = set()
        self._breathe = breathe

    def write(self, record: Record) -> Written:
        """Put one generation on disk; `groups` comes last, so its presence means all of it.

        Raises:
            OSError: It is not on disk. Call again with the same record when the disk is back.
        """
        groups = self.group(record)
        keep, taken, lost = self._choose_text(record, groups)
        self._breathe()
        prompts, has_text, prompt_bytes = self._new_prompts(record)
        if prompts:
            table = arrow.prompt_table(record, prompts, has_text)
            self._commit("prompts", record.generation, table)
        self._breathe()
        if record.has_rollouts and record.n_local:
            table = arrow.rollout_table(record, groups, keep)
            self._breathe()
            self._commit("rollouts", record.generation, table)
        if self.rank == 0:
            summary = summarise_groups(groups, record.advantages_used)
            self._breathe()
            table = arrow.group_table(record, groups, summary)
            self._breathe()
            self._commit("groups", record.generation, table)
        self.text_bytes += taken
        self.prompt_bytes += prompt_bytes
        self._seen.update(_listed(pick(record.prompt_ids[record.local], prompts)))
        return Written(lost, has_text.count(False))

    def write_scalars(self, segment: int, values: list[tuple[int, str, str, float, float]]) -> None:
        """Put scalars on disk as one file."""
        self._commit("scalars", segment, arrow.scalar_table(segment, values))

    def group(self, record: Record) -> RewardGroups:
        """The record's rewards by group, with what this run knows about correctness."""
        declared = record.correct if record.correct is not None else self.correct
        return RewardGroups.from_flat(
            record.rewards,
            record.group_ids,
            correct=self.correctness.declare(record.rewards) if declared is None else declared,
            tol=self.tol,
        )

    def _choose_text(
        self, record: Record, groups: RewardGroups
    ) -> tuple[BoolArray | None, float, int]:
        if record.completions is None or math.isinf(self.budget_bytes):
            return None, 0.0, 0
        size = estimate_bytes(record.n_rollouts, record.lengths)
        if self._world_size == 1 and record.n_local == record.n_rollouts:
            size = np.array([_text_bytes(t) for t in record.completions], dtype=np.float64)
        keep, taken = choose_groups(
            groups,
            size,
            budget_bytes=self.budget_bytes * (1 - PROMPT_SHARE),
            used_bytes=self.text_bytes,
            generation=record.generation,
        )
        flags = keep[record.local].tolist()
        lost = sum(t is not None and not k for t, k in zip(record.completions, flags, strict=True))
        return keep, taken, lost

    def _new_prompts(self, record: Record) -> tuple[list[int], list[bool], float]:
        """Rows whose prompt is seen for the first time, which keep their text, and its bytes."""
        columns = [column for column in (record.prompts, record.references) if column]
        if not columns:
            return [], [], 0.0
        listed = _listed(record.prompt_ids[record.local])
        first = dict(zip(reversed(listed), range(len(listed) - 1, -1, -1), strict=True))
        new = sorted(row for name, row in first.items() if name not in self._seen)
        taken = 0.0
        has_text = []
        for row in new:
            size = sum(_text_bytes(column[row]) for column in columns)
            has_text.append(self.prompt_bytes + taken + size <= self._prompt_budget)
            taken += size * has_text[-1]
        return new, has_text, taken

    def _commit(self, table: str, number: int, data: pa.Table) -> None:
        path = store.segment_path(self.run_dir, table, self.attempt, self.rank, number)
        store.commit_bytes(path, arrow.encode(data))


def _text_bytes(text: Any) -> int:
    """Bytes of a text in UTF-8: three for each character of some languages."""
    return len(str(text or "").encode("utf-8", "replace"))


def _listed(ids: Ids) -> list[Any]:
    return ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
