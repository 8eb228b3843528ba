"""Groups as rows of a table, for rules that compare or walk through the rollouts of a group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups

__all__ = ["RolloutTable", "equal_counts", "net_wins", "row_blocks"]

_BLOCK = 65536
"""Entries worked on at a time: few enough to stay in the cache, which is several times faster."""


class RolloutTable:
    """(P, W): the scored rollouts of each group, in input order, from the left.

    W is the size of the largest group; what is left of a row is filled. No copy where all groups
    are full, equally large and in order.

    Attributes:
        width: W.
        shape: (P, W).
        exists: (P, W) False where a row is filled; None where nothing is.
    """

    def __init__(self, groups: RewardGroups) -> None:
        self.width = max(int(groups.size.max()), 1)
        self.shape = (len(groups), self.width)
        self.exists: BoolArray | None = None
        self._count = groups.n_rollouts
        if groups.width != self.width or not groups.is_scored.all():
            self.exists = np.arange(self.width) < groups.size[:, None]
            rows = np.flatnonzero(groups.is_scored)
            self._rows = rows[np.argsort(groups.index[rows], kind="stable")]

    def of(self, values: NDArray[Any], fill: float = np.nan) -> NDArray[Any]:
        """(N,) → (P, W)."""
        if self.exists is None:
            return values.reshape(self.shape)
        table = np.full(self.shape, fill, dtype=values.dtype)
        table[self.exists] = values[self._rows]
        return table

    def back(self, table: FloatArray) -> FloatArray:
        """(P, W) → (N,), 0 for unscored rollouts."""
        if self.exists is None:
            return table.ravel()
        values = np.zeros(self._count)
        values[self._rows] = table[self.exists]
        return values


def net_wins(table: FloatArray, tol: float = 0.0) -> FloatArray:
    """(P, W) entries of the row that an entry exceeds by more than tol, minus those that exceed it.

    Compares all pairs of a row; NaN wins and loses nothing.
    """
    out = np.empty(table.shape)
    for block in row_blocks(table.shape):
        columns = np.ascontiguousarray(table[block].T)
        wins = np.zeros(columns.shape, dtype=_counter(len(columns)))
        for step in range(1, len(columns)):  # all pairs of columns that are `step` apart
            lead = columns[step:] - columns[:-step]
            sign = (lead > tol).view(np.int8) - (lead < -tol).view(np.int8)
            wins[step:] += sign
            wins[:-step] -= sign
        out[block] = wins.T
    return out


def equal_counts(table: NDArray[Any], exists: BoolArray | None) -> IntArray:
    """(P, W) how many entries of the row equal an entry, itself included; 1 where none exists."""
    out = np.empty(table.shape, dtype=np.int64)
    for block in row_blocks(table.shape):
        columns = np.ascontiguousarray(table[block].T)
        there = None if exists is None else exists[block].T
        equal = np.ones(columns.shape, dtype=_counter(len(columns)))
        for step in range(1, len(columns)):
            same = columns[step:] == columns[:-step]
            if there is not None:
                same &= there[step:]  # rows are filled from the right: the other one exists too
            equal[step:] += same
            equal[:-step] += same
        out[block] = equal.T
    return out


def _counter(width: int) -> type[np.integer[Any]]:
    """A type that counts up to ±width: additions are as fast as the type is narrow."""
    return np.int8 if width <= np.iinfo(np.int8).max else np.int32


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of rows whose entries, and a few temporaries of them, fit into the cache."""
    rows = max(_BLOCK // shape[1], 1)
    return (slice(start, start + rows) for start in range(0, shape[0], rows))
