"""The figures of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dissensus.views.bench import AXES, Analysis, ArmResult, Axis, Family, Interval, Race
from dissensus.views.canvas import add_line, new_figure
from dissensus.views.format import clean_text
from dissensus.views.style import Theme, palette

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["curves_figure", "effects_figure", "label", "race_figure", "unanimous_figure"]

_HUES = ("correct", "wrong", "predicted", "naive", "muted")
_DASHES = ("solid", "dash", "dot")
_BAND = "26"
_ROW = 26
_SHOWN = 5


def label(analysis: Analysis, family: str, name: str) -> str:
    """An arm's name for a figure, which reads a subset of HTML: what opens a tag is replaced."""
    short = clean_text(analysis.short(name, family), 60)
    return short.replace("<", "‹").replace("&", "+")


def members(analysis: Analysis, family: Family) -> list[ArmResult]:
    """The baseline, and the others by effect."""
    return [analysis.arm(each) for each in (family.baseline, *(c.name for c in family.comparisons))]


def curves_figure(
    analysis: Analysis, family: Family, axis: Axis = "generated", *, theme: Theme = "light"
) -> Figure:
    """Held-out solve rate of a family's arms, with bands for the baseline, ours and the best.

    Args:
        analysis: The benchmark.
        family: Whose arms.
        axis: What the curves are drawn against.
        theme: Colours.
    """
    colour = palette(theme)
    figure = new_figure(theme, "held-out solve rate", x_title=AXES[axis])
    arms = members(analysis, family)
    banded = {family.baseline, *(each.name for each in arms if each.is_ours), arms[1].name}
    looks = _looks(arms, colour)
    for arm in arms:
        if arm.name in banded:
            group = label(analysis, family.name, arm.name)
            _band(figure, arm, axis, looks[arm.name][0], group)
    for i, arm in enumerate(arms):
        hue, dash = looks[arm.name]
        strong = arm.is_ours or arm.name == family.baseline
        add_line(
            figure,
            getattr(arm.curve, axis),
            [each.mean for each in arm.curve.rate],
            label(analysis, family.name, arm.name),
            hue,
            dash=dash,
            width=3.0 if strong else 1.6,
            percent=True,
        )
        figure.data[-1].legendgroup = label(analysis, family.name, arm.name)
        figure.data[-1].visible = True if strong or i <= _SHOWN else "legendonly"
    figure.update_yaxes(tickformat=".0%")
    figure.update_xaxes(rangemode="tozero")
    figure.update_layout(hovermode="closest", height=460)
    return figure


