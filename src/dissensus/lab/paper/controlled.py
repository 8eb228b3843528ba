"""The controlled run: 6,000 Bernoulli-logit prompts under three rules, once per seed.

Choices of the paper that move its numbers, as its published script makes them: initial rates are
drawn among Big-Math's problems with 0 < k < 64 and clipped to [.02, .98]; a DAPO prompt whose group
is unanimous draws again, up to four groups, and keeps its turn in the step; the hardest quartile is
every prompt at or below the first quartile of the initial rates, ties included; gradient mass by
difficulty is that of 400 groups of every prompt at the initial rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dissensus.core import advantages, laws
from dissensus.core.groups import BoolArray, FloatArray
from dissensus.lab.paper.data import big_math
from dissensus.lab.paper.intervals import OverSeeds, over_seeds, r_squared
from dissensus.lab.simulator import Simulator, refill

__all__ = [
    "METHODS",
    "Arm",
    "ControlledSettings",
    "SeedResult",
    "mean_curves",
    "run_seed",
    "summarise_seeds",
]

METHODS = ("grpo", "dr_grpo", "dapo")
BINS = 10
_MASS_RULES = ("grpo", "dr_grpo")


@dataclass(frozen=True)
class ControlledSettings:
    """The paper's, by default.

    Attributes:
        prompts: P.
        group_size: G.
        learning_rate: Of θ ← θ + lr·g.
        steps: Each visits every prompt once.
        tries: Groups a prompt may draw in one step of DAPO.
        clip: Initial solve rates are kept this far from 0 and 1.
        mass_repeats: Groups of every prompt that the mass by difficulty is measured on.
    """

    prompts: int = 6000
    group_size: int = 8
    learning_rate: float = 0.5
    steps: int = 150
    tries: int = 4
    clip: float = 0.02
    mass_repeats: int = 400


class Arm(NamedTuple):
    """One method in one run.

    Attributes:
        silent: (T,) share of unanimous groups among first draws.
        predicted: (T,) mean of p^G + (1−p)^G at the solve rates of that moment.
        hardest: (T+1,) mean solve rate of the initially hardest quartile.
        rollouts: (T+1,) rollouts per prompt spent before each step, and at the end.
    """

    silent: FloatArray
    predicted: FloatArray
    hardest: FloatArray
    rollouts: FloatArray


class SeedResult(NamedTuple):
    """One seed.

    Attributes:
        arms: By method.
        mass: By rule, (10,) measured share of Σ W in tenths of the initial solve rate.
        expected_mass: The same in expectation at this group size.
        hardest_cut: First quartile of the initial rates, where the hardest ones end.
    """

    arms: dict[str, Arm]
    mass: dict[str, FloatArray]
    expected_mass: dict[str, FloatArray]
    hardest_cut: float


def run_seed(seed: int, settings: ControlledSettings | None = None) -> SeedResult:
    """Run all three methods from the same initial solve rates.

    Args:
        seed: Of the initial rates and of every rollout.
        settings: None for the paper's.
    """
    s = settings or ControlledSettings()
    streams = np.random.SeedSequence(seed).spawn(2 + len(METHODS))
    start, mass, *arms = map(np.random.default_rng, streams)
    rates = initial_rates(s, start)
    measured, expected = _mass_by_difficulty(rates, s, mass)
    found = {name: _run(name, rates, s, rng) for name, rng in zip(METHODS, arms, strict=True)}
    return SeedResult(found, measured, expected, _hardest_cut(rates))


def initial_rates(settings: ControlledSettings, rng: np.random.Generator) -> FloatArray:
    """(P,) solve rates drawn among Big-Math's problems with 0 < k < 64, and clipped."""
    counts = big_math()
    inside, problems = counts.solve_rate[1:-1], counts.problems[1:-1]
    drawn = rng.choice(inside, settings.prompts, p=problems / problems.sum())
    return np.asarray(np.clip(drawn, settings.clip, 1.0 - settings.clip), dtype=np.float64)


def hardest_quartile(rates: FloatArray) -> BoolArray:
    """(P,) at or below the first quartile; with tied rates more than a quarter."""
    return np.asarray(rates <= _hardest_cut(rates))


