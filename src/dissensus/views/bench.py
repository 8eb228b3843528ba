"""What came of a benchmark of trainings, in numbers; `--json` prints it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from dissensus.views.replay import Interval

__all__ = [
    "AXES",
    "Analysis",
    "ArmResult",
    "Axis",
    "Comparison",
    "Crossing",
    "Curve",
    "Family",
    "Goal",
    "Interval",
    "Race",
    "Rival",
    "Tuning",
    "Verdict",
]

Axis = Literal["generated", "trained", "tokens", "seconds"]
Verdict = Literal["above", "below", "tie"]

AXES: dict[Axis, str] = {
    "generated": "rollouts generated, R",
    "trained": "rollouts trained on, U",
    "tokens": "tokens generated",
    "seconds": "seconds of training",
}
"""What a held-out curve can be drawn against."""


class Curve(NamedTuple):
    """Held-out solve rate of an arm, mean over its seeds, at tenths of the budget.

    Attributes:
        generated: R so far.
        trained: U so far.
        tokens: Tokens generated so far.
        seconds: Wall-clock seconds of training so far, without evaluations.
        rate: Solve rate with the interval over seeds, on these held-out prompts.
    """

    generated: list[float]
    trained: list[float]
    tokens: list[float]
    seconds: list[float]
    rate: list[Interval]


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """One arm over the seeds that are compared.

    Attributes:
        name: Estimator × allocator, as written.
        estimator: As written.
        allocator: As written.
        is_ours: Whether its allocator is this project's.
        learning_rate: Of the reported trainings.
        finals: Held-out solve rate at the full budget, one per seed.
        curve: Over the budget.
        area: Mean held-out solve rate over the budget.
        all_wrong: Generated rollouts of groups without a right one, of all generated.
        all_correct: Those of groups without a wrong one.
        contrast_per_1000: Contrast of groups trained on per 1,000 rollouts generated.
        trained_frac: Rollouts trained on / generated; stored ones count each time.
        unused_frac: Share of the budget that was never asked for.
        steps: Optimiser steps.
        tokens: Generated.
        seconds: Of training.
    """

    name: str
    estimator: str
    allocator: str
    is_ours: bool
    learning_rate: float
    finals: list[float]
    curve: Curve
    area: float
    all_wrong: float
    all_correct: float
    contrast_per_1000: float
    trained_frac: float
    unused_frac: float
    steps: float
    tokens: float
    seconds: float

    @property
    def final(self) -> float:
        """Held-out solve rate at the full budget, mean over seeds."""
        return sum(self.finals) / len(self.finals)

    @property
    def unanimous(self) -> float:
        """Generated rollouts of unanimous groups, of all generated."""
        return self.all_wrong + self.all_correct


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One arm against the baseline of its family.

    Attributes:
        name: The arm.
        final: Difference of the held-out solve rate at the full budget; simultaneous interval.
        area: Difference of the mean held-out solve rate over the budget; likewise.
        bootstrap: `final` with a bootstrap interval over seeds and prompts, not corrected.
        letters: Arms that share a letter are not told apart.
    """

    name: str
    final: Interval
    area: Interval
    bootstrap: Interval
    letters: str

    @property
    def verdict(self) -> Verdict:
        """What `final` allows to say."""
        return verdict(self.final)


@dataclass(frozen=True, kw_only=True)
class Family:
    """Arms that are compared together.

    Attributes:
        name: `"allocators"`, `"estimators"` or `"combinations"`.
        baseline: Arm that the others are compared with.
        baseline_letters: Its letters.
        comparisons: The others, the largest effect first.
    """

    name: str
    baseline: str
    baseline_letters: str
    comparisons: list[Comparison]


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """When an arm gets to where another one ends.

    Attributes:
        name: The arm.
        share: Of the budget, where its smoothed mean curve reaches the target; `None`: it does not.
        ratio: Over the reference's own share.
        interval: Of the ratio, simultaneous; an end of `None` lies beyond the budget.
        reached: Trainings that got there.
    """

    name: str
    share: float | None
    ratio: float | None
    interval: tuple[float | None, float | None]
    reached: int


