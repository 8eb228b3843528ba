"""Statistics of groups and batches for rows of any number of batches at once, without loops."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Moments", "Rows"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]


class Rows(NamedTuple):
    """Rewards and what became of them: one entry per rollout.

    Attributes:
        rewards: (N,) finite total rewards.
        advantages: (N,) finite advantages.
        group: (N,) number of the group, 0 … P−1; a group lies in one batch.
        batch: (N,) number of the batch (one call, one generation), 0 … B−1.
        lengths: (N,) tokens of each completion; None where they are not known.
    """

    rewards: Floats
    advantages: Floats
    group: Ints
    batch: Ints
    lengths: Floats | None = None

    def take(self, keep: NDArray[np.bool_]) -> Rows:
        """Those rows only, with groups and batches numbered anew."""
        return Rows(
            self.rewards[keep],
            self.advantages[keep],
            np.unique(self.group[keep], return_inverse=True)[1],
            np.unique(self.batch[keep], return_inverse=True)[1],
            None if self.lengths is None else self.lengths[keep],
        )


class Moments:
    """Lazily computed means and spreads of `Rows`, each expanded to one entry per rollout.

    Args:
        rows: What they are computed from; advantages are not looked at.
    """

    def __init__(self, rows: Rows) -> None:
        self.rewards, self._group, self._batch = rows.rewards, rows.group, rows.batch
        self._lengths = rows.lengths
        self._batch_squares: dict[Any, tuple[Floats, Floats, Floats]] = {}

    @property
    def has_lengths(self) -> bool:
        """Whether statistics by token can be computed."""
        return self._lengths is not None

    def weights(self, by: str) -> Floats:
        """(N,) how often a rollout counts in the statistics of its batch."""
        if by == "token" and self._lengths is not None:
            return self._lengths
        return np.ones_like(self.rewards)

    @cached_property
    def size(self) -> Floats:
        """(N,) rollouts of the group."""
        return np.bincount(self._group).astype(np.float64)[self._group]

    @cached_property
    def mean(self) -> Floats:
        """(N,) mean reward of the group."""
        return self._sum(self.rewards) / self.size

    @cached_property
    def centred(self) -> Floats:
        """(N,) reward minus the mean of the group."""
        return self.rewards - self.mean

    @cached_property
    def length_weighted(self) -> Floats:
        """(N,) reward minus the mean of the group weighted by lengths."""
        w = self.weights("token")
        return self.rewards - self._sum(w * self.rewards) / self._sum(w)

    @cached_property
    def squares(self) -> Floats:
        """(N,) sum of squared deviations of the group."""
        return self._sum(self.centred**2)

    @cached_property
    def others_squares(self) -> Floats:
        """(N,) sum of squared deviations of the other rollouts of the group."""
        others = np.maximum(self.size - 1, 1)
        rest = self.squares - self.centred**2 * self.size / others
        # What is left of a difference of equal numbers is rounding, and would look like a spread.
        return np.where(rest > 1e-13 * self.squares, rest, 0.0)

    @cached_property
    def largest(self) -> Floats:
        """(N,) largest absolute reward of the group: the scale of its rounding errors."""
        out = np.zeros(len(np.bincount(self._group)))
        np.maximum.at(out, self._group, np.abs(self.rewards))
        largest: Floats = out[self._group]
        return largest

    @cached_property
    def batch_largest(self) -> Floats:
        """(N,) largest absolute reward of the batch."""
        out = np.zeros(len(np.bincount(self._batch)))
        np.maximum.at(out, self._batch, np.abs(self.rewards))
        largest: Floats = out[self._batch]
        return largest

    @cached_property
    def reach(self) -> Floats:
        """(N,) max − min of the group's rewards."""
        count = len(np.bincount(self._group))
        high, low = np.full(count, -np.inf), np.full(count, np.inf)
        np.maximum.at(high, self._group, self.rewards)
        np.minimum.at(low, self._group, self.rewards)
        reach: Floats = (high - low)[self._group]
        return reach

    def batch_spread(self, key: str, values: Floats, by: str) -> tuple[Floats, Floats, Floats]:
        """(N,) mean, sum of squares and weight over the batch of `values`, cached under `key`."""
        if (key, by) not in self._batch_squares:
            w = self.weights(by)
            total = self._total(self._batch, w)
            mean = self._total(self._batch, w * values) / total
            squares = self._total(self._batch, w * (values - mean[self._batch]) ** 2)
            per_row = (mean[self._batch], squares[self._batch], total[self._batch])
            self._batch_squares[key, by] = per_row
        return self._batch_squares[key, by]

    def _sum(self, values: Floats) -> Floats:
        return self._total(self._group, values)[self._group]

    @staticmethod
    def _total(codes: Ints, values: Floats) -> Floats:
        total: Floats = np.bincount(codes, values).astype(np.float64)
        return total
