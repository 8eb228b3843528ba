"""A competition of allocators as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import dissensus
from dissensus.views.canvas import add_line, new_figure
from dissensus.views.format import clean_text, count, fraction, number, plural
from dissensus.views.markup import Child, Markup, tag
from dissensus.views.page import Panel, document, navigation, panel_section, section, table, tile
from dissensus.views.replay import CEILINGS, Competitor, Interval, Replay, replay_notes, with_reach
from dissensus.views.style import Theme, palette

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["contrast_figure", "difficulty_figure", "replay_page"]

_CONTRAST = "contrast_per_1000_rollouts"
_TENTHS = [f"{10 * i}–{10 * i + 10} %" for i in range(10)]
_DRAWN = 4


def replay_page(replay: Replay) -> str:
    """Write a competition as one HTML document.

    Args:
        replay: What came of it.

    Returns:
        The document; about 5 MB, nearly all of it plotly.js.
    """
    panels = [_contrast_panel(replay), _difficulty_panel(replay)]
    links = [("notes", "What this is"), *((p.name, p.title) for p in panels)]
    links += [("table", "Every allocator"), ("shares", "Shares")]
    name = clean_text(Path(replay.source).name, 200)
    body = [
        tag("a", "Skip to the figures", href="#contrast", class_="skip"),
        _header(replay, name),
        navigation(links),
        tag(
            "main",
            section(
                "notes",
                "What this is",
                tag("ul", [tag("li", note) for note in replay_notes(replay)], class_="advice"),
            ),
            map(panel_section, panels),
            _main_table(replay),
            _shares_table(replay),
        ),
        tag("footer", tag("p", f"Made by dissensus {dissensus.__version__}: dissensus replay.")),
    ]
    return document(f"{name} · Dissensus replay", body, panels)


def contrast_figure(replay: Replay, *, theme: Theme = "light") -> Figure:
    """Contrast of every allocator with its interval, the best on top.

    Args:
        replay: What came of the competition.
        theme: Colours.
    """
    colour = palette(theme)
    figure = new_figure(theme, "", x_title="contrast per 1,000 rollouts")
    for names, role, legend in (
        ([each for each in replay.ranked if each.name not in CEILINGS], "split", "allocators"),
        ([each for each in replay.ranked if each.name in CEILINGS], "muted", "ceilings"),
    ):
        found = [each.measures[_CONTRAST] for each in names]
        figure.add_scatter(
            x=[each.mean for each in found],
            y=[_short(each.name) for each in names],
            error_x={
                "type": "data",
                "array": [each.high - each.mean for each in found],
                "thickness": 1.2,
            },
            name=legend,
            mode="markers",
            marker={"color": colour[role], "size": 8},
            hovertemplate="%{x:.1f}",
        )
    order = [_short(each.name) for each in reversed(replay.ranked)]
    figure.update_yaxes(categoryorder="array", categoryarray=order, automargin=True)
    figure.update_xaxes(rangemode="tozero")
    figure.update_layout(height=120 + 24 * len(order), hovermode="closest")
    return figure


def difficulty_figure(replay: Replay, *, theme: Theme = "light") -> Figure:
    """Where the rollouts of a few allocators went, beside what was recorded.

    Args:
        replay: What came of the competition.
        theme: Colours.
    """
    colour = palette(theme)
    figure = new_figure(theme, "share of rollouts", x_title="solve rate of the prompt")
    middle = [0.05 + 0.1 * i for i in range(10)]
    figure.add_bar(
        x=middle,
        y=list(replay.by_difficulty),
        width=0.09,
        name="recorded",
        marker={"color": colour["grid"], "line": {"width": 1, "color": colour["axis"]}},
        hovertemplate="%{y:.1%}",
    )
    roles = ("grpo", "dr_grpo", "used", "split")
    for each, role, dash in zip(
        _shown(replay), roles, ("solid", "dash", "dot", "dashdot"), strict=False
    ):
        share = list(each.by_difficulty)
        add_line(figure, middle, share, _short(each.name), colour[role], dash=dash, percent=True)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    figure.update_xaxes(tickformat=".0%", range=[0, 1])
    return figure


def _shown(replay: Replay) -> list[Competitor]:
    """The oracle, the baseline, and the two best of the others."""
    others = [each for each in replay.ranked if each.name not in {*CEILINGS, replay.baseline}]
    fixed = [each for each in replay.ranked if each.name in {CEILINGS[0], replay.baseline}]
    return [*fixed, *others][:_DRAWN]


def _contrast_panel(replay: Replay) -> Panel:
    return Panel(
        name="contrast",
        title="Contrast at equal rollouts",
        reading=(
            "Further right: more contrast from the same number of rollouts generated. The bar is "
            "the 95 % interval of the mean over seeds."
        ),
        note=(
            "Every group trained on counts once. Allocators of one seed draw from the same "
            "prompts, and the j-th rollout of a prompt's visit is the same for all of them; "
            "differences in the table are taken seed by seed."
        ),
        figure=contrast_figure(replay),
        absent="",
        label="Contrast per 1,000 rollouts of every allocator, with intervals.",
        header=["", "contrast", "95 % interval"],
        rows=[
            [_short(each.name), number(each.mean(_CONTRAST)), _ends(each.measures[_CONTRAST])]
            for each in replay.ranked
        ],
    )


def _difficulty_panel(replay: Replay) -> Panel:
    return Panel(
        name="difficulty",
        title="Where rollouts went",
        reading=(
            "Bars: recorded groups by solve rate. Lines: rollouts of the oracle, of "
            f"{_short(replay.baseline)} and of those with most contrast."
        ),
        note="Solve rates are those of the posterior draw, at the visit that was asked for.",
        figure=difficulty_figure(replay),
        absent="",
        label="Share of rollouts by solve rate for a few allocators.",
        header=["", *_TENTHS],
        rows=[
            ["recorded", *map(fraction, replay.by_difficulty)],
            *([_short(each.name), *map(fraction, each.by_difficulty)] for each in replay.ranked),
        ],
    )


def _header(replay: Replay, name: str) -> Markup:
    best = next((each for each in replay.ranked if each.name not in CEILINGS), None)
    tiles = [
        tile("Rollouts each", count(replay.budget), "generated, discarded ones included"),
        tile("Seeds", str(replay.seeds), "worlds that all of them play in"),
    ]
    if best is not None:
        share = fraction(best.mean("of_oracle"))
        tiles.append(
            tile(
                "Most contrast",
                number(best.mean(_CONTRAST)),
                f"per 1,000 rollouts: {_short(best.name)}, {share} of the oracle",
            )
        )
    said = (
        f"{plural(replay.prompts, 'prompt')} of {count(replay.recorded_prompts)} · "
        f"{plural(replay.recorded_visits, 'recorded group')} · "
        f"steps of {replay.batch} × {replay.group_size} · contrast of {replay.estimator}"
    )
    return tag(
        "header",
        tag("h1", f"Replay of {name}"),
        tag("p", clean_text(said, 400), class_="muted"),
        tag("dl", tiles, class_="tiles"),
    )


def _main_table(replay: Replay) -> Markup:
    header = ["contrast/1,000", f"from {_short(replay.baseline)}", "of oracle", "same size",
              "nW/R", "split groups", "unanimous rollouts", "n"]  # fmt: skip
    lines: list[list[Child]] = [
        [
            tag("td", _short(each.name), class_="name"),
            number(each.mean(_CONTRAST)),
            with_reach(each.differences[_CONTRAST]) if each.name != replay.baseline else "",
            fraction(each.mean("of_oracle")),
            fraction(each.mean("of_same_size_oracle")),
            f"{each.mean('rollout_weighted_contrast'):.3f}",
            count(round(each.mean("split_groups"))),
            fraction(each.mean("unanimous_rollout_frac")),
            f"{each.mean('group_size'):.1f}",
        ]
        for each in replay.ranked
    ]
    intro = (
        "Groups trained on count once, except in nW/R, where rollouts do. Same size: of the oracle "
        "that may only use the default group size. n: mean size of a group trained on. Unanimous "
        "rollouts: of all generated."
    )
    return section("table", "Every allocator", tag("p", intro), table(["", *header], lines, intro))


def _shares_table(replay: Replay) -> Markup:
    names = {
        "all_wrong_rollout_frac": "all-wrong",
        "all_correct_rollout_frac": "all-correct",
        "hard": "p < .2",
        "easy": "p > .8",
        "trained_frac": "trained on",
        "coverage": "prompts covered",
        "beyond_recorded_frac": "beyond recorded",
        "unused_frac": "unused",
    }
    lines: list[list[Child]] = [
        [
            tag("td", _short(each.name), class_="name"),
            *(fraction(each.mean(measure)) for measure in names),
            f"{number(each.mean('most_often'), significant=2)}×",
        ]
        for each in replay.ranked
    ]
    intro = (
        "Shares of the rollouts, and of the prompts; last the rollouts of the prompt that got "
        "most, in those of uniform sampling."
    )
    header = ["", *names.values(), "most of one prompt"]
    return section("shares", "Shares", tag("p", intro), table(header, lines, intro))


def _short(name: str) -> str:
    return clean_text(name, 60)


def _ends(found: Interval) -> str:
    return f"{number(found.low)} to {number(found.high)}"
