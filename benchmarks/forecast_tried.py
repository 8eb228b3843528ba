"""Other models of the same kind, for the record: what each would have given.

All are hidden Markov models over a table of solve rates, fitted by expectation-maximisation on the
prompts to fit on; none of them uses the pooled drift, so `chain` is what they are compared with.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from benchmarks.forecast_references import SIZE, is_unanimous, logistic_regression, scored
from dissensus.core.difficulty import DEFAULT_MODEL, SolveRateModel
from dissensus.core.difficulty.model import state_rates

ROUNDS = 60


def emissions(rates: np.ndarray, concentration: float = np.inf) -> np.ndarray:
    """(G+2, M) chance of every count at every rate, and a last row of ones for no visit.

    With a concentration, the rate of a visit is a Beta variable around the state's: the policy
    trembles from visit to visit.
    """
    k = np.arange(SIZE + 1.0)[:, None]
    ways = special.binom(SIZE, k)
    if np.isinf(concentration):
        chance = ways * rates**k * (1.0 - rates) ** (SIZE - k)
    else:
        a = np.clip(rates, 1e-4, 1 - 1e-4) * concentration
        b = concentration - a
        chance = ways * np.exp(special.betaln(a + k, b + SIZE - k) - special.betaln(a, b))
    return np.concatenate([chance, np.ones((1, len(rates)))])


def filtered(
    counts: np.ndarray, prior: np.ndarray, step: np.ndarray, chance: np.ndarray
) -> np.ndarray:
    """Chance that each visit is unanimous, from the visits before it."""
    belief = np.tile(prior, (len(counts), 1))
    out = np.empty(counts.shape)
    for t in range(counts.shape[1]):
        if t:
            belief = belief @ step
        out[:, t] = belief @ (chance[0] + chance[SIZE])
        belief = belief * chance[counts[:, t]]
        belief /= belief.sum(axis=1, keepdims=True)
    return out


def baum_welch(
    counts: np.ndarray, prior: np.ndarray, step: np.ndarray, chance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Prior and moves of most likelihood; moves that are 0 at first stay 0."""
    length, seen = counts.shape[1], counts >= 0
    for _ in range(ROUNDS):
        forward, scale = [], []
        for t in range(length):
            predicted = forward[-1] @ step if t else np.tile(prior, (len(counts), 1))
            joint = predicted * chance[counts[:, t]]
            scale.append(joint.sum(axis=1, keepdims=True))
            forward.append(joint / scale[-1])
        backward = np.ones_like(forward[0])
        moves = np.zeros_like(step)
        for t in range(length - 1, 0, -1):
            ahead = chance[counts[:, t]] * backward / scale[t]
            moves += (forward[t - 1] * seen[:, t, None]).T @ ahead
            backward = ahead @ step.T
        first = forward[0] * backward
        prior = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
        moves = moves * step + 1e-12 * step
        step = moves / moves.sum(axis=1, keepdims=True)
    return prior, step


def neighbours(states: int, reach: float = 1) -> np.ndarray:
    """Moves to begin with: mostly none, else evenly to the states within reach."""
    index = np.arange(states)
    near = np.abs(index[:, None] - index) <= reach
    step = 0.05 * near + np.eye(states)
    return step / step.sum(axis=1, keepdims=True)


def chain(
    fit: np.ndarray,
    counts: np.ndarray,
    *,
    states: int = 21,
    reach: float = 1,
    concentration: float = np.inf,
) -> np.ndarray:
    """Moves to neighbours (`reach` states away), each with a chance of its own."""
    rates = state_rates(states)
    chance = emissions(rates, concentration)
    prior = np.full(states, 1.0 / states)
    return filtered(counts, *baum_welch(fit, prior, neighbours(states, reach), chance), chance)


def two_speeds(fit: np.ndarray, counts: np.ndarray, *, switching: float = 0.0) -> np.ndarray:
    """Every solve rate twice: prompts that move slowly, and prompts that move fast."""
    states = DEFAULT_MODEL.states
    chance = np.tile(emissions(DEFAULT_MODEL.rates), (1, 2))
    slow = 0.9 * np.eye(states) + 0.1 * neighbours(states)
    quick = neighbours(states) @ neighbours(states) * (neighbours(states) > 0)
    step = np.zeros((2 * states, 2 * states))
    step[:states, :states], step[states:, states:] = slow, quick
    step[:states, states:] = step[states:, :states] = switching * np.eye(states)
    step /= step.sum(axis=1, keepdims=True)
    prior = np.full(2 * states, 0.5 / states)
    return filtered(counts, *baum_welch(fit, prior, step, chance), chance)


def vote_per_visit(_fit: np.ndarray, counts: np.ndarray, *, model: SolveRateModel) -> np.ndarray:
    """Ways to move as in the pooled drift, but each visit picks one for itself (online EM)."""
    chance = emissions(model.rates)
    step = np.eye(model.states) + model.generator
    power = np.linalg.matrix_power
    ways = [np.eye(model.states)]
    for one in (step, step[::-1, ::-1]):
        ways += [0.75 * np.eye(model.states) + 0.25 * one, one, power(one, 4), power(one, 16)]
    stacked = np.stack(ways)
    votes = np.ones(len(ways))
    votes[2] = 50.0
    belief = np.tile(model.prior, (len(counts), 1))
    out = np.empty(counts.shape)
    for t in range(counts.shape[1]):
        seen, here = counts[:, t] >= 0, chance[counts[:, t]]
        if t:
            weight = votes / votes.sum()
            moved = np.einsum("nm,smk->snk", belief, stacked)
            share = weight[:, None] * (moved * here).sum(axis=2)[:, seen]
            votes = votes + (share / share.sum(axis=0)).sum(axis=1)
            belief = np.tensordot(weight, moved, axes=1)
        out[:, t] = belief @ (chance[0] + chance[SIZE])
        belief = belief * here
        belief /= belief.sum(axis=1, keepdims=True)
    return out


def recalibrated(fit: np.ndarray, on_fit: np.ndarray, on_counts: np.ndarray) -> np.ndarray:
    """Stacking: logistic regression on a forecast's log-odds, the visit and both together."""

    def features(chance: np.ndarray) -> np.ndarray:
        odds = special.logit(np.clip(chance, 1e-6, 1 - 1e-6))
        visit = np.broadcast_to(np.log1p(np.arange(chance.shape[1])), chance.shape)
        return np.stack([odds, np.square(odds), visit, odds * visit], axis=2)

    w = logistic_regression(features(on_fit)[scored(fit)], is_unanimous(fit)[scored(fit)])
    return special.expit(features(on_counts) @ w[:-1] + w[-1])
