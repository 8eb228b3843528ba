"""The views of the dashboard: each makes a figure, a table and the numbers behind them.

    source = LiveSource(run)
    view = VIEWS["reward"]
    shown = view.make(source, "light", points=300)

They work on sums that follow a run while it is written, and give what the report gives.
"""

from __future__ import annotations

from typing import Any

from dissensus.core import advantages
from dissensus.runs.sums import TOPS_KEPT
from dissensus.views.live_views import audit, causes, compare, curves, groups, prompts
from dissensus.views.live_views.making import WINDOW, finite
from dissensus.views.live_views.shape import Grid, Parameter, Shown, View, checked
from dissensus.views.live_views.source import LiveSource
from dissensus.views.style import Theme

__all__ = ["VIEWS", "Grid", "LiveSource", "Parameter", "Shown", "View", "checked"]

_MOST = 2**53
_PAGE = (
    Parameter("offset", "int", 0, low=0, high=1e9),
    Parameter("limit", "int", 50, low=1, high=500),
)
_DOWN = Parameter("descending", "choice", "yes", ("yes", "no"))

_ALL = (
    View("reward", "Reward and held-out accuracy", "run", WINDOW, curves.make_reward),
    View(
        "unanimous",
        "Unanimous groups by cause",
        "run",
        (Parameter("stretches", "int", 24, low=4, high=96),),
        causes.make_unanimous,
    ),
    View(
        "group_std",
        "Disagreement within groups",
        "run",
        (*WINDOW[:2], Parameter("stretches", "int", 24, low=4, high=1000)),
        curves.make_group_std,
    ),
    View(
        "effective",
        "What reached the update",
        "run",
        (
            Parameter(
                "measure",
                "choice",
                "effective_rollout_frac",
                ("effective_rollout_frac", "contrast_per_1000_rollouts", "silent"),
            ),
            *WINDOW,
        ),
        curves.make_effective,
    ),
    View("outcomes", "Correct rollouts per group over time", "run", (), causes.make_outcomes),
    View(
        "mass",
        "Weight in the gradient, by difficulty",
        "run",
        (Parameter("estimator", "choice", "grpo", advantages.names()),),
        causes.make_mass,
    ),
    View("rollouts", "Rollouts generated, trained, wasted", "run", WINDOW, curves.make_rollouts),
    View(
        "findings",
        "What the audit finds in the logged advantages",
        "run",
        (
            Parameter("generations", "int", 12, low=1, high=200),
            Parameter("rollouts", "int", 16_384, low=64, high=262_144),
        ),
        audit.make_findings,
    ),
    View(
        "taught",
        "Groups that taught most",
        "run",
        (Parameter("limit", "int", 10, low=1, high=TOPS_KEPT),),
        groups.make_taught,
    ),
    View(
        "prompts",
        "Prompts",
        "run",
        (
            Parameter("only", "choice", "all", tuple(prompts.ONLY)),
            Parameter("sort", "choice", "contrast", prompts.SORTS),
            _DOWN,
            Parameter("filter", "text", "", high=200),
            Parameter("low", "float", None, low=0.0, high=1.0),
            Parameter("high", "float", None, low=0.0, high=1.0),
            *_PAGE,
        ),
        prompts.make_prompts,
    ),
    View(
        "scatter",
        "Solve rate and contrast of every prompt",
        "run",
        (Parameter("cells", "int", 48, low=8, high=96),),
        prompts.make_scatter,
    ),
    View(
        "step",
        "Groups of one step",
        "run",
        (
            Parameter("step", "int", 0, low=0, high=_MOST),
            Parameter("sort", "choice", "std", groups.STEP_SORTS),
            _DOWN,
            *_PAGE,
        ),
        groups.make_step,
    ),
    View(
        "history",
        "One prompt over time",
        "prompt",
        (Parameter("prompt_id", "text", "", high=10_000), *_PAGE),
        prompts.make_history,
    ),
    View(
        "group",
        "One group",
        "group",
        (
            Parameter("group_id", "text", "", high=10_000),
            Parameter("generation", "int", None, low=0, high=_MOST),
            Parameter("limit", "int", 64, low=1, high=1024),
        ),
        groups.make_group,
    ),
    View(
        "compare",
        "Runs compared",
        "several",
        (
            Parameter("x", "choice", "step", tuple(compare.AXES)),
            Parameter("measure", "choice", "reward_mean", tuple(compare.MEASURED)),
            Parameter("range", "choice", "common", ("common", "whole")),
            Parameter("points", "int", 100, low=10, high=1000),
        ),
        compare.make_compare,
    ),
)


def _checking(view: View) -> View:
    def make(source: Any, theme: Theme, **given: Any) -> Shown:
        shown = view.make(source, theme, **checked(view, given))
        table = shown.table
        if table is not None:
            table = table._replace(rows=[[finite(cell) for cell in row] for row in table.rows])
        more = {name: finite(value) for name, value in shown.more.items()}
        return shown._replace(table=table, more=more)

    return view._replace(make=make)


VIEWS: dict[str, View] = {view.name: _checking(view) for view in _ALL}
"""Every view by its name. `history` and `group` say what they are about by their parameters.

`make` checks its parameters; what is not given has its default.
"""
