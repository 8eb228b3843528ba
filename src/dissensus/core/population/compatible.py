"""Everything that recorded counts allow: intervals that hold what cannot be told, and the noise.

Groups of n rollouts show n moments of the distribution of solve rates and no more. What a quantity
may be is therefore the range it takes over *all* distributions whose counts would look like those
recorded, within sampling error:

    { θᵀw :  w ≥ 0, Σ w = 1,  (Aw − Aŵ)ᵀ C⁻¹ (Aw − Aŵ) ≤ t² },    ŵ = argmin (ĉ − Aw)ᵀ C⁻¹ (ĉ − Aw)

with the share ĉ of every count, its chance A at every rate, and the covariance C of ĉ between
prompts. With t the 97.5 % point of Student's t this is the profile interval of θᵀw: where counts
determine θᵀw it is the usual 95 % interval, and where they do not each end is the usual limit for
the end of what they allow. (Distances are taken from Aŵ instead of ĉ because ŵ is a projection on a
convex set: every w within t² of the least distance to ĉ is within t of Aŵ.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from dissensus.core.groups import FloatArray
from dissensus.core.population.counts import Counts
from dissensus.core.population.interior import largest_values
from dissensus.core.population.population import Population
from dissensus.core.population.rates import likelihood

__all__ = ["Compatible", "Interval", "compatible_with"]

_COVERAGE = 0.95
_DROPPED = 1e-3  # standard errors: what moves the counts less tells nothing
_RATIO_ROUNDS = 4
# Expected groups of a cell from which a normal limit is used: an empty one then allows 1.96 · √3.5,
# the exact 97.5 % limit of a Poisson count of 0.
_RARE = 3.5


class Interval(NamedTuple):
    """Lower and upper ends, one each per quantity."""

    low: FloatArray
    high: FloatArray


class Compatible(NamedTuple):
    """The distributions that recorded counts allow.

    Attributes:
        R: (d, m) what a distribution would make of the counts, in units of the allowed distance.
        b: (d,) the same of the distribution that fits best.
        inside: (m,) a distribution well inside.
        clustering: Variance of the counts over what independent groups would have; 1 where no
            prompt was seen twice.
    """

    R: FloatArray
    b: FloatArray
    inside: FloatArray
    clustering: float

    def range_of(self, theta: ArrayLike) -> Interval:
        """Interval of Σ_j θ_j w_j for each row of a table.

        Args:
            theta: (F, m) or (m,) value of each quantity at every solve rate.

        Returns:
            Two (F,) arrays.
        """
        rows = np.atleast_2d(np.asarray(theta, dtype=np.float64))
        both = largest_values(np.concatenate([rows, -rows]), self.R, self.b, self.inside)
        return Interval(-both[len(rows) :], both[: len(rows)])

    def range_of_ratio(self, above: ArrayLike, below: ArrayLike) -> Interval:
        """Interval of Σ above_j w_j / Σ below_j w_j, by Dinkelbach's iteration.

            max N/D = the t at which max (N − tD) is 0

        Args:
            above: (F, m) numerators.
            below: (m,) denominator, ≥ 0 and positive over what is allowed.
        """
        numerators = np.atleast_2d(np.asarray(above, dtype=np.float64))
        denominator = np.asarray(below, dtype=np.float64)
        reach = self.range_of(denominator)
        least, most = max(float(reach.low[0]), 1e-300), float(reach.high[0])
        ends = []
        for sign in (1.0, -1.0):
            top = sign * numerators
            # From above, by what the denominator can be at least: each round proves its value.
            t = self._most(top)
            t = np.where(t > 0, t / least, t / most)
            for _ in range(_RATIO_ROUNDS):
                over = self._most(top - t[:, None] * denominator)
                t = np.minimum(t, t + np.where(over > 0, over / least, over / most))
            ends.append(sign * t)
        return Interval(ends[1], ends[0])

    def holds(self, weights: FloatArray) -> bool:
        """Whether a distribution is one of them."""
        return bool(np.linalg.norm(self.R @ weights - self.b) <= 1.0)

    def _most(self, theta: FloatArray) -> FloatArray:
        return largest_values(theta, self.R, self.b, self.inside)


def compatible_with(counts: Counts, population: Population) -> Compatible:
    """All distributions that recorded counts allow.

    Args:
        counts: Recorded groups.
        population: A distribution fitted to them; it gives the variance of rare counts.

    Example:
        >>> from dissensus.core.population.npmle import fit_npmle
        >>> from dissensus.core.population.rates import solve_rates
        >>> counts = Counts.from_groups(range(5), 4, weights=[2000] * 5)
        >>> fitted = Population(solve_rates(), fit_npmle(counts))
        >>> low, high = compatible_with(counts, fitted).range_of(fitted.rates**4)
        >>> bool(low[0] < 0.2 < high[0]), bool(high[0] - low[0] < 0.03)
        (True, True)
    """
    counts = _with_absent(counts)
    chances = likelihood(counts.correct, counts.size, population.rates)
    groups = counts.groups
    of_size = _same_size_sums(counts.size, groups)
    fitted = np.maximum(chances @ population.weights, _RARE / of_size)
    scale = np.sqrt(1.0 / (of_size * fitted))
    R, b = chances * (of_size * scale)[:, None], groups * scale
    # A rotation onto the few directions in which distributions differ at all.
    basis, strength, _ = np.linalg.svd(R, full_matrices=False)
    basis = basis[:, strength > _DROPPED * max(1.0, strength[0] * 1e-9)]
    R, b = basis.T @ R, basis.T @ b
    covariance = _between_hands(counts, of_size, scale, basis)
    values, vectors = np.linalg.eigh(covariance)
    whiten = vectors / np.sqrt(values)
    R, b = whiten.T @ R, whiten.T @ b
    closest = _closest(R, b)
    freedom = max(1, counts.table.shape[1] - 1)
    R = R / special.stdtrit(freedom, 0.5 + _COVERAGE / 2)
    return Compatible(R, R @ closest, _inside(closest, R), float(values.mean()))


def _with_absent(counts: Counts) -> Counts:
    """Add the cells that no group fell into: that nothing was seen there is evidence as well."""
    sizes = np.unique(counts.size)
    size = np.repeat(sizes, sizes.astype(int) + 1)
    correct = np.concatenate([np.arange(n + 1.0) for n in sizes])
    order = {cell: i for i, cell in enumerate(zip(size.tolist(), correct.tolist(), strict=True))}
    seen = zip(counts.size.tolist(), counts.correct.tolist(), strict=True)
    table = np.zeros((len(size), counts.table.shape[1]))
    table[[order[cell] for cell in seen]] = counts.table
    return Counts(correct, size, table)


def _same_size_sums(size: FloatArray, groups: FloatArray) -> FloatArray:
    _, place = np.unique(size, return_inverse=True)
    place = place.ravel()
    return np.asarray(np.bincount(place, weights=groups)[place])


def _between_hands(
    counts: Counts, of_size: FloatArray, scale: FloatArray, basis: FloatArray
) -> FloatArray:
    """Covariance of the scaled counts, from the spread between hands of prompts.

    Shrunk to a multiple of the identity as far as there are few hands for its size, and never
    below the variance of independent groups.
    """
    hands = counts.table.shape[1]
    identity = np.eye(basis.shape[1])
    if hands < 2:
        return identity
    _, place = np.unique(counts.size, return_inverse=True)
    place = place.ravel()
    own = np.zeros((int(place.max()) + 1, hands))
    np.add.at(own, place, counts.table)
    # Each hand against what the whole gives groups of the same sizes.
    share = counts.groups / of_size
    scores = basis.T @ ((counts.table - share[:, None] * own[place]) * scale[:, None])
    covariance = scores @ scores.T * (hands / (hands - 1.0))
    few = len(identity) / (len(identity) + hands)
    average = max(1.0, float(np.trace(covariance)) / len(identity))
    covariance = (1.0 - few) * covariance + few * average * identity
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.maximum(values, 1.0)) @ vectors.T)


def _closest(R: FloatArray, b: FloatArray) -> FloatArray:
    """The distribution that fits best, by non-negative least squares with a heavy row for Σ w."""
    from scipy import optimize

    heavy = 1e4 * max(1.0, float(np.abs(R).max()))
    system = np.vstack([R, np.full(R.shape[1], heavy)])
    found = optimize.nnls(system, np.append(b, heavy), maxiter=50 * R.shape[1])[0]
    return np.asarray(found / found.sum())


def _inside(closest: FloatArray, R: FloatArray) -> FloatArray:
    """Mix in as much of the flat distribution as the allowed distance leaves room for."""
    flat = np.full(len(closest), 1.0 / len(closest))
    share = min(0.5, 0.5 / max(1e-300, float(np.linalg.norm(R @ (flat - closest)))))
    return (1.0 - share) * closest + share * flat
