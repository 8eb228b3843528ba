"""Curves over steps: reward, what reached the update, what was spent, how far groups disagree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from dissensus.views import figures
from dissensus.views.canvas import add_line, new_figure
from dissensus.views.distributions import HeldoutPoint, heldout_curve
from dissensus.views.format import count, fraction
from dissensus.views.live_views.making import absent, clickable, code, plain, window
from dissensus.views.live_views.rolled import steps_table, timeline
from dissensus.views.live_views.sampling import extremes
from dissensus.views.live_views.shape import Shown
from dissensus.views.live_views.source import LiveSource
from dissensus.views.queries import rolled_buckets
from dissensus.views.style import Theme, palette
from dissensus.views.summary import TIMELINE_POINTS

__all__ = ["make_effective", "make_group_std", "make_reward", "make_rollouts"]

_NOTHING = "Not shown: no training group has been recorded yet."
_THIN = "88"
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def make_reward(source: LiveSource, theme: Theme, **given: Any) -> Shown:
    """Training reward and solve rate, and held-out accuracy."""
    python = code("reward", source, given)
    steps = window(steps_table(source), given["first_step"], given["last_step"])
    heldout = source.remember("heldout curve", lambda: heldout_curve(source.heldout))
    heldout = [p for p in heldout if _is_inside(p.step, given)]
    if not steps.num_rows and not heldout:
        return absent(_NOTHING, python)
    points = [p for p in timeline(source) if _is_inside(p.step, given)]
    figure = figures.progress_figure(points, heldout, theme=theme)
    _add_steps(figure, steps, "reward_mean", palette(theme)["reward"], given["points"])
    clickable(figure)
    note = _curve_note(steps)
    if any(trace.error_y.array is not None for trace in figure.data):
        note += " Bars on the held-out points are ± one standard error over prompts of this seed."
    if not heldout:
        note += " No held-out evaluation was recorded."
    return Shown(plain(figure), None, note, _reward_numbers(steps, heldout), python)


_MEASURES = {
    "effective_rollout_frac": ("effective rollouts", True, "split"),
    "contrast_per_1000_rollouts": ("contrast per 1,000 rollouts", False, "split"),
    "silent": ("silent groups", True, "unanimous"),
}


def make_effective(source: LiveSource, theme: Theme, **given: Any) -> Shown:
    """Share of the rollouts that reached the update, or what they contributed."""
    python = code("effective", source, given)
    name = given["measure"]
    title, percent, role = _MEASURES[name]
    steps = window(steps_table(source), given["first_step"], given["last_step"])
    if not steps.num_rows:
        return absent(_NOTHING, python)
    if steps[name].null_count == steps.num_rows:
        return absent("Not shown: the advantages in use were not recorded.", python)
    figure = new_figure(theme, title)
    colour = palette(theme)[role]
    points = [p for p in timeline(source) if _is_inside(p.step, given)]
    values = [getattr(p.measures, name) for p in points]
    add_line(figure, [p.step for p in points], values, title, colour, percent=percent)
    _add_steps(figure, steps, name, colour, given["points"], percent=percent)
    if percent:
        figure.update_yaxes(tickformat=".0%", range=[0, 1])
    clickable(figure)
    note = {
        "effective_rollout_frac": "Trained rollouts of groups that are not silent / all rollouts.",
        "contrast_per_1000_rollouts": "1000 · Σ W of trained groups / all rollouts.",
        "silent": "Share of groups whose advantages in use are all zero.",
    }[name]
    csv = steps.select(["step", "rollouts", name])
    return Shown(plain(figure), None, f"{note} {_curve_note(steps)}", csv, python)


def make_rollouts(source: LiveSource, theme: Theme, **given: Any) -> Shown:
    """Rollouts generated, trained on, and wasted, a step."""
    python = code("rollouts", source, given)
    steps = window(steps_table(source), given["first_step"], given["last_step"])
    if not steps.num_rows:
        return absent(_NOTHING, python)
    generated, trained = (steps[name].to_numpy() for name in ("rollouts", "trained"))
    is_known = steps["effective_rollout_frac"].null_count == 0
    effective = steps["effective"].to_numpy() if is_known else None
    colour = palette(theme)
    figure = new_figure(theme, "rollouts a step")
    lines = [("generated", generated, "axis", "solid"), ("trained on", trained, "correct", "dash")]
    if effective is not None:
        lines.append(("effective", effective, "split", "solid"))
    kept = extremes([values for _, values, _, _ in lines], given["points"])
    at = steps["step"].to_numpy()[kept].tolist()
    for name, values, role, dash in lines:
        add_line(figure, at, values[kept].tolist(), name, colour[role], dash=dash, width=1.8)
    figure.update_yaxes(rangemode="tozero")
    clickable(figure)
    total = float(generated.sum())
    wasted = generated - (trained if effective is None else effective)
    text = f"{count(total)} generated, {fraction(trained.sum() / total)} trained on"
    if effective is None:
        text += "; which of them had an effect is unknown without recorded advantages."
    else:
        text += (
            f", {fraction(wasted.sum() / total)} wasted: discarded, or trained on in groups that "
            "are silent."
        )
    csv = pa.table(
        {"step": steps["step"], "generated": generated, "trained": trained, "wasted": wasted}
    )
    return Shown(plain(figure), None, f"{text} {_sampling_note(steps)}", csv, python)


def make_group_std(source: LiveSource, theme: Theme, **given: Any) -> Shown:
    """How far the rewards of a group differ: quantiles over the groups of a stretch."""
    python = code("group_std", source, given)
    bands = source.remember(
        ("std", given["stretches"]), lambda: _std_quantiles(source, given["stretches"])
    )
    if bands is None:
        return absent("Not shown: no scored training group has been recorded yet.", python)
    bands = window(bands, given["first_step"], given["last_step"])
    colour = palette(theme)
    figure = new_figure(theme, "σ of the rewards of a group")
    at = bands["step"].to_pylist()
    for low, high, alpha, name in (
        ("q10", "q90", "2e", "10–90 %"),
        ("q25", "q75", "55", "25–75 %"),
    ):
        figure.add_scatter(
            x=[*at, *reversed(at)],
            y=[*bands[high].to_pylist(), *reversed(bands[low].to_pylist())],
            fill="toself",
            fillcolor=colour["split"] + alpha,
            line={"width": 0, "color": colour["split"]},
            mode="lines",
            hoverinfo="skip",
            name=f"{name} of the groups",
        )
    add_line(figure, at, bands["q50"].to_pylist(), "median", colour["split"])
    add_line(figure, at, bands["mean"].to_pylist(), "mean", colour["unanimous"], dash="dash")
    figure.update_yaxes(rangemode="tozero")
    clickable(figure)
    note = (
        "Population standard deviation of the rewards of each scored group, 0 for a unanimous one. "
        f"Quantiles over all groups of a stretch of steps, {count(len(at))} stretches; values "
        "within 2 % of each other are counted together."
    )
    return Shown(plain(figure), None, note, bands, python)


def _std_quantiles(source: LiveSource, stretches: int) -> pa.Table | None:
    """Weighted quantiles of σ by stretch: the least value with at least that share below or at."""
    found = source.sql(
        f"""SELECT bucket, sigma_sum / groups AS sigma, groups,
            min(first) OVER stretch AS first, max(last) OVER stretch AS last
        FROM (SELECT bucket, level, sum(groups) AS groups, sum(sigma_sum) AS sigma_sum,
                min(step) AS first, max(step) AS last
            FROM {rolled_buckets("outcomes", stretches, by="step")} GROUP BY bucket, level)
        WINDOW stretch AS (PARTITION BY bucket) ORDER BY bucket, sigma"""  # noqa: S608
    )
    if not found.num_rows:
        return None
    bucket, sigma, groups, first, last = (
        np.asarray(found[name].to_numpy(), dtype=np.float64)
        for name in ("bucket", "sigma", "groups", "first", "last")
    )
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    counted = np.cumsum(groups)
    before = np.append(0.0, counted)[starts]
    total = np.add.reduceat(groups, starts)
    columns = {
        f"q{round(100 * q)}": sigma[np.searchsorted(counted, before + q * total - 1e-6)]
        for q in _QUANTILES
    }
    return pa.table(
        {
            "step": (first[starts] + last[starts]) // 2,
            "groups": total,
            **columns,
            "mean": np.add.reduceat(sigma * groups, starts) / total,
        }
    )


def _add_steps(
    figure: Any, steps: pa.Table, name: str, colour: str, points: int, *, percent: bool = False
) -> None:
    """Every step as a thin line, where the stretches above it hold several."""
    if steps.num_rows <= TIMELINE_POINTS:
        return
    values = np.asarray(steps[name].to_numpy(), dtype=np.float64)
    kept = extremes([values], points)
    y = [None if np.isnan(value) else float(value) for value in values[kept]]
    at = steps["step"].to_numpy()[kept].tolist()
    add_line(figure, at, y, "each step", colour + _THIN, width=1.0, percent=percent)


def _curve_note(steps: pa.Table) -> str:
    if steps.num_rows <= TIMELINE_POINTS:
        return "Each point is the mean over a stretch of generations."
    return f"Thick: means over stretches of generations, as in the report. {_sampling_note(steps)}"


def _sampling_note(steps: pa.Table) -> str:
    return (
        f"{count(steps.num_rows)} steps; where they do not fit, the smallest and largest of each "
        "pixel are drawn."
    )


def _is_inside(step: float, given: dict[str, Any]) -> bool:
    first, last = given["first_step"], given["last_step"]
    return (first is None or step >= first) and (last is None or step <= last)


def _reward_numbers(steps: pa.Table, heldout: list[HeldoutPoint]) -> pa.Table:
    nothing = pa.nulls(steps.num_rows, pa.float64())
    training = pa.table(
        {
            "step": steps["step"],
            "split": pa.array(["train"] * steps.num_rows, pa.string()),
            "reward_mean": steps["reward_mean"].cast(pa.float64()),
            "solve_rate": steps["solve_rate"].cast(pa.float64()),
            "standard_error": nothing,
        }
    )
    names = ("step", "split", "reward_mean", "solve_rate", "standard_error")
    listed = {name: [getattr(p, name) for p in heldout] for name in names}
    return pa.concat_tables([training, pa.table(listed, schema=training.schema)])
