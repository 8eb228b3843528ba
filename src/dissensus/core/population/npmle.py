"""The distribution of solve rates that explains the counts best, without a shape assumed.

Kiefer and Wolfowitz 1956 (consistency), Lindsay 1983 (the gradient that certifies an optimum),
Varadhan and Roland 2008 (SQUAREM, the acceleration).
"""

from __future__ import annotations

import numpy as np

from dissensus.core.groups import FloatArray
from dissensus.core.population.counts import Counts
from dissensus.core.population.rates import likelihood, solve_rates

__all__ = ["em_step", "fit_npmle"]

_MOST_ROUNDS = 1000
_MOST_WORK = 2_000_000  # rounds × cells: groups of a hundred different sizes take seconds as well
_GAP_NATS = 0.5


def fit_npmle(counts: Counts) -> FloatArray:
    """Weights of the solve rates by non-parametric maximum likelihood.

        max_w Σ_cells N_cell log Σ_j w_j Bin(k; n, p_j),    w ≥ 0, Σ w = 1

    From groups of n only n moments of the distribution show, so many distributions explain counts
    equally well. EM from a flat start ends at a smooth one of them; it stops when Lindsay's
    gradient proves that at most half a nat of log-likelihood remains to be gained, less than any
    test could see (or after 1,000 rounds of three steps, fewer for more than 2,000 cells).

    Args:
        counts: Recorded groups.

    Returns:
        (201,) weights of `solve_rates()`, all > 0.

    Example:
        >>> uniform = Counts.from_groups(range(9), 8, weights=[100] * 9)
        >>> w = fit_npmle(uniform)
        >>> round(float(w @ solve_rates()), 3)
        0.5
    """
    chances = likelihood(counts.correct, counts.size, solve_rates())
    return maximise(chances, counts.groups)


def maximise(chances: FloatArray, groups: FloatArray) -> FloatArray:
    """EM over weights of columns, accelerated; `chances` is (C, m), `groups` (C,) not all 0."""
    share = groups / groups.sum()
    w = np.full(chances.shape[1], 1.0 / chances.shape[1])
    for _ in range(min(_MOST_ROUNDS, _MOST_WORK // len(groups) + 1)):
        first, gradient = em_step(w, chances, share)
        # log-likelihood of the optimum ≤ log-likelihood here + Σ N · (max_j D_j − 1)
        if groups.sum() * (gradient.max() - 1.0) <= _GAP_NATS:
            break
        second, _ = em_step(first, chances, share)
        w = _extrapolated(w, first, second, chances, share)
    return w


def em_step(w: FloatArray, chances: FloatArray, share: FloatArray) -> tuple[FloatArray, FloatArray]:
    """One step of EM, and Lindsay's gradient D_j = Σ_cells share · chance_j / Σ_i w_i chance_i."""
    gradient = (share / (chances @ w)) @ chances
    return w * gradient, gradient


def _extrapolated(
    start: FloatArray, first: FloatArray, second: FloatArray, chances: FloatArray, share: FloatArray
) -> FloatArray:
    """SQUAREM: go on along the last two steps, unless that lowers the likelihood."""
    change = first - start
    bend = second - first - change
    size = float(np.linalg.norm(bend))
    if size < 1e-300:
        return second
    length = -float(np.linalg.norm(change)) / size
    ahead = start - 2.0 * length * change + length**2 * bend
    # Weights stay positive, so that no rate is lost for good by one long step.
    ahead = np.maximum(ahead, 1e-3 * second)
    ahead /= ahead.sum()
    if share @ np.log(chances @ ahead) < share @ np.log(chances @ second):
        return second
    return em_step(ahead, chances, share)[0]
