"""How to spread a number of rollouts over prompts."""

from __future__ import annotations

import numpy as np

from dissensus.core.groups import BoolArray, FloatArray, IntArray

__all__ = ["best_gains", "concave_envelope", "proportional", "spread", "weighted_sample"]

_PARITY = 2


def spread(values: FloatArray, budget: int, *, least: int = 2) -> IntArray:
    """Counts that maximise the sum of values, each count 0 or at least `least`.

        max Σ_i v_i(n_i)   subject to   Σ_i n_i ≤ budget,   n_i ∈ {0} ∪ [least, most]

    Every v_i must be concave over the counts that are allowed, with v_i(0) = 0: a first block of
    `least` rollouts is worth v_i(least)/least each, and no later rollout is worth more than an
    earlier one. Expected contrast is (mixtures of concave functions are concave).

    Blocks and single rollouts are taken in the order of their worth per rollout. Where that uses
    the budget up it is the optimum of the fractional problem, so nothing beats it. Otherwise a
    block did not fit. With `least` 2 one rollout is left over, and an optimum differs from what was
    taken by at most one of: one more rollout for an open prompt; one rollout fewer and the block;
    one pair given up for a prompt with three. (Any solution that leaves nothing over adds or
    removes a single rollout; each deviation costs its distance from the marginal worth, so the
    cheapest one of each kind suffices.) With a larger `least` the rest goes to open prompts, which
    loses less than the worth of one block.

    Args:
        values: (P, most+1) value of n = 0 … most rollouts.
        budget: Rollouts to spread, ≥ 0.
        least: Smallest count other than 0, ≥ 1.

    Returns:
        (P,) counts.

    Example:
        >>> spread(np.array([[0, 0, 1.0, 1.4], [0, 0, 0.9, 1.0], [0, 0, 0.2, 0.3]]), 5).tolist()
        [3, 2, 0]
    """
    prompts, most = values.shape[0], values.shape[1] - 1
    counts = np.zeros(prompts, dtype=np.int64)
    if most < least or not prompts:
        return counts
    block = values[:, least]
    worth = np.concatenate([block[:, None] / least, np.diff(values[:, least:], axis=1)], axis=1)
    # Rounding must not put a prompt's later rollout before an earlier one.
    worth = np.minimum.accumulate(worth, axis=1)
    order = np.argsort(-worth, axis=None, kind="stable")
    order = order[worth.ravel()[order] > 0]
    row, column = np.divmod(order, worth.shape[1])
    weight = np.where(column == 0, least, 1)
    n_taken = int(np.searchsorted(np.cumsum(weight), budget, side="right"))
    np.add.at(counts, row[:n_taken], weight[:n_taken])
    left = budget - int(counts.sum())
    if left and n_taken < len(order):
        after = (column[n_taken:] > 0) & (counts[row[n_taken:]] > 0)
        more = row[n_taken:][after][:left]
        if least == _PARITY:
            return _use_last(
                values, counts, row[:n_taken][column[:n_taken] > 0], row[n_taken], more
            )
        np.add.at(counts, more, 1)
    return counts


def _use_last(
    values: FloatArray, counts: IntArray, singles: IntArray, blocked: int, more: IntArray
) -> IntArray:
    """Spend the one rollout that is left in the best of the three ways there are."""
    moves: list[list[tuple[int, int]]] = [[(int(more[0]), 1)]] if len(more) else []
    if len(singles):
        moves.append([(int(singles[-1]), -1), (int(blocked), 2)])
    pairs, closed = np.flatnonzero(counts == 2), np.flatnonzero(counts == 0)
    if len(pairs) and len(closed) and values.shape[1] > 3:
        given_up = pairs[np.argmin(values[pairs, 2])]
        opened = closed[np.argmax(values[closed, 3])]
        moves.append([(int(given_up), -2), (int(opened), 3)])
    best, best_gain = counts, 0.0
    for move in moves:
        tried = counts.copy()
        for at, change in move:
            tried[at] += change
        touched = [at for at, _ in move]
        gain = float((values[touched, tried[touched]] - values[touched, counts[touched]]).sum())
        if gain > best_gain:
            best, best_gain = tried, gain
    return best