@dataclass(frozen=True, kw_only=True)
class Race:
    """Arms on their way to the final held-out rate of one of them.

    Attributes:
        family: Name of the arms' family.
        reference: Arm whose final rate is the target.
        target: Mean over its seeds.
        share: Of the budget, where its own smoothed mean curve reaches the target first.
        crossings: The others, first there first.
        goal: Ratio that ours is meant to have, where there is such a goal.
    """

    family: str
    reference: str
    target: float
    share: float
    crossings: list[Crossing]
    goal: float | None

    def of(self, name: str) -> Crossing | None:
        """The crossing of one arm."""
        return next((each for each in self.crossings if each.name == name), None)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A ratio of rollouts that was aimed at before anything was measured.

    Attributes:
        reference: Arm whose final rate is the target.
        target: That rate.
        ratio: At most this much of the reference's rollouts.
        crossing: Ours; its interval holds together with those of the other goals alone.
    """

    reference: str
    target: float
    ratio: float
    crossing: Crossing

    @property
    def verdict(self) -> Literal["met", "missed", "open"]:
        """Whether the interval settles that the ratio is at most the one aimed at."""
        low, high = self.crossing.interval
        if high is not None and high <= self.ratio:
            return "met"
        return "missed" if low is None or low > self.ratio else "open"


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A published strategy against ours, when ours reaches a target.

    Attributes:
        ours: Our arm.
        name: The published one.
        reference: Arm whose final rate is the target.
        share: Of the budget, where ours reaches it; 1 where it does not.
        difference: Held-out rate of the published one minus ours there; simultaneous interval.
    """

    ours: str
    name: str
    reference: str
    share: float
    difference: Interval


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How the learning rate of an arm was found.

    Attributes:
        name: The arm.
        chosen: Learning rate of the reported trainings.
        grid: (learning rate, mean final held-out rate, seeds) of the tuning; empty: another arm's.
    """

    name: str
    chosen: float
    grid: list[tuple[float, float, int]]

    @property
    def best(self) -> float | None:
        """Learning rate with the best mean; of equal ones the smallest."""
        return max(self.grid, key=lambda each: (each[1], -each[0]))[0] if self.grid else None

    @property
    def is_at_edge(self) -> bool:
        """Whether a wider grid might have done better."""
        rates = sorted(each[0] for each in self.grid)
        return len(rates) > 1 and self.chosen in (rates[0], rates[-1])


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """A benchmark.

    Attributes:
        source: Where the records lie.
        command: That made them; may be empty.
        plan: Name of the plan.
        budget: R, rollouts that each training might generate.
        baseline: Arm that the others are compared with.
        seeds: Of the reported trainings that are compared.
        tuning_seeds: Of the trainings that found the learning rates.
        heldout: Held-out prompts.
        samples: Completions of each at the last evaluation.
        trainings: Records that were read.
        arms: Finished ones.
        families: Comparisons, each family with its own correction.
        races: Rollouts to a target.
        goals: What ours was meant to reach.
        rivals: Published strategies against ours, where ours takes part.
        tuning: Learning rates.
        warnings: What a reader must know of this result.
        settings: Common to all reported trainings.
        versions: Of the packages.
    """

    source: str
    command: str
    plan: str
    budget: int
    baseline: str
    seeds: list[int]
    tuning_seeds: list[int]
    heldout: int
    samples: int
    trainings: int
    arms: list[ArmResult]
    families: list[Family]
    races: list[Race]
    goals: list[Goal]
    rivals: list[Rival]
    tuning: list[Tuning]
    warnings: list[str]
    settings: dict[str, Any]
    versions: dict[str, str]

    def arm(self, name: str) -> ArmResult:
        """One arm by its name."""
        return next(each for each in self.arms if each.name == name)

    def short(self, name: str, family: str) -> str:
        """An arm's name within a family, where the other half of it is the same for all."""
        arm = self.arm(name)
        return {"allocators": arm.allocator, "estimators": arm.estimator}.get(family, name)

    @property
    def ours(self) -> list[ArmResult]:
        """Arms with an allocator of this project, in the baseline's estimator."""
        estimator = self.arm(self.baseline).estimator
        return [each for each in self.arms if each.is_ours and each.estimator == estimator]

    def to_json(self) -> dict[str, Any]:
        """The document `dissensus bench --json` prints; keys are in docs/bench.md."""
        document = {
            **{key: getattr(self, key) for key in _FACTS},
            "arms": {each.name: _arm(each) for each in self.arms},
            "families": {each.name: _family(each) for each in self.families},
            "races": [_race(each) for each in self.races],
            "goals": [_goal(each) for each in self.goals],
            "rivals": [
                asdict(each) | _interval("difference", each.difference) for each in self.rivals
            ],
            "tuning": {each.name: _tuning(each) for each in self.tuning},
        }
        return document | {"warnings": self.warnings}


_FACTS = ("source", "command", "plan", "budget", "baseline", "seeds", "tuning_seeds", "heldout",
          "samples", "trainings", "settings", "versions")  # fmt: skip


def verdict(found: Interval) -> Verdict:
    """Which side of zero an interval lies on; a tie where it holds zero, or nothing is known.

    Example:
        >>> verdict(Interval(0.1, 0.05, 0.15)), verdict(Interval(0.1, -0.05, 0.25))
        ('above', 'tie')
    """
    if found.low > 0:
        return "above"
    return "below" if found.high < 0 else "tie"


def _arm(arm: ArmResult) -> dict[str, Any]:
    rows = asdict(arm)
    curve = arm.curve._asdict()
    rates: Sequence[Interval] = arm.curve.rate
    curve["rate"] = [each.mean for each in rates]
    curve["ci95"] = [[each.low, each.high] for each in rates]
    return rows | {"final": arm.final, "unanimous": arm.unanimous, "curve": curve}


def _family(family: Family) -> dict[str, Any]:
    return {
        "baseline": family.baseline,
        "baseline_letters": family.baseline_letters,
        "differences": {
            each.name: {
                **_interval("final", each.final),
                "bootstrap_ci95": [each.bootstrap.low, each.bootstrap.high],
                **_interval("area", each.area),
                "verdict": each.verdict,
                "letters": each.letters,
            }
            for each in family.comparisons
        },
    }


def _race(race: Race) -> dict[str, Any]:
    return {
        "family": race.family,
        "reference": race.reference,
        "target": race.target,
        "reference_share": race.share,
        "goal": race.goal,
        "crossings": {each.name: _crossing(each) for each in race.crossings},
    }


def _crossing(found: Crossing) -> dict[str, Any]:
    return {
        "share": found.share,
        "ratio": found.ratio,
        "ratio_ci95": list(found.interval),
        "reached": found.reached,
    }


def _goal(goal: Goal) -> dict[str, Any]:
    return {
        "ours": goal.crossing.name,
        "reference": goal.reference,
        "target": goal.target,
        "at_most": goal.ratio,
        **_crossing(goal.crossing),
        "verdict": goal.verdict,
    }


def _tuning(tuning: Tuning) -> dict[str, Any]:
    keys = ("learning_rate", "final", "seeds")
    grid = [dict(zip(keys, each, strict=True)) for each in tuning.grid]
    return {"chosen": tuning.chosen, "grid": grid}


def _interval(name: str, found: Interval) -> dict[str, Any]:
    return {name: found.mean, f"{name}_ci95": [found.low, found.high]}
