"""What the plan of a run and the catalogue of estimators show, as views of this page.

A plan takes seconds for a large run, so it is one view with a choice of its figures, and is kept as
long as the run does not change.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa

from dissensus.core import advantages
from dissensus.views.estimators.detail import detail, pair
from dissensus.views.estimators.figures import estimator_panels
from dissensus.views.live_views import Grid, LiveSource, Parameter, Shown, View
from dissensus.views.page import Panel
from dissensus.views.plan import make_plan
from dissensus.views.plan_page import plan_panels
from dissensus.views.style import DARK, LIGHT, Theme

__all__ = ["CATALOGUE", "PLAN"]

_AS_RECORDED = "as recorded"
_NONE = "nothing"
_PLAN_FIGURES = ("sizes", "contrast", "difficulty", "where")
_ESTIMATOR_FIGURES = ("signature", "weight", "objective", "push", "mass")
_COLOUR = re.compile("|".join(LIGHT.values()))
_DARK_OF = {light: DARK[role] for role, light in LIGHT.items()}
_NOT_KNOWN = "Not shown: it is not known which rollouts are correct, and nothing can be predicted."


def make_plan_view(source: LiveSource, theme: Theme, *, figure: str, estimator: str) -> Shown:
    """One figure of the plan of a run, and the plan's main point."""
    rule = None if estimator == _AS_RECORDED else estimator
    plan = source.remember(("plan", rule), lambda: make_plan(source.run, estimator=rule))
    python = (
        "from dissensus import Run\nfrom dissensus.views.plan import make_plan\n\n"
        f"plan = make_plan(Run({str(source.run.path)!r}), estimator={rule!r})\n"
        "numbers = plan.to_json()\n"
    )
    shown = _shown(plan_panels(plan), figure, python, theme, absent=_NOT_KNOWN)
    return shown._replace(more={"advice": plan.advice})


def make_catalogue_view(
    source: Any,  # noqa: ARG001 — every view is made alike, and this one is about no run
    theme: Theme,
    *,
    figure: str,
    estimator: str,
    against: str,
    group_size: int,
) -> Shown:
    """One figure of an estimator, or of two over each other at equal pull."""
    first = detail(advantages.get(estimator), group_size)
    is_pair = against not in (_NONE, estimator)
    second = detail(advantages.get(against), group_size) if is_pair else None
    python = (
        "from dissensus import advantages\n\n"
        f"signature = advantages.signature(advantages.get({estimator!r}), group_size={group_size})"
        "\n"
    )
    panels = estimator_panels(first if second is None else pair(first, second))
    asked = [each for each in (first, second) if each is not None]
    why = " ".join(f"{e.name} has no signature: {e.absent}." for e in asked if e.signature is None)
    shown = _shown(panels, figure, python, theme, absent=f"Not shown: {why}")
    if shown.figure is not None and why:
        shown = shown._replace(note=f"{why} {shown.note}")
    summaries = [f"{each.name}: {each.entry.described.summary}" for each in asked]
    return shown._replace(more={"advice": " ".join(summaries)})


def _shown(panels: list[Panel], name: str, python: str, theme: Theme, *, absent: str) -> Shown:
    found = next((panel for panel in panels if panel.name == name), None)
    if found is None or found.figure is None:
        note = found.absent if found is not None and found.absent else absent
        return Shown(None, None, note, pa.table({}), python)
    table = Grid(
        [(f"column_{i}", title, "text") for i, title in enumerate(found.header)],
        [list(row) for row in found.rows],
        len(found.rows),
    )
    numbers = {
        title or f"column {i + 1}": pa.array([row[i] for row in found.rows], pa.string())
        for i, title in enumerate(found.header)
    }
    figure = _coloured(found.figure.to_dict(), theme)
    note = " ".join(filter(None, (found.reading, found.note)))
    return Shown(figure, table, note, pa.table(numbers), python)


def _coloured(figure: dict[str, Any], theme: Theme) -> dict[str, Any]:
    """A light figure in the colours of a theme: every colour has one role."""
    if theme == "light":
        return figure
    from plotly.utils import PlotlyJSONEncoder

    text = json.dumps(figure, cls=PlotlyJSONEncoder)
    found: dict[str, Any] = json.loads(_COLOUR.sub(lambda match: _DARK_OF[match[0]], text))
    return found


PLAN = View(
    "plan",
    "What another group size or estimator would give",
    "run",
    (
        Parameter("figure", "choice", "sizes", _PLAN_FIGURES),
        Parameter("estimator", "choice", _AS_RECORDED, (_AS_RECORDED, *advantages.names())),
    ),
    make_plan_view,
)
CATALOGUE = View(
    "catalogue",
    "What an estimator rewards",
    "several",
    (
        Parameter("estimator", "choice", "grpo", tuple(advantages.names())),
        Parameter("against", "choice", "dr_grpo", (_NONE, *advantages.names())),
        Parameter("figure", "choice", "signature", _ESTIMATOR_FIGURES),
        Parameter("group_size", "int", 8, low=2, high=256),
    ),
    make_catalogue_view,
)
