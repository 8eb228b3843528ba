"""Several paired differences at once, when both seeds and prompts are few.

A difference is measured in cells: one per seed and prompt. Seeds repeat the experiment and prompts
repeat the question; a claim about both needs the spread of both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.core.groups import BoolArray, FloatArray

__all__ = ["Bounds", "Estimates", "bootstrap_cells", "compare_cells", "tie_letters"]

_DIGITS = 12
_BORROWED_FROM = 2
"""Other comparisons there must be before an own variance is averaged with theirs."""


class Bounds(NamedTuple):
    """Ends of K intervals.

    Attributes:
        low: (K,)
        high: (K,)
    """

    low: FloatArray
    high: FloatArray


class Estimates(NamedTuple):
    """K means with what is needed for their intervals.

    Attributes:
        mean: (K,) over seeds and prompts.
        error: (K,) standard error; NaN with a single seed.
        freedom: (K,) degrees of freedom of the standard error.
    """

    mean: FloatArray
    error: FloatArray
    freedom: FloatArray

    def bounds(self, *, together: int = 1, confidence: float = 0.95) -> Bounds:
        """Intervals that hold all at once with the given confidence.

            mean ± t_q(ν) · error        q = ½ + ½ · confidence^(1 / together)

        The correction is Šidák's. Differences from one common arm are positively correlated, for
        which it is a little wide and never too narrow (Šidák 1967).

        Args:
            together: Comparisons that are looked at together; 1: each interval by itself.
            confidence: That all of them hold.
        """
        from scipy.special import stdtrit

        level = 0.5 + 0.5 * confidence ** (1.0 / together)
        reach = np.asarray(stdtrit(self.freedom, level)) * self.error
        return Bounds(self.mean - reach, self.mean + reach)


def compare_cells(cells: ArrayLike) -> Estimates:
    """Means of K differences over crossed seeds and prompts, with their standard errors.

        error² = Ṽ_seeds + max(V_prompts − V_cells, 0)
        V_seeds = s²(seed means) / S,  V_prompts = s²(prompt means) / H,  V_cells = s²(rest) / SH

    With d_sh = μ + seed_s + prompt_h + rest_sh, V_seeds estimates σ²_seed/S + σ²_rest/SH and
    V_prompts likewise, so that the rest is counted once. Ṽ_seeds is the average of an arm's own
    V_seeds and the mean of the others', where there are two others or more: with five seeds an own
    variance has four degrees of freedom, and simultaneous intervals on four are not only wide, they
    do not hold.
    ν by Satterthwaite: Ṽ_seeds has 2(S−1), or S−1 where nothing is borrowed.

    A single seed has no spread: `error` is NaN. A single prompt is treated as all there are.

    Args:
        cells: (K, S, H) differences; K of one kind, such as all arms' from one baseline.

    Returns:
        (K,) means, errors and degrees of freedom.

    Raises:
        ValueError: Not three dimensions, or one of them is empty.

    Example:
        >>> found = compare_cells([[[0.0, 0.2], [0.2, 0.4]]])
        >>> found.mean.round(3).tolist(), found.error.round(3).tolist()
        ([0.2], [0.141])

    Source: two-way crossed variance as in Owen 2007 (arXiv:0712.1111, "the pigeonhole bootstrap");
    shrinking variances towards their mean as in Smyth 2004 (limma), with a fixed weight of ½.
    Measured coverage: docs/bench.md.
    """
    x = np.asarray(cells, dtype=np.float64)
    if x.ndim != 3 or not x.size:
        raise ValueError(f"cells must have shape (K, S, H), all positive; got {x.shape}")
    arms, seeds, prompts = x.shape
    mean = x.mean(axis=(1, 2))
    if seeds == 1:
        return Estimates(mean, np.full(arms, np.nan), np.zeros(arms))
    by_seed, by_prompt = x.mean(axis=2), x.mean(axis=1)
    own = by_seed.var(axis=1, ddof=1) / seeds
    shrunk, freedom = _averaged(own, seeds)
    between = np.zeros(arms)
    if prompts > 1:
        rest = x - by_seed[:, :, None] - by_prompt[:, None, :] + mean[:, None, None]
        cell = (rest**2).sum(axis=(1, 2)) / ((seeds - 1) * (prompts - 1) * seeds * prompts)
        between = np.maximum(by_prompt.var(axis=1, ddof=1) / prompts - cell, 0.0)
    total = shrunk + between
    spread = shrunk**2 / freedom + between**2 / max(1, prompts - 1)
    return Estimates(
        mean,
        np.sqrt(total),
        np.divide(total**2, spread, out=np.full(arms, freedom), where=spread > 0),
    )


def bootstrap_cells(
    cells: ArrayLike, rng: np.random.Generator, *, resamples: int = 2000, confidence: float = 0.95
) -> Bounds:
    """Percentile intervals of K means, seeds and prompts resampled together, each alone.

    Needs no law of the differences. It counts what varies from cell to cell twice, and so is wide
    where that is most of the spread; with five seeds resampling them alone would be far too narrow.

    Args:
        cells: (K, S, H) differences.
        rng: Draws the resamples, the same for all K.
        resamples: Number of them.
        confidence: Of each interval by itself.

    Source: the pigeonhole bootstrap, Owen 2007 (arXiv:0712.1111).

    Example:
        >>> bootstrap_cells([[[0.1, 0.1]]], np.random.default_rng(0)).high.tolist()
        [0.1]
    """
    x = np.asarray(cells, dtype=np.float64)
    _, seeds, prompts = x.shape
    by_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    by_prompt = rng.multinomial(prompts, np.full(prompts, 1 / prompts), resamples) / prompts
    means = np.array([((one @ by_prompt.T) * by_seed.T).sum(axis=0) for one in x])
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail], axis=1).round(_DIGITS)
    return Bounds(np.asarray(low), np.asarray(high))


def _averaged(own: FloatArray, seeds: int) -> tuple[FloatArray, float]:
    others = len(own) - 1
    if others < _BORROWED_FROM:
        return own, float(seeds - 1)
    return (own + (own.sum() - own) / others) / 2.0, float(2 * (seeds - 1))


def tie_letters(differs: ArrayLike) -> list[str]:
    """Letters for items of which some pairs are told apart: those that share one are not.

    Items are given in the order in which letters are to be handed out. Insert and absorb: start
    from one set of all; a pair told apart splits every set that holds both; a set within another
    is dropped.

    Args:
        differs: (A, A) symmetric, whether two items are told apart.

    Example:
        >>> apart = np.zeros((3, 3), dtype=bool)
        >>> apart[0, 2] = apart[2, 0] = True
        >>> tie_letters(apart)
        ['a', 'ab', 'b']

    Source: Piepho 2004, J. Comput. Graph. Stat. 13(2), the insert-and-absorb algorithm.
    """
    apart: BoolArray = np.asarray(differs, dtype=np.bool_)
    items = len(apart)
    sets: list[frozenset[int]] = [frozenset(range(items))]
    for i, j in _pairs(apart):
        split: list[frozenset[int]] = []
        for each in sets:
            split += [each - {i}, each - {j}] if {i, j} <= each else [each]
        unique = list(dict.fromkeys(split))
        sets = [each for each in unique if not any(each < other for other in unique)]
    sets.sort(key=sorted)
    return ["".join(_letter(n) for n, each in enumerate(sets) if i in each) for i in range(items)]


def _pairs(apart: BoolArray) -> list[tuple[int, int]]:
    rows: NDArray[np.intp] = np.argwhere(np.triu(apart, 1))
    return [(int(i), int(j)) for i, j in rows]


def _letter(n: int) -> str:
    return chr(ord("a") + n) if n < 26 else f"({n + 1})"
