"""Beliefs about visited prompts only, found by prompt number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.core.difficulty.inputs import checked_indices
from dissensus.core.groups import FloatArray, IntArray
from dissensus.errors import InputError

__all__ = ["BeliefStore"]


class BeliefStore:
    """Rows of M numbers and a time for those prompts that have been visited.

    4 bytes per prompt, and 4M + 8 more per visited one (up to twice that while it grows).

    Attributes:
        slot: (P,) row of each prompt, −1 where it has none.
        used: Rows in use.
        beliefs: (≥ used, M) chances of the states at the last visit.
        when: (≥ used,) time of the last visit.

    Example:
        >>> store = BeliefStore(prompts=5, states=3)
        >>> store.put(np.array([3]), np.array([[0.2, 0.5, 0.3]]), np.array([1.0]))
        >>> store.slot.tolist(), store.visited.tolist()
        ([-1, -1, -1, 0, -1], [3])
    """

    def __init__(self, prompts: int, states: int) -> None:
        self.slot: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self.used = 0
        self.beliefs: NDArray[np.float32] = np.empty((0, states), dtype=np.float32)
        self.when: FloatArray = np.empty(0)
        self.grow(prompts)

    @property
    def visited(self) -> IntArray:
        """(V,) prompts that have a row, ascending."""
        return np.flatnonzero(self.slot >= 0)

    def grow(self, prompts: int) -> None:
        """Make room for more prompts."""
        if not len(self.slot) <= prompts < np.iinfo(np.int32).max:
            raise InputError(
                f"prompts must be ≥ {len(self.slot)} and below 2^31", where="grow", got=prompts
            )
        added = np.full(prompts - len(self.slot), -1, dtype=np.int32)
        self.slot = np.concatenate([self.slot, added])

    def put(self, index: IntArray, beliefs: FloatArray, when: FloatArray) -> None:
        """Write rows of distinct prompts, new ones included."""
        new = index[self.slot[index] < 0]
        wanted = self.used + len(new)
        if wanted > len(self.when):
            room = min(max(wanted, 2 * len(self.when)), len(self.slot))
            self.beliefs, self.when = _enlarged(self.beliefs, room), _enlarged(self.when, room)
        self.slot[new] = np.arange(self.used, wanted, dtype=np.int32)
        self.used = wanted
        self.beliefs[self.slot[index]] = beliefs
        self.when[self.slot[index]] = when

    def state_dict(self) -> dict[str, Any]:
        """Rows of the visited prompts."""
        visited = self.visited
        rows = self.slot[visited]
        return {
            "prompts": len(self.slot),
            "visited": visited,
            "beliefs": self.beliefs[rows],
            "when": self.when[rows],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take in the rows of a `state_dict`, where there are none yet."""
        index = checked_indices(state["visited"], "from_state_dict", len(self.slot))
        if (np.diff(index) <= 0).any():
            raise InputError("visited prompts must ascend", where="from_state_dict")
        self.put(index, state["beliefs"], state["when"])


def _enlarged(array: NDArray[Any], length: int) -> NDArray[Any]:
    out = np.zeros((length, *array.shape[1:]), dtype=array.dtype)
    out[: len(array)] = array
    return out
