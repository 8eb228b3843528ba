"""One estimator in numbers: its signature, what that implies, and how it differs from another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dissensus.core import advantages, laws
from dissensus.core.advantages import AdvantageEstimator, Signature, Weight
from dissensus.core.advantages.weights import WEIGHTS
from dissensus.core.groups import FloatArray
from dissensus.core.laws import Comparison, Implications, LargeGroups
from dissensus.errors import DissensusError, InputError
from dissensus.views.estimators.facts import IN_NEUTRAL, Entry, rule_entry, weight_entry
from dissensus.views.format import number

__all__ = ["TENTHS", "Detail", "Pair", "detail", "find", "pair"]

LARGEST = 1024
TENTHS = range(9, 190, 19)
"""Where the middles of the tenths of the axis stand among the solve rates of `implications`."""

# An estimate of the limit is drawn where its own error is below this share of its value.
_GOOD = 0.05


@dataclass(frozen=True)
class Detail:
    """An estimator at one group size.

    Attributes:
        entry: What it says about itself.
        weights: What its weights say about themselves.
        estimator: The estimator.
        group_size: G.
        signature: A₊ and A₋ of each k, in the neutral context; None where none exists.
        implied: What follows, for prompts spread evenly over solve rates; None likewise.
        limit: (n,) f′(p) of large groups, NaN where it is not known well enough.
        limit_objective: (n,) f(p), brought to the height of F at p = 1/2.
        limit_is_exact: Whether both are in closed form rather than extrapolated.
        absent: Why there is no signature; empty where there is one.
        context_note: In which context the numbers hold; empty where only rewards count.
    """

    entry: Entry
    weights: tuple[Entry, ...]
    estimator: AdvantageEstimator
    group_size: int
    signature: Signature | None
    implied: Implications | None
    limit: FloatArray
    limit_objective: FloatArray
    limit_is_exact: bool
    absent: str
    context_note: str

    @property
    def name(self) -> str:
        """Its title, which is shorter than what is written."""
        return self.entry.title

    @property
    def silent(self) -> str:
        """The k on which it is silent, computed, or as its profile says."""
        if self.implied is None:
            return self.entry.silent
        found = laws.silent_set(self.implied.silent)
        return found + (IN_NEUTRAL if self.entry.shifts_with_batch else "")

    @property
    def push(self) -> str:
        """Whether it pushes groups as a whole, and how strongly beside its contrast."""
        if self.implied is None:
            return self.entry.push
        if not self.implied.has_push:
            return f"none (B = 0 in every group){self.entry.shift}"
        ratio = self.implied.push_ratio
        size = (
            "all of it: there is no contrast"
            if np.isinf(ratio)
            else f"Σ|E[B]|/Σ|E[W]| = {number(ratio)}"
        )
        return f"pushes groups as a whole: {size}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        out = self.entry.to_json() | {"group_size": self.group_size, "context": self.context_note}
        if self.signature is None or self.implied is None:
            return out | {"signature": None, "absent": self.absent}
        found = self.implied
        rows = zip(
            self.signature.positive.tolist(), self.signature.negative.tolist(),
            self.signature.contrast.tolist(), self.signature.push.tolist(),
            found.silent.tolist(), strict=True,
        )  # fmt: skip
        names = ("k", "positive", "negative", "contrast", "push", "silent")
        curves = {
            "contrast": found.contrast, "push": found.push, "slope": found.slope,
            "objective": found.objective, "weight": found.weight,
            "silent_rate": found.silent_rate, "large_group_slope": self.limit,
        }  # fmt: skip
        return out | {
            "silent": self.silent,
            "push": self.push,
            "push_ratio": found.push_ratio,
            "signature": [dict(zip(names, (k, *row), strict=True)) for k, row in enumerate(rows)],
            "mass_by_decile": found.mass_by_bin().tolist(),
            "large_group_limit_is_exact": self.limit_is_exact,
            "by_solve_rate": [
                {"p": float(found.p[i])} | {name: float(v[i]) for name, v in curves.items()}
                for i in TENTHS
            ],
        }

    def scaled(self, factor: float) -> Detail:
        """The curves of the same estimator with its advantages multiplied; its signature stays."""
        found = self.implied
        if found is not None:
            names = ("contrast", "push", "slope", "objective", "weight")
            found = replace(found, **{name: factor * getattr(found, name) for name in names})
        limits = (factor * self.limit, factor * self.limit_objective)
        return replace(self, implied=found, limit=limits[0], limit_objective=limits[1])


@dataclass(frozen=True)
class Pair:
    """Two estimators side by side; `comparison` is None where one has no signature or contrast."""

    first: Detail
    second: Detail
    comparison: Comparison | None

    @property
    def drawn(self) -> list[tuple[str, Detail]]:
        """Both as they are drawn, at equal pull, and under the names that say so."""
        if self.comparison is None:
            return [(each.name, each) for each in (self.first, self.second)]
        factor = self.comparison.factor
        name = f"{number(factor)} × {self.second.name}"
        return [(self.first.name, self.first), (name, self.second.scaled(factor))]

    @property
    def sentences(self) -> list[str]:
        """How they differ, in words."""
        found = self.comparison
        if found is None:
            return ["They cannot be compared: one of them has no contrast of its own here."]
        one, other = self.first.name, self.second.name
        leads = " and ".join(f"{low:.2f} … {high:.2f}" for low, high in found.first_leads)
        lines = [
            f"At equal total pull, {one} puts more on solve rates {leads}, {other} on the rest."
            if leads
            else f"{one} and {other} put the same emphasis on every solve rate."
        ]
        lines.append(
            f"Cosine of their gradient-mass profiles: {found.cosine:.4f}. Equal pull takes "
            f"{number(found.factor)} × the advantages of {other}."
        )
        if max(found.push_ratios) > 1e-9:
            pushes = ["0" if each < 1e-9 else number(each) for each in found.push_ratios]
            lines.append(
                f"Push beside contrast, Σ|E[B]|/Σ|E[W]|: {pushes[0]} and {pushes[1]}; no part of "
                "the profiles."
            )
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        found = self.comparison
        if found is None:
            return {"written": self.second.entry.written, "comparison": None}
        return self.second.to_json() | {
            "comparison": {
                "first_leads": [list(each) for each in found.first_leads],
                "cosine": found.cosine,
                "factor": found.factor,
                "push_ratios": list(found.push_ratios),
            }
        }


def find(text: str) -> tuple[AdvantageEstimator, AdvantageEstimator | None]:
    """The estimator that a text writes, and for a weight by itself: GRPO under it, and GRPO.

    Raises:
        InputError: Nothing of that name, or text that cannot be read.
    """
    if text.partition("(")[0].strip() in {*WEIGHTS} - {"schedule"}:
        return advantages.weighted("grpo", text), advantages.get("grpo")
    return advantages.get(text), None


def detail(estimator: AdvantageEstimator, group_size: int) -> Detail:
    """Compute everything about an estimator in groups of one size.

    Raises:
        InputError: A group size below 2 or above 1,024.
    """
    if not 2 <= group_size <= LARGEST:
        raise InputError(
            f"The group size must lie from 2 to {LARGEST}", where="estimators", got=group_size
        )
    context = advantages.neutral_context(estimator)
    signature = implied = None
    absent = ""
    try:
        signature = advantages.signature(estimator, group_size, context=context)
        implied = laws.implications(signature)
    except DissensusError as error:
        absent = error.what
    slope = objective = np.full(0, np.nan)
    limit = advantages.limit(estimator)
    is_exact = limit is not None and limit.objective is not None and estimator.scope == "group"
    if implied is not None:
        middle = float(np.interp(0.5, implied.p, implied.objective))
        if is_exact and limit is not None and limit.objective is not None:
            slope = limit.slope(implied.p)
            objective = limit.objective(implied.p) - limit.objective(np.array(0.5)) + middle
        else:
            slope, objective = _limit_by_numbers(estimator, implied.p)
            objective = objective + middle
    entry = rule_entry(estimator)
    return Detail(
        entry=entry,
        weights=tuple(
            weight_entry(type(step)) for step in estimator.transforms if isinstance(step, Weight)
        ),
        estimator=estimator,
        group_size=group_size,
        signature=signature,
        implied=implied,
        limit=slope,
        limit_objective=objective,
        limit_is_exact=is_exact,
        absent=absent,
        context_note=_context_note(estimator, entry.title),
    )


def pair(first: Detail, second: Detail) -> Pair:
    """Compare two estimators at the group sizes they were computed for."""
    if first.signature is None or second.signature is None:
        return Pair(first, second, None)
    try:
        return Pair(first, second, laws.compare(first.signature, second.signature))
    except InputError:
        return Pair(first, second, None)


def _limit_by_numbers(
    estimator: AdvantageEstimator, p: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """f′ and f − f(1/2), NaN where their estimated error is too large to draw."""
    context = advantages.neutral_context(estimator)
    try:
        found: LargeGroups = laws.large_groups(
            lambda size: advantages.signature(estimator, size, context=context), p
        )
    except DissensusError:
        return np.full(len(p), np.nan), np.full(len(p), np.nan)
    span = np.ptp(found.objective[np.isfinite(found.objective)]) or 1.0
    is_good = found.slope_error <= _GOOD * np.maximum(np.abs(found.slope), 1e-9)
    is_known = found.objective_error <= _GOOD * span
    return np.where(is_good, found.slope, np.nan), np.where(is_known, found.objective, np.nan)


def _context_note(estimator: AdvantageEstimator, name: str) -> str:
    """In which context the signature holds, of a rule that reads more than a group's rewards."""
    notes = []
    if estimator.scope != "group":
        notes.append(
            f"{name} looks beyond the group: its numbers are for a neutral reference batch with "
            "one group of each k = 0 … G, and change with the batch."
        )
    if "state" in estimator.needs:
        notes.append(f"The memory of {name} is empty here.")
    if "step" in estimator.needs:
        notes.append("The step is 0 here.")
    others = [n for n in estimator.needs if n not in ("state", "step", "rewards_by_function")]
    if others:
        notes.append(
            f"What {name} needs beside rewards ({', '.join(others)}) is the same for all rollouts "
            "here."
        )
    return " ".join(notes)
