"""The figures of a plan, as plotly figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dissensus.core.groups import FloatArray
from dissensus.core.population.compatible import Interval
from dissensus.core.population.population import BINS
from dissensus.core.population.predictions import DifficultyRow, RuleRow
from dissensus.core.population.sizes import SizeTable
from dissensus.views.canvas import add_line, new_figure
from dissensus.views.style import Theme, palette

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["contrast_figure", "difficulty_figure", "rules_figure", "sizes_figure"]

_TICKS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_DASHES = ("solid", "dash", "dot", "dashdot")


def sizes_figure(
    sizes: SizeTable, group_size: int, measured: float, *, theme: Theme = "light"
) -> Figure:
    """Unanimous share by group size and cause, with its interval and the measured one.

    Args:
        sizes: From `predict_sizes`.
        group_size: Group size in use.
        measured: Its measured unanimous share.
        theme: Colours.
    """
    colour = palette(theme)
    figure = new_figure(theme, "share of groups", x_title="group size")
    _band(figure, sizes.group_size, sizes.unanimous_range, colour["unanimous"])
    for name, values, role, dash in (
        ("unanimous", sizes.unanimous, "unanimous", "solid"),
        ("all-wrong", sizes.all_wrong, "wrong", "dash"),
        ("all-correct", sizes.all_correct, "correct", "dot"),
    ):
        add_line(
            figure, sizes.group_size.tolist(), values.tolist(), name, colour[role], dash=dash,
            percent=True,
        )  # fmt: skip
    add_line(figure, [group_size], [measured], "measured", colour["predicted"], percent=True)
    _size_axis(figure)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def contrast_figure(sizes: SizeTable, group_size: int, *, theme: Theme = "light") -> Figure:
    """Contrast per 1,000 rollouts and signal to noise by group size, over the size in use.

    Args:
        sizes: From `predict_sizes`.
        group_size: Group size in use; without a prediction for it contrast is over the
            nearest.
        theme: Colours.
    """
    colour = palette(theme)
    figure = new_figure(theme, "over the size in use", x_title="group size")
    x = sizes.group_size
    base = float(sizes.contrast_per_1000[int(np.argmin(np.abs(x - group_size)))])
    per_base = 1.0 / base if base > 0 else float("nan")
    contrast = Interval(*(end * per_base for end in sizes.contrast_range))
    _band(figure, x, contrast, colour["split"])
    _band(figure, x, sizes.signal_range, colour["used"], legend=False)
    y = (sizes.contrast_per_1000 * per_base).tolist()
    add_line(figure, x.tolist(), y, "contrast per 1,000 rollouts", colour["split"])
    signal = sizes.signal_to_noise.tolist()
    add_line(figure, x.tolist(), signal, "signal to noise", colour["used"], dash="dash")
    _size_axis(figure)
    figure.update_yaxes(rangemode="tozero")
    return figure


def difficulty_figure(rows: Sequence[DifficultyRow], *, theme: Theme = "light") -> Figure:
    """Share of the gradient mass by difficulty, with what the counts allow, beside the groups.

    Args:
        rows: From `difficulty_rows`.
        theme: Colours.
    """
    colour = palette(theme)
    figure = new_figure(theme, "share", x_title="solve rate of the prompt")
    middle = [(row.low + row.high) / 2 for row in rows]
    _bars(figure, middle, [row.groups for row in rows], "groups", theme)
    figure.add_scatter(
        x=middle,
        y=[row.mass for row in rows],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [row.mass_high - row.mass for row in rows],
            "arrayminus": [row.mass - row.mass_low for row in rows],
            "thickness": 1.2,
        },
        name="gradient mass",
        mode="markers",
        marker={"color": colour["used"], "size": 9},
        hovertemplate="%{y:.1%}",
    )
    _rate_axis(figure)
    return figure


def rules_figure(
    found: Sequence[tuple[list[str], RuleRow]], groups: FloatArray, *, theme: Theme = "light"
) -> Figure:
    """Share of the gradient mass by difficulty under a few rules, beside the groups.

    Args:
        found: Names of the rules that share a curve, and one of them; four at most are drawn.
        groups: (10,) share of the groups by tenth of solve rate.
        theme: Colours.
    """
    colour = palette(theme)
    figure = new_figure(theme, "share", x_title="solve rate of the prompt")
    middle = [(i + 0.5) / BINS for i in range(BINS)]
    _bars(figure, middle, groups.tolist(), "groups", theme)
    roles = ("grpo", "dr_grpo", "used", "split")
    for (names, rule), role, dash in zip(found, roles, _DASHES, strict=False):
        name = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        mass = rule.mass.tolist()
        add_line(figure, middle, mass, name, colour[role], dash=dash, percent=True)
    _rate_axis(figure)
    return figure


def _band(
    figure: Figure, x: FloatArray, ends: Interval, colour: str, *, legend: bool = True
) -> None:
    there_and_back = [*x.tolist(), *x.tolist()[::-1]]
    figure.add_scatter(
        x=there_and_back,
        y=[*ends.high.tolist(), *ends.low.tolist()[::-1]],
        fill="toself",
        fillcolor=colour + "26",
        line={"width": 0, "color": colour},
        name="95 % interval, all that the counts allow",
        hoverinfo="skip",
        showlegend=legend,
    )


def _bars(figure: Figure, x: Sequence[float], y: Sequence[float], name: str, theme: Theme) -> None:
    colour = palette(theme)
    figure.add_bar(
        x=list(x),
        y=list(y),
        width=0.9 / BINS,
        name=name,
        marker={"color": colour["grid"], "line": {"width": 1, "color": colour["axis"]}},
        hovertemplate="%{y:.1%}",
    )


def _size_axis(figure: Figure) -> None:
    figure.update_xaxes(type="log", tickvals=list(_TICKS), ticktext=[str(t) for t in _TICKS])


def _rate_axis(figure: Figure) -> None:
    figure.update_xaxes(range=[0, 1], tickformat=".0%", dtick=0.2)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
