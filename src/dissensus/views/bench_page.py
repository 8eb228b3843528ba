"""A benchmark as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import dissensus
from dissensus.views.bench import AXES, Analysis, Family, Race
from dissensus.views.bench_figures import (
    curves_figure,
    effects_figure,
    label,
    race_figure,
    unanimous_figure,
)
from dissensus.views.bench_tables import (
    LETTERS,
    SHARED_TUNING,
    effect_rows,
    ends_text,
    grid_text,
    race_rows,
    signed,
)
from dissensus.views.bench_words import bench_sentences
from dissensus.views.format import clean_text, count, duration, fraction, number, plural
from dissensus.views.markup import Child, Markup, tag
from dissensus.views.page import Panel, document, navigation, panel_section, section, table, tile

__all__ = ["bench_page"]


def bench_page(analysis: Analysis) -> str:
    """Write a benchmark as one HTML document.

    Args:
        analysis: From `lab.bench.analysis.analyse`.

    Returns:
        The document; about 5 MB, nearly all of it plotly.js.
    """
    panels: list[Panel] = []
    sections: list[Child] = []
    for family in analysis.families:
        found = [_effects(analysis, family), _curves(analysis, family)]
        races = [_race(analysis, each) for each in analysis.races if each.family == family.name]
        panels += [*found, *races]
        sections += [_table(analysis, family), *map(panel_section, [*found, *races])]
    panels.append(_unanimous(analysis))
    sections += [panel_section(panels[-1]), _costs(analysis), _tuning(analysis)]
    name = clean_text(Path(analysis.source).name or analysis.plan, 200)
    links = [("said", "What may be said")]
    links += [(f"{family.name}-table", _TITLES[family.name]) for family in analysis.families]
    links += [("unanimous", "Unanimous rollouts"), ("costs", "Costs"), ("tuning", "Learning rates")]
    body = [
        tag("a", "Skip to the tables", href="#said", class_="skip"),
        _header(analysis, name),
        navigation(links),
        tag("main", _said(analysis), sections),
        _footer(analysis),
    ]
    return document(f"{name} · Dissensus benchmark", body, panels)


_TITLES = {
    "allocators": "Allocators",
    "estimators": "Estimators",
    "combinations": "Combinations",
}


def _header(analysis: Analysis, name: str) -> Markup:
    base = analysis.arm(analysis.baseline)
    tiles = [
        tile("Rollouts each", count(analysis.budget), "generated, discarded ones included"),
        tile("Seeds", count(len(analysis.seeds)), f"{len(analysis.arms)} arms, paired"),
        tile(
            f"Baseline: {clean_text(analysis.baseline, 60)}",
            fraction(base.final),
            f"held-out at the end, {fraction(base.curve.rate[0].mean)} at the start",
        ),
        tile(
            "Held-out prompts",
            count(analysis.heldout),
            f"{plural(analysis.samples, 'completion')} of each at the end",
        ),
    ]
    said = (
        f"plan {clean_text(analysis.plan, 80)} · {plural(analysis.trainings, 'training')} · "
        f"seeds {', '.join(map(str, analysis.seeds))} · learning rates tuned on seeds "
        f"{', '.join(map(str, analysis.tuning_seeds)) or 'none'}"
    )
    return tag(
        "header",
        tag("h1", f"Benchmark {name}"),
        tag("p", said, class_="muted"),
        tag("dl", tiles, class_="tiles"),
    )


def _said(analysis: Analysis) -> Markup:
    lines = [tag("li", clean_text(each, 1000)) for each in bench_sentences(analysis)]
    return section("said", "What may be said", tag("ul", lines, class_="advice"))


def _table(analysis: Analysis, family: Family) -> Markup:
    base = label(analysis, family.name, family.baseline)
    header = ["", "held-out", f"from {base}", "95 %, all at once", "", "ties", "area", "95 %",
              "rollouts to its rate", "unanimous", "learning rate"]  # fmt: skip
    intro = (
        f"Sorted by effect. From {base}: at the full budget, seed by seed and prompt by prompt; "
        f"intervals hold for all {len(family.comparisons)} arms at once with 95 %, over seeds and "
        f"held-out prompts. {LETTERS} Area: mean held-out rate over the budget. Rollouts to the "
        f"rate at which {base} ends, over its own. Differences in points."
    )
    lines: list[list[Child]] = [
        [tag("td", row[0], class_="name"), *(tag("td", cell, class_="number") for cell in row[1:])]
        for row in effect_rows(analysis, family)
    ]
    return section(
        f"{family.name}-table",
        f"{_TITLES[family.name]}: every arm",
        tag("p", intro),
        table(header, lines, intro),
    )


def _effects(analysis: Analysis, family: Family) -> Panel:
    base = label(analysis, family.name, family.baseline)
    return Panel(
        name=f"{family.name}-effects",
        title=f"{_TITLES[family.name]}: from {base} at {count(analysis.budget)} rollouts",
        reading="An arm is told apart only where its interval does not touch the line at zero.",
        note=(
            "Intervals hold for all arms of the figure at once with 95 %. In the table beside them "
            "a bootstrap over seeds and prompts, each arm by itself."
        ),
        figure=effects_figure(analysis, family),
        absent="",
        label=f"Differences of {family.name} from {base} with simultaneous intervals.",
        header=["", "points", "95 %, all at once", "bootstrap, alone"],
        rows=[
            [
                label(analysis, family.name, each.name),
                signed(each.final.mean, 2),
                ends_text(each.final, 2),
                ends_text(each.bootstrap, 2),
            ]
            for each in family.comparisons
        ],
    )


def _curves(analysis: Analysis, family: Family) -> Panel:
    names = [family.baseline, *(each.name for each in family.comparisons)]
    forms = [(said, curves_figure(analysis, family, axis)) for axis, said in AXES.items()]
    return Panel(
        name=f"{family.name}-curves",
        title=f"{_TITLES[family.name]}: held-out solve rate",
        reading=(
            "Mean over seeds. Names in the legend switch arms on and off; all are compared at the "
            "same rollouts, so curves against other costs end at different places."
        ),
        note=(
            "Bands: 95 % intervals of the mean over seeds, on these held-out prompts, each by "
            "itself, for the baseline, ours and the arm with the largest effect. Pairing makes "
            "differences more certain than two bands look: read those off the table."
        ),
        figure=forms[0][1],
        absent="",
        label=f"Held-out solve rate of {family.name} over the budget.",
        header=["", *(fraction(i / 10) for i in range(11))],
        rows=[
            [
                label(analysis, family.name, name),
                *(fraction(each.mean) for each in analysis.arm(name).curve.rate),
            ]
            for name in names
        ],
        forms=forms,
    )


def _race(analysis: Analysis, race: Race) -> Panel:
    base = label(analysis, race.family, race.reference)
    place = [each for each in analysis.races if each.family == race.family].index(race)
    return Panel(
        name=f"{race.family}-race-{place}",
        title=f"{_TITLES[race.family]}: rollouts to where {base} ends",
        reading=(
            "Further left: fewer rollouts until the held-out rate is "
            f"{fraction(race.target, digits=1)}, where {base} ends. An interval that reaches the "
            "right edge is open there: the budget ended first."
        ),
        note=(
            f"Ratio to the rollouts of {base}, whose own smoothed curve is there after "
            f"{fraction(race.share)} of the budget. Where the mean curve, smoothed to never fall, "
            "first reaches the target; intervals from paired differences at every share of the "
            "budget, all arms at once. Trained to the end without getting there: censored at the "
            "budget."
        ),
        figure=race_figure(analysis, race),
        absent="",
        label=f"Rollouts of {race.family} to the final rate of {base}, with intervals.",
        header=["", "ratio", "95 %, all at once", "seeds that got there"],
        rows=race_rows(analysis, race),
    )


def _unanimous(analysis: Analysis) -> Panel:
    ordered = sorted(analysis.arms, key=lambda each: each.unanimous)
    return Panel(
        name="unanimous",
        title="Unanimous rollouts",
        reading="Rollouts generated in groups that were all wrong or all right, of all generated.",
        note="Fewer of them is not a better model: compare with the held-out rates above.",
        figure=unanimous_figure(analysis),
        absent="",
        label="Share of unanimous rollouts of every arm, by cause.",
        header=["", "all-wrong", "all-correct", "both"],
        rows=[
            [
                label(analysis, "", each.name),
                fraction(each.all_wrong),
                fraction(each.all_correct),
                fraction(each.unanimous),
            ]
            for each in ordered
        ],
    )


def _costs(analysis: Analysis) -> Markup:
    header = ["", "held-out", "trained / R", "unused R", "steps", "tokens", "training",
              "contrast/1,000"]  # fmt: skip
    lines: list[list[Child]] = [
        [
            tag("td", clean_text(each.name, 80), class_="name"),
            fraction(each.final, digits=1),
            fraction(each.trained_frac),
            fraction(each.unused_frac),
            count(each.steps),
            count(each.tokens),
            duration(each.seconds),
            number(each.contrast_per_1000),
        ]
        for each in analysis.arms
    ]
    intro = (
        "Means over seeds. Trained: rollouts trained on, stored ones each time, of those "
        "generated. Contrasts of different estimators are on different scales."
    )
    return section("costs", "Costs", tag("p", intro), table(header, lines, intro))


def _tuning(analysis: Analysis) -> Markup:
    lines: list[list[Child]] = [
        [
            tag("td", clean_text(each.name, 80), class_="name"),
            f"{each.chosen:g}",
            tag("td", grid_text(each), class_="name"),
        ]
        for each in analysis.tuning
    ]
    intro = (
        "Mean final held-out rate at each learning rate, on seeds that are not reported; "
        f"the best is used. {SHARED_TUNING.capitalize()}: no grid of its own."
    )
    return section(
        "tuning",
        "Learning rates",
        tag("p", intro),
        table(["", "used", "grid"], lines, intro),
    )


def _footer(analysis: Analysis) -> Markup:
    settings = [
        [clean_text(str(key), 60), tag("td", clean_text(str(value), 200), class_="untrusted")]
        for key, value in sorted({**analysis.settings, **analysis.versions}.items())
    ]
    return tag(
        "footer",
        tag(
            "details",
            tag("summary", "Settings and versions"),
            table(["name", "value"], settings, "Settings and versions"),
        )
        if settings
        else None,
        tag("p", f"Made by: {clean_text(analysis.command, 400)}") if analysis.command else None,
        tag("p", f"dissensus {dissensus.__version__}; the analysis is fixed in docs/bench.md."),
    )
