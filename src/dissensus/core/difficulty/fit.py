"""Learn from recorded visits where prompts start and how their solve rates move."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.difficulty.inputs import checked_visits
from dissensus.core.difficulty.model import SolveRateModel, log_likelihood
from dissensus.core.groups import FloatArray, IntArray
from dissensus.errors import InputError

__all__ = ["fit_model"]

_NUMBERS = 1 << 22  # held at once (32 MB): more prompts are thinned evenly
_ROUNDS = 60
_TOLERANCE = 1e-5  # nats per visit
_SURPRISE = 1e-6


class _Visits(NamedTuple):
    """Visits of N prompts side by side.

    Attributes:
        kinds: (N, T) which likelihood each visit has; the last kind means "no visit".
        likelihood: (kinds, M) by state.
        total: Number of visits.
    """

    kinds: IntArray
    likelihood: FloatArray
    total: int


class _Expected(NamedTuple):
    """What the visits say of the hidden states, on average over all paths.

    Attributes:
        first: (M,) prompts that begin in each state.
        moves: (M, M) moves between states, staying included.
        log_likelihood: Of all visits under the model that was used.
    """

    first: FloatArray
    moves: FloatArray
    log_likelihood: float


def fit_model(
    prompts: ArrayLike,
    correct: ArrayLike,
    size: ArrayLike,
    *,
    start: SolveRateModel,
    strength: float = 20.0,
    rounds: int = _ROUNDS,
) -> SolveRateModel:
    """Fit the prior and the moves of solve rates to recorded visits (empirical Bayes).

        max  Σ_prompts log P(k_1, k_2, … | sizes; prior, up, down)  +  strength · log-prior(start)

    by expectation-maximisation over the hidden path of every prompt. A tick is the time between two
    visits of a prompt. After every round the moves and the prior of a state are averaged with their
    neighbours' (Silverman et al. 1990), because states next to each other are hard to tell apart;
    moves into and out of 0 and 1 are of their own kind and stay as they are.

    Visits of one prompt are taken in the order of the rows; unanimous groups and single rollouts
    count like any other. More visits than fit into 4 million numbers (states × visits) are thinned
    to every second, third … prompt.

    Args:
        prompts: (N,) whole number ≥ 0 that names the prompt of each visit.
        correct: (N,) k, correct rollouts.
        size: (N,) or scalar n, scored rollouts; visits without any are left out.
        start: Model to begin with and to shrink to; it also sets the number of states.
        strength: Visits per state, and prompts over all states, that `start` counts for; > 0.
        rounds: Most rounds; it ends before where a round gains under 1e-5 nats per visit.

    Returns:
        The fitted model.

    Raises:
        InputError: No visit, k > n, numbers that are not whole, strength or rounds not positive.

    Example:
        >>> from dissensus.core.difficulty import neutral_model
        >>> twice = np.repeat(np.arange(50), 2)
        >>> never = fit_model(twice, np.zeros(100), 8, start=neutral_model(), strength=1)
        >>> bool(never.prior @ never.rates < 0.05)
        True

    Source: Baum et al. 1970 for the rounds; Silverman et al. 1990, J. R. Statist. Soc. B 52, for
    the averaging.
    """
    if not (np.isfinite(strength) and strength > 0 and rounds >= 1):
        raise InputError(
            "strength must be > 0 and rounds ≥ 1", where="fit_model", got=(strength, rounds)
        )
    rows = checked_visits(prompts, correct, size, "fit_model")
    if not len(rows[0]):
        raise InputError("there is no visit with a scored rollout", where="fit_model")
    visits = _side_by_side(*rows, start.rates)
    model, last = start, -np.inf
    for _ in range(rounds):
        expected = _expected(visits, model)
        model = _improved(expected, start, strength)
        gained, last = expected.log_likelihood - last, expected.log_likelihood
        if gained < _TOLERANCE * visits.total:
            break
    return model


def _side_by_side(
    prompts: IntArray, correct: FloatArray, size: FloatArray, rates: FloatArray
) -> _Visits:
    order = np.argsort(prompts, kind="stable")
    names, first, count = np.unique(prompts[order], return_index=True, return_counts=True)
    longest = int(count.max())
    every = -(-len(names) * longest * len(rates) // _NUMBERS)
    row = np.repeat(np.arange(len(names)), count)
    visit = np.arange(len(order)) - np.repeat(first, count)
    kept = row % every == 0
    order, row, visit = order[kept], row[kept] // every, visit[kept]
    pairs, kind = np.unique(
        np.stack([correct[order], size[order]], axis=1), axis=0, return_inverse=True
    )
    log_chance = log_likelihood(pairs[:, 0], pairs[:, 1], rates)
    chance = np.exp(log_chance - log_chance.max(axis=1, keepdims=True))
    kinds = np.full((int(row.max()) + 1, longest), len(pairs), dtype=np.int64)
    kinds[row, visit] = kind.ravel()
    return _Visits(kinds, np.concatenate([chance, np.ones((1, len(rates)))]), len(order))


def _expected(visits: _Visits, model: SolveRateModel) -> _Expected:
    """One pass forward and one back over the visits of all prompts at once."""
    # Jumps anywhere are let through at _SURPRISE, so that no path is impossible.
    one_move = np.eye(model.states) + _at_most_one_move(model.generator)
    step = (1.0 - _SURPRISE) * one_move + _SURPRISE / model.states
    prompts, length = visits.kinds.shape
    forward = np.empty((length, prompts, model.states))
    scale = np.empty((length, prompts, 1))
    for t in range(length):
        predicted = forward[t - 1] @ step if t else np.broadcast_to(model.prior, forward[0].shape)
        joint = predicted * visits.likelihood[visits.kinds[:, t]]
        scale[t] = joint.sum(axis=1, keepdims=True)
        forward[t] = joint / scale[t]
    moves = np.zeros_like(step)
    backward = np.ones((prompts, model.states))
    seen = visits.kinds < len(visits.likelihood) - 1
    for t in range(length - 1, 0, -1):
        ahead = visits.likelihood[visits.kinds[:, t]] * backward / scale[t]
        moves += (forward[t - 1] * seen[:, t, None]).T @ ahead
        backward = ahead @ step.T
    first = forward[0] * backward
    first /= first.sum(axis=1, keepdims=True)
    return _Expected(first.sum(axis=0), moves * step, float(np.log(scale).sum()))


def _at_most_one_move(generator: FloatArray) -> FloatArray:
    """Q, slowed where more than one move per tick would be expected."""
    return generator / max(1.0, float(-np.diag(generator).min()))


def _improved(expected: _Expected, start: SolveRateModel, strength: float) -> SolveRateModel:
    visits = expected.moves.sum(axis=1)
    up = _rates(np.diag(expected.moves, 1), visits[:-1], start.up, strength)
    down = _rates(np.diag(expected.moves, -1), visits[1:], start.down, strength)
    return SolveRateModel(_averaged(expected.first + strength * start.prior), up, down)


def _rates(moves: FloatArray, visits: FloatArray, usual: FloatArray, strength: float) -> FloatArray:
    moves, visits = moves.copy(), visits.copy()
    moves[1:-1], visits[1:-1] = _averaged(moves[1:-1]), _averaged(visits[1:-1])
    return np.asarray((moves + strength * usual) / (visits + strength))


def _averaged(values: FloatArray) -> FloatArray:
    """Averages with neighbours, weights exp(−distance²/2)."""
    index = np.arange(len(values))
    weight = np.exp(-0.5 * np.square(index[:, None] - index))
    return np.asarray(weight @ values / weight.sum(axis=1))
