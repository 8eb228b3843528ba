"""What to expect of a prompt not yet visited: the prior, and what others of its kind showed."""

from __future__ import annotations

import numpy as np

from dissensus.core.groups import FloatArray, IntArray

__all__ = ["Newcomers", "normalised"]

_STRENGTH = 50.0  # first visits that the broader belief counts for


class Newcomers:
    """Empirical-Bayes prior by stratum, learnt from first visits.

        everyone = 50 · model prior + Σ beliefs after first visits       (normalised)
        stratum  = 50 · everyone    + Σ those of the stratum             (normalised)

    Sums fade, so that the prior follows prompts that are first seen by a better policy.

    Attributes:
        seen: (C, M) faded sums of beliefs after first visits.

    Example:
        >>> newcomers = Newcomers(np.array([0.25, 0.5, 0.25]), strata=1, half_life=100.0)
        >>> newcomers.learn(np.array([[1.0, 0.0, 0.0]] * 50), np.zeros(50, dtype=np.int64))
        >>> newcomers.beliefs.round(2).tolist()
        [[0.81, 0.12, 0.06]]
    """

    def __init__(self, prior: FloatArray, strata: int, half_life: float) -> None:
        self._prior = prior
        self._half_life = half_life
        self.seen = np.zeros((strata, len(prior)))

    @property
    def beliefs(self) -> FloatArray:
        """(C, M) belief about an unvisited prompt of each stratum."""
        everyone = normalised(_STRENGTH * self._prior + self.seen.sum(axis=0))
        return normalised(_STRENGTH * everyone + self.seen)

    def learn(self, after: FloatArray, strata: IntArray) -> None:
        """Take in (N, M) beliefs after first visits of prompts of (N,) strata."""
        self.seen *= 0.5 ** (len(after) / self._half_life)
        np.add.at(self.seen, strata, after)

    def reserve(self, strata: int) -> None:
        """Make room for strata that appear later."""
        more = max(0, strata - len(self.seen))
        self.seen = np.concatenate([self.seen, np.zeros((more, self.seen.shape[1]))])


def normalised(weights: FloatArray) -> FloatArray:
    """Rows that sum to 1."""
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
