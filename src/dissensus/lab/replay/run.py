"""The competition: every allocator in the same worlds, at the same budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.allocation import Allocator, Written
from dissensus.core.allocation.contrast import Contrast
from dissensus.core.difficulty import SolveRateModel
from dissensus.core.groups import FloatArray
from dissensus.errors import InputError
from dissensus.lab.replay.latent import fit_record, share_by_tenth, thinned
from dissensus.lab.replay.oracle import Oracle
from dissensus.lab.replay.play import Score, play, score
from dissensus.lab.replay.record import Record
from dissensus.lab.replay.world import Scene, World
from dissensus.views.replay import CEILINGS, Competitor, Interval, Replay

__all__ = ["ReplaySettings", "interval", "replay"]

_LEAST_SEEDS = 2


@dataclass(frozen=True, kw_only=True)
class ReplaySettings:
    """How allocators compete.

    Attributes:
        budget: Rollouts that each may generate, R.
        seeds: Worlds that all of them play in, ≥ 2.
        prompts: Prompts of each world, drawn anew for every seed; None: all that were recorded.
        batch: Prompts that a step is meant to train on.
        group_size: Rollouts of each, where the strategy does not decide otherwise.
        estimator: Advantage rule whose contrast is counted.
    """

    budget: int
    seeds: int = 5
    prompts: int | None = None
    batch: int = 64
    group_size: int = 8
    estimator: str = "grpo"

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        least = {"budget": 1, "seeds": _LEAST_SEEDS, "batch": 1, "group_size": 2}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise InputError(f"{name} must be at least {bound}", got=getattr(self, name))
        if self.prompts is not None and self.prompts < 1:
            raise InputError("prompts must be at least 1", got=self.prompts)


def replay(
    record: Record,
    entries: Sequence[Written],
    settings: ReplaySettings,
    *,
    source: str,
    left_out: dict[str, str] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Replay:
    """Let allocators compete.

    Args:
        record: What was recorded.
        entries: Who competes; the first is what the others are compared with.
        settings: Budget, seeds and sizes.
        source: Where the record is from.
        left_out: Allocators that do not take part, and why.
        tell: Is told what is going on.
    """
    tell("fitting the posterior of solve rates")
    model = fit_record(record)
    players = _players(entries, settings)
    scores: dict[str, list[Score]] = {name: [] for name in players}
    tenths: dict[str, list[FloatArray]] = {name: [] for name in players}
    for seed in range(settings.seeds):
        scene = Scene(_sampled(record, settings, seed), model, seed)
        for name, make in players.items():
            tell(f"seed {seed + 1} of {settings.seeds}: {name}")
            world = World(scene)
            history = play(make(world), world, settings.budget, np.random.default_rng([seed, 1]))
            found, tenth = score(history, world, settings.budget, settings.estimator)
            scores[name].append(found)
            tenths[name].append(tenth)
    baseline = str(entries[0])
    return Replay(
        source=source,
        budget=settings.budget,
        seeds=settings.seeds,
        prompts=min(len(record), settings.prompts or len(record)),
        recorded_prompts=len(record),
        recorded_visits=len(record.size),
        recorded_rollouts=int(record.size.sum()),
        most_visits=int(record.visits.max()),
        batch=settings.batch,
        group_size=settings.group_size,
        estimator=settings.estimator,
        baseline=baseline,
        competitors=[
            _summary(name, scores, np.mean(tenths[name], axis=0), baseline)
            for name in (*CEILINGS, *map(str, entries))
        ],
        by_difficulty=_recorded_tenths(record, model),
        left_out=left_out or {},
    )


def interval(values: ArrayLike) -> Interval:
    """Mean over seeds and where the mean over all seeds lies with 95 % confidence.

        mean ± t₀.₉₇₅(n−1) · s / sqrt(n)

    Example:
        >>> interval([1.0, 2.0, 3.0]).mean, round(interval([1.0, 2.0, 3.0]).high, 3)
        (2.0, 4.484)
    """
    from scipy.special import stdtrit

    x = np.asarray(values, dtype=np.float64)
    reach = float(stdtrit(len(x) - 1, 0.975) * x.std(ddof=1) / np.sqrt(len(x)))
    mean = float(x.mean())
    return Interval(mean, mean - reach, mean + reach)


def _sampled(record: Record, settings: ReplaySettings, seed: int) -> Record:
    if settings.prompts is None or settings.prompts >= len(record):
        return record
    rng = np.random.default_rng([seed, 0])
    return record.of(rng.choice(len(record), settings.prompts, replace=False))


def _players(
    entries: Sequence[Written], settings: ReplaySettings
) -> dict[str, Callable[[World], Allocator]]:
    """Who plays: ceilings, entries, and the ceiling of each entry with bounds of its own."""
    size = settings.group_size
    sizes: dict[str, Any] = {
        "batch": settings.batch,
        "group_size": size,
        "estimator": settings.estimator,
    }

    def oracle(**bounds: Any) -> Callable[[World], Allocator]:
        return lambda world: Oracle(world, **(sizes | bounds))

    def build(entry: Written) -> Callable[[World], Allocator]:
        return lambda world: entry.build(len(world.scene.record), **sizes)

    players = dict(zip(CEILINGS, (oracle(), oracle(least=size, most=size)), strict=True))
    for entry in entries:
        players[str(entry)] = build(entry)
        if issubclass(entry.strategy.allocator, Contrast) and entry.parameters:
            players[_own_ceiling(str(entry))] = oracle(**entry.parameters)
    return players


def _own_ceiling(name: str) -> str:
    return f"oracle of {name}"


def _summary(
    name: str, scores: dict[str, list[Score]], tenths: FloatArray, baseline: str
) -> Competitor:
    values, base = (_by_measure(scores, each) for each in (name, baseline))
    return Competitor(
        name=name,
        measures={each: interval(found) for each, found in values.items()},
        differences={each: interval(found - base[each]) for each, found in values.items()},
        by_difficulty=tuple(tenths.tolist()),
    )


def _by_measure(scores: dict[str, list[Score]], name: str) -> dict[str, FloatArray]:
    """(seeds,) of every measure, those that compare with an oracle included."""
    measures = {
        each: np.array([getattr(found, each) for found in scores[name]]) for each in Score._fields
    }
    own = measures["contrast_per_1000_rollouts"]
    same = _own_ceiling(name)
    ceilings = (same if same in scores else CEILINGS[0], CEILINGS[1])
    for measure, ceiling in zip(("of_oracle", "of_same_size_oracle"), ceilings, strict=True):
        theirs = np.array([each.contrast_per_1000_rollouts for each in scores[ceiling]])
        measures[measure] = np.divide(own, theirs, out=np.full_like(own, np.nan), where=theirs > 0)
    return measures


def _recorded_tenths(record: Record, model: SolveRateModel) -> tuple[float, ...]:
    """Share of the recorded visits by tenth of solve rate, as one draw of the posterior has it."""
    return tuple(share_by_tenth(Scene(thinned(record), model, 0).states, model.rates).tolist())
