"""Counts of correct rollouts, compressed: how many groups had k of n, by hand of prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from dissensus.core.groups import FloatArray, IntArray
from dissensus.core.laws._inputs import as_counts, broadcast
from dissensus.errors import InputError

__all__ = ["HANDS", "Counts"]

HANDS = 1024
"""Prompts are dealt into at most so many hands; a hand is what a resampling draws as a whole."""

_LARGEST = 128


@dataclass(frozen=True)
class Counts:
    """How many groups had k of n rollouts correct, by hand.

    A hand holds whole prompts, so its groups may depend on each other and different hands do not.
    Data of any length fit into (cells × hands) numbers, and what clustering by prompt says of an
    error can be read off the spread between hands.

    Attributes:
        correct: (C,) k of each cell.
        size: (C,) n of each cell.
        table: (C, H) groups of each cell in each hand.
    """

    correct: FloatArray
    size: FloatArray
    table: FloatArray

    @classmethod
    def from_groups(
        cls,
        correct: ArrayLike,
        size: ArrayLike,
        *,
        weights: ArrayLike | None = None,
        prompts: ArrayLike | None = None,
        rng: np.random.Generator | None = None,
    ) -> Counts:
        """Compress groups, or a histogram of them.

        Groups of no rollout are left out.

        Args:
            correct: k_i, whole.
            size: n_i, whole, broadcasts.
            weights: Groups that row i stands for, whole; None means 1.
            prompts: Whole number that names the prompt of row i; None: every group is a prompt of
                its own.
            rng: Deals prompts into hands where there are more prompts than hands.

        Raises:
            InputError: No group, k > n, numbers that are not whole, shapes that do not broadcast.

        Example:
            >>> counts = Counts.from_groups([0, 1, 1, 2], 2, prompts=[7, 7, 8, 9])
            >>> counts.groups.tolist(), counts.prompts_at_least
            ([1.0, 2.0, 1.0], 3)
        """
        rng = np.random.default_rng(0) if rng is None else rng
        k, n, count, prompt = (
            np.ravel(each)
            for each in broadcast(
                correct=as_counts(correct, "correct"),
                size=as_counts(size, "size"),
                weights=as_counts(1.0 if weights is None else weights, "weights"),
                prompts=np.asarray(0 if prompts is None else prompts),
            )
        )
        if (k > n).any():
            raise InputError("correct must not exceed size", where="Counts")
        cells, cell = np.unique(np.stack([n, k], axis=1), axis=0, return_inverse=True)
        cell = cell.ravel()
        if prompts is None:
            total = np.bincount(cell, weights=count, minlength=len(cells))
            table = rng.multinomial(total.astype(np.int64), np.full(HANDS, 1.0 / HANDS))
        else:
            hand = _deal(prompt, rng)
            table = np.zeros((len(cells), int(hand.max(initial=0)) + 1), dtype=np.int64)
            np.add.at(table, (cell, hand), count.astype(np.int64))
        return cls.from_table(cells[:, 1], cells[:, 0], table.astype(np.float64))

    @classmethod
    def from_table(cls, correct: ArrayLike, size: ArrayLike, table: FloatArray) -> Counts:
        """Counts whose groups have been summed by cell and hand already, as SQL does it.

        Raises:
            InputError: No group of at least one rollout.
        """
        k, n = np.asarray(correct, dtype=np.float64), np.asarray(size, dtype=np.float64)
        kept = (n > 0) & (table.sum(axis=1) > 0)
        if not kept.any():
            raise InputError("no group has a scored rollout", where="Counts")
        table = table[kept]
        return cls(k[kept], n[kept], table[:, table.sum(axis=0) > 0])

    def thinned(self) -> Counts:
        """The same with groups of at most 128, for fits.

        A larger group counts as the average over all ways to keep 128 of its rollouts: more tells
        nothing that a solve-rate grid resolves.
        """
        if self.largest_size <= _LARGEST:
            return self
        return Counts(*_thinned(self.correct, self.size, self.table))

    @property
    def groups(self) -> FloatArray:
        """(C,) groups of each cell."""
        return np.asarray(self.table.sum(axis=1))

    @property
    def total(self) -> float:
        """Number of groups."""
        return float(self.table.sum())

    @property
    def prompts_at_least(self) -> int:
        """Number of hands, which is the number of prompts where they are few."""
        return int(self.table.shape[1])

    @property
    def largest_size(self) -> int:
        """Largest number of rollouts in a group."""
        return int(self.size.max())

    def usual_size(self) -> int:
        """The group size that most groups have; of several the largest."""
        sizes, inverse = np.unique(self.size, return_inverse=True)
        groups = np.bincount(inverse.ravel(), weights=self.groups)
        return int(sizes[len(groups) - 1 - int(np.argmax(groups[::-1]))])

    def unanimous_shares(self, size: int) -> tuple[float, float]:
        """Measured shares of all-wrong and all-correct groups of one size; NaN without any."""
        mine = self.size == size
        total = float(self.groups[mine].sum())
        wrong, right = (
            float(self.groups[mine & (self.correct == k)].sum()) / total if total else float("nan")
            for k in (0, size)
        )
        return wrong, right

    def of_hands(self, chosen: IntArray | FloatArray) -> Counts:
        """The same cells with only the chosen hands (a mask or positions)."""
        table = self.table[:, chosen]
        kept = table.sum(axis=1) > 0
        return Counts(self.correct[kept], self.size[kept], table[kept])


def _deal(prompts: np.ndarray, rng: np.random.Generator) -> IntArray:
    """Deal prompts into hands: one each while there are hands enough, else at random."""
    names, place = np.unique(prompts, return_inverse=True)
    hands = np.arange(len(names))
    if len(names) > HANDS:
        hands = rng.integers(0, HANDS, size=len(names))
    return np.asarray(hands[place.ravel()])


def _thinned(
    k: FloatArray, n: FloatArray, table: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Replace large groups by their hypergeometric average over `_LARGEST` kept rollouts."""
    large = n > _LARGEST
    kept = np.arange(_LARGEST + 1.0)[:, None]

    def log_choose(whole: FloatArray, part: FloatArray) -> FloatArray:
        inside = (part >= 0) & (part <= whole)
        part = np.where(inside, part, 0.0)
        log = -np.log1p(whole) - special.betaln(whole - part + 1.0, part + 1.0)
        return np.where(inside, log, -np.inf)

    with np.errstate(under="ignore"):
        share = np.exp(
            log_choose(k[large], kept)
            + log_choose(n[large] - k[large], _LARGEST - kept)
            - log_choose(n[large], np.full_like(kept, _LARGEST))
        )
    cells = np.concatenate(
        [
            np.stack([n[~large], k[~large]], axis=1),
            np.stack([np.full(_LARGEST + 1, float(_LARGEST)), kept[:, 0]], axis=1),
        ]
    )
    merged, place = np.unique(cells, axis=0, return_inverse=True)
    out = np.zeros((len(merged), table.shape[1]))
    np.add.at(out, place.ravel(), np.concatenate([table[~large], share @ table[large]]))
    return merged[:, 1], merged[:, 0], out
