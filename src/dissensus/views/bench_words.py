"""What a benchmark allows to say, in sentences: claims only where an interval excludes zero."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from dissensus.views.bench import (
    Analysis,
    Comparison,
    Crossing,
    Family,
    Goal,
    Interval,
    Rival,
    verdict,
)
from dissensus.views.format import clean_text, fraction, points

__all__ = [
    "CAVEATS",
    "bench_sentences",
    "goal_sentences",
    "range_text",
    "ratio_text",
    "share_range",
]

_SCOPE = (
    "One small language model, one set of tasks, one budget: an arm that is ahead here need not be "
    "ahead elsewhere, and a published strategy runs with the settings that fit this budget, not "
    "with its authors' code."
)
CAVEATS = (
    _SCOPE,
    "Seconds are of trainings that shared a machine, one core each; compare rollouts first.",
)

_ALLOCATORS = "allocators"
_OUTCOME = {"met": "met", "missed": "not met", "open": "not settled by these seeds"}
_STOOD_STILL = 0.9


def bench_sentences(analysis: Analysis) -> list[str]:
    """The findings, the most important first; warnings and caveats come last."""
    said = goal_sentences(analysis)
    for family in analysis.families:
        said += _family_sentences(analysis, family)
    said += _not_reached(analysis)
    return [*said, *analysis.warnings, *CAVEATS]


def range_text(found: Interval, *, unit: bool = True) -> str:
    """Write a difference of rates in points with its interval.

    Example:
        >>> range_text(Interval(0.021, -0.004, 0.046))
        '+2.1 points (−0.4 to +4.6)'
    """
    if found.low != found.low:
        return f"{points(found.mean)} (no interval)"
    low, high = (points(end).removesuffix(" points") for end in (found.low, found.high))
    mean = points(found.mean)
    return f"{mean if unit else mean.removesuffix(' points')} ({low} to {high})"


def ratio_text(found: Crossing) -> str:
    """Write a ratio of rollouts with its interval.

    Example:
        >>> ratio_text(Crossing(name="a", share=0.4, ratio=0.4, interval=(0.3, None), reached=5))
        '0.40 (0.30 or more)'
        >>> ratio_text(Crossing(name="a", share=None, ratio=None, interval=(0.6, None), reached=0))
        'not reached (at least 0.60)'
    """
    if found.ratio is None:
        least = _least(found)
        return f"not reached (at least {least})" if least else "not reached"
    return f"{found.ratio:.2f} ({share_range(found.interval)})"


def share_range(interval: tuple[float | None, float | None]) -> str:
    """Write the ends of a ratio.

    Example:
        >>> share_range((0.25, 0.5)), share_range((None, None)), share_range((0.0, None))
        ('0.25 to 0.50', 'beyond the budget', 'no bound')
    """
    low, high = interval
    if low is None:
        return "beyond the budget"
    if high is None:
        return f"{low:.2f} or more" if low else "no bound"
    return f"{low:.2f} to {high:.2f}"


def _least(found: Crossing) -> str:
    """The lower end of a ratio; empty where it says nothing."""
    low = found.interval[0]
    return f"{low:.2f}" if low else ""


# ---- goals -----------------------------------------------------------------------------------


def goal_sentences(analysis: Analysis) -> list[str]:
    """What became of the goals that were written down before, for each of our strategies."""
    said = [_goal(analysis, each) for each in analysis.goals]
    for arm in analysis.ours:
        said += _against_published(analysis, arm.name)
    return said


def _goal(analysis: Analysis, goal: Goal) -> str:
    found = goal.crossing
    ours, theirs = (_name(analysis, _ALLOCATORS, each) for each in (found.name, goal.reference))
    aim = "half" if goal.ratio == 0.5 else "a third" if goal.ratio == 1 / 3 else f"{goal.ratio:.2f}"
    if found.ratio is not None:
        where = f"needs {ratio_text(found)} of them"
    else:
        least = _least(found)
        where = "does not get there within the budget"
        where += f" (it needs at least {least} of them)" if least else ""
    return (
        f"Goal: {ours} reaches the held-out rate at which {theirs} ends "
        f"({fraction(goal.target, digits=1)}) with at most {aim} of its rollouts. "
        f"It {where}; {_OUTCOME[goal.verdict]}."
    )


def _against_published(analysis: Analysis, ours: str) -> list[str]:
    mine = [each for each in analysis.rivals if each.ours == ours]
    targets = list(dict.fromkeys(each.reference for each in mine))
    if len(targets) < 2:
        return []
    names = list(dict.fromkeys(each.name for each in mine))
    short = _name(analysis, _ALLOCATORS, ours)
    shown = [n for n in names if all(each.difference.low > 0 for each in _of(mine, n))]
    ahead = [n for n in names if all(each.difference.mean > 0 for each in _of(mine, n))]
    behind = [n for n in names if all(verdict(e.difference) == "below" for e in _of(mine, n))]
    aim = f"Goal: no published strategy beats {short} on both targets."
    if shown:
        return [f"{aim} Shown to: {_listed(analysis, _ALLOCATORS, shown)}: not met."]
    if ahead:
        listed = _listed(analysis, _ALLOCATORS, ahead)
        return [f"{aim} None is shown to, but by the estimates {listed} would: not settled."]
    if len(behind) == len(names):
        return [f"{aim} All are shown to be behind on both: met."]
    rest = [name for name in names if name not in behind]
    listed = _listed(analysis, _ALLOCATORS, rest)
    said = "By the estimates none does, but it is not shown on both of"
    return [f"{aim} {said} {listed}: {_OUTCOME['open']}."]


def _of(rivals: Iterable[Rival], name: str) -> list[Rival]:
    return [each for each in rivals if each.name == name]


# ---- families --------------------------------------------------------------------------------


def _family_sentences(analysis: Analysis, family: Family) -> list[str]:
    base = _name(analysis, family.name, family.baseline)
    n = len(family.comparisons)
    told = [each for each in family.comparisons if each.verdict != "tie"]
    ties = [each for each in family.comparisons if each.verdict == "tie"]
    title = family.name.capitalize()
    if len(analysis.seeds) < 2:
        return [f"{title}: one seed has no spread, so nothing is claimed."]
    said = [
        f"{title}: {_name(analysis, family.name, each.name)} ends {each.verdict} {base}: "
        f"{range_text(each.final)}."
        for each in told
    ]
    reach = median(each.final.high - each.final.mean for each in family.comparisons)
    if ties:
        names = "every arm" if len(ties) == n else _listed(analysis, family.name, _names(ties))
        said.append(
            f"{title}, not told apart from {base} at the full budget: {names}. Intervals reach "
            f"{points(reach).lstrip('+')} to either side; smaller effects could not be seen."
        )
    early = [
        f"{_name(analysis, family.name, each.name)} {range_text(each.area)}"
        for each in family.comparisons
        if verdict(each.area) != "tie"
    ]
    if early:
        said.append(
            f"{title}, over the whole budget (area under the curve, a second measure) told apart "
            f"from {base}: {'; '.join(early)}."
        )
    return said


def _not_reached(analysis: Analysis) -> list[str]:
    said = []
    for race in analysis.races:
        missing = [each.name for each in race.crossings if each.share is None]
        base = _name(analysis, race.family, race.reference)
        if missing:
            said.append(
                f"{race.family.capitalize()} whose mean curve does not reach the rate at which "
                f"{base} ends ({fraction(race.target, digits=1)}) within the budget: "
                f"{_listed(analysis, race.family, missing)}."
            )
    early = {race.reference: race.share for race in analysis.races if race.share < _STOOD_STILL}
    said += [
        f"{clean_text(name, 80)} is at its own final rate after {fraction(share)} of the budget: "
        "ratios are taken over that, and speed is hard to tell from level."
        for name, share in early.items()
    ]
    return said


def _names(found: Iterable[Comparison]) -> list[str]:
    return [each.name for each in found]


def _listed(analysis: Analysis, family: str, names: Iterable[str]) -> str:
    return ", ".join(_name(analysis, family, name) for name in names) or "none"


def _name(analysis: Analysis, family: str, name: str) -> str:
    return clean_text(analysis.short(name, family), 80)
