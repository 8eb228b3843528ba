"""The competition: every allocator on the same worlds, with the same number of rollouts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from dissensus.core import allocation
from dissensus.core.allocation import Allocator, Draw, Selection
from dissensus.core.groups import BoolArray, FloatArray, IntArray
from dissensus.core.laws import fit_beta
from dissensus.errors import InputError
from dissensus.lab.replay.oracle import Oracle
from dissensus.lab.replay.record import Record, World

__all__ = ["BINS", "ReplayResult", "ReplaySettings", "Score", "race"]

BINS = (0.0, 0.1, 0.4, 0.6, 0.9, 1.0)
"""Limits of solve rate by which rollouts are told apart."""

_IDLE_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class ReplaySettings:
    """What every allocator gets.

    Attributes:
        budget: R, rollouts generated in all.
        batch: Prompts a step is meant to train on.
        group_size: Rollouts of each.
        seeds: Worlds; each allocator sees all of them.
        baseline: Allocator that the others are compared with.
    """

    budget: int
    batch: int = 64
    group_size: int = 8
    seeds: int = 5
    baseline: str = "uniform"


class Score(NamedTuple):
    """What one allocator made of one world.

    Attributes:
        split_groups: Split groups trained on, each once.
        unanimous_rollout_frac: Rollouts generated in unanimous groups, of the budget.
        all_wrong_frac: Those that were all wrong.
        all_correct_frac: Those that were all correct.
        contrast_per_1000_rollouts: 1000 · Σ W / budget over groups trained on, each once, with
            W = √(k(n−k))/n.
        trained_frac: Rollouts trained on, of the budget.
        generated_frac: Rollouts generated, of the budget; below 1 where a rest did not fit.
        coverage: Share of prompts that were sampled at all.
        beyond_frac: Rollouts generated beyond the record, of the budget.
        by_difficulty: (5,) share of rollouts by solve rate, see `BINS`.
    """

    split_groups: float
    unanimous_rollout_frac: float
    all_wrong_frac: float
    all_correct_frac: float
    contrast_per_1000_rollouts: float
    trained_frac: float
    generated_frac: float
    coverage: float
    beyond_frac: float
    by_difficulty: FloatArray


@dataclass(frozen=True)
class ReplayResult:
    """Scores by allocator and seed.

    Attributes:
        settings: What every allocator got.
        prompts: Prompts of the record.
        prior: Beta(a, b) that rollouts beyond the record come from.
        scores: By allocator, one score per seed; "oracle" is among them.
    """

    settings: ReplaySettings
    prompts: int
    prior: tuple[float, float]
    scores: dict[str, list[Score]]

    def values(self, name: str, field: str) -> FloatArray:
        """(seeds,) one number of an allocator in every world."""
        return np.array([getattr(score, field) for score in self.scores[name]], dtype=np.float64)

    def of_oracle(self, name: str) -> FloatArray:
        """(seeds,) contrast as a share of the oracle's in the same world."""
        field = "contrast_per_1000_rollouts"
        oracle = self.values("oracle", field)
        out = np.full(len(oracle), np.nan)
        np.divide(self.values(name, field), oracle, where=oracle > 0, out=out)
        return out

    def versus(self, name: str, field: str = "contrast_per_1000_rollouts") -> FloatArray:
        """(seeds,) difference from the baseline in the same world."""
        base = self.values(self.settings.baseline, field)
        return np.asarray(self.values(name, field) - base)

    def to_json(self) -> dict[str, Any]:
        """The document of the command."""
        return {
            "budget": self.settings.budget,
            "batch": self.settings.batch,
            "group_size": self.settings.group_size,
            "seeds": self.settings.seeds,
            "prompts": self.prompts,
            "baseline": self.settings.baseline,
            "beyond_record": {"prior_a": self.prior[0], "prior_b": self.prior[1]},
            "training_reacts": False,
            "allocators": {name: self._row(name) for name in self.scores},
        }

    def _row(self, name: str) -> dict[str, Any]:
        numbers = [field for field in Score._fields if field != "by_difficulty"]
        values = {field: self.values(name, field) for field in numbers}
        values["of_oracle"] = self.of_oracle(name)
        difference = self.versus(name)
        shares = np.mean([score.by_difficulty for score in self.scores[name]], axis=0)
        bins = [f"{low:g}-{high:g}" for low, high in itertools.pairwise(BINS)]
        return {
            **{field: float(each.mean()) for field, each in values.items()},
            "by_difficulty": dict(zip(bins, shares.tolist(), strict=True)),
            "ci95": {field: interval(each) for field, each in values.items()},
            "contrast_versus_baseline": float(difference.mean()),
            "contrast_versus_baseline_ci95": interval(difference),
        }


