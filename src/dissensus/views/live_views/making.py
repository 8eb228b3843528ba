"""What every view needs to be made: figures as plain data, where a click leads, code to copy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dissensus.views.live_views.shape import Grid, Parameter, Shown
from dissensus.views.live_views.source import LiveSource

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["WINDOW", "absent", "clickable", "code", "finite", "plain", "window"]

MOST_STEPS = 2**53

WINDOW = (
    Parameter("first_step", "int", None, low=0, high=MOST_STEPS),
    Parameter("last_step", "int", None, low=0, high=MOST_STEPS),
    Parameter("points", "int", 400, low=20, high=2000),
)
"""Parameters of a curve over steps: which stretch, and how many pixels."""


def plain(figure: Figure) -> dict[str, Any]:
    """A figure as plain data."""
    found: dict[str, Any] = figure.to_dict()
    return found


def clickable(figure: Figure) -> None:
    """Let the points of curves over steps say which step they are."""
    for trace in figure.data:
        if trace.type in ("scatter", "bar") and trace.x is not None and trace.hoverinfo != "skip":
            trace.customdata = [[round(x)] for x in trace.x]
        if trace.type == "heatmap":
            trace.customdata = [[[round(x)] for x in trace.x]] * len(trace.y)


def finite(value: Any) -> Any:
    """A cell of a table as JSON can hold it: a number that is not finite is unknown."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def window(table: pa.Table, first_step: int | None, last_step: int | None) -> pa.Table:
    """Rows of a table in the order of `step` from one step to another, both included."""
    import numpy as np

    steps = table["step"].to_numpy()
    start = 0 if first_step is None else int(np.searchsorted(steps, first_step))
    end = len(steps) if last_step is None else int(np.searchsorted(steps, last_step, "right"))
    return table.slice(start, max(0, end - start))


def absent(note: str, python: str, *, table: Grid | None = None) -> Shown:
    """What is shown where there is nothing to draw."""
    return Shown(None, table, note, pa.table({}), python)


def code(
    name: str, sources: LiveSource | Sequence[tuple[str, LiveSource]], given: Mapping[str, Any]
) -> str:
    """Python that makes a view and takes its numbers."""
    arguments = "".join(f", {key}={value!r}" for key, value in given.items() if value is not None)
    if isinstance(sources, LiveSource):
        opened = f"run = LiveSource(Run({str(sources.run.path)!r}))"
    else:
        listed = "".join(
            f"    ({label!r}, LiveSource(Run({str(source.run.path)!r}))),\n"
            for label, source in sources
        )
        opened = f"run = [\n{listed}]"
    return f"""from dissensus import Run
from dissensus.views.live_views import VIEWS, LiveSource

{opened}
shown = VIEWS[{name!r}].make(run, "light"{arguments})
numbers = shown.csv  # an Arrow table: .to_pandas(), polars.from_arrow(…)
"""
