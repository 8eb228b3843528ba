"""A competition of allocators in numbers, and as text in a terminal of 80 columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from dissensus.views.format import clean_text, count, fraction, number, one_line, plural
from dissensus.views.style import TERMINAL
from dissensus.views.terminal import bullet, number_table

__all__ = [
    "CEILINGS",
    "Competitor",
    "Interval",
    "Replay",
    "replay_notes",
    "replay_view",
    "with_reach",
]

CEILINGS = ("oracle", "oracle, same size")
"""Who knows every solve rate: with free group sizes, and with groups of the given size."""


class Interval(NamedTuple):
    """A mean over seeds with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Competitor:
    """One allocator.

    Attributes:
        name: As it was written.
        measures: By name, over the seeds.
        differences: From the baseline, seed by seed.
        by_difficulty: (10,) share of its rollouts by tenth of solve rate.
    """

    name: str
    measures: dict[str, Interval]
    differences: dict[str, Interval]
    by_difficulty: tuple[float, ...]

    def mean(self, measure: str) -> float:
        """Mean over the seeds."""
        return self.measures[measure].mean


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What came of a competition.

    Attributes:
        source: What was replayed.
        budget: Rollouts that each allocator might generate, R.
        seeds: Worlds.
        prompts: Prompts of each world.
        recorded_prompts: Prompts there are.
        recorded_visits: Groups that were recorded.
        recorded_rollouts: Their rollouts.
        most_visits: Most groups of one prompt.
        batch: Prompts that a step is meant to train on.
        group_size: Rollouts of each by default.
        estimator: Advantage rule whose contrast is counted.
        baseline: Allocator that the others are compared with.
        competitors: The ceilings first.
        by_difficulty: (10,) share of what was recorded by tenth of solve rate.
        left_out: Allocators that could not take part, and why.
    """

    source: str
    budget: int
    seeds: int
    prompts: int
    recorded_prompts: int
    recorded_visits: int
    recorded_rollouts: int
    most_visits: int
    batch: int
    group_size: int
    estimator: str
    baseline: str
    competitors: list[Competitor]
    by_difficulty: tuple[float, ...]
    left_out: dict[str, str]

    @property
    def ranked(self) -> list[Competitor]:
        """By contrast, the ceilings first."""
        ceilings = [each for each in self.competitors if each.name in CEILINGS]
        others = [each for each in self.competitors if each.name not in CEILINGS]
        return ceilings + sorted(others, key=lambda each: -each.mean(_CONTRAST))

    def to_json(self) -> dict[str, Any]:
        """The document `dissensus replay --json` prints; keys are in docs/replay.md."""
        facts = ("source", "budget", "seeds", "prompts", "recorded_prompts", "recorded_visits",
                 "recorded_rollouts", "batch", "group_size", "estimator", "baseline")  # fmt: skip
        return {
            **{name: getattr(self, name) for name in facts},
            "weighting": WEIGHTING,
            "allocators": {each.name: self._competitor(each) for each in self.competitors},
            "recorded_by_difficulty": list(self.by_difficulty),
            "left_out": self.left_out,
            "notes": replay_notes(self),
        }

    def _competitor(self, one: Competitor) -> dict[str, Any]:
        return {
            **{name: found.mean for name, found in one.measures.items()},
            "ci95": {name: [found.low, found.high] for name, found in one.measures.items()},
            "difference": {
                name: {"mean": found.mean, "ci95": [found.low, found.high]}
                for name, found in one.differences.items()
            },
            "rollouts_by_difficulty": list(one.by_difficulty),
        }


WEIGHTING = {
    "split_groups": "every group trained on counts once",
    "contrast_per_1000_rollouts": "every group trained on counts once",
    "of_oracle": "every group trained on counts once",
    "rollout_weighted_contrast": "every rollout trained on counts once",
    "unanimous_rollout_frac": "every rollout generated counts once",
}

_CONTRAST = "contrast_per_1000_rollouts"
_AGAIN = 1.001

CANNOT_KNOW = (
    "A replay cannot know what training would do: solve rates here do not react to what is "
    "trained on. More contrast is not a better model; compare in training at equal rollouts."
)
WEIGHING = (
    "Contrast and split groups count every group trained on once, as a trainer does that scales "
    "advantages by mean n / n. Small groups win under that count. nW/R counts every rollout once "
    "instead."
)
CEILING = (
    "The oracle knows every solve rate before it asks, not the rewards; group sizes, its share "
    "for coverage and its bound per prompt are those of contrast. 'Same size' may only use the "
    "default group size. A contrast with parameters is compared with an oracle that has them, too; "
    "a strategy without a bound per prompt can beat one that has it."
)


def replay_notes(replay: Replay) -> list[str]:
    """What a reader must know, one sentence or two each."""
    moved = (
        "a prompt that is asked again gets its next recorded visit, however much later that was "
        "recorded; after its last one it stays there"
        if replay.most_visits > 1
        else "every prompt has one recorded visit, so solve rates stand still"
    )
    most = max(replay.competitors, key=lambda each: each.mean("beyond_recorded_frac"))
    share = most.mean("beyond_recorded_frac")
    notes = [
        CANNOT_KNOW,
        WEIGHING,
        CEILING,
        f"Recorded rollouts come first, in random order: {moved}. Beyond them rollouts are drawn "
        "from a posterior of the solve rate (a chain over all visits of the prompt, its model "
        f"fitted to the record): at most {fraction(share)} of an allocator's rollouts"
        + (f" ({most.name})." if share else "."),
    ]
    again = [each.name for each in replay.ranked if each.mean("trained_frac") > _AGAIN]
    if again:
        notes.append(
            f"Stored rollouts are trained on again by {', '.join(again)}: their contrast counts "
            "once, when they are new."
        )
    idle = [
        f"{each.name} ({fraction(each.mean('unused_frac'))})"
        for each in replay.ranked
        if each.mean("unused_frac") > 1e-3
    ]
    if idle:
        notes.append(f"Budget that was never asked for, and counts as spent: {', '.join(idle)}.")
    notes += [f"Left out: {name}: {why}." for name, why in replay.left_out.items()]
    return notes


def replay_view(replay: Replay) -> RenderableType:
    """Lay out a competition for a terminal."""
    return Group(
        _title(replay),
        Text(""),
        _main(replay),
        Text(""),
        _shares(replay),
        Text(""),
        *(bullet(note) for note in replay_notes(replay)),
    )


def with_reach(found: Interval) -> str:
    """Write a difference and how far its interval reaches.

    Example:
        >>> with_reach(Interval(3.2, 2.2, 4.2)), with_reach(Interval(-0.5, -2.0, 1.0))
        ('+3.20 ±1.0', '−0.500 ±1.5')
    """
    sign = "−" if found.mean < 0 else "+"
    reach = number(found.high - found.mean, significant=2)
    return f"{sign}{number(abs(found.mean))} ±{reach}"


def _title(replay: Replay) -> Text:
    text = Text(one_line(replay.source, 200), style=TERMINAL["title"], overflow="fold")
    said = [
        f"{count(replay.budget)} rollouts each",
        plural(replay.seeds, "seed"),
        f"{count(replay.prompts)} of {plural(replay.recorded_prompts, 'prompt')}",
        f"steps of {replay.batch} × {replay.group_size}",
        f"contrast of {clean_text(replay.estimator, 80)}",
    ]
    lines = f"\n{' · '.join(said[:3])}\n{' · '.join(said[3:])}"
    return text.append(lines, style=f"not bold {TERMINAL['muted']}")


def _main(replay: Replay) -> RenderableType:
    table = number_table(("contrast", "difference", "oracle", "same size", "nW/R", "split", "n"))
    for each in replay.ranked:
        found = each.measures[_CONTRAST]
        table.add_row(
            _name(each),
            number(found.mean),
            "" if each.name == replay.baseline else with_reach(each.differences[_CONTRAST]),
            fraction(each.mean("of_oracle")),
            fraction(each.mean("of_same_size_oracle")),
            f"{each.mean('rollout_weighted_contrast'):.3f}",
            count(round(each.mean("split_groups"))),
            f"{each.mean('group_size'):.1f}",
            style=_style(each, replay),
        )
    title = "Contrast per 1,000 rollouts generated, and split groups trained on"
    under = (
        f"difference: from {replay.baseline}, seed by seed, with the 95 % interval of its mean. "
        "n: rollouts of a group trained on."
    )
    return Group(Text(title, style=TERMINAL["title"]), table, Text(under, style=TERMINAL["muted"]))


def _shares(replay: Replay) -> RenderableType:
    table = number_table(("all-wrong", "all-correct", "p<.2", "p>.8", "trained", "covered", "most"))
    for each in replay.ranked:
        shares = ("all_wrong_rollout_frac", "all_correct_rollout_frac", "hard", "easy",
                  "trained_frac", "coverage")  # fmt: skip
        table.add_row(
            _name(each),
            *(fraction(each.mean(share), digits=0) for share in shares),
            f"{number(each.mean('most_often'), significant=2)}×",
            style=_style(each, replay),
        )
    title = "Shares of rollouts and of prompts; most: rollouts of one prompt, uniform = 1"
    return Group(Text(title, style=TERMINAL["title"]), table)


def _name(each: Competitor) -> str:
    return one_line(each.name, 60)


def _style(each: Competitor, replay: Replay) -> str:
    if each.name in CEILINGS:
        return TERMINAL["muted"]
    return TERMINAL["title"] if each.name == replay.baseline else ""
