"""Several runs over one axis, how they ended, and paired differences where arms share seeds."""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dissensus.core.comparisons import compare_cells
from dissensus.core.groups import FloatArray
from dissensus.views.canvas import add_line, new_figure
from dissensus.views.distributions import HeldoutPoint, heldout_curve
from dissensus.views.format import one_line
from dissensus.views.live_views.making import absent, code, plain
from dissensus.views.live_views.rolled import steps_table
from dissensus.views.live_views.shape import Cell, Grid, Shown
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
_END = 0.1
"""The end of a run: this last part of the axis that all runs have in common."""


class _Curve(NamedTuple):
    """One run: (T,) places on the axis, values, steps; and which arm and seed it is."""

    label: str
    x: FloatArray
    y: FloatArray
    step: FloatArray
    arm: str
    seed: str | None


class _Span(NamedTuple):
    """The stretch of the axis that all runs have in common."""

    first: float
    last: float


def make_compare(sources: Sequence[tuple[str, LiveSource]], theme: Theme, **given: Any) -> Shown:
    """One measure of several runs against steps, rollouts, tokens or seconds."""
    python = code("compare", sources, given)
    title, percent = MEASURED[given["measure"]]
    split = _shared_split(sources) if given["measure"] == "heldout" else None
    curves = [_curve(label, source, given, split) for label, source in sources]
    span = _common([curve for curve in curves if len(curve.x)])
    if given["range"] == "common" and span.first < span.last:
        curves = [_cut(curve, span) for curve in curves]
    drawn = [curve for curve in curves if len(curve.x)]
    if not drawn:
        return absent(f"Not shown: no chosen run has recorded the {title} so.", python)
    missing = [curve.label for curve in curves if not len(curve.x)]
    note = f"Nothing to show of {', '.join(missing)}." if missing else ""
    if split is not None:
        note += f" Evaluation set: {one_line(split, 40)}."
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
    table, said = _ends(drawn, span, "frac" if percent else "number")
    csv = pa.concat_tables(
        pa.table(
            {"run": [c.label] * len(c.x), "step": c.step.astype(np.int64)}
            | ({} if given["x"] == "step" else {given["x"]: c.x})
            | {given["measure"]: c.y}
        )
        for c in drawn
    )
    return Shown(plain(figure), table, f"{note} {said}".strip(), csv, python)


def _shared_split(sources: Sequence[tuple[str, LiveSource]]) -> str | None:
    """The evaluation set that most of the runs have a solve rate of; the first of equals."""
    found: Counter[str] = Counter()
    for _, source in sources:
        found.update({p.split for p in _heldout(source) if p.solve_rate is not None})
    return min(found, key=lambda split: (-found[split], split), default=None)


def _heldout(source: LiveSource) -> list[HeldoutPoint]:
    return source.remember("heldout curve", lambda: heldout_curve(source.heldout))


def _curve(label: str, source: LiveSource, given: dict[str, Any], split: str | None) -> _Curve:
    arm, seed = _setting(source)
    table = steps_table(source)
    if given["measure"] == "heldout":
        some = [p for p in _heldout(source) if p.split == split and p.solve_rate is not None]
        step = np.array([p.step for p in some], dtype=np.float64)
        x = _axis(table, given["x"], step)
        y = np.array([p.solve_rate for p in some], dtype=np.float64)
    else:
        step = np.asarray(table["step"].to_numpy(), dtype=np.float64)
        x = _axis(table, given["x"])
        y = np.asarray(table[given["measure"]].to_numpy(), dtype=np.float64)
    known = np.isfinite(x) & np.isfinite(y)
    return _Curve(one_line(label, 60), x[known], y[known], step[known], arm, seed)


def _setting(source: LiveSource) -> tuple[str, str | None]:
    """Name of a run's setting, and its seed; a run may say anything of itself."""
    said = source.run.info.get("metadata")
    metadata = dict(said) if isinstance(said, Mapping) else {}
    seed = metadata.pop("seed", None)
    arm = json.dumps(metadata, sort_keys=True, default=str)
    return arm, None if seed is None else json.dumps(seed, sort_keys=True, default=str)


