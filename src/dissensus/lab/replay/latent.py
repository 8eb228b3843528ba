"""Solve rates behind recorded visits, drawn from a posterior over their paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dissensus.core.difficulty import SolveRateModel, fit_model, neutral_model
from dissensus.core.difficulty.model import log_likelihood
from dissensus.core.groups import FloatArray, IntArray
from dissensus.core.population.population import BINS

if TYPE_CHECKING:
    from dissensus.lab.replay.record import Record

__all__ = ["STATES", "draw_states", "fit_record", "share_by_tenth", "thinned"]

STATES = 41
"""Solve rates that are told apart: 0.039 from one to the next at ½, 0.0015 near 0 and 1."""

_MOST_VISITS = 25_000


def fit_record(record: Record) -> SolveRateModel:
    """Where the solve rates of recorded prompts start, and how they move between visits.

    Args:
        record: Of which `thinned` is used.
    """
    some = thinned(record)
    return fit_model(some.prompt, some.correct, some.size, start=neutral_model(STATES))


def thinned(record: Record) -> Record:
    """Every second, third … prompt of a record with over 25,000 visits: more would not show."""
    return record.of(np.arange(0, len(record), -(-len(record.size) // _MOST_VISITS)))


def share_by_tenth(states: IntArray, rates: FloatArray) -> FloatArray:
    """(10,) share of some states by tenth of solve rate.

    A state stands for all rates nearer to it than to the next one, so one at the border of two
    tenths counts in both.

    Example:
        >>> share = share_by_tenth(np.array([1]), np.array([0.0, 0.5, 1.0]))
        >>> share[2:6].round(12).tolist()
        [0.1, 0.2, 0.2, 0.2]
    """
    ends = np.concatenate([[0.0], (rates[1:] + rates[:-1]) / 2, [1.0]])
    borders = np.linspace(0.0, 1.0, BINS + 1)
    inside = np.minimum(ends[1:, None], borders[1:]) - np.maximum(ends[:-1, None], borders[:-1])
    overlap = np.maximum(inside, 0.0) / np.diff(ends)[:, None]
    return np.asarray(np.bincount(states, minlength=len(rates)) @ overlap / max(1, len(states)))


def draw_states(record: Record, model: SolveRateModel, uniforms: FloatArray) -> IntArray:
    """One path of solve rates for each prompt, given all its visits, earlier and later.

        P(path | counts) ∝ prior(s_1) Π_t exp(Q)[s_t, s_t+1] Π_t p_t^{k_t} (1 − p_t)^{n_t − k_t}

    Filtering forward, then sampling backward. Given its path, rollouts of a visit are independent,
    so whoever knows p knows all there is to know of rollouts to come.

    Args:
        record: V visits.
        model: Of `fit_record`.
        uniforms: (V,) in [0, 1), what the draw depends on.

    Returns:
        (V,) position in `model.rates`.
    """
    from scipy.linalg import expm

    moves = np.maximum(expm(model.generator), 0.0)
    # Prompts with most visits first: those that have a t-th visit are a prefix.
    order = np.argsort(-record.visits, kind="stable")
    first, visits = record.first[order], record.visits[order]
    filtered = np.empty((len(record.size), model.states), dtype=np.float32)
    alive = [int(np.searchsorted(-visits, -t)) for t in range(int(visits[0]))]
    for t, count in enumerate(alive):
        row = first[:count] + t
        before = filtered[row - 1] @ moves if t else model.prior
        log_chance = log_likelihood(
            record.correct[row].astype(float), record.size[row].astype(float), model.rates
        )
        chance = before * np.exp(log_chance - log_chance.max(axis=1, keepdims=True))
        filtered[row] = chance / chance.sum(axis=1, keepdims=True)
    states = np.empty(len(record.size), dtype=np.int64)
    for t in reversed(range(len(alive))):
        row = first[: alive[t]] + t
        chance = filtered[row].astype(np.float64)
        later = alive[t + 1] if t + 1 < len(alive) else 0
        chance[:later] *= moves[:, states[row[:later] + 1]].T
        total = np.cumsum(chance, axis=1)
        above = total > uniforms[row, None] * total[:, -1:]
        states[row] = np.argmax(above, axis=1)
    return states
