"""From beliefs about solve rates to what a group of rollouts will show."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core import advantages, laws
from dissensus.core.groups import FloatArray
from dissensus.core.laws._inputs import SignatureLike
from dissensus.errors import InputError

__all__ = ["Forecast", "Range", "quantiles_of_rate", "ranges", "tabulate"]


class Range(NamedTuple):
    """A quantity of each prompt, and the interval its solve rate leaves it.

    Attributes:
        mean: (N,) expected value.
        low: (N,) lower end of the credible interval.
        high: (N,) upper end.
    """

    mean: FloatArray
    low: FloatArray
    high: FloatArray


class Forecast(NamedTuple):
    """What the next group of each prompt will show.

    The mean is the chance to bet on. The interval is that of the *rate*, as p is uncertain: where
    p is known exactly it has no width, whatever the group then shows.

    Attributes:
        unanimous: P(all rollouts agree), p^G + (1−p)^G.
        all_wrong: P(none is correct), (1−p)^G.
        all_correct: P(none is wrong), p^G.
        contrast: E[W], the expected coefficient of the update, in units of the advantage.
    """

    unanimous: Range
    all_wrong: Range
    all_correct: Range
    contrast: Range


def tabulate(
    rates: FloatArray, group_size: int, signature: SignatureLike | None
) -> tuple[FloatArray, ...]:
    """The four quantities of a forecast at every rate."""
    if signature is not None and signature.group_size != group_size:
        raise InputError(
            "the signature is of another group size",
            where="forecast",
            got=(signature.group_size, group_size),
            hint="make one with advantages.signature(estimator, group_size)",
        )
    if signature is None and group_size > 1:
        signature = advantages.signature(advantages.get("grpo"), group_size)
    return (
        laws.unanimous_rate(rates, group_size),
        laws.all_wrong_rate(rates, group_size),
        laws.all_correct_rate(rates, group_size),
        np.zeros(len(rates)) if signature is None else laws.expected_contrast(signature, rates),
    )


def ranges(weights: FloatArray, values: FloatArray, coverage: float) -> Range:
    """Mean and central interval of values[state] under (N, M) beliefs.

    Ends are values at a state: the least one that leaves at most (1 − coverage)/2 below, and the
    same from above.

    Example:
        >>> ranges(np.array([[0.5, 0.4, 0.1]]), np.array([3.0, 1.0, 2.0]), 0.5)
        Range(mean=array([2.1]), low=array([1.]), high=array([3.]))
    """
    tail = (1.0 - coverage) / 2.0
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[:, order], axis=1)
    # Rounding must not push an end past a state that holds all the rest.
    low = np.minimum((below < tail * (1.0 + 1e-9)).sum(axis=1), len(values) - 1)
    high = np.minimum((below < (1.0 - tail) * (1.0 - 1e-9)).sum(axis=1), len(values) - 1)
    return Range(weights @ values, values[order][low], values[order][high])


def quantiles_of_rate(weights: FloatArray, level: ArrayLike) -> FloatArray:
    """Solve rates below which `level` of (N, M) beliefs lie.

    States inside (0, 1) stand for all rates nearer to them than to their neighbours on the scale
    arcsin√p, evenly; 0 and 1 stand for themselves.

    Example:
        >>> quantiles_of_rate(np.array([[0.25, 0.5, 0.25]]), 0.5).round(12).tolist()
        [0.5]
    """
    states = weights.shape[1]
    below = np.cumsum(weights, axis=1)
    wanted = np.broadcast_to(np.asarray(level, dtype=np.float64), len(weights)) * below[:, -1]
    state = np.minimum((below < wanted[:, None]).sum(axis=1), states - 1)
    row = np.arange(len(weights))
    held = np.maximum(weights[row, state], np.finfo(np.float64).tiny)
    part = np.clip(1.0 - (below[row, state] - wanted) / held, 0.0, 1.0)
    inside = (state > 0) & (state < states - 1)
    place = np.where(inside, np.clip(state + part - 0.5, 0.5, states - 1.5), state)
    return np.asarray(np.sin(np.pi / 2.0 * place / (states - 1)) ** 2)
