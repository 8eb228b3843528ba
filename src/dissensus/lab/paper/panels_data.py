"""The paper's figures of data: 6, 9 and 10; and the language model's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dissensus.core.groups import FloatArray
from dissensus.lab.paper.controlled import METHODS, Arm, SeedResult
from dissensus.lab.paper.dapo_curve import DapoCurve, all_correct_curve
from dissensus.lab.paper.data import ROLLOUTS, big_math
from dissensus.lab.paper.language_model import EDGES, RULES, ModelResult, Prediction
from dissensus.lab.paper.sections import LABELS
from dissensus.lab.paper.tables import big_math_facts
from dissensus.views.page import Panel
from dissensus.views.series import Axis, Series, series_panel

__all__ = ["big_math_panels", "controlled_panels", "dapo_panels", "model_panels"]

_COLOURS = {"grpo": "grpo", "dr_grpo": "dr_grpo", "dapo": "split"}
_DASHES = {"grpo": "solid", "dr_grpo": "dash", "dapo": "dot"}
_FIT_COLOURS = ("grpo", "dr_grpo", "naive")
_SIZE_COLOURS = ("heat_1", "heat_2", "dr_grpo", "naive")
_BARS = "Bars: where the predictions fall, all together in 95 of 100 cases, if both agree."
_TENTHS = [f"{10 * i}–{10 * i + 10} %" for i in range(10)]


def dapo_panels(curve: DapoCurve) -> list[Panel]:
    """Figure 6."""
    return [_dapo(curve), _dapo_form(curve)]


def big_math_panels() -> list[Panel]:
    """Figure 9."""
    return [_histogram(), _mass()]


def controlled_panels(runs: Sequence[SeedResult]) -> list[Panel]:
    """Figure 10, over seeds."""
    note = f"Mean over {len(runs)} seeds; bands and bars are the range of the seeds."
    return [
        _controlled_silent(runs),
        _controlled_mass(runs, note),
        _hardest(runs, note),
        _hardest_by_rollouts(runs),
    ]


def model_panels(model: ModelResult) -> list[Panel]:
    """What the paper leaves open."""
    return [_model_silent(model), *(_model_mass(model, rule) for rule in RULES)]


def _dapo(curve: DapoCurve) -> Panel:
    steps = curve.steps.tolist()
    words = {"power": "p^(1/T)", "logit": "log-odds shifted", "saturating": "no theory"}
    fits = [
        Series(
            f"{words[name]}, R² {fit.r_squared:.2f}", steps, fit.values.tolist(), colour, dash=dash
        )
        for (name, fit), colour, dash in zip(
            curve.fits.items(), _FIT_COLOURS, _DASHES.values(), strict=True
        )
    ]
    logged = Series("DAPO, logged", steps, curve.logged.tolist(), "unanimous", "markers")
    return series_panel(
        name="figure-6-left",
        title="Figure 6, left: DAPO's all-correct prompts over training",
        reading=(
            "Three curves that rise and saturate all pass near the points, the one without "
            "theory nearest."
        ),
        series=[logged, *fits],
        x=Axis("training step"),
        y=Axis("share of prompts", percent=True, span=(0, 0.7)),
        note="Points: figure 3b of DAPO (Yu et al. 2025), digitised by the paper's authors.",
    )


def _dapo_form(curve: DapoCurve) -> Panel:
    series = []
    for name, colour, dash in (("power", "grpo", "solid"), ("logit", "dr_grpo", "dash")):
        end = curve.fits[name].end
        rates, shares = all_correct_curve(name, end)
        series.append(
            Series(f"E[p³²], {name} mapping", rates.tolist(), shares.tolist(), colour, dash=dash)
        )
        at = Series(
            f"DAPO's plateau, {name}",
            [curve.fits[name].mean_solve_rate],
            [curve.plateau],
            colour,
            "markers",
            symbol="diamond",
        )
        series.append(at)
    start, share = float(series[0].x[0]), series[0].y[0]
    series.append(Series("Big-Math as it is", [start], [share], "unanimous", "markers"))
    return series_panel(
        name="figure-6-right",
        title="Figure 6, right: all-correct prompts by competence",
        reading=(
            "How many prompts have 32 of 32 correct when the mean solve rate is what the axis says."
        ),
        series=series,
        x=Axis("mean solve rate", percent=True),
        y=Axis("E[p³²]", percent=True, span=(0, 0.7)),
    )


def _histogram() -> Panel:
    counts = big_math()
    return series_panel(
        name="figure-9-left",
        title="Figure 9, left: solve rates of Big-Math",
        reading="Problems pile up at both ends: many are nearly never or nearly always solved.",
        series=[
            Series("problems", counts.solve_rate.tolist(), counts.problems.tolist(), "grpo", "bars")
        ],
        x=Axis(f"solve rate over {ROLLOUTS} rollouts", percent=True),
        y=Axis("problems"),
        note=(
            "Counts: figure of arXiv:2607.00152, CC BY 4.0; annotations: Big-Math (Albalak "
            "et al. 2025)."
        ),
    )


def _mass() -> Panel:
    mass = big_math_facts().mass
    return series_panel(
        name="figure-9-right",
        title="Figure 9, right: gradient mass by difficulty on Big-Math",
        reading="GRPO's division moves mass from the middle to both ends.",
        series=[
            Series(LABELS[rule], _TENTHS, mass[rule].tolist(), rule, "bars")
            for rule in ("dr_grpo", "grpo")
        ],
        x=Axis("solve rate"),
        y=Axis("share of mass", percent=True),
        note=(
            "Large-group limit. A tenth holds six or seven of the 65 possible rates, hence the "
            "zigzag."
        ),
    )


def _stack(
    runs: Sequence[SeedResult], method: str, curve: Callable[[Arm], FloatArray]
) -> FloatArray:
    """(seeds, steps)."""
    return np.array([curve(run.arms[method]) for run in runs])


def _range(curves: FloatArray) -> dict[str, list[float]]:
    return {"low": curves.min(axis=0).tolist(), "high": curves.max(axis=0).tolist()}


def _controlled_silent(runs: Sequence[SeedResult]) -> Panel:
    measured = _stack(runs, "grpo", lambda arm: arm.silent).mean(axis=0)
    predicted = _stack(runs, "grpo", lambda arm: arm.predicted).mean(axis=0)
    steps = list(range(len(measured)))
    return series_panel(
        name="figure-10-a",
        title="Figure 10 (a): unanimous groups in the controlled run",
        reading=(
            "The closed form at the solve rates of the moment follows what the run measures, step "
            "by step."
        ),
        series=[
            Series("mean of p^G + (1−p)^G", steps, predicted.tolist(), "grpo"),
            Series("measured", steps[::8], measured[::8].tolist(), "wrong", "markers"),
        ],
        x=Axis("training step"),
        y=Axis("share of groups", percent=True, span=(0, 1)),
        note=f"GRPO, mean over {len(runs)} seeds.",
    )


def _controlled_mass(runs: Sequence[SeedResult], note: str) -> Panel:
    series = []
    for rule in RULES:
        mass = np.array([run.mass[rule] for run in runs])
        expected = np.mean([run.expected_mass[rule] for run in runs], axis=0).tolist()
        name = f"{LABELS[rule]}, measured"
        means = mass.mean(axis=0).tolist()
        series.append(
            Series(name, _TENTHS, means, rule, "bars", group=rule, **_range(mass))  # type: ignore[arg-type]
        )
        name = f"{LABELS[rule]}, closed form"
        series.append(
            Series(
                name, _TENTHS, expected, "unanimous", "markers", symbol="line-ew-open", group=rule
            )
        )
    return series_panel(
        name="figure-10-b",
        title="Figure 10 (b): gradient mass by difficulty at G = 8",
        reading=(
            "Groups of 8 put less on both ends than the large-group limit, since those are mostly "
            "unanimous there."
        ),
        series=series,
        x=Axis("solve rate at the start"),
        y=Axis("share of mass", percent=True),
        note=note,
    )


def _hardest(runs: Sequence[SeedResult], note: str) -> Panel:
    series = []
    for method in METHODS:
        curves = _stack(runs, method, lambda arm: arm.hardest)
        steps, mean = list(range(curves.shape[1])), curves.mean(axis=0).tolist()
        look = {"dash": _DASHES[method], **_range(curves)}
        series.append(Series(LABELS[method], steps, mean, _COLOURS[method], **look))  # type: ignore[arg-type]
    return series_panel(
        name="figure-10-c",
        title="Figure 10 (c): the hardest quartile learns",
        reading="By steps DAPO lifts the hardest prompts fastest.",
        series=series,
        x=Axis("training step"),
        y=Axis("mean solve rate", percent=True, span=(0, 1)),
        note=note,
    )


def _hardest_by_rollouts(runs: Sequence[SeedResult]) -> Panel:
    series = []
    dapo, grpo = (
        np.diff(_stack(runs, method, lambda arm: arm.rollouts).mean(axis=0))
        for method in ("dapo", "grpo")
    )
    for method in METHODS:
        spent = _stack(runs, method, lambda arm: arm.rollouts).mean(axis=0).tolist()
        mean = _stack(runs, method, lambda arm: arm.hardest).mean(axis=0).tolist()
        series.append(Series(LABELS[method], spent, mean, _COLOURS[method], dash=_DASHES[method]))
    return series_panel(
        name="figure-10-rollouts",
        title="Not in the paper: the same by rollouts",
        reading=(
            "By rollouts GRPO lifts the hardest prompts first: a step of DAPO costs "
            f"{dapo[0] / grpo[0]:.1f} times as many at the start and {dapo[-1] / grpo[-1]:.1f} "
            "times as many at the end."
        ),
        series=series,
        x=Axis("rollouts per prompt", span=(0, 1200)),
        y=Axis("mean solve rate", percent=True, span=(0, 1)),
        note=f"Mean over {len(runs)} seeds.",
    )


def _model_silent(model: ModelResult) -> Panel:
    sizes = list(model.silent)
    series = []
    for step, colour in zip(model.steps, _FIT_COLOURS, strict=False):
        pairs = [model.silent_by_checkpoint[step, G] for G in sizes]
        series += [
            Series(f"predicted, step {step}", sizes, [p.predicted for p in pairs], colour),
            _measured(f"measured, step {step}", sizes, pairs, colour),
        ]
    return series_panel(
        name="model-unanimous",
        title="A language model in training: unanimous groups",
        reading=(
            "Where the bar of a measurement reaches its line, the two agree; predictions come from "
            "other rollouts of the same weights."
        ),
        series=series,
        x=Axis("group size G", log=True, ticks=sizes),
        y=Axis("share of groups", percent=True, span=(0, 0.8)),
        note=_BARS,
    )


def _model_mass(model: ModelResult, rule: str) -> Panel:
    bins = [f"{100 * a:.0f}–{100 * b:.0f} %" for a, b in itertools.pairwise(EDGES)]
    series = []
    for G, colour in zip(model.silent, _SIZE_COLOURS, strict=False):
        pairs = [model.mass[rule, G, b] for b in range(len(bins))]
        side = f"G = {G}"
        series += [
            Series(side, bins, [p.predicted for p in pairs], colour, "bars", group=side),
            _measured(f"measured, {side}", bins, pairs, "unanimous")._replace(group=side),
        ]
    return series_panel(
        name=f"model-mass-{rule}".replace("_", "-"),
        title=f"A language model in training: gradient mass under {LABELS[rule]}",
        reading=(
            "Share of Σ W by solve rate of the prompt in a pilot: filled bars are predicted, "
            "circles measured."
        ),
        series=series,
        x=Axis("solve rate in the pilot"),
        y=Axis("share of mass", percent=True),
        note=_BARS,
    )


def _measured(name: str, x: Sequence[Any], pairs: Sequence[Prediction], colour: str) -> Series:
    return Series(
        name,
        x,
        [p.measured for p in pairs],
        colour,
        "markers",
        symbol="circle-open",
        low=[p.low for p in pairs],
        high=[p.high for p in pairs],
    )