def _axis(table: pa.Table, name: str, evaluated: FloatArray | None = None) -> FloatArray:
    """Where on the axis each training step ends, or where evaluations at some steps are.

    An evaluation at a step is one of the weights before it, which took the rollouts of the steps
    before alone.
    """
    step = np.asarray(table["step"].to_numpy(), dtype=np.float64)
    if name == "step":
        return step if evaluated is None else evaluated
    column = {"rollouts": "rollouts", "tokens": "tokens", "seconds": "time_s"}[name]
    values = np.asarray(table[column].to_numpy(), dtype=np.float64)
    if name == "seconds":
        since = values - np.fmin.reduce(values, initial=np.inf)
        if evaluated is None or not len(step):
            return since if evaluated is None else np.full(len(evaluated), np.nan)
        return np.asarray(np.interp(evaluated, step, since), dtype=np.float64)
    spent = np.append(0.0, np.cumsum(values))
    places = slice(1, None) if evaluated is None else np.searchsorted(step, evaluated)
    return np.asarray(spent[places], dtype=np.float64)


def _common(curves: Sequence[_Curve]) -> _Span:
    first = max((curve.x[0] for curve in curves), default=0.0)
    return _Span(float(first), float(min((curve.x[-1] for curve in curves), default=0.0)))


def _cut(curve: _Curve, span: _Span) -> _Curve:
    inside = (curve.x >= span.first) & (curve.x <= span.last)
    return curve._replace(x=curve.x[inside], y=curve.y[inside], step=curve.step[inside])


def _stretches(curve: _Curve, points: int) -> _Curve:
    """Means over equally many neighbours, where there are more than `points`."""
    if len(curve.x) <= points:
        return curve
    starts = np.linspace(0, len(curve.x), points, endpoint=False).astype(np.int64)
    counts = np.diff(np.append(starts, len(curve.x)))
    x, y, step = (np.add.reduceat(v, starts) / counts for v in (curve.x, curve.y, curve.step))
    return curve._replace(x=x, y=y, step=step)


def _ends(curves: Sequence[_Curve], span: _Span, kind: Cell) -> tuple[Grid, str]:
    """How every run ended, and every arm against the first one, over the seeds both have."""
    listed: list[list[Any]] = [
        [curve.label, None, *_end(curve, span), None, None] for curve in curves
    ]
    paired = _paired(curves)
    for arm, first in paired:
        ends = [(_end(a, span), _end(b, span)) for a, b in zip(arm, first, strict=True)]
        last, tenth = (compare_cells([[[a[i] - b[i]] for a, b in ends]]) for i in (0, 1))
        low, high = tenth.bounds(together=len(paired))
        names = (", ".join(each.label for each in some) for some in (arm, first))
        listed.append(
            [
                " − ".join(names), len(arm), float(last.mean[0]), float(tenth.mean[0]),
                float(low[0]), float(high[0]),
            ]
        )  # fmt: skip
    grid = Grid(
        [
            ("runs", "runs", "text"), ("seeds", "seeds", "int"), ("last", "last value", kind),
            ("tenth", "mean of the last tenth", kind), ("low", "from", kind), ("high", "to", kind),
        ],
        listed,
        len(listed),
    )  # fmt: skip
    said = "Last: within the range that all runs have in common."
    if span.first > span.last:
        said = "The runs have no range in common."
    if not paired:
        return grid, f"{said} Differences are shown where two settings share at least two seeds."
    return grid, (
        f"{said} Differences (−) are paired by seed; from, to: t-intervals of the mean of the last "
        "tenth that hold together with 95 %. Runs of one setting differ in `seed` only."
    )


def _paired(curves: Sequence[_Curve]) -> list[tuple[list[_Curve], list[_Curve]]]:
    """Runs of every other arm with those of the first one that have the same seeds, if several."""
    arms: dict[str, dict[str, _Curve]] = {}
    for curve in curves:
        if curve.seed is not None:
            arms.setdefault(curve.arm, {}).setdefault(curve.seed, curve)
    first, *others = arms.values() if arms else ({},)
    shared = [(arm, sorted(first.keys() & arm.keys())) for arm in others]
    return [
        ([arm[seed] for seed in seeds], [first[seed] for seed in seeds])
        for arm, seeds in shared
        if len(seeds) > 1
    ]


def _end(curve: _Curve, span: _Span) -> tuple[float, float]:
    """The last value within the range in common, and the mean over the last tenth of that."""
    is_before = curve.x <= span.last
    if not is_before.any():
        return float("nan"), float("nan")
    last = float(curve.y[is_before][-1])
    inside = is_before & (curve.x >= span.last - _END * max(0.0, span.last - span.first))
    return last, float(curve.y[inside].mean()) if inside.any() else last
