"""Where rollouts are: in which sampling, at which row, on which process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.core.groups import IntArray

__all__ = ["Located"]


@dataclass(frozen=True, eq=False)
class Located:
    """Rollouts of an allocator, and where they are.

    Attributes:
        number: (N,) the allocator's running number.
        source: (N,) which sampling.
        row: (N,) row of it, counted over all processes.
        rank: (N,) process that has the row.
        prompt: (N,) id of the prompt.
    """

    number: IntArray
    source: IntArray
    row: IntArray
    rank: IntArray
    prompt: NDArray[Any]

    def __len__(self) -> int:
        return len(self.number)

    @classmethod
    def of(cls, parts: Sequence[Located]) -> Located:
        """Several as one, in order; those without a rollout say nothing, not even of ids."""
        filled = [part for part in parts if len(part)] or list(parts[:1])
        joined = {
            each.name: np.concatenate([getattr(part, each.name) for part in filled])
            for each in fields(cls)
        }
        return cls(**joined)

    def take(self, places: IntArray) -> Located:
        """Those at some places."""
        return Located(**{each.name: getattr(self, each.name)[places] for each in fields(self)})

    def moved_to(self, source: int) -> Located:
        """The same rollouts in another sampling."""
        return replace(self, source=np.full(len(self), source))

    def by_rank(self) -> Located:
        """Process after process, else in the same order, as TRL gathers rows."""
        return self.take(np.argsort(self.rank, kind="stable"))

    def of_rank(self, rank: int) -> slice:
        """Those of one process, when they stand process after process."""
        return slice(*np.searchsorted(self.rank, [rank, rank + 1]).tolist())

    def find(self, numbers: IntArray) -> IntArray:
        """(M,) place of each running number; −1 where it is not there."""
        if not len(self):
            return np.full(len(numbers), -1)
        order = np.argsort(self.number)
        slot = np.minimum(np.searchsorted(self.number[order], numbers), len(order) - 1)
        return np.where(self.number[order[slot]] == numbers, order[slot], -1)

    @property
    def picks(self) -> IntArray:
        """(N, 2) sampling and row."""
        return np.stack([self.source, self.row], axis=1)
