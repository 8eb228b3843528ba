"""The refill rounds' own order of prompts: seeded, resumable, without repeats in a generation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dissensus.runs.rows import prompt_id

__all__ = ["PromptStream"]


class PromptStream:
    """Rows of a data set in a seeded order, epoch after epoch.

    Every process holds the same stream and draws the same rows, so nothing is communicated. The
    order is the stream's own: drawing from it does not move the trainer's data loader.

    Args:
        rows: A data set with a length and rows by number.
        seed: Seed of the order.

    Example:
        >>> stream = PromptStream([{"prompt": "a"}, {"prompt": "b"}], seed=0)
        >>> sorted(row["prompt"] for row in stream.draw(2, without=set()))
        ['a', 'b']
        >>> stream.draw(1, without={prompt_id({"prompt": "a"}), prompt_id({"prompt": "b"})})
        []
    """

    def __init__(self, rows: Any, seed: int) -> None:
        self._rows = rows
        self._seed = seed
        self._epoch = self._position = 0
        self._order = self._shuffled()

    def draw(self, n: int, *, without: set[str]) -> list[dict[str, Any]]:
        """The next `n` rows whose prompt ids are not in `without`, nor twice among themselves.

        Fewer than `n` only where the data set has no more of them. Rows that are passed over come
        again in the next epoch.
        """
        drawn: list[dict[str, Any]] = []
        used = set(without)
        # The rest of this epoch and all of the next: orders differ, so fewer rows may miss some.
        for _ in range(2 * len(self._rows)):
            if len(drawn) == n:
                break
            row = dict(self._rows[self._next()])
            name = prompt_id(row)
            if name not in used:
                used.add(name)
                drawn.append(row)
        return drawn

    def state_dict(self) -> dict[str, int]:
        """Where the stream stands, fit for JSON."""
        return {"seed": self._seed, "epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where another stream over the same data set stood."""
        self._seed, self._epoch = int(state["seed"]), int(state["epoch"])
        self._position = int(state["position"])
        self._order = self._shuffled()

    def _next(self) -> int:
        if self._position >= len(self._order):
            self._epoch, self._position = self._epoch + 1, 0
            self._order = self._shuffled()
        self._position += 1
        return int(self._order[self._position - 1])

    def _shuffled(self) -> Any:
        # The constant keeps this order apart from any other that the seed of a training makes.
        rng = np.random.default_rng([self._seed, self._epoch, 0x5EED])
        return rng.permutation(len(self._rows))
