"""A plan as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

import dissensus
from dissensus.views.format import clean_text, count, fraction, number
from dissensus.views.markup import Child, Markup, tag
from dissensus.views.page import Panel, document, navigation, panel_section, section, table, tile
from dissensus.views.plan import Plan, Prediction
from dissensus.views.plan_figures import (
    contrast_figure,
    difficulty_figure,
    rules_figure,
    sizes_figure,
)
from dissensus.views.plan_tables import between, change_cells, same_mass, shown_sizes, times
from dissensus.views.plan_words import (
    CAVEATS,
    filter_text,
    forecast_text,
    sizes_text,
    title_parts,
    unnamed_text,
)

__all__ = ["plan_page", "plan_panels"]


def plan_page(plan: Plan) -> str:
    """Write a plan as one HTML document.

    Args:
        plan: From `make_plan`.

    Returns:
        The document; about 5 MB, nearly all of it plotly.js.
    """
    panels = plan_panels(plan)
    found = plan.prediction
    links = [("advice", "The main point"), *((p.name, p.title) for p in panels)]
    first = unnamed_text(plan.facts)
    said: list[Child] = [] if first is None else [tag("p", _sentence(first))]
    said.append(tag("p", plan.advice))
    if found is not None:
        lines = [sizes_text(found), filter_text(found), forecast_text(found), *CAVEATS]
        said.append(tag("ul", [tag("li", each) for each in lines if each], class_="advice"))
    sections: list[Child] = [section("advice", "The main point", *said)]
    sections += [panel_section(panel) for panel in panels]
    if found is not None:
        links += [("estimators", "Every estimator"), ("filters", "Filters")]
        links.insert(1, ("changes", "What a change would give"))
        sections += [_rules(found), _filters(found)]
        sections.insert(1, _changes(found))
    name = clean_text(Path(plan.source).name, 200)
    body = [
        tag("a", "Skip to the figures", href="#sizes", class_="skip"),
        _header(plan, name),
        navigation(links),
        tag("main", sections),
        _footer(plan),
    ]
    return document(f"{name} · Dissensus plan", body, panels)


def plan_panels(plan: Plan) -> list[Panel]:
    """The figures of a plan; none where it is not known which rollouts are correct."""
    found = plan.prediction
    if found is None:
        return []
    return [_sizes(found), _contrast(plan, found), _difficulty(plan, found), _where(found)]


def _header(plan: Plan, name: str) -> Markup:
    facts, found = plan.facts, plan.prediction
    tiles = [
        tile(
            "Groups of equal rewards" if facts.graded else "Unanimous groups",
            fraction(facts.unanimous),
            "measured",
        )
    ]
    if found is not None:
        recommended = found.recommendation
        tiles += [
            tile("Group size", count(found.group_size), "of most groups"),
            tile(
                "Contrast per 1,000 rollouts",
                number(recommended.now),
                f"{plan.estimator.name}, {'were rewards 0 or 1' if found.graded else 'as it is'}",
            ),
            tile(
                "Groups generated per group kept",
                number(found.filters[-1].generated_per_kept if found.tells_refill else None),
                "when silent ones are refilled",
            ),
        ]
        if recommended.best is not None:
            best = recommended.best
            tiles.append(
                tile(
                    "Gains by both measures",
                    best.name,
                    f"contrast {times(best.contrast_ratio.value)}, signal to noise "
                    f"{times(best.signal_to_noise.value)}",
                )
            )
    said = [
        *title_parts(facts),
        f"estimator: {clean_text(repr(plan.estimator), 120)}",
    ]
    return tag(
        "header",
        tag("h1", f"Plan for {name}"),
        tag("p", " · ".join(said), class_="muted"),
        tag("dl", tiles, class_="tiles"),
    )


def _changes(found: Prediction) -> Markup:
    header = [
        "change", "contrast", "95 % interval", "signal to noise", "95 % interval", "skipped",
        "of them would split",
    ]  # fmt: skip
    as_if = "If the reward were correctness alone, 0 or 1. " if found.graded else ""
    intro = (
        f"{as_if}Over today's, at equal rollouts generated; < gains most by both measures. "
        "Contrast per 1,000 rollouts counts each group once, so it always favours small groups "
        "under GRPO and Dr. GRPO. Signal to noise is that of a batch update where the noise of "
        "scores dominates. "
        "Skipping leaves out, at their next visit, prompts whose last group was unanimous."
    )
    lines: list[list[Child]] = [list(row) for row in change_cells(found)]
    return section(
        "changes", "What a change would give", tag("p", intro), table(header, lines, intro)
    )


def _sizes(found: Prediction) -> Panel:
    sizes = found.sizes
    return Panel(
        name="sizes",
        title="Unanimous groups at other group sizes",
        reading=(
            "The line is the share of groups in which all rollouts would agree; the band is "
            "everything the recorded counts allow."
        ),
        note=(
            f"The solve rates behind the counts are estimated ({found.estimate.population.kind}, "
            "chosen on held-out prompts) and p^G + (1−p)^G is averaged over them, never taken at "
            f"their mean. Groups of up to {count(found.recorded)} were recorded: beyond that size "
            "many distributions of solve rates explain the counts equally well, and the band "
            "covers all of them besides the sampling error between prompts."
        ),
        figure=sizes_figure(sizes, found.group_size, found.measured),
        absent="",
        label=(
            f"Unanimous share by group size: {fraction(found.measured)} measured at "
            f"{found.group_size}"
        ),
        header=["group size", "unanimous", "interval", "all-wrong", "all-correct"],
        rows=[
            [
                count(float(sizes.group_size[i])),
                fraction(float(sizes.unanimous[i])),
                between(float(sizes.unanimous_range.low[i]), float(sizes.unanimous_range.high[i])),
                fraction(float(sizes.all_wrong[i])),
                fraction(float(sizes.all_correct[i])),
            ]
            for i in shown_sizes(found)
        ],
    )


def _contrast(plan: Plan, found: Prediction) -> Panel:
    sizes = found.sizes
    return Panel(
        name="contrast",
        title="What 1,000 rollouts buy",
        reading=(
            "Contrast and signal to noise disagree about group size: small groups buy more "
            "contrast because each group counts once whatever its size; large groups average more "
            "of the noise away, up to a point."
        ),
        note=(
            f"1000 · E[W] / G under {clean_text(repr(plan.estimator), 120)}; discarded rollouts "
            "count. Contrasts of other estimators are on other scales. Signal to noise is that of "
            "a batch update of as many rollouts, over the one at the size in use, where the noise "
            "of scores dominates; counts tell no more of it."
        ),
        figure=contrast_figure(sizes, found.group_size),
        absent="",
        label="Contrast per 1,000 rollouts and signal to noise by group size, over the size in use",
        header=["group size", "contrast", "interval", "signal to noise", "split groups"],
        rows=[
            [
                count(float(sizes.group_size[i])),
                number(float(sizes.contrast_per_1000[i])),
                " to ".join(number(float(end[i])) for end in sizes.contrast_range),
                times(float(sizes.signal_to_noise[i])),
                number(float(sizes.split_per_1000[i])),
            ]
            for i in shown_sizes(found)
        ],
    )


def _difficulty(plan: Plan, found: Prediction) -> Panel:
    return Panel(
        name="difficulty",
        title="Where the gradient comes from",
        reading=(
            "Where a dot is above its bar, those prompts weigh more in the gradient than they "
            "cost in rollouts."
        ),
        note=(
            f"Groups of {found.group_size} under {clean_text(plan.estimator.name, 60)}. The bars "
            "of error are everything the counts allow: few rollouts per group cannot tell a tenth "
            "from its neighbour. Rollouts for 90 % and 95 % are what GRPO needs for that share of "
            "its large-group signal at the middle of the tenth."
        ),
        figure=difficulty_figure(found.difficulty),
        absent="",
        label="Share of gradient mass and of groups by tenth of solve rate",
        header=["solve rate", "groups", "gradient mass", "counts allow", "G for 90 %", "for 95 %"],
        rows=[
            [
                f"{100 * row.low:.0f}–{100 * row.high:.0f} %",
                fraction(row.groups),
                fraction(row.mass),
                between(row.mass_low, row.mass_high),
                count(row.for_90),
                count(row.for_95),
            ]
            for row in found.difficulty
        ],
    )


def _where(found: Prediction) -> Panel:
    groups = found.estimate.population.group_share()
    # The two that put most and least on hard prompts, and the two everybody knows.
    known = same_mass(found.rules)
    named = [each for each in known if {"grpo", "dr_grpo"} & set(each[0])]
    rest = [each for each in known if not {"grpo", "dr_grpo"} & set(each[0])]
    picked = named + ([rest[0], rest[-1]] if len(rest) > 1 else rest)
    return Panel(
        name="where",
        title="Where other estimators look",
        reading="Lines far above the bars on the left put most of the update on hard prompts.",
        note=(
            "Shares of each rule's own gradient mass, so their different scales cancel. Shown are "
            "GRPO, Dr. GRPO and the rules with most and least on solve rates below 20 %."
        ),
        figure=rules_figure(picked, groups),
        absent="",
        label="Share of gradient mass by tenth of solve rate under several estimators",
        header=["estimator", "below 20 %", "20–80 %", "above 80 %"],
        rows=[
            [
                names[0],
                fraction(float(rule.mass[:2].sum())),
                fraction(float(rule.mass[2:8].sum())),
                fraction(float(rule.mass[8:].sum())),
            ]
            for names, rule in picked
        ],
    )


def _rules(found: Prediction) -> Markup:
    header = [
        "estimator",
        "below 20 %",
        "20–80 %",
        "above 80 %",
        "silent",
        "push",
        "contrast/1,000",
    ]
    lines: list[list[Child]] = []
    for rule in found.rules:
        name = clean_text(rule.name, 120)
        if rule.missing:
            lines.append([name, tag("td", rule.missing, colspan="6")])
            continue
        lines.append(
            [
                name,
                fraction(float(rule.mass[:2].sum())),
                fraction(float(rule.mass[2:8].sum())),
                fraction(float(rule.mass[8:].sum())),
                fraction(rule.silent),
                number(rule.push) if abs(rule.push) > 1e-9 else "0",
                number(rule.contrast_per_1000),
            ]
        )
    intro = (
        f"Groups of {found.group_size}: share of the gradient mass by solve rate, silent groups, "
        "mean advantage (push), and contrast per 1,000 rollouts in each rule's own units."
    )
    return section("estimators", "Every estimator", tag("p", intro), table(header, lines, intro))


def _filters(found: Prediction) -> Markup:
    header = ["silent groups", "generated per kept", "contrast/1,000 generated", "…/1,000 trained"]
    lines = [
        [
            each.name,
            number(each.generated_per_kept if known else None),
            number(each.contrast_per_1000),
            number(each.contrast_per_1000_trained if known else None),
        ]
        for each in found.filters
        for known in [found.tells_refill or each.name == "keep"]
    ]
    text = filter_text(found)
    return section("filters", "Filters", tag("p", text), table(header, lines, "Filters"))


def _sentence(note: str) -> str:
    return f"{note[0].upper()}{note[1:]}."


def _footer(plan: Plan) -> Markup:
    return tag(
        "footer",
        [tag("p", _sentence(note)) for note in plan.notes],
        tag("p", f"Source: {clean_text(plan.source, 400)}", class_="path"),
        tag("p", f"Made by dissensus {dissensus.__version__}."),
    )