def concave_envelope(values: FloatArray, *, least: int) -> FloatArray:
    """Values made fit for `spread`: no block is worth more per rollout than the best one.

    Up to the count of largest value per rollout, n*, every count is worth n·v(n*)/n*. Values that
    are concave from n* on are concave everywhere then, and an optimum for them is one for `values`
    but for the one prompt whose best block did not fit.

    Args:
        values: (P, most+1) value of n = 0 … most rollouts.
        least: Smallest count other than 0, ≥ 1, at most `most`.

    Example:
        >>> concave_envelope(np.array([[0, 0, 1.0, 3.0, 3.5]]), least=2).tolist()
        [[0.0, 1.0, 2.0, 3.0, 3.5]]
    """
    counts = np.arange(values.shape[1])
    per_rollout = values[:, least:] / counts[least:]
    best = per_rollout.argmax(axis=1)[:, None] + least
    block = np.take_along_axis(values, best, axis=1)
    return np.asarray(np.where(counts <= best, counts * block / best, values))


def best_gains(gains: FloatArray, budget: int) -> IntArray:
    """How many of each row's gains are among the `budget` largest positive ones of all.

    Args:
        gains: (P, K) gain of one more rollout, never rising along a row.
        budget: Rollouts to give, ≥ 0.

    Example:
        >>> best_gains(np.array([[5.0, 1.0], [4.0, 3.0]]), 3).tolist()
        [1, 2]
    """
    order = np.argsort(-gains, axis=None, kind="stable")[: max(0, budget)]
    order = order[gains.ravel()[order] > 0]
    return np.bincount(order // max(1, gains.shape[1]), minlength=len(gains))


def proportional(shape: FloatArray, budget: int, *, least: int, most: int) -> IntArray:
    """Counts in proportion to `shape`, within bounds, that add up to the budget if these allow it.

        n_i = clip(c · shape_i, least, most),   Σ n_i = budget

    Fractions are rounded so that the largest ones round up. The order of `shape` decides ties.

    Args:
        shape: (P,) finite, ≥ 0.
        budget: Wanted total.
        least: Smallest count.
        most: Largest count.

    Example:
        >>> proportional(np.array([1.0, 2.0, 9.0]), 16, least=2, most=8).tolist()
        [3, 5, 8]
    """
    if not len(shape):
        return np.empty(0, dtype=np.int64)
    # Next to nothing instead of nothing, so that all grow when the others are at their bound.
    shape = np.maximum(shape / (shape.max() or 1.0), 1e-12)
    low, high = 0.0, 1e12 * (most + 1)
    for _ in range(100):
        middle = (low + high) / 2
        is_below = np.clip(middle * shape, least, most).sum() < budget
        low, high = (middle, high) if is_below else (low, middle)
    exact = np.clip(high * shape, least, most)
    counts = np.floor(exact + 1e-9).astype(np.int64)
    missing = max(0, min(budget, round(float(exact.sum()))) - int(counts.sum()))
    order = np.argsort(np.where(counts < most, counts - exact, np.inf), kind="stable")
    counts[order[:missing]] += 1
    return counts


def weighted_sample(
    log_weights: FloatArray | np.ndarray[tuple[int], np.dtype[np.float32]],
    count: int,
    rng: np.random.Generator,
    *,
    allowed: BoolArray,
) -> IntArray:
    """Positions drawn one after the other without replacement, in that order.

    The chance of each draw is in proportion to exp(log_weights) of what is left; the largest of
    log-weight + Gumbel noise has that law. 10,000,000 weights take a fraction of a second.

    Args:
        log_weights: (n,) finite or −inf, which is never drawn.
        count: Draws; fewer where fewer are allowed.
        rng: Source of the noise.
        allowed: (n,) what may be drawn.

    Example:
        >>> some = np.array([True, False, True])
        >>> weighted_sample(np.zeros(3), 5, np.random.default_rng(0), allowed=some).tolist()
        [0, 2]
    """
    noise = rng.standard_exponential(len(log_weights), dtype=np.float32)
    # In 32 bits one draw in some ten million is exactly 0.
    np.maximum(noise, np.finfo(np.float32).tiny, out=noise)
    np.log(noise, out=noise)
    with np.errstate(invalid="ignore"):
        keys = np.subtract(log_weights, noise, dtype=np.float32)
    keys[~allowed] = -np.inf
    return largest(keys, count)


def largest(keys: np.ndarray[tuple[int], np.dtype[np.float32]], count: int) -> IntArray:
    """Positions of the `count` largest keys, largest first; −inf is never among them.

    Example:
        >>> largest(np.array([1, 3, -np.inf, 2], dtype=np.float32), 3).tolist()
        [1, 3, 0]
    """
    count = min(count, len(keys))
    if not count:
        return np.empty(0, dtype=np.int64)
    top = np.argpartition(keys, len(keys) - count)[len(keys) - count :]
    top = top[np.lexsort((top, -keys[top]))]
    return top[keys[top] > -np.inf].astype(np.int64)