def _looks(arms: Sequence[ArmResult], colour: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Colour and dash of each arm: the baseline dark, ours green, the others by hue, then dash."""
    looks, ours, others = {}, 0, 0
    for i, arm in enumerate(arms):
        if i == 0:
            looks[arm.name] = (colour["unanimous"], "solid")
        elif arm.is_ours:
            looks[arm.name] = (colour["split"], _DASHES[ours % len(_DASHES)])
            ours += 1
        else:
            hue, dash = _HUES[others % len(_HUES)], _DASHES[others // len(_HUES) % len(_DASHES)]
            looks[arm.name] = (colour[hue], dash)
            others += 1
    return looks


def _band(figure: Figure, arm: ArmResult, axis: Axis, hue: str, group: str) -> None:
    x = getattr(arm.curve, axis)
    rates = [each for each in arm.curve.rate if each.low == each.low]
    if len(rates) < len(x):
        return
    figure.add_scatter(
        x=[*x, *reversed(x)],
        y=[*(each.high for each in rates), *(each.low for each in reversed(rates))],
        fill="toself",
        fillcolor=hue + _BAND,
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        legendgroup=group,
    )


def effects_figure(analysis: Analysis, family: Family, *, theme: Theme = "light") -> Figure:
    """Difference of every arm from the baseline at the full budget, the largest on top.

    Args:
        analysis: The benchmark.
        family: Which comparisons.
        theme: Colours.
    """
    colour = palette(theme)
    base = label(analysis, family.name, family.baseline)
    figure = new_figure(theme, "", x_title=f"held-out, points from {base}")
    for side, role, symbol, legend in (
        ("above", "correct", "triangle-right", "above"),
        ("tie", "muted", "circle-open", "not told apart"),
        ("below", "wrong", "triangle-left", "below"),
    ):
        found = [each for each in family.comparisons if each.verdict == side]
        _intervals(
            figure,
            [label(analysis, family.name, each.name) for each in found],
            [_percent(each.final) for each in found],
            legend=legend,
            colour=colour[role],
            symbol=symbol,
            hover="%{x:+.1f} points",
        )
    _rows(figure, [label(analysis, family.name, each.name) for each in family.comparisons])
    figure.add_vline(x=0, line={"color": colour["axis"], "width": 1.5})
    return figure


def race_figure(analysis: Analysis, race: Race, *, theme: Theme = "light") -> Figure:
    """Rollouts to the target over those of the reference; who is not there stands at the right end.

    Args:
        analysis: The benchmark.
        race: To whose final rate.
        theme: Colours.
    """
    colour = palette(theme)
    base = label(analysis, race.family, race.reference)
    figure = new_figure(theme, "", x_title=f"rollouts to the target / those of {base}")
    edge = 1.0 / race.share if race.share else 1.0
    for legend, role, symbol, is_there in (
        ("reaches the target", "split", "circle", True),
        ("does not, within the budget", "wrong", "x", False),
    ):
        found = [each for each in race.crossings if (each.share is not None) == is_there]
        _intervals(
            figure,
            [label(analysis, race.family, each.name) for each in found],
            [
                Interval(
                    edge if each.ratio is None else each.ratio,
                    edge if each.interval[0] is None else each.interval[0],
                    edge if each.interval[1] is None else each.interval[1],
                )
                for each in found
            ],
            legend=legend,
            colour=colour[role],
            symbol=symbol,
            hover="%{x:.2f}",
        )
    _rows(figure, [label(analysis, race.family, each.name) for each in race.crossings])
    figure.add_vline(x=1, line={"color": colour["axis"], "width": 1.5})
    if race.goal is not None:
        figure.add_vline(
            x=race.goal,
            line={"color": colour["predicted"], "width": 1.5, "dash": "dash"},
            annotation={
                "text": "goal",
                "yref": "paper",
                "y": 0,
                "yanchor": "bottom",
                "font": {"color": colour["predicted"]},
            },
        )
    figure.update_xaxes(range=[0, 1.05 * max(1.0, edge)])
    return figure


def unanimous_figure(analysis: Analysis, *, theme: Theme = "light") -> Figure:
    """Share of generated rollouts in unanimous groups, by cause.

    Args:
        analysis: The benchmark.
        theme: Colours.
    """
    colour = palette(theme)
    figure = new_figure(theme, "", x_title="share of the rollouts generated")
    ordered = sorted(analysis.arms, key=lambda each: each.unanimous)
    names = [label(analysis, "", each.name) for each in ordered]
    for name, role, values in (
        ("all-wrong", "wrong", [each.all_wrong for each in ordered]),
        ("all-correct", "correct", [each.all_correct for each in ordered]),
    ):
        figure.add_bar(
            x=values,
            y=names,
            name=name,
            orientation="h",
            marker={"color": colour[role]},
            hovertemplate="%{x:.1%}",
        )
    _rows(figure, names)
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_xaxes(tickformat=".0%")
    return figure


def _intervals(
    figure: Figure,
    names: Sequence[str],
    found: Sequence[Interval],
    *,
    legend: str,
    colour: str,
    symbol: str,
    hover: str,
) -> None:
    if not names:
        return
    figure.add_scatter(
        x=[each.mean for each in found],
        y=list(names),
        error_x={
            "type": "data",
            "array": [each.high - each.mean for each in found],
            "arrayminus": [each.mean - each.low for each in found],
            "thickness": 1.4,
            "color": colour,
        },
        name=legend,
        mode="markers",
        showlegend=True,
        marker={"color": colour, "size": 10, "symbol": symbol},
        hovertemplate=hover,
    )


def _rows(figure: Figure, names: Sequence[str]) -> None:
    order = list(reversed(names))
    figure.update_yaxes(categoryorder="array", categoryarray=order, automargin=True)
    figure.update_layout(height=max(380, 130 + _ROW * len(order)), hovermode="closest")


def _percent(found: Interval) -> Interval:
    return Interval(*(100.0 * each for each in found))
