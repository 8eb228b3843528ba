"""A plan as text in a terminal of 80 columns."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from dissensus.core.population.predictions import RuleRow
from dissensus.core.population.skipping import SkipRow
from dissensus.views.format import UNKNOWN, clean_text, count, fraction, number, one_line
from dissensus.views.plan import Plan, Prediction
from dissensus.views.plan_words import (
    CAVEATS,
    filter_text,
    forecast_text,
    sizes_text,
    title_parts,
    unnamed_text,
)
from dissensus.views.style import TERMINAL
from dissensus.views.terminal import bullet, number_table

__all__ = ["between", "change_cells", "plan_view", "same_mass", "shown_sizes", "times"]

_POWERS = (2, 4, 8, 16, 32, 64, 128, 256)
_MOST_ROWS = 12
_MOST_RATIO = 1000.0


def plan_view(plan: Plan) -> RenderableType:
    """Lay out a plan for a terminal, the main point first."""
    parts: list[RenderableType] = [_title(plan), Text("")]
    first = unnamed_text(plan.facts)
    if first is not None:
        parts += [_note(first), Text("")]
    parts += [Text(plan.advice), Text("")]
    found = plan.prediction
    if found is not None:
        parts += [_changes(found), Text("")]
        parts += [_sizes(plan, found), Text("")]
        parts += [_difficulty(found), Text("")]
        parts += [_rules(found), Text("")]
        said = [sizes_text(found), filter_text(found), forecast_text(found), *CAVEATS]
        parts += [bullet(each) for each in said if each is not None]
    parts += [_note(each) for each in plan.notes if each != first]
    return Group(*parts)


def shown_sizes(found: Prediction) -> list[int]:
    """Rows of a table by group size: powers of two and the one in use, of those predicted."""
    sizes = [int(size) for size in found.sizes.group_size]
    if len(sizes) <= _MOST_ROWS:
        return list(range(len(sizes)))
    wanted = {*_POWERS, found.group_size}
    picked = [i for i, size in enumerate(sizes) if size in wanted]
    return picked or [0, len(sizes) - 1]


def between(low: float, high: float) -> str:
    """Write an interval of fractions.

    Example:
        >>> between(0.183, 0.217), between(-1e-17, 0.004)
        ('18.3–21.7 %', '0.0–0.4 %')
    """
    return f"{100 * max(0.0, low):.1f}–{100 * max(0.0, high):.1f} %"


def same_mass(rules: Iterable[RuleRow]) -> list[tuple[list[str], RuleRow]]:
    """Rules with numbers, together where their masses agree to a tenth of a per cent."""
    groups: dict[tuple[object, ...], tuple[list[str], RuleRow]] = {}
    for rule in rules:
        if rule.missing:
            continue
        key = (round(rule.silent, 3), abs(rule.push) > 1e-9, *(round(m, 3) for m in rule.mass))
        groups.setdefault(key, ([], rule))[0].append(rule.name.partition("(")[0])
    for names, _ in groups.values():
        names.sort(key=lambda name: (name != "grpo", name != "dr_grpo", name))
    return sorted(groups.values(), key=lambda each: -float(each[1].mass[:2].sum()))


def _title(plan: Plan) -> Text:
    text = Text(one_line(plan.source, 200), style=TERMINAL["title"], overflow="fold")
    said = [
        *title_parts(plan.facts),
        f"estimator {clean_text(repr(plan.estimator), 80)}",
    ]
    if plan.last < 1.0:
        said.append(f"last {fraction(plan.last)} of the generations")
    return text.append(f"\n{' · '.join(said)}", style=f"not bold {TERMINAL['muted']}")


def _sizes(plan: Plan, found: Prediction) -> RenderableType:
    header = (
        "G", "unanimous", "95 % interval", "all-wrong", "all-correct", "split", "contrast", "SNR"
    )  # fmt: skip
    table = number_table(header, first=None)
    sizes = found.sizes
    for i in shown_sizes(found):
        size = int(sizes.group_size[i])
        mark = "<" if size == found.group_size else "*" if size > found.recorded else " "
        table.add_row(
            f"{size}{mark}",
            fraction(float(sizes.unanimous[i])),
            between(float(sizes.unanimous_range.low[i]), float(sizes.unanimous_range.high[i])),
            fraction(float(sizes.all_wrong[i])),
            fraction(float(sizes.all_correct[i])),
            number(float(sizes.split_per_1000[i])),
            number(float(sizes.contrast_per_1000[i])),
            times(float(sizes.signal_to_noise[i])),
            style=TERMINAL["title"] if size == found.group_size else "",
        )
    meaning = (
        " SNR: signal to noise of a batch of as many rollouts, over that of the size in use, where "
        "score noise dominates."
    )
    under = (
        f"< in use. * beyond the {count(found.recorded)} rollouts recorded per group: the interval "
        "holds every distribution of solve rates that the counts allow."
        if any(size > found.recorded for size in sizes.group_size)
        else "< in use."
    )
    name = plan.estimator.name
    return Group(
        Text(
            f"By group size: share of groups; split groups and {name} contrast per 1,000 rollouts"
            f"{_as_if(found)}",
            style=TERMINAL["title"],
        ),
        table,
        Text(under + meaning, style=TERMINAL["muted"]),
    )


def _changes(found: Prediction) -> RenderableType:
    header = ("contrast", "interval", "SNR", "interval", "skipped", "would split")
    table = number_table(header, first="change")
    for row in change_cells(found):
        table.add_row(*row)
    under = (
        "< gains most by both measures. Skipped: share of the prompts whose last group was so; "
        "would split: share of those skipped."
    )
    return Group(
        Text(
            f"Changes at equal rollouts, over today's, 95 % intervals{_as_if(found)}",
            style=TERMINAL["title"],
        ),
        table,
        Text(under, style=TERMINAL["muted"]),
    )


def _as_if(found: Prediction) -> str:
    return ", were rewards 0 or 1" if found.graded else ""


def change_cells(found: Prediction) -> list[list[str]]:
    """One row per change that was weighed, the recommended one marked."""
    best = found.recommendation.best
    rows = []
    for change in found.recommendation.weighed:
        row = [f"{change.name}{' <' if change is best else ''}"]
        for each in (change.contrast_ratio, change.signal_to_noise):
            known = each.high < _MOST_RATIO
            row += [
                times(each.value if known else math.nan),
                f"{each.low:.2f}–{each.high:.2f}" if known else UNKNOWN,
            ]
        if isinstance(change.cost, SkipRow):
            row += [fraction(change.cost.skipped.value), fraction(change.cost.would_split.value)]
        else:
            row += [UNKNOWN, UNKNOWN]
        rows.append(row)
    return rows


def times(ratio: float) -> str:
    """Write a factor.

    Example:
        >>> times(0.9361), times(float("nan"))
        ('×0.94', '–')
    """
    return f"×{ratio:.2f}" if math.isfinite(ratio) else UNKNOWN


def _difficulty(found: Prediction) -> RenderableType:
    table = number_table(
        ("solve rate", "groups", "gradient mass", "counts allow", "G for 90 %", "G for 95 %"),
        first=None,
    )
    for row in found.difficulty:
        table.add_row(
            f"{100 * row.low:.0f}–{100 * row.high:.0f} %",
            fraction(row.groups),
            fraction(row.mass),
            between(row.mass_low, row.mass_high),
            count(row.for_90),
            count(row.for_95),
        )
    return Group(
        Text(f"By difficulty, groups of {found.group_size}", style=TERMINAL["title"]),
        table,
        Text(
            "G: rollouts for 90 % and 95 % of GRPO's large-group signal at the middle rate.",
            style=TERMINAL["muted"],
        ),
    )


def _rules(found: Prediction) -> RenderableType:
    table = number_table(("hard", "middle", "easy", "silent", "push"), first="estimators")
    for names, rule in same_mass(found.rules):
        mass = rule.mass
        table.add_row(
            ", ".join(names),
            fraction(float(mass[:2].sum())),
            fraction(float(mass[2:8].sum())),
            fraction(float(mass[8:].sum())),
            fraction(rule.silent),
            number(rule.push) if abs(rule.push) > 1e-9 else "0",
        )
    missing = [rule.name.partition("(")[0] for rule in found.rules if rule.missing]
    under = "Share of the gradient mass on solve rates below 20 %, between, and above 80 %."
    if missing:
        under += f" Counts are not enough for {', '.join(missing)}."
    return Group(
        Text(f"Where each estimator looks, groups of {found.group_size}", style=TERMINAL["title"]),
        table,
        Text(under, style=TERMINAL["muted"]),
    )


def _note(text: str) -> Padding:
    return bullet(f"{text[0].upper()}{text[1:]}.")
