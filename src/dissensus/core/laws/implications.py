"""What a rule does to a population of prompts, from its signature alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import BoolArray, FloatArray
from dissensus.core.laws._inputs import (
    SignatureLike,
    as_probability,
    broadcast,
    positive_negative_of,
)
from dissensus.core.laws.binomial import average_binomial, expected_contrast, expected_push
from dissensus.core.laws.objective import difficulty_weight, implied_objective, objective_slope
from dissensus.errors import InputError

__all__ = ["Comparison", "Implications", "compare", "implications", "silent_set"]

# 19 in each tenth of the axis, the middle one at the middle of the tenth.
_POINTS = 190
# Shares that differ by less are equal: rounding must not make one rule lead.
_EVEN = 1e-9


@dataclass(frozen=True)
class Implications:
    """What a rule does with prompts of each solve rate, in groups of G.

    Attributes:
        group_size: G.
        p: (n,) solve rates.
        prompts: (n,) share of the prompts that have each of them; sums to 1.
        contrast: (n,) E[W], the coefficient of Δs.
        push: (n,) E[B], the coefficient with which everything sampled is pushed; 0 for every p
            where the rule is centred.
        slope: (n,) F′(p), the push's correlation with the group's mean score included.
        objective: (n,) F(p), 0 at p = 0.
        weight: (n,) E[W]/(p(1−p)), what the gradient of a prompt is multiplied by.
        silent_rate: (n,) probability that a group has no advantage at all.
        mass: (n,) share of the gradient mass: prompts · |E[W]|, brought to sum 1; NaN where there
            is no mass.
        push_ratio: Σ prompts · |E[B]| / Σ prompts · |E[W]|; 0 for a centred rule.
        silent: (G+1,) the numbers of correct rollouts on which it is silent.
    """

    group_size: int
    p: FloatArray
    prompts: FloatArray
    contrast: FloatArray
    push: FloatArray
    slope: FloatArray
    objective: FloatArray
    weight: FloatArray
    silent_rate: FloatArray
    mass: FloatArray
    push_ratio: float
    silent: BoolArray

    @property
    def has_push(self) -> bool:
        """Whether some group is pushed as a whole."""
        return self.push_ratio > _EVEN

    def mass_by_bin(self, bins: int = 10) -> FloatArray:
        """(bins,) share of the gradient mass in equal bins of the solve rate; the last holds 1."""
        of = np.minimum((self.p * bins).astype(np.int64), bins - 1)
        return np.asarray(np.bincount(of, weights=self.mass, minlength=bins), dtype=np.float64)


class Comparison(NamedTuple):
    """Where two rules differ once both pull equally hard over the population.

    Attributes:
        p: (n,) solve rates.
        ratio: (n,) share of the first rule's mass over that of the second.
        factor: What the second rule's advantages are multiplied by to pull as hard as the first.
        cosine: Between the two mass profiles, 1 for the same emphasis.
        first_leads: Intervals of the solve rate in which the first rule puts the larger share.
        push_ratios: Of each rule, as in `Implications`.
    """

    p: FloatArray
    ratio: FloatArray
    factor: float
    cosine: float
    first_leads: tuple[tuple[float, float], ...]
    push_ratios: tuple[float, float]


def implications(
    signature: SignatureLike, p: ArrayLike | None = None, prompts: ArrayLike | None = None
) -> Implications:
    """All that a rule implies for prompts of given solve rates, in groups of its signature's G.

    Args:
        signature: From `advantages.signature`.
        p: (n,) solve rates; None: 190 of them, spread evenly: 19 in each tenth.
        prompts: (n,) how many prompts have each of them, ≥ 0; None: equally many.

    Raises:
        InputError: p outside [0, 1]; counts that are negative, all 0, or of another shape; a
            signature with missing or non-finite entries.

    Example:
        >>> from dissensus import advantages
        >>> found = implications(advantages.signature(advantages.get("dr_grpo"), 8), [0.1, 0.5])
        >>> found.contrast.round(5).tolist(), found.weight.round(3).tolist()    # p(1−p)(1 − 1/8)
        ([0.07875, 0.21875], [0.875, 0.875])
        >>> found.mass.round(3).tolist()                                        # .09 : .25
        [0.265, 0.735]

    Source: docs/theory.md; arXiv:2607.00152 for rules without push.
    """
    rates, share = _population(p, prompts)
    positive, negative = positive_negative_of(signature)
    silent = (positive == 0) & (negative == 0)
    contrast, push = expected_contrast(signature, rates), expected_push(signature, rates)
    pull = share * np.abs(contrast)
    total = float(pull.sum())
    pushed = float(share @ np.abs(push))
    return Implications(
        group_size=len(positive) - 1,
        p=rates,
        prompts=share,
        contrast=contrast,
        push=push,
        slope=objective_slope(signature, rates),
        objective=implied_objective(signature, rates),
        weight=difficulty_weight(rates, signature),
        silent_rate=average_binomial(silent.astype(np.float64), rates),
        mass=pull / total if total > 0 else np.full(len(rates), np.nan),
        push_ratio=pushed / total if total > 0 else (np.inf if pushed > 0 else 0.0),
        silent=silent,
    )


def compare(
    first: SignatureLike,
    second: SignatureLike,
    p: ArrayLike | None = None,
    prompts: ArrayLike | None = None,
) -> Comparison:
    """Where on the difficulty axis one rule pulls more than another, at equal total pull.

    Rules differ in scale, which is the learning rate's business. So the second is multiplied by the
    factor that makes Σ prompts · |E[W]| equal, and what is left is emphasis. Push is not part of
    it, and stands beside as `push_ratios`.

    Args and errors as `implications`; the two group sizes may differ.

    Raises:
        InputError: A rule without any contrast on these prompts.

    Example:
        >>> from dissensus import advantages
        >>> rules = [advantages.get("grpo"), advantages.get("dr_grpo")]
        >>> found = compare(*(advantages.signature(rule, 8) for rule in rules))
        >>> [(round(low, 2), round(high, 2)) for low, high in found.first_leads]
        [(0.0, 0.27), (0.73, 1.0)]
        >>> round(found.cosine, 3)
        0.998
    """
    one, other = implications(first, p, prompts), implications(second, p, prompts)
    pulls = [each.prompts * np.abs(each.contrast) for each in (one, other)]
    totals = [float(pull.sum()) for pull in pulls]
    if not all(totals):
        raise InputError("a rule without contrast on these prompts has no emphasis to compare")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = one.mass / other.mass
    lead = one.mass - other.mass
    lead = np.where(np.abs(lead) > _EVEN * max(one.mass.max(), other.mass.max()), lead, 0.0)
    return Comparison(
        p=one.p,
        ratio=ratio,
        factor=totals[0] / totals[1],
        cosine=float(pulls[0] @ pulls[1] / np.sqrt((pulls[0] @ pulls[0]) * (pulls[1] @ pulls[1]))),
        first_leads=_intervals(one.p, lead),
        push_ratios=(one.push_ratio, other.push_ratio),
    )


def silent_set(silent: ArrayLike) -> str:
    """The numbers of correct rollouts on which a rule is silent, in words.

    Args:
        silent: (G+1,) booleans, as `Implications.silent`.

    Example:
        >>> silent_set([True, False, False, False, True])
        'k = 0 and k = 4'
        >>> silent_set([True, False, False, True, True]), silent_set([False] * 5)
        ('k = 0 and k ≥ 3', 'no k')
    """
    flags = np.asarray(silent, dtype=np.bool_)
    last = len(flags) - 1
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    runs = [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]
    if runs == [(0, last)]:
        return "every k"
    words = [_run_of_k(low, high, last) for low, high in runs]
    if not words:
        return "no k"
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _run_of_k(low: int, high: int, last: int) -> str:
    if low == high:
        return f"k = {low}"
    if high == last:
        return f"k ≥ {low}"
    return f"k ≤ {high}" if low == 0 else f"{low} ≤ k ≤ {high}"


def _population(p: ArrayLike | None, prompts: ArrayLike | None) -> tuple[FloatArray, FloatArray]:
    """Solve rates, and the share of the prompts at each."""
    rates = (np.arange(_POINTS) + 0.5) / _POINTS if p is None else as_probability(p)
    counts = np.asarray(1.0 if prompts is None else prompts, dtype=np.float64)
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise InputError("The 'prompts' parameter must be finite and ≥ 0")
    rates, counts = broadcast(p=rates, prompts=counts)
    rates, counts = np.atleast_1d(rates), np.atleast_1d(counts)
    if rates.ndim != 1 or not counts.sum() > 0:
        raise InputError("a population needs one row of solve rates and some prompts")
    return rates, counts / counts.sum()


def _intervals(p: FloatArray, lead: FloatArray) -> tuple[tuple[float, float], ...]:
    """Where `lead` is positive, its zeros interpolated between neighbouring solve rates."""
    order = np.argsort(p, kind="stable")
    x, y = p[order], lead[order]
    found: list[tuple[float, float]] = []
    start: float | None = 0.0 if y[0] > 0 else None
    for left in range(len(x) - 1):
        if (y[left] > 0) == (y[left + 1] > 0):
            continue
        zero = float(x[left] - y[left] * (x[left + 1] - x[left]) / (y[left + 1] - y[left]))
        if start is None:
            start = zero
        else:
            found.append((start, zero))
            start = None
    return (*found, (start, 1.0)) if start is not None else tuple(found)
