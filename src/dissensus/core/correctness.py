"""What a whole run says about correctness, when nobody declared it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from dissensus.core.groups import FloatArray

__all__ = ["InferredCorrectness"]


class InferredCorrectness:
    """Reads from the rewards of a run, batch after batch, which reward counts as correct.

    Rewards that have taken two values are wrong and correct. Once there was a third value
    correctness is unknown, and stays so: half a run split by cause would mislead.

    Args:
        tol: Rewards closer than this are one value; in reward units.
        values: What was seen before, when a run resumes.

    Example:
        >>> seen = InferredCorrectness(tol=1e-6)
        >>> seen.declare(np.array([0.0, 5.0])), seen.declare(np.array([5.0, 5.0]))
        (5.0, 5.0)
        >>> seen.declare(np.array([0.0, 2.0]))
        'unknown'
    """

    def __init__(self, tol: float, values: Iterable[float] = ()) -> None:
        self.tol = tol
        self.values: list[float] = sorted(values)

    def declare(self, rewards: FloatArray) -> float | Literal["unknown"] | None:
        """The `correct` argument of `RewardGroups` for these rewards; NaN marks an unscored one.

        The upper of two values, "unknown" from the third on, and None while one value at most was
        seen: then the rewards speak for themselves.
        """
        self._observe(rewards)
        if len(self.values) > 2:
            return "unknown"
        return self.values[1] if len(self.values) == 2 else None

    def _observe(self, rewards: FloatArray) -> None:
        if len(self.values) > 2:
            return
        scored = rewards[~np.isnan(rewards)]
        for known in self.values:
            scored = scored[np.abs(scored - known) > self.tol]
        while len(scored) and len(self.values) <= 2:
            value = float(scored.min())
            self.values.append(value)
            scored = scored[scored - value > self.tol]
        self.values.sort()
