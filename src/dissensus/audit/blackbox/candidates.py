"""The family of rules that rewards and advantages are matched against.

    A = (r − baseline [− mean over the batch]) / D

with D one of the spreads below, plus eps, or the root of its square plus eps. `LIMITED` rules
have no eps: their spread is kept above a floor, below a cap, or not divided by where it is small.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from dissensus.audit.blackbox.moments import Floats, Moments

__all__ = ["CANDIDATES", "CANONICAL_EPS", "LIMITED", "Candidate", "Spread"]

CANONICAL_EPS = (1e-4, 1e-5, 1e-6, 1e-8, 1e-9, 1e-12)
"""What frameworks add to a standard deviation; decides only between rules that fit alike."""


class Spread(NamedTuple):
    """(N,) what a rule divides by before eps, and how far rounding can have moved it."""

    value: Floats
    error: Floats


@dataclass(frozen=True)
class Candidate:
    """One rule of the family.

    Attributes:
        numerator: `mean`, `leave_one_out`, `length_mean` (weighted by lengths) or `none`.
        denominator: `group_std`, `batch_std`, `batch_centred_std`, `leave_one_out_std`,
            `own_std` (of the group, around the means of the others), `group_mean`, `none`, or
            `constant` (a number that the data give).
        ddof: Of the standard deviation.
        inside: eps is added to the variance, inside the root.
        shift: The mean of the batch is subtracted as well (whitening).
        by: Statistics of the batch count each `rollout` or each `token` once.
        limit: What stands in for eps: `floor` (max(spread, floor)), `cap` (min(spread, cap)) or
            `undivided` (no division where the spread is below a bound); None: eps is added.
    """

    numerator: str
    denominator: str
    ddof: int | None = None
    inside: bool = False
    shift: bool = False
    by: str = "rollout"
    limit: str | None = None

    @property
    def family(self) -> tuple[str, str, int | None]:
        """What distinguishes rules for a reader: not where eps is added."""
        if self.denominator == "own_std":  # at one group size only eps differs from that rule
            return ("mean", "group_std", self.ddof)
        if (self.numerator, self.denominator) == ("leave_one_out", "batch_centred_std"):
            return ("mean", "batch_centred_std", self.ddof)  # the same holds here
        return (self.numerator, self.denominator, self.ddof)

    @property
    def uses_tokens(self) -> bool:
        """Whether it needs lengths."""
        return self.by == "token" or self.numerator == "length_mean"

    @property
    def reads_silent_groups(self) -> bool:
        """Whether unanimous groups say something about the rule."""
        return self.shift or self.numerator == "none"

    @property
    def formula(self) -> str:
        """The rule in one line.

        Example:
            >>> Candidate("mean", "group_std", 1).formula
            '(r − group mean) / (group std, ddof 1, + eps)'
        """
        top = _NUMERATOR_TEXT[self.numerator]
        if self.shift:
            top = f"({top} − batch mean)" if self.numerator == "none" else f"({top}, batch-centred)"
        if self.denominator == "none":
            return top
        bottom = _DENOMINATOR_TEXT[self.denominator]
        if self.ddof is not None:
            bottom += f", ddof {self.ddof}"
        if self.by == "token":
            bottom += ", over tokens"
        top = top if top.startswith("(") or top == "r" else f"({top})"
        if self.denominator == "constant":
            return f"{top} / constant"
        if self.limit is not None:
            return f"{top} / {_LIMIT_TEXT[self.limit].format(bottom)}"
        return (
            f"{top} / sqrt({bottom}, squared, + eps)"
            if self.inside
            else f"{top} / ({bottom}, + eps)"
        )

    def top(self, m: Moments) -> Floats:
        """(N,) the numerator."""
        if not self.shift:
            return self._base(m)
        base = self._base(m)
        return base - m.batch_spread(self.numerator, base, self.by)[0]

    def spread(self, m: Moments, unit: float) -> Spread:
        """(N,) the denominator before eps; NaN where it is not defined.

        Args:
            m: Statistics of the rows.
            unit: Relative rounding of the arithmetic that made the advantages.
        """
        if self.denominator in ("none", "constant"):
            return Spread(np.ones_like(m.rewards), np.zeros_like(m.rewards))
        if self.denominator == "group_mean":
            return Spread(np.where(m.mean > 0, m.mean, np.nan), 4 * unit * m.largest)
        ddof = self.ddof or 0
        if self.denominator == "group_std":
            return _root(m.squares, m.size - ddof, 4 * unit * m.largest)
        if self.denominator == "own_std":
            factor = m.size / np.maximum(m.size - 1, 1)
            return _root(m.squares * factor**2, m.size - ddof, 4 * unit * m.largest)
        if self.denominator == "leave_one_out_std":
            spread = _root(m.others_squares, m.size - 1 - ddof, 4 * unit * m.largest)
            # E[x²] − E[x]², as it is computed there, loses half of the digits.
            fine = min(unit, 2.0**-22)  # no framework does this in 16 bits
            lost = 16 * fine * m.largest**2 / np.maximum(spread.value, np.sqrt(fine) * m.largest)
            return Spread(np.where(spread.value > 0, spread.value, np.nan), spread.error + lost)
        key, values = (
            ("none", m.rewards)
            if self.denominator == "batch_std"
            else (self.numerator, self._base(m))
        )
        _, squares, total = m.batch_spread(key, values, self.by)
        return _root(squares, total - ddof, 4 * unit * m.batch_largest)

    def evaluate(self, m: Moments, eps: float) -> Floats:
        """(N,) advantages of the rule; for `constant` eps is the divisor itself."""
        top = self.top(m)
        if self.denominator == "constant":
            return top / eps
        value = self.spread(m, 0.0).value
        if self.denominator == "none":
            return top
        below = self._below(value, eps)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(below > 0, top / below, 0.0)

    def _below(self, value: Floats, eps: float) -> Floats:
        if self.limit == "floor":
            return np.maximum(value, eps)
        if self.limit == "cap":
            return np.minimum(value, eps)
        if self.limit == "undivided":
            return np.where(value < eps, 1.0, value)
        return np.sqrt(value**2 + eps) if self.inside else value + eps

    def _base(self, m: Moments) -> Floats:
        if self.numerator == "mean":
            return m.centred
        if self.numerator == "leave_one_out":
            return m.centred * m.size / np.maximum(m.size - 1, 1)
        if self.numerator == "length_mean":
            return m.length_weighted
        return m.rewards


_NUMERATOR_TEXT = {
    "mean": "r − group mean",
    "leave_one_out": "r − mean of the others",
    "length_mean": "r − length-weighted group mean",
    "none": "r",
}
_DENOMINATOR_TEXT = {
    "group_std": "group std",
    "batch_std": "batch std of rewards",
    "batch_centred_std": "batch std of centred rewards",
    "leave_one_out_std": "std of the others",
    "own_std": "group std around means of the others",
    "group_mean": "group mean",
    "constant": "constant",
}


_LIMIT_TEXT = {
    "floor": "max({}; floor)",
    "cap": "min({}; cap)",
    "undivided": "({}; undivided below a bound)",
}


def _root(squares: Floats, count: Floats, error: Floats) -> Spread:
    value = np.where(count > 0, np.sqrt(squares / np.maximum(count, 1)), np.nan)
    return Spread(value, error)


def _family() -> tuple[Candidate, ...]:
    plain = [Candidate(n, "none") for n in ("mean", "leave_one_out", "none", "length_mean")]
    stds = [
        Candidate(n, d, ddof, inside)
        for inside in (False, True)
        for d in ("group_std", "batch_std", "batch_centred_std", "leave_one_out_std")
        for ddof in (1, 0)
        for n in ("mean", "leave_one_out", "none")
        if not (n == "none" and d == "batch_centred_std")
    ]
    whitened = [
        Candidate(n, d, ddof, inside, shift=True, by=by)
        for inside in (True, False)
        for by in ("rollout", "token")
        for n, d in (
            ("none", "batch_std"),
            ("mean", "batch_centred_std"),
            ("leave_one_out", "batch_centred_std"),
        )
        for ddof in (1, 0)
        if by == "token" or n == "none"  # centred rewards have no mean over rollouts
    ]
    shifted = [Candidate("none", "none", shift=True, by=by) for by in ("rollout", "token")]
    own = [Candidate("leave_one_out", "own_std", ddof) for ddof in (1, 0)]
    means = [Candidate(n, "group_mean") for n in ("mean", "leave_one_out")]
    last = [Candidate(n, "constant") for n in ("mean", "none")]
    return (*plain, *stds, *own, *means, *shifted, *whitened, *last)


CANDIDATES: tuple[Candidate, ...] = _family()
"""Every rule of the family, the simplest first: of those that fit alike the first is named."""


LIMITED: tuple[Candidate, ...] = tuple(
    replace(candidate, limit=limit)
    for limit in ("floor", "cap", "undivided")
    for candidate in CANDIDATES
    if candidate.denominator not in ("none", "constant") and not candidate.inside
)
"""Rules without eps whose spread is limited; tried where no rule of the family fits."""
