"""Stand-ins, to be replaced as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from dissensus.runs import Run, store
from dissensus.views.format import clean_text
from dissensus.views.snapshot import Snapshot
from dissensus.views.style import Theme
from dissensus.views.summary import summarise_run


from dissensus.views.live_views.shape import Grid, Parameter, Shown, View, checked


class LiveSource:
    def __init__(self, run: Run) -> None:
        self.run = run

    def refresh(self) -> str:
        return self.run.version


def _version(run: Run) -> str:
    names = [str(s.path) for s in store.list_live(run.path, "groups")]
    return hashlib.sha256("\n".join([*names, run.state]).encode()).hexdigest()[:16]


Run.version = property(_version)


def _reward(source: LiveSource, theme: Theme) -> Shown:
    from dissensus.views.figures import progress_figure

    summary = summarise_run(Snapshot(source.run))
    figure = progress_figure(summary.timeline, [], theme=theme).to_plotly_json()
    for trace in figure["data"]:
        trace["customdata"] = [[round(x)] for x in trace["x"]]
    return Shown(figure, None, "Stand-in.", source.run.steps(), "run.steps()")


def _outcomes(source: LiveSource, theme: Theme) -> Shown:
    from dissensus.views.distributions import outcomes_over_time
    from dissensus.views.figures import heat_map_figure

    heat = outcomes_over_time(Snapshot(source.run))
    figure = None if heat is None else heat_map_figure(heat, "correct", theme=theme).to_plotly_json()
    return Shown(figure, None, "", source.run.steps(), "run.steps()")


def _step(source: LiveSource, theme: Theme, step: int) -> Shown:
    table = source.run.sql(f"FROM groups WHERE step = {step} AND split = 'train'")
    columns = [("group", "group", "link"), ("prompt", "prompt", "link"), ("std", "σ", "number")]
    rows = [
        [[r["group_id"], r["group_id"], r["generation"]], [r["prompt_id"], r["prompt_id"]], r["std"]]
        for r in table.to_pylist()
    ]
    return Shown(None, Grid(columns, rows, len(rows)), "", table, "run.groups()")


def _prompts(source: LiveSource, theme: Theme, sort: str, descending: str, filter: str, offset: int, limit: int) -> Shown:
    way = "DESC" if descending == "yes" else "ASC"
    words = filter.replace("'", "''")
    found_rows = source.run.by_prompt(split="train")
    import duckdb

    found = duckdb.sql(
        f"SELECT prompt_id, groups, solve_rate, last_step FROM found_rows WHERE contains(prompt_id, '{words}') ORDER BY {sort} {way}, prompt_id"
    ).to_arrow_table()
    rows = [
        [[r["prompt_id"], r["prompt_id"]], r["groups"], r["solve_rate"], r["last_step"]]
        for r in found.slice(offset, limit).to_pylist()
    ]
    columns = [("prompt", "prompt", "link"), ("groups", "visits", "int"), ("solve_rate", "solve rate", "frac"), ("last_step", "last step", "int")]
    return Shown(None, Grid(columns, rows, found.num_rows), "", found, "run.by_prompt()")


def _group(source: LiveSource, theme: Theme, group: str, generation: int) -> Shown:
    table = source.run.rollouts(group_id=group)
    columns = [("reward", "reward", "number"), ("completion", "completion", "text")]
    rows = [[r["reward"], clean_text(r["completion"] or "", 20000)] for r in table.to_pylist()]
    return Shown(None, Grid(columns, rows, len(rows)), "", table, "run.rollouts()")


VIEWS: dict[str, View] = {
    v.name: v
    for v in (
        View("reward", "Reward and held-out accuracy", "run", (), _reward),
        View("outcomes", "Correct rollouts per group over time", "run", (), _outcomes),
        View("step", "Groups of a step", "run", (Parameter("step", "int", 0, low=0),), _step),
        View("prompts", "Prompts", "run", (
            Parameter("sort", "choice", "groups", ("prompt_id", "groups", "solve_rate", "last_step")),
            Parameter("descending", "choice", "yes", ("yes", "no")),
            Parameter("filter", "text", ""),
            Parameter("offset", "int", 0, low=0), Parameter("limit", "int", 50, low=1, high=500),
        ), _prompts),
        View("group", "Group", "group", (Parameter("group", "text", ""), Parameter("generation", "int", 0, low=0, high=1e15)), _group),
    )
}
