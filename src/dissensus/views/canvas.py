"""What every figure starts from: axes, fonts and colours, and a line on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dissensus.views.style import Theme, palette

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["add_line", "new_figure"]

_HEIGHT = 380


def new_figure(theme: Theme, y_title: str, *, x_title: str = "training step") -> Figure:
    """An empty figure in the house's style, without plotly's own template."""
    from plotly.graph_objects import Figure, layout

    colour = palette(theme)
    axis = {
        "gridcolor": colour["grid"],
        "linecolor": colour["axis"],
        "zerolinecolor": colour["grid"],
        "tickcolor": colour["axis"],
        "automargin": True,
    }
    return Figure(
        layout={
            "template": layout.Template(),
            "height": _HEIGHT,
            "margin": {"l": 48, "r": 20, "t": 40, "b": 44},
            "paper_bgcolor": colour["background"],
            "plot_bgcolor": colour["background"],
            "font": {"color": colour["text"], "size": 13, "family": "system-ui, sans-serif"},
            "hovermode": "x unified",
            "hoverlabel": {"bgcolor": colour["panel"], "bordercolor": colour["axis"]},
            "legend": {
                "orientation": "h",
                "x": 0,
                "y": 1.02,
                "yanchor": "bottom",
                "traceorder": "normal",
            },
            "xaxis": {**axis, "title": {"text": x_title}},
            "yaxis": {**axis, "title": {"text": y_title}},
        }
    )


def add_line(
    figure: Figure,
    x: Sequence[float],
    y: Sequence[float | None],
    name: str,
    colour: str,
    *,
    dash: str = "solid",
    width: float = 2.5,
    percent: bool = False,
) -> None:
    """Draw a line; `None` leaves a gap, and a single point becomes a marker."""
    known = sum(value is not None for value in y)
    figure.add_scatter(
        x=list(x),
        y=list(y),
        name=name,
        mode="lines" if known > 1 else "markers",
        line={"color": colour, "width": width, "dash": dash},
        marker={"color": colour, "size": 9},
        hovertemplate="%{y:.1%}" if percent else "%{y:.3g}",
    )
