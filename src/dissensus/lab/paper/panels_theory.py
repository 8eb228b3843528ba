"""The paper's figures of the closed forms: 3, 4, 5, 7 and 8."""

from __future__ import annotations

import numpy as np

from dissensus.core import advantages, laws
from dissensus.core.groups import RewardGroups
from dissensus.lab.paper.sections import LABELS
from dissensus.views.page import Panel
from dissensus.views.series import Axis, Series, series_panel

__all__ = ["theory_panels"]

_LINES = ("grpo", "dr_grpo", "split", "naive")
_DASHES = ("solid", "dash", "dot", "dashdot")
_GROUPS = 4000  # sampled for each marker
_SOLVE_RATE = Axis("solve rate p", percent=True, span=(0, 1))


def theory_panels() -> list[Panel]:
    """Draw them; the markers are sampled."""
    rng = np.random.default_rng(0)
    return [
        _identity(),
        _attenuation(rng),
        _fidelity(),
        _required(),
        _silent(),
        _objective(),
        _gradient(rng),
        _weight(),
    ]


def _identity() -> Panel:
    size, grpo = 8, advantages.get("grpo")
    k = np.arange(size + 1)
    rewards = (np.arange(size) < k[:, None]).astype(float)
    given = grpo(RewardGroups.from_dense(rewards, correct=rewards > 0)).reshape(rewards.shape)
    line = Series("σ = √(k(G−k))/G", k.tolist(), (np.sqrt(k * (size - k)) / size).tolist(), "grpo")
    markers = [
        Series(
            f"mean of A·(r − {b})",
            k.tolist(),
            (given * (rewards - b)).mean(axis=1).tolist(),
            colour,
            "markers",
            symbol=symbol,
        )
        for b, colour, symbol in (
            (0.2, "wrong", "circle-open"),
            (0.5, "split", "square-open"),
            (0.8, "dr_grpo", "diamond-open"),
        )
    ]
    return series_panel(
        name="figure-3-left",
        title="Figure 3, left: a group's update is its disagreement",
        reading=(
            "The update of a prompt by the number of correct rollouts of 8: three baselines fall "
            "on one curve."
        ),
        series=[line, *markers],
        x=Axis("correct rollouts k of 8"),
        y=Axis("update"),
    )


def _attenuation(rng: np.random.Generator) -> Panel:
    sizes = [4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256]
    line = np.geomspace(4, 256, 60)
    series = []
    for p, colour in ((0.5, "grpo"), (0.2, "dr_grpo")):
        law = 1 - 1 / (8 * line * p * (1 - p))
        exact = laws.fidelity(p, sizes)
        sampled = [_sampled("grpo", p, G, rng) / np.sqrt(p * (1 - p)) for G in sizes]
        series += [
            Series(f"closed form, p = {p}", line.tolist(), law.tolist(), colour, dash="dash"),
            Series(f"exact, p = {p}", sizes, exact.tolist(), colour),
            Series(f"sampled, p = {p}", sizes, sampled, colour, "markers", symbol="circle-open"),
        ]
    return series_panel(
        name="figure-3-right",
        title="Figure 3, right: what finite groups keep of the update",
        reading=(
            "The share of the large-group update that groups of G keep; the closed form "
            "overstates small groups."
        ),
        series=series,
        x=Axis("group size G", log=True, ticks=(4, 8, 16, 32, 64, 128, 256)),
        y=Axis("E[g] / √(p(1−p))", percent=True),
        note=f"Markers: {_GROUPS:,} sampled groups each.",
    )


def _sampled(rule: str, p: float, group_size: int, rng: np.random.Generator) -> float:
    contrast = advantages.signature(advantages.get(rule), group_size).contrast
    return float(contrast[rng.binomial(group_size, p, _GROUPS)].mean())


def _fidelity() -> Panel:
    sizes = np.unique(np.round(np.geomspace(2, 300, 60)))
    series = []
    for p, colour in ((0.5, "grpo"), (0.1, "dr_grpo"), (0.05, "split")):
        law = 1 - 1 / (8 * sizes * p * (1 - p))
        series += [
            Series(f"exact, p = {p}", sizes.tolist(), laws.fidelity(p, sizes).tolist(), colour),
            Series(f"closed form, p = {p}", sizes.tolist(), law.tolist(), colour, dash="dash"),
        ]
    return series_panel(
        name="figure-4-left",
        title="Figure 4, left: fidelity by group size",
        reading="Hard prompts need larger groups for the same share of their signal.",
        series=series,
        x=Axis("group size G", log=True, ticks=(2, 4, 8, 16, 32, 64, 128, 256)),
        y=Axis("fidelity φ", percent=True, span=(0.0, 1.02)),
    )


