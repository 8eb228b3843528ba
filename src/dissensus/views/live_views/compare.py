"""Several runs over one axis, and paired differences where arms share seeds."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dissensus.core.comparisons import compare_cells
from dissensus.core.groups import FloatArray
from dissensus.views.canvas import add_line, new_figure
from dissensus.views.distributions import heldout_curve
from dissensus.views.format import one_line
from dissensus.views.live_views.making import absent, code, plain
from dissensus.views.live_views.rolled import steps_table
from dissensus.views.live_views.shape import Grid, Shown
from dissensus.views.live_views.source import LiveSource
from dissensus.views.style import Theme, palette

__all__ = ["AXES", "MEASURED", "make_compare"]

AXES = {"step": "training step", "rollouts": "rollouts generated", "tokens": "tokens generated",
        "seconds": "seconds since the first step"}  # fmt: skip
MEASURED = {
    "reward_mean": ("mean training reward", False),
    "solve_rate": ("training solve rate", True),
    "heldout": ("held-out solve rate", True),
    "unanimous": ("unanimous groups", True),
    "silent": ("silent groups", True),
    "std_mean": ("mean σ of a group", False),
    "effective_rollout_frac": ("effective rollouts", True),
    "contrast_per_1000_rollouts": ("contrast per 1,000 rollouts", False),
    "length_mean": ("mean length in tokens", False),
}
_ROLES = ("correct", "wrong", "split", "predicted", "naive", "unanimous")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
_END = 0.75
"""Differences are over the last quarter of the axis that all runs have reached."""


class _Curve(NamedTuple):
    """One run: (T,) places on the axis, values, steps; and which arm and seed it is."""

    label: str
    x: FloatArray
    y: FloatArray
    step: FloatArray
    arm: str
    seed: Any


def make_compare(sources: Sequence[tuple[str, LiveSource]], theme: Theme, **given: Any) -> Shown:
    """One measure of several runs against steps, rollouts, tokens or seconds."""
    python = code("compare", sources, given)
    title, percent = MEASURED[given["measure"]]
    curves = [_curve(label, source, given) for label, source in sources]
    drawn = [curve for curve in curves if len(curve.x)]
    missing = [curve.label for curve in curves if not len(curve.x)]
    note = f"Nothing to show of {', '.join(missing)}." if missing else ""
    if not drawn:
        return absent(f"Not shown: no chosen run has recorded the {title} so.", python)
    figure = new_figure(theme, title, x_title=AXES[given["x"]])
    colour = palette(theme)
    for i, curve in enumerate(curves):
        if not len(curve.x):
            continue
        few = _stretches(curve, given["points"])
        add_line(
            figure, few.x.tolist(), few.y.tolist(), html.escape(curve.label, quote=False),
            colour[_ROLES[i % len(_ROLES)]], dash=_DASHES[i // len(_ROLES) % len(_DASHES)],
            percent=percent,
        )  # fmt: skip
        figure.data[-1].customdata = [[round(step), i] for step in few.step.tolist()]
    if percent:
        figure.update_yaxes(tickformat=".0%")
    differences, said = _differences(drawn)
    csv = pa.concat_tables(
        pa.table(
            {"run": [c.label] * len(c.x), "step": c.step.astype(np.int64), given["x"]: c.x,
             given["measure"]: c.y}
            if given["x"] != "step"
            else {"run": [c.label] * len(c.x), "step": c.x, given["measure"]: c.y}
        )
        for c in drawn
    )  # fmt: skip
    return Shown(plain(figure), differences, f"{note} {said}".strip(), csv, python)


def _curve(label: str, source: LiveSource, given: dict[str, Any]) -> _Curve:
    metadata = dict(source.run.info.get("metadata") or {})
    seed = metadata.pop("seed", None)
    arm = json.dumps(metadata, sort_keys=True, default=str)
    label = one_line(label, 60)
    table = steps_table(source)
    step = np.asarray(table["step"].to_numpy(), dtype=np.float64)
    x = _axis(table, step, given["x"])
    if given["measure"] == "heldout":
        points = source.remember("heldout curve", lambda: heldout_curve(source.heldout))
        split = points[0].split if points else ""
        some = [p for p in points if p.split == split and p.solve_rate is not None]
        at = np.array([p.step for p in some], dtype=np.float64)
        place = np.interp(at, step, x) if len(step) else at
        return _Curve(label, place, np.array([p.solve_rate for p in some]), at, arm, seed)
    y = np.asarray(table[given["measure"]].to_numpy(), dtype=np.float64)
    known = np.isfinite(x) & np.isfinite(y)
    return _Curve(label, x[known], y[known], step[known], arm, seed)


def _axis(table: pa.Table, step: FloatArray, name: str) -> FloatArray:
    if name == "step" or not len(step):
        return step
    column = {"rollouts": "rollouts", "tokens": "tokens", "seconds": "time_s"}[name]
    values = np.asarray(table[column].to_numpy(), dtype=np.float64)
    return values - np.nanmin(values) if name == "seconds" else np.cumsum(values)


def _stretches(curve: _Curve, points: int) -> _Curve:
    """Means over equally many neighbours, where there are more than `points`."""
    if len(curve.x) <= points:
        return curve
    starts = np.linspace(0, len(curve.x), points, endpoint=False).astype(np.int64)
    counts = np.diff(np.append(starts, len(curve.x)))
    x, y, step = (np.add.reduceat(v, starts) / counts for v in (curve.x, curve.y, curve.step))
    return curve._replace(x=x, y=y, step=step)


def _differences(curves: Sequence[_Curve]) -> tuple[Grid | None, str]:
    """Every arm against the first one, over the seeds both have."""
    arms: dict[str, dict[Any, _Curve]] = {}
    for curve in curves:
        if curve.seed is not None:
            arms.setdefault(curve.arm, {}).setdefault(curve.seed, curve)
    first, *others = arms.values() if arms else ({},)
    paired = [(arm, sorted(first.keys() & arm.keys(), key=str)) for arm in others]
    paired = [(arm, seeds) for arm, seeds in paired if len(seeds) > 1]
    if not paired:
        return None, "Differences are shown where two settings share at least two seeds."
    reach = min(curve.x[-1] for curve in curves)
    listed: list[list[Any]] = []
    for arm, seeds in paired:
        cells = [[_end(arm[seed], reach) - _end(first[seed], reach)] for seed in seeds]
        found = compare_cells([cells])
        low, high = found.bounds(together=len(paired))
        name = ", ".join(arm[seed].label for seed in seeds)
        against = ", ".join(first[seed].label for seed in seeds)
        listed.append(
            [name, against, len(seeds), float(found.mean[0]), float(low[0]), float(high[0])]
        )
    grid = Grid(
        [
            ("runs", "runs", "text"), ("against", "against", "text"), ("seeds", "seeds", "int"),
            ("difference", "difference", "number"), ("low", "from", "number"),
            ("high", "to", "number"),
        ],
        listed,
        len(listed),
    )  # fmt: skip
    return grid, (
        "Differences: mean over the last quarter of the axis that all runs have reached, paired by "
        "seed; t-intervals that hold together with 95 %. Runs of one setting differ in `seed` only."
    )


def _end(curve: _Curve, reach: float) -> float:
    inside = (curve.x >= _END * reach) & (curve.x <= reach)
    if not inside.any():
        return float(np.interp(reach, curve.x, curve.y))
    return float(curve.y[inside].mean())
