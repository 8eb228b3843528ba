"""The prompts an allocator chooses from, and shuffled epochs over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.core.groups import BoolArray, IntArray, id_kinds
from dissensus.errors import InputError

__all__ = ["Epochs", "Pool", "Prompts"]

Prompts: TypeAlias = int | ArrayLike | Sequence[str]
"""Number of prompts, whose ids are then 0 … n−1, or their ids."""

_MOST_HELD = 1 << 20
_LONGEST_STRETCH = 1 << 18
_ROUNDS = 6


class Pool:
    """Prompts by id, numbered in the order in which they were added.

    A prompt that is removed keeps its number, so what is known of it is there when it comes back.

    Attributes:
        ids: (n,) id of each prompt that was ever added.
        is_present: (n,) False for those removed.

    Example:
        >>> pool = Pool(["a", "b"])
        >>> pool.add(["c"]), pool.remove(["a"]), pool.positions(["c", "b"]).tolist()
        (1, None, [2, 1])
    """

    def __init__(self, prompts: Prompts) -> None:
        self.ids: NDArray[Any] = np.empty(0, dtype=np.int64)
        self.is_present: BoolArray = np.empty(0, dtype=np.bool_)
        # Ids 0 … n−1 are their own positions; others are looked up in `_sorted`.
        self._is_range, self._sorted = True, self.ids
        self._order: IntArray = np.arange(0)
        self.add(np.arange(prompts) if isinstance(prompts, (int, np.integer)) else prompts)

    def __len__(self) -> int:
        """Number of prompts ever added."""
        return len(self.ids)

    def add(self, prompts: Prompts) -> int:
        """Add prompts, or bring back removed ones; returns how many are new."""
        given = _as_ids(prompts)
        if len(self.ids) and len(given) and given.dtype.kind != self.ids.dtype.kind:
            raise InputError(
                "prompt ids must be all integers or all strings", where="add", got=given[0]
            )
        place, known = self._find(given)
        self.is_present[place[known]] = True
        new = given[~known]
        new = new[np.sort(np.unique(new, return_index=True)[1])]
        if len(new):
            self._append(new)
        return len(new)

    def remove(self, prompts: Prompts) -> None:
        """Take prompts out of what may be drawn."""
        self.is_present[self.positions(prompts)] = False

    def positions(self, prompts: Prompts) -> IntArray:
        """Numbers of these prompts.

        Raises:
            InputError: A prompt was never added.
        """
        given = _as_ids(prompts)
        place, known = self._find(given)
        if not known.all():
            raise InputError("prompt is not in the pool", got=given[~known][0].item())
        return place

    def load(self, ids: NDArray[Any], is_present: BoolArray) -> None:
        """Become the pool with these ids."""
        self.ids, self.is_present = ids, np.array(is_present, dtype=np.bool_)
        self._index()

    def _append(self, new: NDArray[Any]) -> None:
        self.ids = np.concatenate([self.ids, new]) if len(self.ids) else new.copy()
        self.is_present = np.append(self.is_present, np.ones(len(new), dtype=np.bool_))
        self._index()

    def _index(self) -> None:
        count = len(self.ids)
        self._is_range = self.ids.dtype.kind in "iu" and bool((self.ids == np.arange(count)).all())
        self._order = np.arange(0) if self._is_range else np.argsort(self.ids, kind="stable")
        self._sorted = self.ids if self._is_range else self.ids[self._order]

    def _find(self, given: NDArray[Any]) -> tuple[IntArray, BoolArray]:
        """Position of each id (0 where unknown), and whether it is known."""
        if not len(self.ids) or not len(given):
            return np.zeros(len(given), dtype=np.int64), np.zeros(len(given), dtype=np.bool_)
        if self._is_range and given.dtype.kind in "iu":
            known = (given >= 0) & (given < len(self.ids))
            return np.where(known, given, 0).astype(np.int64), known
        if given.dtype.kind != self._sorted.dtype.kind:
            return np.zeros(len(given), dtype=np.int64), np.zeros(len(given), dtype=np.bool_)
        slot = np.minimum(np.searchsorted(self._sorted, given), len(self.ids) - 1)
        known = self._sorted[slot] == given
        return np.where(known, self._order[slot], 0), known


class Epochs:
    """Prompts in shuffled epochs: each present prompt once before any comes again.

    A prompt that is passed over, because it is not wanted now, has had its turn in this epoch.
    Prompts added in the middle of an epoch join the next one. Only a seed and a place are state.

    Example:
        >>> pool, rng = Pool(4), np.random.default_rng(0)
        >>> epochs = Epochs(pool)
        >>> sorted(epochs.take(3, rng).tolist() + epochs.take(1, rng).tolist())
        [0, 1, 2, 3]
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.number, self._seed, self._cursor = 0, 0, 0
        self._order = _Order(0, 0)

    def take(
        self,
        count: int,
        rng: np.random.Generator,
        *,
        accept: Callable[[IntArray], BoolArray] | None = None,
    ) -> IntArray:
        """Next `count` distinct positions, fewer where a whole epoch does not hold as many.

        Args:
            count: How many are wanted.
            rng: Shuffles the next epoch when this one ends.
            accept: Positions → which of them are wanted; called on stretches of the epoch.
        """
        taken = [self._from_epoch(count, accept, np.empty(0, dtype=np.int64))]
        if len(taken[0]) < count and len(self._pool):
            self._shuffle(rng)
            taken.append(self._from_epoch(count - len(taken[0]), accept, taken[0]))
        return np.concatenate(taken)

    def state_dict(self) -> dict[str, Any]:
        """Plain arrays."""
        numbers = (self.number, self._seed, self._cursor, self._order.length)
        return {"epoch": np.array(numbers, dtype=np.int64)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.number, self._seed, self._cursor, length = (int(each) for each in state["epoch"])
        self._order = _Order(length, self._seed)

    def _shuffle(self, rng: np.random.Generator) -> None:
        self.number, self._cursor = self.number + 1, 0
        self._seed = int(rng.integers(2**62))
        self._order = _Order(len(self._pool), self._seed)

    def _from_epoch(
        self, count: int, accept: Callable[[IntArray], BoolArray] | None, before: IntArray
    ) -> IntArray:
        taken, stretch = [np.empty(0, dtype=np.int64)], max(256, 2 * count)
        while count > 0 and self._cursor < self._order.length:
            part = self._order.read(self._cursor, stretch)
            wanted = self._pool.is_present[part]
            if len(before):
                wanted &= ~np.isin(part, before)
            if accept is not None:
                wanted &= accept(part)
            where = np.flatnonzero(wanted)[:count]
            self._cursor += int(where[-1]) + 1 if len(where) == count else len(part)
            taken.append(part[where])
            count -= len(where)
            # Where nearly all are passed over, a huge pool must not be read a few at a time.
            stretch = min(2 * stretch, _LONGEST_STRETCH)
        return np.concatenate(taken)


class _Order:
    """A shuffle of 0 … length−1, of which any stretch can be read.

    Up to 2^20 it is held; beyond, shuffling would take seconds, and a Feistel network on the
    smallest even number of bits gives each place its number instead (what falls outside goes
    through it again, which keeps it a permutation).

    Example:
        >>> sorted(_Order(5, seed=1).read(0, 9).tolist())
        [0, 1, 2, 3, 4]
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length, self._held = length, None
        if length <= _MOST_HELD:
            self._held = np.random.default_rng(seed).permutation(length)
        self._keys = np.random.SeedSequence(seed).generate_state(_ROUNDS, np.uint64)
        self._half = np.uint64((max(1, length - 1).bit_length() + 1) // 2)

    def read(self, start: int, count: int) -> IntArray:
        """Entries start … start+count−1, as far as there are."""
        stop = min(start + count, self.length)
        if self._held is not None:
            return self._held[start:stop]
        out = self._through(np.arange(start, stop, dtype=np.uint64))
        while (outside := out >= self.length).any():
            out[outside] = self._through(out[outside])
        return out.astype(np.int64)

    def _through(self, x: NDArray[np.uint64]) -> NDArray[np.uint64]:
        mask = (np.uint64(1) << self._half) - np.uint64(1)
        left, right = x >> self._half, x & mask
        for key in self._keys:
            mixed = (right + key) * np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
        return (left << self._half) | right


def _as_ids(prompts: Prompts) -> NDArray[Any]:
    if not isinstance(prompts, np.ndarray) or prompts.dtype == object:
        listed = list(prompts)  # type: ignore[arg-type]
        if len(id_kinds(listed)) > 1:
            raise InputError("prompt ids must be all integers or all strings", where="allocator")
        prompts = np.asarray(listed)
    if not prompts.size:
        return np.empty(0, dtype=np.int64)
    if prompts.ndim != 1 or prompts.dtype.kind not in "iuU":
        raise InputError(
            "prompt ids must be a list of integers or of strings",
            where="allocator",
            got=(prompts.shape, str(prompts.dtype)),
        )
    return prompts
