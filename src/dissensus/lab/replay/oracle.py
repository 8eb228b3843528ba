"""What could be had by knowing every solve rate."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.allocation.contrast import Contrast, contrast_by_size
from dissensus.core.allocation.step import Outcomes
from dissensus.core.difficulty.model import state_rates
from dissensus.core.groups import FloatArray, IntArray

__all__ = ["Oracle"]

_GRID = 401


class Oracle(Contrast):
    """Our allocator with the solve rates told, under the same cap and the same coverage.

    The best of all choices that are made before a prompt's rollouts are seen. A strategy that looks
    at some rollouts first, or trains on a part of them, can get past it.

    Args:
        rates: (n,) solve rate of each prompt.
        **settings: As `Contrast`.
    """

    name = "oracle"

    def __init__(self, rates: ArrayLike, **settings: Any) -> None:
        self.rates = np.asarray(rates, dtype=np.float64)
        super().__init__(len(self.rates), **settings)
        grid = state_rates(_GRID)
        estimator = settings.get("estimator", "grpo")
        table = contrast_by_size(grid, estimator, self.least, self.most)
        # Equal steps of arcsin√p, so that a position gives the neighbours without a search.
        position = np.arcsin(np.sqrt(self.rates)) * (_GRID - 1) / (np.pi / 2)
        self._below = np.minimum(position.astype(np.int64), _GRID - 2)
        self._part, self._table = position - self._below, table
        everyone = np.arange(len(self.rates))
        self._columns["score"] = self._at(everyone, slice(self.least, self.least + 1))[:, 0].astype(
            np.float32
        )
        self._columns["is_seen"][:] = True

    def _at(self, prompts: IntArray, sizes: slice) -> FloatArray:
        low, part = self._below[prompts], self._part[prompts, None]
        table = self._table[:, sizes]
        return np.asarray((1 - part) * table[low] + part * table[low + 1])

    def _expected(self, known: IntArray, unseen: IntArray) -> FloatArray:
        return self._at(np.concatenate([known, unseen]), slice(None))

    def _believe(self, seen: Outcomes) -> None:
        """Nothing to learn."""
