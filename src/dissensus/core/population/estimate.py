"""Which description of the solve rates behind the counts predicts held-out prompts best."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dissensus.core.groups import FloatArray
from dissensus.core.population.beta_mixture import fit_beta_mixture
from dissensus.core.population.compatible import Compatible, compatible_with
from dissensus.core.population.counts import Counts
from dissensus.core.population.npmle import em_step, fit_npmle
from dissensus.core.population.population import Population
from dissensus.core.population.rates import likelihood, solve_rates
from dissensus.errors import InputError

__all__ = ["Candidate", "Estimate", "fit_population"]

_FOLDS, _MOST_STEPS = 4, 2000
_COMPONENTS = (1, 2, 3)


class Candidate(NamedTuple):
    """One description that was tried.

    Attributes:
        name: "npmle", or "beta mixture of K".
        heldout: Mean log-likelihood in nats of a group of prompts that it was not fitted to; NaN
            where there were too few prompts to hold any out.
    """

    name: str
    heldout: float


class Estimate(NamedTuple):
    """What counts say of the distribution of solve rates.

    Attributes:
        population: The chosen distribution.
        allowed: All distributions that the counts allow; it is one of them.
        candidates: What was tried.
    """

    population: Population
    allowed: Compatible
    candidates: list[Candidate]


def fit_population(counts: Counts) -> Estimate:
    """Estimate the distribution of solve rates behind counts.

    Tried are the non-parametric fit and mixtures of one to three Beta distributions; chosen is
    the one with the largest likelihood on held-out *prompts* (four folds of whole prompts). A
    mixture that misses the counts by more than sampling error is moved towards them by steps of EM
    until they allow it: few parameters smooth well where counts are silent, and are wrong where
    they speak. With fewer than eight prompts nothing is held out, and one Beta distribution tried.

    Args:
        counts: Recorded groups.

    Raises:
        InputError: No group has two rollouts: single ones say nothing about how prompts differ.

    Example:
        >>> counts = Counts.from_groups([0, 1, 2] * 40, 2)
        >>> population, allowed, tried = fit_population(counts)
        >>> round(float(population.unanimous_rate(2)), 2), allowed.holds(population.weights)
        (0.67, True)
    """
    if counts.largest_size < 2:
        raise InputError(
            "no group of two or more rollouts: single ones say nothing about how prompts differ",
            where="plan",
        )
    counts = counts.thinned()
    tried = _score(counts)
    best = max(tried, key=lambda kind: tried[kind])
    free = Population(solve_rates(), fit_npmle(counts))
    allowed = compatible_with(counts, free)
    chosen = free if best == 0 else _mixture(counts, best, free.weights)
    candidates = [Candidate(_name(kind), score) for kind, score in tried.items()]
    return Estimate(_moved(chosen, counts, allowed), allowed, candidates)


def _moved(population: Population, counts: Counts, allowed: Compatible) -> Population:
    """Steps of EM until the counts allow a distribution."""
    chances = likelihood(counts.correct, counts.size, population.rates)
    share = counts.groups / counts.total
    # EM never revives a rate of no weight.
    weights = np.maximum(population.weights, 1e-9)
    for _ in range(_MOST_STEPS):
        if allowed.holds(weights / weights.sum()):
            break
        weights, _ = em_step(weights / weights.sum(), chances, share)
    return replace(population, weights=weights / weights.sum())


def _score(counts: Counts) -> dict[int, float]:
    """Mean held-out log-likelihood by number of Beta distributions; 0 is the free fit."""
    hands = counts.table.shape[1]
    fold = np.random.default_rng(0).permutation(hands) % _FOLDS
    parts = [(counts.of_hands(fold != f), counts.of_hands(fold == f)) for f in range(_FOLDS)]
    parts = [(fit, held) for fit, held in parts if fit.table.size and fit.largest_size >= 2]
    if hands < 2 * _FOLDS or not parts:
        return {1: float("nan")}
    starts = [fit_npmle(fit) for fit, _ in parts]
    groups = sum(held.total for _, held in parts)

    def score(kind: int) -> float:
        fits = (
            start if kind == 0 else _mixture(fit, kind, start).weights
            for (fit, _), start in zip(parts, starts, strict=True)
        )
        pairs = zip(fits, (held for _, held in parts), strict=True)
        return sum(_log_likelihood(weights, held) for weights, held in pairs) / groups

    # The simplest first: it is taken where several do equally well.
    return {kind: score(kind) for kind in (*_COMPONENTS, 0)}


def _name(kind: int) -> str:
    return f"beta mixture of {kind}" if kind else "npmle"


def _mixture(counts: Counts, components: int, start: FloatArray) -> Population:
    mixture = fit_beta_mixture(counts, components, start)
    rates = solve_rates()
    return Population(rates, mixture.on_rates(rates), _name(components), mixture)


def _log_likelihood(weights: FloatArray, held: Counts) -> float:
    chance = likelihood(held.correct, held.size, solve_rates()) @ weights
    # One group that a fit calls impossible costs 700 nats, not the comparison.
    return float(held.groups @ np.log(np.maximum(chance, 1e-304)))
