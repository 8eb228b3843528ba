"""The figures of a run, as plotly figures: for the report, a notebook and the dashboard.

No text that a model or a data set wrote goes into a figure: plotly reads a subset of HTML in every
label. Colours are roles of `style.palette`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dissensus.views.canvas import add_line, new_figure
from dissensus.views.distributions import HeatMap, HeldoutPoint
from dissensus.views.forecast import Forecast
from dissensus.views.mass import DifficultyMass
from dissensus.views.style import Theme, palette
from dissensus.views.summary import TimePoint

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = [
    "heat_map_figure",
    "mass_figure",
    "progress_figure",
    "unanimous_figure",
]

_DASHES = ("solid", "dot", "dash", "dashdot")


def progress_figure(
    timeline: Sequence[TimePoint], heldout: Sequence[HeldoutPoint], *, theme: Theme = "light"
) -> Figure:
    """Reward and solve rate in training, and held-out solve rate with its standard error.

    Args:
        timeline: Measures over time, from `RunSummary.timeline`.
        heldout: Evaluations, from `heldout_curve`.
        theme: Colours.
    """
    colour = palette(theme)
    figure = new_figure(theme, "reward, solve rate")
    steps = [p.step for p in timeline]
    rewards = [p.measures.reward_mean for p in timeline]
    rates = [p.measures.solve_rate for p in timeline]
    is_same = all(
        a is not None and b is not None and abs(a - b) < 1e-9
        for a, b in zip(rewards, rates, strict=True)
    )
    name = "training reward = solve rate" if is_same else "training reward, mean"
    add_line(figure, steps, rewards, name, colour["reward"])
    if not is_same and any(rate is not None for rate in rates):
        add_line(figure, steps, rates, "training solve rate", colour["correct"], dash="dash")
    for i, split in enumerate(sorted({p.split for p in heldout})):
        points = [p for p in heldout if p.split == split]
        _heldout_trace(figure, points, colour["heldout"], _DASHES[i % len(_DASHES)], i)
    if rates and is_same and all(p.solve_rate is not None for p in heldout):
        figure.update_yaxes(tickformat=".0%", range=[0, 1])
    return figure


def unanimous_figure(
    timeline: Sequence[TimePoint], forecast: Forecast | None, *, theme: Theme = "light"
) -> Figure:
    """Unanimous share split by cause, under the beta-binomial prediction and the naive one.

    Args:
        timeline: Measures over time, from `RunSummary.timeline`.
        forecast: From `forecast_unanimous`; without it only the total is drawn.
        theme: Colours.
    """
    colour = palette(theme)
    figure = new_figure(theme, "share of groups")
    figure.update_yaxes(tickformat=".0%", range=[0, 1])
    if forecast is None:
        shares = [p.measures.unanimous for p in timeline]
        add_line(figure, [p.step for p in timeline], shares, "unanimous", colour["unanimous"])
        return figure
    points = forecast.points
    steps = [p.step for p in points]
    for name, values, role in (
        ("all-wrong", [p.all_wrong for p in points], "wrong"),
        ("all-correct", [p.all_correct for p in points], "correct"),
    ):
        figure.add_scatter(
            x=steps,
            y=values,
            name=name,
            mode="lines",
            stackgroup="measured",
            line={"width": 1.5, "color": colour[role]},
            fillcolor=colour[role] + "99",
            hovertemplate="%{y:.1%}",
        )
    add_line(
        figure,
        steps,
        [p.predicted for p in points],
        "predicted, both",
        colour["unanimous"],
        dash="dash",
        percent=True,
    )
    add_line(
        figure,
        steps,
        [p.predicted_all_wrong for p in points],
        "predicted, all-wrong",
        colour["unanimous"],
        dash="dot",
        width=1.5,
        percent=True,
    )
    add_line(
        figure,
        steps,
        [p.plug_in for p in points],
        "naive: all prompts alike",
        colour["predicted"],
        dash="longdashdot",
        percent=True,
    )
    return figure


def heat_map_figure(heat: HeatMap, y_title: str, *, theme: Theme = "light") -> Figure:
    """Share of groups (or prompts) by outcome and time.

    Args:
        heat: From `outcomes_over_time` or `solve_rates_over_time`.
        y_title: What the rows are.
        theme: Colours.
    """
    colour = palette(theme)
    figure = new_figure(theme, y_title)
    is_numeric = all(label.isdecimal() for label in heat.labels)
    largest = max((share for row in heat.shares for share in row), default=1.0)
    figure.add_heatmap(
        x=heat.steps,
        y=[int(label) for label in heat.labels] if is_numeric else heat.labels,
        z=heat.shares,
        zmin=0.0,
        zmax=largest,
        # A square root keeps shares of a few per cent visible beside a dominant row.
        colorscale=[
            [0.0, colour["heat_0"]],
            [0.08, colour["heat_1"]],
            [0.36, colour["heat_2"]],
            [1.0, colour["heat_3"]],
        ],
        xgap=1,
        ygap=1,
        hovertemplate="step %{x:.0f}<br>%{y}: %{z:.1%}<extra></extra>",
        colorbar={
            "orientation": "h",
            "thickness": 10,
            "len": 0.6,
            "x": 1.0,
            "xanchor": "right",
            "y": 1.02,
            "yanchor": "bottom",
            "tickformat": ".0%",
            "nticks": 4,
            "outlinewidth": 0,
            "tickfont": {"color": colour["muted"]},
            "title": {"text": "share", "side": "top", "font": {"color": colour["muted"]}},
        },
    )
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(showgrid=False, type="-" if is_numeric else "category")
    return figure


def mass_figure(mass: DifficultyMass, *, theme: Theme = "light") -> Figure:
    """Share of Σ|W| by difficulty of the prompt, under three rules, beside the share of rollouts.

    Args:
        mass: From `mass_by_difficulty`.
        theme: Colours.
    """
    colour = palette(theme)
    figure = new_figure(theme, "share", x_title="solve rate of the prompt in its other groups")
    bins = len(mass.rollouts)
    centres = [(i + 0.5) / bins for i in range(bins)]
    figure.add_bar(
        x=centres,
        y=mass.rollouts,
        width=0.9 / bins,
        name="rollouts spent",
        marker={"color": colour["grid"], "line": {"width": 1, "color": colour["axis"]}},
        hovertemplate="%{y:.1%}",
    )
    if mass.used is not None:
        add_line(
            figure, centres, mass.used, "estimator in use", colour["used"], width=5, percent=True
        )
    add_line(figure, centres, mass.grpo, "GRPO", colour["grpo"], dash="dash", percent=True)
    add_line(figure, centres, mass.dr_grpo, "Dr. GRPO", colour["dr_grpo"], dash="dot", percent=True)
    figure.update_xaxes(range=[0, 1], tickformat=".0%", dtick=0.2)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure


def _heldout_trace(
    figure: Figure, points: Sequence[HeldoutPoint], colour: str, dash: str, order: int
) -> None:
    is_rate = all(p.solve_rate is not None for p in points)
    error: dict[str, Any] | None = None
    if is_rate and all(p.standard_error is not None for p in points):
        error = {"type": "data", "array": [p.standard_error for p in points], "thickness": 1.2}
    label = "held-out solve rate" if is_rate else "held-out reward, mean"
    figure.add_scatter(
        x=[p.step for p in points],
        y=[p.solve_rate if is_rate else p.reward_mean for p in points],
        error_y=error,
        name=label if order == 0 else f"{label}, split {order + 1}",
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": dash},
        marker={"color": colour, "size": 8, "symbol": order},
        hovertemplate="%{y:.3g}",
    )