def _required() -> Panel:
    p = np.linspace(0.04, 0.96, 93)
    series = []
    for wanted, colour in ((0.95, "grpo"), (0.99, "dr_grpo")):
        exact = laws.required_group_size(p, fidelity=wanted)
        law = laws.group_size_law(p, fidelity=wanted)
        series += [
            Series(f"exact, φ = {wanted:.0%}", p.tolist(), exact.tolist(), colour),
            Series(f"closed form, φ = {wanted:.0%}", p.tolist(), law.tolist(), colour, dash="dash"),
        ]
    return series_panel(
        name="figure-4-right",
        title="Figure 4, right: group size that a fidelity needs",
        reading="The group size for 95 % and 99 % of the large-group signal, by solve rate.",
        series=series,
        x=_SOLVE_RATE,
        y=Axis("group size G", log=True, ticks=(8, 16, 32, 64, 128, 256)),
    )


def _silent() -> Panel:
    p = np.linspace(0, 1, 201)
    return series_panel(
        name="figure-5",
        title="Figure 5: unanimous groups by solve rate",
        reading=(
            "Small groups of easy and hard prompts are mostly unanimous; at 0 and 1 every group is."
        ),
        series=[
            Series(f"G = {G}", p.tolist(), laws.unanimous_rate(p, G).tolist(), colour, dash=dash)
            for G, colour, dash in zip((4, 8, 16, 64), _LINES, _DASHES, strict=True)
        ],
        x=_SOLVE_RATE,
        y=Axis("p^G + (1−p)^G", percent=True, span=(0, 1)),
    )


def _objective() -> Panel:
    p = np.linspace(0, 1, 201)
    arcsine = laws.large_group_objective(p, "grpo") / np.pi
    return series_panel(
        name="figure-7-left",
        title="Figure 7, left: what each rule climbs",
        reading="GRPO climbs the arcsine of the solve rate, Dr. GRPO the solve rate itself.",
        series=[
            Series("GRPO, (2/π)·arcsin√p", p.tolist(), arcsine.tolist(), "grpo"),
            Series("Dr. GRPO, p", p.tolist(), p.tolist(), "dr_grpo", dash="dash"),
        ],
        x=_SOLVE_RATE,
        y=Axis("objective, scaled to 1", span=(0, 1)),
    )


def _gradient(rng: np.random.Generator) -> Panel:
    p = np.linspace(0, 1, 201)
    marks = [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95]
    series = []
    for rule in ("grpo", "dr_grpo"):
        sampled = [_sampled(rule, at, 64, rng) for at in marks]
        series += [
            Series(
                f"{LABELS[rule]}, large groups",
                p.tolist(),
                laws.gradient_mass(p, rule).tolist(),
                rule,
            ),
            Series(
                f"{LABELS[rule]}, sampled at G = 64",
                marks,
                sampled,
                rule,
                "markers",
                symbol="circle-open",
            ),
        ]
    return series_panel(
        name="figure-7-right",
        title="Figure 7, right: the expected update",
        reading=(
            "√(p(1−p)) under GRPO and p(1−p) under Dr. GRPO; sampled groups of 64 fall just below."
        ),
        series=series,
        x=_SOLVE_RATE,
        y=Axis("expected update"),
        note=f"Markers: {_GROUPS:,} sampled groups each.",
    )


def _weight() -> Panel:
    p = np.linspace(0.001, 0.999, 400)
    return series_panel(
        name="figure-8",
        title="Figure 8: weight by difficulty",
        reading=(
            "What one unit of solve rate is worth: least in the middle under GRPO, the "
            "same everywhere under Dr. GRPO."
        ),
        series=[
            Series(
                "GRPO, 1/√(p(1−p))", p.tolist(), laws.difficulty_weight(p, "grpo").tolist(), "grpo"
            ),
            Series("Dr. GRPO, 1", [0.0, 1.0], [1.0, 1.0], "dr_grpo", dash="dash"),
        ],
        x=_SOLVE_RATE,
        y=Axis("weight", log=True, span=(0.9, 40), ticks=(1, 2, 5, 10, 20)),
    )
