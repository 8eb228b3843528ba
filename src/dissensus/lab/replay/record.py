"""What was recorded of each prompt: correct and scored rollouts, visit by visit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import IntArray
from dissensus.errors import InputError
from dissensus.lab.paper.data import ROLLOUTS, big_math
from dissensus.views.correctness import why_unknown
from dissensus.views.queries import IS_TRAIN
from dissensus.views.readable import Readable

__all__ = ["Record", "big_math_record", "read_record"]


@dataclass(frozen=True, eq=False)
class Record:
    """Visits of P prompts, those of one prompt side by side in the order of time.

    Attributes:
        first: (P+1,) place of each prompt's first visit; the last entry is the number of visits.
        correct: (V,) correct rollouts of each visit.
        size: (V,) scored ones, ≥ 1.

    Example:
        >>> record = Record.from_visits([7, 3, 7], [1, 0, 2], 2)
        >>> record.first.tolist(), record.correct.tolist()
        ([0, 1, 3], [0, 1, 2])
    """

    first: IntArray
    correct: IntArray
    size: IntArray

    @classmethod
    def from_visits(cls, prompts: ArrayLike, correct: ArrayLike, size: ArrayLike) -> Record:
        """Sort visits by prompt.

        Args:
            prompts: (V,) names, such as whole numbers; rows of one prompt are in the order of time.
            correct: (V,) correct rollouts.
            size: (V,) or scalar, scored rollouts; visits without any are left out.

        Raises:
            InputError: No visit, or k > n.
        """
        k, n = np.broadcast_arrays(np.asarray(correct), np.asarray(size))
        if ((k < 0) | (k > n)).any():
            raise InputError("correct must lie in 0 … size", where="Record")
        scored = n > 0
        if not scored.any():
            raise InputError("no visit has a scored rollout", where="Record")
        name = np.asarray(prompts)[scored]
        order = np.argsort(name, kind="stable")
        first = np.unique(name[order], return_index=True)[1]
        k, n = (each[scored][order].astype(np.int64) for each in (k, n))
        return cls(np.append(first, len(n)).astype(np.int64), k, n)

    def __len__(self) -> int:
        return len(self.first) - 1

    @cached_property
    def visits(self) -> IntArray:
        """(P,) visits of each prompt."""
        return np.diff(self.first)

    @cached_property
    def prompt(self) -> IntArray:
        """(V,) prompt of each visit."""
        return np.repeat(np.arange(len(self)), self.visits)

    def of(self, prompts: IntArray) -> Record:
        """Some prompts only, renumbered in this order."""
        visits = self.visits[prompts]
        first = np.append(0, np.cumsum(visits))
        rows = np.arange(first[-1]) + np.repeat(self.first[prompts] - first[:-1], visits)
        return Record(first, self.correct[rows], self.size[rows])


def big_math_record() -> Record:
    """All problems of Big-Math, each with one visit of 64 rollouts.

    Example:
        >>> record = big_math_record()
        >>> len(record), int(record.size[0])
        (215608, 64)
    """
    counts = big_math()
    correct = np.repeat(counts.correct_of_64, counts.problems)
    return Record(np.arange(len(correct) + 1), correct, np.full(len(correct), ROLLOUTS))


def read_record(source: Readable) -> Record:
    """Training groups of a run or a log; those of a prompt in one generation are one visit.

    A log that names no prompts has groups that stand for themselves.

    Raises:
        InputError: It is not known which rollouts are correct.
    """
    unknown = why_unknown(source)
    if unknown is not None:
        raise InputError(
            "a replay needs to know which rollouts are correct",
            where=str(source.path),
            got=unknown,
        )
    table = source.sql(
        f"""SELECT dense_rank() OVER (ORDER BY coalesce(prompt_id, group_id)) AS prompt,
            sum(correct)::BIGINT AS correct, sum(size)::BIGINT AS size
        FROM groups WHERE {IS_TRAIN} AND size > 0
        GROUP BY coalesce(prompt_id, group_id), step, generation
        ORDER BY step, generation, prompt"""  # noqa: S608 — no outside text
    )
    return Record.from_visits(*(table[name].to_numpy() for name in ("prompt", "correct", "size")))
