"""A benchmark as text in a terminal of 80 columns, and the rows its page shows."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from dissensus.views.bench import Analysis, Family, Interval, Race, Tuning
from dissensus.views.bench_words import bench_sentences, ratio_text, share_range
from dissensus.views.format import UNKNOWN, clean_text, count, fraction, one_line, plural
from dissensus.views.style import TERMINAL
from dissensus.views.terminal import bullet, number_table

__all__ = ["LETTERS", "SHARED_TUNING", "bench_view", "effect_rows", "ends_text", "grid_text",
           "race_rows", "signed"]  # fmt: skip

LETTERS = (
    "Arms that share a letter are not told apart from each other (all pairs at once, so stricter)."
)
SHARED_TUNING = "another arm's rate"


def bench_view(analysis: Analysis) -> RenderableType:
    """Lay out a benchmark for a terminal."""
    parts: list[RenderableType] = [_title(analysis), Text("")]
    for family in analysis.families:
        parts += [_family(analysis, family), Text("")]
    for race in analysis.races:
        parts += [_race(analysis, race), Text("")]
    parts += [bullet(each, limit=1000) for each in bench_sentences(analysis)]
    return Group(*parts)


def effect_rows(analysis: Analysis, family: Family) -> list[list[str]]:
    """The comparisons of a family with the baseline in its place, sorted by effect."""
    race = next(
        (r for r in analysis.races if (r.family, r.reference) == (family.name, family.baseline)),
        None,
    )
    rows = []
    for each in family.comparisons:
        crossing = race.of(each.name) if race is not None else None
        rows.append(
            (
                each.final.mean,
                [
                    *_own(analysis, family, each.name),
                    signed(each.final.mean),
                    ends_text(each.final),
                    each.verdict,
                    each.letters,
                    signed(each.area.mean),
                    ends_text(each.area),
                    ratio_text(crossing) if crossing is not None else UNKNOWN,
                    *_rest(analysis, each.name),
                ],
            )
        )
    base = [*_own(analysis, family, family.baseline), "0", "", "", family.baseline_letters, "0", "",
            "1", *_rest(analysis, family.baseline)]  # fmt: skip
    ordered = sorted([*rows, (0.0, base)], key=lambda each: -each[0])
    return [row for _, row in ordered]


def race_rows(analysis: Analysis, race: Race) -> list[list[str]]:
    """Who gets to a target, with how many of the reference's rollouts, in how many seeds."""
    return [
        [
            clean_text(analysis.short(each.name, race.family), 60),
            "not reached" if each.ratio is None else f"{each.ratio:.2f}",
            share_range(each.interval),
            f"{each.reached} of {len(analysis.seeds)}",
        ]
        for each in race.crossings
    ]


def grid_text(tuning: Tuning) -> str:
    """What each learning rate gave in tuning.

    Example:
        >>> grid_text(Tuning(name="a", chosen=2e-4, grid=[(1e-4, 0.5, 2), (2e-4, 0.55, 2)]))
        '0.0001: 50.0 % · 0.0002: 55.0 %'
    """
    if not tuning.grid:
        return SHARED_TUNING
    return " · ".join(f"{rate:g}: {fraction(mean, digits=1)}" for rate, mean, _ in tuning.grid)


def _own(analysis: Analysis, family: Family, name: str) -> list[str]:
    arm = analysis.arm(name)
    return [clean_text(analysis.short(name, family.name), 60), fraction(arm.final, digits=1)]


def _rest(analysis: Analysis, name: str) -> list[str]:
    arm = analysis.arm(name)
    return [fraction(arm.unanimous), f"{arm.learning_rate:g}"]


def signed(difference: float, digits: int = 1) -> str:
    """Write a difference of rates in points.

    Example:
        >>> signed(-0.0123), signed(0.02, 2), signed(-0.0001)
        ('−1.2', '+2.00', '0.0')
    """
    text = f"{100 * difference:+.{digits}f}".replace("-", "−")
    return text[1:] if set(text[1:]) <= set("0.") else text


def ends_text(found: Interval, digits: int = 1) -> str:
    """Write the ends of a difference of rates in points; a dash where there is no interval."""
    if found.low != found.low:
        return UNKNOWN
    return f"{signed(found.low, digits)} to {signed(found.high, digits)}"


# ---- terminal --------------------------------------------------------------------------------


def _title(analysis: Analysis) -> Text:
    text = Text(one_line(analysis.source or analysis.plan, 200), style=TERMINAL["title"])
    said = (
        f"\n{count(analysis.budget)} rollouts each · {plural(len(analysis.seeds), 'seed')} · "
        f"{plural(len(analysis.arms), 'arm')}"
        f"\n{plural(analysis.heldout, 'held-out prompt')}, {analysis.samples} completions each at "
        "the end"
    )
    return text.append(said, style=f"not bold {TERMINAL['muted']}")


def _family(analysis: Analysis, family: Family) -> RenderableType:
    table = number_table(("held-out", "diff.", "95 % at once", "", "ties", "area", "unanim."))
    base = one_line(analysis.short(family.baseline, family.name), 40)
    for row in effect_rows(analysis, family):
        kept = [*row[:7], row[9]]
        table.add_row(*kept, style=TERMINAL["title"] if row[0] == base else "")
    title = f"{family.name.capitalize()}: held-out solve rate at the full budget, from {base}"
    return Group(
        Text(title, style=TERMINAL["title"]),
        table,
        Text(f"In points. {LETTERS}", style=TERMINAL["muted"]),
    )


def _race(analysis: Analysis, race: Race) -> RenderableType:
    table = number_table(("ratio", "95 % at once", "seeds"))
    for row in race_rows(analysis, race):
        table.add_row(*row)
    base = one_line(analysis.short(race.reference, race.family), 40)
    title = (
        f"{race.family.capitalize()}: rollouts to {fraction(race.target, digits=1)}, "
        f"where {base} ends, over its own"
    )
    return Group(Text(title, style=TERMINAL["title"]), table)