def interval(values: FloatArray) -> list[float]:
    """95 % t interval of the mean; not a number with a single value.

    Example:
        >>> [round(end, 3) for end in interval(np.array([1.0, 2.0, 3.0]))]
        [-0.484, 4.484]
    """
    if len(values) < 2:
        return [float("nan"), float("nan")]
    reach = special.stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / np.sqrt(len(values))
    return [float(values.mean() - reach), float(values.mean() + reach)]


def race(
    record: Record,
    settings: ReplaySettings,
    names: Sequence[str] = (),
    *,
    on_done: Callable[[str, int], None] | None = None,
) -> ReplayResult:
    """Let allocators compete.

    Args:
        record: Counts by prompt.
        settings: What each of them gets.
        names: Allocators; none: all. The baseline and the oracle always run.
        on_done: Called with allocator and seed after each run.

    Raises:
        InputError: An unknown allocator, or settings that are not whole numbers ≥ 1.
    """
    for field in ("budget", "batch", "group_size", "seeds"):
        if getattr(settings, field) < 1:
            raise InputError(f"--{field.replace('_', '-')} must be ≥ 1", where="replay")
    wanted = dict.fromkeys([settings.baseline, *(names or allocation.names())])
    for name in wanted:
        allocation.describe(name)
    prior = fit_beta(record.correct, record.size)
    scores: dict[str, list[Score]] = {name: [] for name in [*wanted, "oracle"]}
    sizes = {"batch": settings.batch, "group_size": settings.group_size}
    for seed in range(settings.seeds):
        for name, found in scores.items():
            world = World(record, seed, prior=prior)
            if name == "oracle":
                allocator: Allocator = Oracle(world.rates, **sizes)
            else:
                allocator = allocation.get(name, len(record.size), **sizes)
            found.append(_run(allocator, world, settings.budget, np.random.default_rng([seed, 1])))
            if on_done is not None:
                on_done(name, seed)
    return ReplayResult(settings, len(record.size), (prior.a, prior.b), scores)


class _Tally:
    """Sums over the steps of one run."""

    def __init__(self) -> None:
        # Of every rollout, by running number.
        self.rewards: FloatArray = np.empty(0)
        self.is_used: BoolArray = np.empty(0, dtype=np.bool_)
        self.contrast = self.split = self.trained = 0.0
        self.all_wrong = self.all_correct = 0

    def generated(self, prompts: IntArray, rewards: FloatArray) -> None:
        """Count the unanimous groups among the rollouts that one step generated."""
        _, group, size = np.unique(prompts, return_inverse=True, return_counts=True)
        correct = np.bincount(group, weights=rewards)
        self.all_wrong += int(size[correct == 0].sum())
        self.all_correct += int(size[correct == size].sum())
        self.rewards = np.append(self.rewards, rewards)
        self.is_used = np.append(self.is_used, np.zeros(len(rewards), dtype=np.bool_))

    def selected(self, selection: Selection) -> None:
        """Count what is trained on; of groups that were trained on before only the rollouts."""
        if not len(selection.rollouts):
            return
        n = np.bincount(selection.groups)
        k = np.bincount(selection.groups, weights=self.rewards[selection.rollouts])
        is_new = np.bincount(selection.groups, weights=~self.is_used[selection.rollouts]) > 0
        self.is_used[selection.rollouts] = True
        self.contrast += float((np.sqrt(k * (n - k)) / n)[is_new].sum())
        self.split += int((is_new & (k > 0) & (k < n)).sum())
        self.trained += len(selection.rollouts)


def _run(allocator: Allocator, world: World, budget: int, rng: np.random.Generator) -> Score:
    tally, left, idle = _Tally(), budget, 0
    while left > 0 and idle < _IDLE_STEPS:
        prompts, rewards = [np.empty(0, dtype=np.int64)], [np.empty(0)]
        while isinstance(ask := allocator.ask(left, rng), Draw):
            groups = world.sample(ask)
            allocator.tell(groups, lengths=np.ones(groups.n_rollouts))
            prompts.append(np.repeat(ask.prompts, ask.counts))
            rewards.append(groups.rewards)
            left -= ask.total
        drawn = np.concatenate(prompts)
        tally.generated(drawn, np.concatenate(rewards))
        tally.selected(ask)
        idle = 0 if len(drawn) else idle + 1
    return _score(tally, world, budget)


def _score(tally: _Tally, world: World, budget: int) -> Score:
    generated = int(world.drawn.sum())
    by_bin = np.histogram(world.rates, BINS, weights=world.drawn)[0]
    return Score(
        split_groups=tally.split,
        unanimous_rollout_frac=(tally.all_wrong + tally.all_correct) / budget,
        all_wrong_frac=tally.all_wrong / budget,
        all_correct_frac=tally.all_correct / budget,
        contrast_per_1000_rollouts=1000 * tally.contrast / budget,
        trained_frac=tally.trained / budget,
        generated_frac=generated / budget,
        coverage=float((world.drawn > 0).mean()),
        beyond_frac=world.beyond / budget,
        by_difficulty=by_bin / max(1, generated),
    )
