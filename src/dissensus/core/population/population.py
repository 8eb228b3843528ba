"""A distribution of solve rates, and what groups drawn from it are like."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core import laws
from dissensus.core.groups import FloatArray, IntArray, RewardGroups
from dissensus.core.laws._inputs import SignatureLike
from dissensus.core.population.beta_mixture import BetaMixture
from dissensus.core.population.rates import likelihood

__all__ = ["BINS", "Population", "bin_of"]

BINS = 10


def bin_of(rates: FloatArray) -> IntArray:
    """Tenth of solve rate that each rate lies in; the last one includes 1.

    Example:
        >>> bin_of(np.array([0.0, 0.1, 0.95, 1.0])).tolist()
        [0, 1, 9, 9]
    """
    return np.minimum((rates * BINS).astype(np.int64), BINS - 1)


@dataclass(frozen=True)
class Population:
    """How solve rates are spread over the groups of a run.

    Everything linear in the distribution is exact: a sum over rates of the laws for one prompt.

    Attributes:
        rates: (m,) solve rates, ascending.
        weights: (m,) share of the groups at each.
        kind: "npmle" or "beta mixture of K".
        mixture: The Beta mixture that the weights come from, if they do.

    Example:
        >>> half = Population(np.array([0.0, 0.5]), np.array([0.5, 0.5]))
        >>> float(half.unanimous_rate(2)), float(half.all_correct_rate(2))
        (0.75, 0.125)
    """

    rates: FloatArray
    weights: FloatArray
    kind: str = "npmle"
    mixture: BetaMixture | None = field(default=None, compare=False)

    @property
    def mean(self) -> float:
        """Mean solve rate."""
        return float(self.weights @ self.rates)

    def quantile(self, q: ArrayLike) -> FloatArray:
        """Smallest rate with at least a share q of the groups at or below it."""
        cumulative = np.cumsum(self.weights)
        place = np.searchsorted(cumulative, np.asarray(q) * cumulative[-1] * (1 - 1e-12))
        return np.asarray(self.rates[np.minimum(place, len(self.rates) - 1)])

    def all_wrong_rate(self, group_size: ArrayLike) -> FloatArray:
        """Share of groups of G without a correct rollout: E[(1−p)^G]."""
        return self._average(laws.all_wrong_rate, group_size)

    def all_correct_rate(self, group_size: ArrayLike) -> FloatArray:
        """Share of groups of G without a wrong rollout: E[p^G]."""
        return self._average(laws.all_correct_rate, group_size)

    def unanimous_rate(self, group_size: ArrayLike) -> FloatArray:
        """Share of groups of G whose rollouts agree, E[p^G + (1−p)^G]; 1 for a group of one."""
        return self._average(laws.unanimous_rate, group_size)

    def count_rates(self, group_size: int) -> FloatArray:
        """(G+1,) share of groups with k = 0 … G correct."""
        chances = likelihood(np.arange(group_size + 1), group_size, self.rates)
        return np.asarray(chances @ self.weights)

    def expected_contrast(self, signature: SignatureLike) -> float:
        """Mean contrast of a group under a rule, in units of its advantage."""
        return float(self.weights @ laws.expected_contrast(signature, self.rates))

    def silent_rate(self, is_silent: ArrayLike) -> float:
        """Share of groups whose count of correct rollouts is marked, by k = 0 … G."""
        marked = np.asarray(is_silent, dtype=np.float64)
        return float(self.count_rates(len(marked) - 1) @ marked)

    def group_share(self) -> FloatArray:
        """(10,) share of the groups by tenth of solve rate."""
        return np.asarray(np.bincount(bin_of(self.rates), weights=self.weights, minlength=BINS))

    def mass_by_difficulty(self, signature: SignatureLike) -> FloatArray:
        """(10,) share of the gradient mass by tenth of solve rate; NaN without any contrast."""
        mass = self.weights * laws.expected_contrast(signature, self.rates)
        total = mass.sum()
        if total == 0:
            return np.full(BINS, np.nan)
        return np.asarray(np.bincount(bin_of(self.rates), weights=mass, minlength=BINS) / total)

    def as_batch(self, group_size: int, groups: int = 512) -> RewardGroups:
        """A batch with the counts this population gives on average: a reference for batch rules.

        Shares are rounded by largest remainder, so nothing is random.
        """
        wanted = self.count_rates(group_size) * groups
        whole = np.floor(wanted)
        rest = np.argsort(whole - wanted, kind="stable")[: groups - int(whole.sum())]
        whole[rest] += 1
        k = np.repeat(np.arange(group_size + 1), whole.astype(np.int64))
        is_correct = np.arange(group_size) < k[:, None]
        return RewardGroups.from_dense(is_correct.astype(np.float64), correct=is_correct)

    def _average(self, law: object, group_size: ArrayLike) -> FloatArray:
        sizes = np.asarray(group_size)
        values = law(self.rates, sizes[..., None])  # type: ignore[operator]
        return np.asarray(values @ self.weights)[()]
