"""Groups as rows of a table, for rules that sort or walk through the rollouts of a group."""

from __future__ import annotations

import numpy as np

from dissensus.core.groups import BoolArray, FloatArray, RewardGroups

__all__ = ["RolloutTable", "average_ranks", "run_bounds"]


class RolloutTable:
    """(P, W): the scored rollouts of each group, in input order, from the left.

    W is the size of the largest group; what is left of a row is filled. No copy where all groups
    are full, equally large and in order.
    """

    def __init__(self, groups: RewardGroups) -> None:
        self.width = max(int(groups.size.max()), 1)
        self.shape = (len(groups), self.width)
        self._count = groups.n_rollouts
        self._rows, self._slots = None, None
        if groups.width != self.width or not groups.is_scored.all():
            rows = np.flatnonzero(groups.is_scored)
            self._rows = rows[np.argsort(groups.index[rows], kind="stable")]
            starts = np.cumsum(groups.size) - groups.size
            group = groups.index[self._rows]
            self._slots = group * self.width + np.arange(len(rows)) - starts[group]

    def of(self, values: FloatArray, fill: float = np.inf) -> FloatArray:
        """(N,) → (P, W)."""
        if self._rows is None:
            return values.reshape(self.shape)
        table = np.full(self.shape, fill)
        table.ravel()[self._slots] = values[self._rows]
        return table

    def back(self, table: FloatArray) -> FloatArray:
        """(P, W) → (N,), 0 for unscored rollouts."""
        if self._rows is None:
            return table.ravel()
        values = np.zeros(self._count)
        values[self._rows] = table.ravel()[self._slots]
        return values


def run_bounds(is_new: BoolArray) -> tuple[FloatArray, FloatArray]:
    """First and last column of the run that each entry belongs to.

    Args:
        is_new: (P, W − 1) whether column j + 1 starts a run.
    """
    n_groups, width = len(is_new), is_new.shape[1] + 1
    column = np.arange(width, dtype=np.int32)
    first = np.zeros((n_groups, width), dtype=np.int32)
    np.multiply(is_new, column[1:], out=first[:, 1:])
    np.maximum.accumulate(first, axis=1, out=first)
    last = np.full((n_groups, width), width - 1, dtype=np.int32)
    last[:, :-1] -= np.where(is_new, width - 1 - column[:-1], 0)
    backwards = last[:, ::-1]
    np.minimum.accumulate(backwards, axis=1, out=backwards)
    return first, last


def average_ranks(table: FloatArray, tol: float) -> FloatArray:
    """(P, W) rank from 0 of each entry in its row, upwards; entries within tol share their mean."""
    order = np.argsort(table, axis=1)
    ascending = np.take_along_axis(table, order, axis=1)
    with np.errstate(invalid="ignore"):  # between two filled entries
        first, last = run_bounds(np.diff(ascending, axis=1) > tol)
    ranks = np.empty(table.shape)
    np.put_along_axis(ranks, order, 0.5 * (first + last), axis=1)
    return ranks
