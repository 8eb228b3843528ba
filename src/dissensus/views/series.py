"""A figure of curves, markers and bars from plain numbers, and the panel around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dissensus.views.canvas import new_figure
from dissensus.views.format import fraction, number
from dissensus.views.page import Panel
from dissensus.views.style import Theme, palette

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["Axis", "Series", "series_figure", "series_panel"]

_TABLE_POINTS = 8
_GAP = 0.2


class Series(NamedTuple):
    """One set of points.

    Attributes:
        name: In the legend.
        x: Values on the horizontal axis, or names of categories.
        y: Values on the vertical one; `None` leaves a gap.
        colour: A role of `style.palette`.
        kind: How it is drawn.
        dash: Of a line.
        symbol: Of markers.
        low: Lower ends of intervals: a band around a line, bars on markers; empty for none.
        high: Upper ends.
        group: Series of one group stand in the same place beside those of others: bars, and
            markers on them.
    """

    name: str
    x: Sequence[float] | Sequence[str]
    y: Sequence[float | None]
    colour: str
    kind: Literal["line", "markers", "bars"] = "line"
    dash: str = "solid"
    symbol: str = "circle"
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    group: str = ""


class Axis(NamedTuple):
    """One axis.

    Attributes:
        title: What is on it.
        percent: Values are fractions and shown as per cent.
        log: Logarithmic.
        span: Ends; `None` lets the points decide.
        ticks: Where there are labels; empty lets plotly decide.
    """

    title: str
    percent: bool = False
    log: bool = False
    span: tuple[float, float] | None = None
    ticks: Sequence[float] = ()


def series_figure(series: Sequence[Series], x: Axis, y: Axis, *, theme: Theme = "light") -> Figure:
    """Draw the series in one figure.

    Args:
        series: In the order of the legend.
        x: Horizontal axis.
        y: Vertical axis.
        theme: Colours.
    """
    figure = new_figure(theme, y.title, x_title=x.title)
    colour = palette(theme)
    for each in series:
        if each.kind == "line" and each.low:
            _add_band(figure, each, colour[each.colour])
        _add(figure, each, colour[each.colour], percent=y.percent)
    figure.update_xaxes(**_axis(x))
    figure.update_yaxes(**_axis(y))
    figure.update_layout(hovermode="closest", barmode="group", bargap=_GAP)
    if any(each.group for each in series):
        figure.update_layout(scattermode="group", scattergap=_GAP)
    return figure


def series_panel(
    *,
    name: str,
    title: str,
    reading: str,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    note: str = "",
) -> Panel:
    """A figure of a page with how to read it and a few of its numbers.

    Args:
        name: Identifier in the page.
        title: Heading.
        reading: How to read it, in one sentence.
        series: What is drawn.
        x: Horizontal axis.
        y: Vertical axis.
        note: What the numbers are exactly.
    """
    return Panel(
        name=name,
        title=title,
        reading=reading,
        note=note,
        figure=series_figure(series, x, y),
        absent="",
        label=f"{title}. {', '.join(each.name for each in series)} by {x.title}.",
        header=["curve", x.title, y.title],
        rows=[
            [each.name, _written(at, percent=x.percent), _written(value, percent=y.percent)]
            for each in series
            for at, value in _few(each)
        ],
    )


def _few(series: Series) -> list[tuple[float | str, float | None]]:
    x: Sequence[Any] = series.x
    points: list[tuple[float | str, float | None]] = list(zip(x, series.y, strict=True))
    if len(points) <= 2 * _TABLE_POINTS:
        return points
    last = len(points) - 1
    return [points[round(i * last / (_TABLE_POINTS - 1))] for i in range(_TABLE_POINTS)]


def _written(value: float | str | None, *, percent: bool) -> str:
    if isinstance(value, str):
        return value
    return fraction(value) if percent else number(value)


def _add(figure: Figure, series: Series, colour: str, *, percent: bool) -> None:
    common: dict[str, Any] = {
        "x": list(series.x),
        "y": list(series.y),
        "name": series.name,
        "hovertemplate": f"%{{x}}: %{{y:{'.1%' if percent else '.4g'}}}",
    }
    if series.group:
        common["offsetgroup"] = series.group
    if series.kind == "bars":
        figure.add_bar(**common, marker={"color": colour}, error_y=_error(series, colour))
        return
    is_line = series.kind == "line"
    figure.add_scatter(
        **common,
        mode="lines" if is_line else "markers",
        line={"color": colour, "width": 2.5, "dash": series.dash} if is_line else None,
        marker={"color": colour, "size": 8, "symbol": series.symbol},
        error_y=None if is_line else _error(series, colour),
    )


def _error(series: Series, colour: str) -> dict[str, Any] | None:
    if not series.low:
        return None
    known = [0.0 if y is None else y for y in series.y]
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - y for high, y in zip(series.high, known, strict=True)],
        "arrayminus": [y - low for low, y in zip(series.low, known, strict=True)],
        "thickness": 1.4,
        "color": colour,
    }


def _add_band(figure: Figure, series: Series, colour: str) -> None:
    figure.add_scatter(
        x=[*series.x, *reversed(series.x)],
        y=[*series.high, *reversed(series.low)],
        fill="toself",
        fillcolor=colour + "33",
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
    )


def _axis(axis: Axis) -> dict[str, Any]:
    import math

    found: dict[str, Any] = {}
    if axis.log:
        found["type"] = "log"
    if axis.percent:
        found["tickformat"] = ".0%"
    if axis.span is not None:
        found["range"] = [math.log10(end) if axis.log else end for end in axis.span]
    if axis.ticks:
        found |= {"tickvals": list(axis.ticks), "ticktext": [f"{tick:g}" for tick in axis.ticks]}
    return found
