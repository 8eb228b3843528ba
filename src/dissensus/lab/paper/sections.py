"""The comparison with the paper, number by number.

Printed values are those of arXiv:2607.00152 (Bay & Yearick 2026), version 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dissensus.core import laws
from dissensus.lab.paper.controlled import (
    METHODS,
    ControlledSettings,
    SeedResult,
    mean_curves,
    summarise_seeds,
)
from dissensus.lab.paper.dapo_curve import DapoCurve
from dissensus.lab.paper.data import ROLLOUTS, big_math
from dissensus.lab.paper.identity import ModelIdentity
from dissensus.lab.paper.intervals import OverSeeds
from dissensus.lab.paper.language_model import EDGES, ModelResult, Prediction
from dissensus.lab.paper.tables import (
    FIDELITIES,
    GROUP_SIZES,
    SOLVE_RATES,
    BigMathFacts,
    GroupSizes,
)
from dissensus.views.format import plural
from dissensus.views.paper import Comparison, Section

__all__ = [
    "LABELS",
    "big_math_section",
    "controlled_section",
    "dapo_section",
    "group_size_section",
    "identity_section",
    "model_section",
    "why_hardest",
]

LABELS = {"grpo": "GRPO", "dr_grpo": "Dr. GRPO", "dapo": "DAPO"}
_VECTOR_LIMIT, _MODEL_LIMIT = 1e-12, 1e-5
_EXACT_SIZES = ((7, 11, 51), (9, 14, 61), (22, 36, 144), (42, 69, 273))
_CLOSED_SIZES = ((5, 10, 50), (6, 12, 60), (14, 28, 139), (26, 53, 263))
_UNANIMOUS = (0.59, 0.44, 0.32, 0.23, 0.17)
_UNANIMOUS_DRAWN = (0.59, 0.43, 0.30, None, None)
_HARDEST_DR_GRPO = 0.88


def identity_section(vectors: Mapping[str, float], model: ModelIdentity | None) -> Section:
    """G = σ·Δs against the paper's own tolerance, and on the lab's language model."""
    rows = [
        Comparison(f"{LABELS[name]}, random scores", _VECTOR_LIMIT, error, unit="limit")
        for name, error in vectors.items()
    ]
    notes = []
    if model is not None:
        rows += [
            Comparison(f"{LABELS[name]}, language model", _MODEL_LIMIT, error, unit="limit")
            for name, error in model.error.items()
        ]
        name = "σ and update length, correlation"
        rows.append(Comparison(name, None, model.correlation, digits=2))
        notes.append(
            f"Language model: {len(model.std)} split groups of {model.groups}, relative error in "
            "float32. σ is the coefficient of the update and not its length, because the length of "
            "Δs differs from group to group; the correlation says how little one tells the other."
        )
    return Section(
        name="identity",
        title="The identity g = σ·Δs (Theorem 1)",
        intro=(
            "The update made from advantages and scores, against σ (σ² for Dr. GRPO) times the "
            "difference of the mean scores, which knows only the counts. Largest error over all "
            "groups; the limit for random scores is the paper's."
        ),
        rows=rows,
        left="limit",
        right="largest error",
        notes=notes,
    )


def group_size_section(found: GroupSizes) -> Section:
    """Table 2 of the paper, and the two fidelities of its text."""
    entries = []
    for i, p in enumerate(SOLVE_RATES):
        for j, wanted in enumerate(FIDELITIES):
            name = f"p = {p:g}, φ ≥ {100 * wanted:.0f} %"
            exact, law = float(found.exact[i, j]), float(found.closed_form[i, j])
            entries += [
                Comparison(f"{name}, exact", _EXACT_SIZES[i][j], exact),
                Comparison(f"{name}, closed form", _CLOSED_SIZES[i][j], law),
            ]
    fidelities = {p: float(laws.fidelity(p, 8)) for p in (0.5, 0.05)}
    return Section(
        name="group-sizes",
        title="Group size for a wanted fidelity (Table 2)",
        intro=(
            "The smallest group that keeps a share φ of the large-group gradient of a prompt of "
            "solve rate p, exact and by the closed form 1/(8(1−φ)p(1−p))."
        ),
        rows=[
            Comparison("φ at G = 8, p = 0.5", 0.9278, fidelities[0.5], digits=4),
            Comparison("φ at G = 8, p = 0.05", 0.5390, fidelities[0.05], digits=4),
        ],
        detail=entries,
    )


def big_math_section(facts: BigMathFacts) -> Section:
    """Tables 3 and 4 of the paper, exact functions of the histogram of solve rates."""
    extreme, medium = facts.extreme, facts.medium
    ratio = extreme["grpo", None] / extreme["dr_grpo", None]

    def percent(name: str, expected: float | None, value: float, digits: int = 1) -> Comparison:
        return Comparison(name, expected, value, digits=digits, unit="%")

    rows = [
        Comparison("problems", 215_608, float(big_math().problems.sum())),
        percent("never solved", 0.040, facts.never),
        percent("always solved", 0.072, facts.always),
        percent("unanimous at every G", 0.112, facts.never + facts.always),
        *(
            percent(f"unanimous at G = {G}, closed form", printed, float(value), 0)
            for G, printed, value in zip(GROUP_SIZES, _UNANIMOUS, facts.unanimous, strict=True)
        ),
        *(
            percent(f"unanimous at G = {G}, drawn", printed, float(value), 0 if printed else 1)
            for G, printed, value in zip(
                GROUP_SIZES, _UNANIMOUS_DRAWN, facts.unanimous_drawn, strict=True
            )
        ),
        percent("extreme mass, Dr. GRPO, G → ∞", 0.139, extreme["dr_grpo", None]),
        percent("extreme mass, GRPO, G → ∞", 0.247, extreme["grpo", None]),
        Comparison("their ratio", 1.78, ratio, digits=2),
        percent("medium mass, Dr. GRPO, G → ∞", 0.228, medium["dr_grpo", None]),
        percent("medium mass, GRPO, G → ∞", 0.175, medium["grpo", None]),
        percent("extreme mass, Dr. GRPO, G = 8", None, extreme["dr_grpo", 8]),
        percent("extreme mass, GRPO, G = 8", None, extreme["grpo", 8]),
    ]
    note = (
        f"At G = 8 GRPO's share of extreme prompts is {extreme['grpo', 8]:.1%}, not "
        f"{extreme['grpo', None]:.1%}: most of their groups are unanimous. Dr. GRPO's share is the "
        "same at every G."
    ).replace("%", " %")
    return Section(
        name="big-math",
        title="Big-Math: unanimous groups and gradient mass (Tables 3, 4)",
        intro=(
            "Exact functions of how many of 64 rollouts solved each of 215,608 problems. Extreme: "
            "solve rate below 10 % or above 90 %, never and always solved ones carry no mass; "
            "medium: 40 to 60 %. Drawn: groups of the 64 rollouts themselves, without replacement."
        ),
        rows=rows,
        notes=[note],
        data={"mass_by_tenth": {rule: mass.tolist() for rule, mass in facts.mass.items()}},
    )


def controlled_section(
    runs: Sequence[SeedResult], settings: ControlledSettings, *, seconds: float | None = None
) -> Section:
    """Section 8 of the paper, one seed there and several here; `seconds` is what a seed took."""
    found = summarise_seeds(runs)

    def row(name: str, key: str, expected: float | None, digits: int, **more: Any) -> Comparison:
        value = found[key]
        return Comparison(
            name, expected, value.mean, digits, low=value.low, high=value.high, **more
        )

    rows = [
        row("unanimous vs closed form, R²: GRPO", "silent_r_squared_grpo", 0.999, 3),
        row("the same: Dr. GRPO", "silent_r_squared_dr_grpo", None, 3),
        row("the same: DAPO, first draws", "silent_r_squared_dapo", None, 3),
        row("extreme mass at G = 8: GRPO", "extreme_mass_grpo", 0.170, 1, unit="%"),
        row("extreme mass at G = 8: Dr. GRPO", "extreme_mass_dr_grpo", 0.143, 1, unit="%"),
        row("hardest quartile, end: GRPO", "hardest_quartile_grpo", 0.99, 2),
        row(
            "hardest quartile, end: Dr. GRPO",
            "hardest_quartile_dr_grpo",
            _HARDEST_DR_GRPO,
            2,
            why=why_hardest(found["hardest_quartile_dr_grpo"], found["hardest_quartile_cut"]),
        ),
        row("hardest quartile, end: DAPO", "hardest_quartile_dapo", None, 2),
        *(row(f"steps until half: {LABELS[m]}", f"steps_to_half_{m}", None, 0) for m in METHODS),
        *(
            row(f"rollouts until half: {LABELS[m]}", f"rollouts_to_half_{m}", None, 0)
            for m in METHODS
        ),
        row("DAPO's rollouts over GRPO's", "oversampling_dapo", 3.5, 1),
    ]
    note = (
        "Until half: until the hardest quartile has a mean solve rate of 0.5; rollouts per prompt. "
        "DAPO is the fastest by steps and not by rollouts."
    )
    return Section(
        name="controlled",
        title=f"The controlled run (Section 8), {plural(len(runs), 'seed')}",
        intro=(
            f"{settings.prompts:,} Bernoulli-logit prompts that start from Big-Math's interior "
            f"solve rates, {settings.steps} steps at G = {settings.group_size}. The paper shows "
            "one seed; ours is the mean, and the interval is where one more seed falls in 95 of "
            "100 cases."
        ),
        rows=rows,
        data={
            "numbers": {name: value._asdict() for name, value in found.items()},
            "mean_curves": mean_curves(runs),
            "processor_seconds_per_seed": seconds,
        },
        notes=[note],
    )


def why_hardest(end: OverSeeds, cut: OverSeeds) -> str:
    """Where the quartile ends and what it reaches, counted on the seeds at hand."""
    # A quartile interpolated between two rates holds the prompts of the lower one.
    ends, cuts = np.array(end.values), np.floor(np.array(cut.values) * ROLLOUTS)
    by_cut = ", ".join(
        f"{one:.0f} of {ROLLOUTS} times in {plural(int((cuts == one).sum()), 'seed')} "
        f"(mean {ends[cuts == one].mean():.3f})"
        for one in np.unique(cuts)
    )
    near = int((np.round(ends, 2) == _HARDEST_DR_GRPO).sum())
    return (
        "the paper shows one seed, and its draw cannot be repeated without its file's order. With "
        f"tied rates ours ends at problems solved {by_cut}; {near} of "
        f"{plural(len(ends), 'seed')} round to {_HARDEST_DR_GRPO}"
    )


def dapo_section(curve: DapoCurve) -> Section:
    """Figure 6 of the paper: a consistency check with a stated population and time mapping."""
    printed = {"power": 0.92, "logit": None, "saturating": 0.98}
    words = {
        "power": "R², solve rates p^(1/T), one time scale",
        "logit": "R², log-odds shifted, one time scale",
        "saturating": "R², no theory, two free numbers",
    }
    rows = [
        Comparison(words[name], printed[name], fit.r_squared, digits=2)
        for name, fit in curve.fits.items()
    ]
    rows.append(Comparison("plateau, mean of the last 8 points", None, curve.plateau, digits=3))
    return Section(
        name="dapo",
        title="DAPO's logged all-correct share against E[p³²] (Figure 6)",
        intro=(
            "Population: Big-Math under Llama-3.1-8B, though DAPO trained another model on other "
            "prompts. Time: competence rises as 1 − exp(−t/τ), τ fitted, and its end is pinned to "
            "the plateau."
        ),
        rows=rows,
        notes=[
            (
                "A curve without any theory fits best, so this says only that the closed form is "
                "consistent with the log. The paper says the same."
            )
        ],
        data={
            "fits": {
                name: fit._replace(values=fit.values.tolist())._asdict()
                for name, fit in curve.fits.items()
            },
            "steps": curve.steps.tolist(),
            "logged": curve.logged.tolist(),
        },
    )


def model_section(result: ModelResult) -> Section:
    """What the paper leaves open: the same predictions on a language model in training."""

    def row(name: str, pair: Prediction) -> Comparison:
        return Comparison(
            name, pair.predicted, pair.measured, 1, "%", pair.low, pair.high, is_rounded=False
        )

    extreme, medium = (0, len(EDGES) - 2), (2,)
    rows = [row(f"unanimous at G = {G}", pair) for G, pair in result.silent.items()]
    detail = [
        row(f"unanimous at step {step}, G = {G}", pair)
        for (step, G), pair in result.silent_by_checkpoint.items()
    ]
    for (rule, G, b), pair in result.mass.items():
        is_shown = b in (*extreme, *medium) and G == _SHOWN_SIZE
        size = "" if is_shown else f", G = {G}"
        target = rows if is_shown else detail
        target.append(row(f"{LABELS[rule]} mass, {_bin_name(b)} solved{size}", pair))
    rows += [
        Comparison(f"R² over difficulties, G = {G}", None, value, digits=3)
        for G, value in result.r_squared.items()
    ]
    steps = " and ".join([", ".join(map(str, result.steps[:-1])), str(result.steps[-1])])
    rates = ", ".join(f"{rate:.0%}" for rate in result.solve_rates)
    return Section(
        name="language-model",
        title="What the paper leaves open: a language model in training",
        intro=(
            f"The lab's character-level model under GRPO at steps {steps} (solve rates {rates}). "
            "Predictions come from 64 rollouts per prompt, measurements from other groups, and a "
            "third set sorts prompts by difficulty. Mass is that of groups of 8. The intervals "
            "say where the predictions fall, all together in 95 of 100 cases, if both agree."
        ),
        rows=rows,
        left="predicted",
        right="measured",
        detail=detail,
        data={"steps": list(result.steps), "solve_rates": list(result.solve_rates)},
    )


_SHOWN_SIZE = 8


def _bin_name(b: int) -> str:
    return f"{100 * EDGES[b]:.0f}–{100 * EDGES[b + 1]:.0f} %"