def _hardest_cut(rates: FloatArray) -> float:
    return float(np.quantile(rates, 0.25))


def _run(
    method: str, rates: FloatArray, settings: ControlledSettings, rng: np.random.Generator
) -> Arm:
    size, hard = settings.group_size, hardest_quartile(rates)
    simulator = Simulator(rates, method, learning_rate=settings.learning_rate, rng=rng)
    silent, predicted, hardest, rollouts = [], [], [], []
    for _ in range(settings.steps):
        p = simulator.solve_rates
        hardest.append(p[hard].mean())
        rollouts.append(simulator.rollouts / settings.prompts)
        predicted.append(laws.unanimous_rate(p, size).mean())
        correct = simulator.draw(size)
        silent.append(((correct == 0) | (correct == size)).mean())
        if method == "dapo":
            correct = refill(simulator, correct, size, tries=settings.tries)
        simulator.learn(correct, size)
    hardest.append(simulator.solve_rates[hard].mean())
    rollouts.append(simulator.rollouts / settings.prompts)
    return Arm(np.array(silent), np.array(predicted), np.array(hardest), np.array(rollouts))


def _mass_by_difficulty(
    rates: FloatArray, settings: ControlledSettings, rng: np.random.Generator
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    tenth = np.minimum((rates * BINS).astype(int), BINS - 1)
    shape = (settings.mass_repeats, len(rates))
    correct = rng.binomial(settings.group_size, rates, size=shape)
    measured, expected = {}, {}
    for rule in _MASS_RULES:
        signature = advantages.signature(advantages.get(rule), settings.group_size)
        weights = {
            "measured": signature.contrast[correct].sum(axis=0),
            "expected": laws.expected_contrast(signature, rates),
        }
        shares = {
            kind: np.bincount(tenth, mass, minlength=BINS) / mass.sum()
            for kind, mass in weights.items()
        }
        measured[rule], expected[rule] = shares["measured"], shares["expected"]
    return measured, expected


def summarise_seeds(results: Sequence[SeedResult]) -> dict[str, OverSeeds]:
    """Every number of the controlled run, over the seeds."""
    rows = [_numbers(result) for result in results]
    return {name: over_seeds([row[name] for row in rows]) for name in rows[0]}


def mean_curves(results: Sequence[SeedResult]) -> dict[str, dict[str, list[float]]]:
    """Every curve of the controlled run, averaged over the seeds: by method, and mass by rule."""
    found = {}
    for name in METHODS:
        arms = [result.arms[name] for result in results]
        found[name] = {
            kind: np.mean([getattr(arm, kind) for arm in arms], axis=0).tolist()
            for kind in Arm._fields
        }
    for rule in _MASS_RULES:
        measured = [result.mass[rule] for result in results]
        expected = [result.expected_mass[rule] for result in results]
        found[rule]["mass_by_tenth"] = np.mean(measured, axis=0).tolist()
        found[rule]["expected_mass_by_tenth"] = np.mean(expected, axis=0).tolist()
    return found


def _numbers(result: SeedResult) -> dict[str, float]:
    found = {"hardest_quartile_cut": result.hardest_cut}
    for name, arm in result.arms.items():
        found[f"silent_r_squared_{name}"] = r_squared(arm.silent, arm.predicted)
        found[f"hardest_quartile_{name}"] = float(arm.hardest[-1])
        step = _first(arm.hardest >= 0.5)
        found[f"steps_to_half_{name}"] = float("nan") if step is None else step
        found[f"rollouts_to_half_{name}"] = float("nan") if step is None else arm.rollouts[step]
    spent = {name: float(arm.rollouts[-1]) for name, arm in result.arms.items()}
    found["oversampling_dapo"] = spent["dapo"] / spent["grpo"]
    for rule in _MASS_RULES:
        found[f"extreme_mass_{rule}"] = _ends(result.mass[rule])
        found[f"extreme_mass_expected_{rule}"] = _ends(result.expected_mass[rule])
    return found


def _ends(shares: FloatArray) -> float:
    return float(shares[0] + shares[-1])


def _first(reached: BoolArray) -> int | None:
    return int(np.argmax(reached)) if reached.any() else None
