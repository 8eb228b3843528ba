"""Which rule made logged advantages: chunk by chunk, with the interval of eps over all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from dissensus.audit.blackbox.candidates import CANDIDATES, Candidate
from dissensus.audit.blackbox.fit import PRECISIONS, TOLERANCE, Fit, Precision, alike, fit_rows
from dissensus.audit.blackbox.moments import Floats, Moments, Rows

__all__ = [
    "ENOUGH",
    "MOST",
    "Regime",
    "RuleSearch",
    "by_prompt",
    "first_batches",
    "precisions_of",
    "predicted",
    "regrouped",
]

ENOUGH = 0.999
MOST = 0.98
"""Share of rows from which on a rule is named; what it does not explain is a finding."""
_FAIR = 0.5
_KEPT = 4
_FEW = 12
_DECIMALS = 4
"""Numbers of a 16-bit float end after a few decimals as well: only fewer than this say more."""
_SCREENED = 4096
_SMALLEST = 64
"""A part of a chunk with fewer rows is not searched for a change of rule."""


class Regime(NamedTuple):
    """A stretch of the log that one rule and one interval of eps explain.

    Attributes:
        candidate: The rule.
        eps: (low, high); None: the rule has none.
        first_step: Step of its first chunk.
        last_step: Step of its last chunk.
        rows: Rows that say something.
        explained: Rows that it explains.
        error: Largest absolute difference over the explained rows.
        precision: Rounding that was allowed for.
    """

    candidate: Candidate
    eps: tuple[float, float] | None
    first_step: int
    last_step: int
    rows: int
    explained: int
    error: float
    precision: Precision

    def joined(self, other: Regime) -> Regime | None:
        """Both as one, or None where no eps belongs to both."""
        if self.candidate != other.candidate:
            return None
        eps = self.eps
        if self.eps is not None and other.eps is not None:
            eps = (max(self.eps[0], other.eps[0]), min(self.eps[1], other.eps[1]))
            if eps[0] > eps[1]:
                return None
        return self._replace(
            eps=eps,
            first_step=min(self.first_step, other.first_step),
            last_step=max(self.last_step, other.last_step),
            rows=self.rows + other.rows,
            explained=self.explained + other.explained,
            error=max(self.error, other.error),
        )

    @property
    def fit(self) -> Fit:
        """The same as a fit."""
        return Fit(self.candidate, self.eps, self.rows, self.explained, self.error, self.precision)


@dataclass
class RuleSearch:
    """Collects chunks and says which rule explains them.

    Every rule is tried on the first chunk; on later ones those that were fair, and all of them
    again where none of these explains the chunk.

    Attributes:
        regimes: By rule, the stretches with one interval of eps each.
        rows: Rows that were looked at.
    """

    regimes: dict[Candidate, list[Regime]] = field(default_factory=dict)
    rows: int = 0
    winners: list[Regime] = field(default_factory=list)
    _spoken: int = 0
    _seen: dict[Candidate, int] = field(default_factory=dict)
    _silent_rows: dict[Candidate, int] = field(default_factory=dict)
    _precisions: tuple[Precision, ...] = ()

    def add(self, rows: Rows, steps: np.ndarray) -> Fit | None:
        """Fit one chunk.

        Args:
            rows: Finite rows of whole groups.
            steps: (N,) step of each row.

        Returns:
            The worst of the best fits of its parts; None where no row says anything.
        """
        if not len(rows.rewards):
            return None
        # Of this chunk only: a silent one looks as if it had been rounded to whole numbers.
        self._precisions = precisions_of(rows)
        worst: Fit | None = None
        self.rows += len(rows.rewards)
        for fits, part_steps in self._parts(rows, steps, depth=5):
            if not fits or not fits[0].rows:
                continue
            self._spoken += fits[0].rows
            first, last = int(part_steps.min()), int(part_steps.max())
            for fit in fits:
                self._note(_regime(fit, first, last), fits[0].rows)
            self._note_winner([_regime(fit, first, last) for fit in alike(fits)])
            worst = fits[0] if worst is None or fits[0].share < worst.share else worst
        return worst

    def ranking(self) -> list[Fit]:
        """One fit per rule, the best first: its longest regime, with the rows of the whole log."""
        out = []
        for candidate, stretches in self.regimes.items():
            main = max(stretches, key=lambda regime: regime.explained)
            looked_at = sum(regime.rows for regime in stretches) + self._silent_rows[candidate]
            rows = looked_at + self._spoken - self._seen[candidate]
            out.append(Fit(candidate, main.eps, rows, main.explained, main.error, main.precision))
        order = {candidate: i for i, candidate in enumerate(CANDIDATES)}
        return sorted(out, key=lambda fit: (fit.rank, order[fit.candidate]))

    def changes(self) -> list[Regime]:
        """The stretches, in order, where the log follows more than one rule; else empty."""
        ranking = self.ranking()
        if ranking and ranking[0].share >= ENOUGH:
            return []
        solid = [w for w in self.winners if w.explained >= ENOUGH * w.rows and w.rows >= 16]
        joined: list[Regime] = []
        for winner in solid:
            both = joined[-1].joined(winner) if joined else None
            if both is not None:
                joined[-1] = both
            else:
                joined.append(winner)
        return joined if len(joined) > 1 else []

    def _parts(
        self, rows: Rows, steps: np.ndarray, depth: int
    ) -> Iterator[tuple[list[Fit], np.ndarray]]:
        """Fits of the chunk, or of halves of it (by batch) where only these follow one rule."""
        whole = self._fits(rows)
        n_batches = int(rows.batch.max()) + 1
        too_small = n_batches < 2 or len(rows.rewards) < 2 * _SMALLEST
        if depth == 0 or too_small or not whole or whole[0].share >= ENOUGH:
            yield whole, steps
            return
        early = rows.batch < n_batches // 2
        halves = [(rows.take(keep), steps[keep]) for keep in (early, ~early)]
        best = [fits[0].share for part, _ in halves if (fits := self._fits(part))]
        if max(best, default=0.0) < ENOUGH:
            yield whole, steps
            return
        for part, part_steps in halves:
            yield from self._parts(part, part_steps, depth - 1)

    def _fits(self, rows: Rows) -> list[Fit]:
        """Fits of the rules that did well so far, or of all where none of these is enough."""
        if self.winners:
            last = self.winners[-1]
            fair = sorted(self.regimes, key=lambda c: -self.regimes[c][-1].explained)[:_KEPT]
            fair += [last.candidate, *(fit.candidate for fit in alike(self.ranking()))]
            order = [c for c in CANDIDATES if c in fair]
            known = [each for each in self._precisions if each == last.precision]
            fits = fit_rows(rows, order, known or self._precisions)
            if fits and (fits[0].share >= ENOUGH or not fits[0].rows):
                return fits
        sample = (
            rows.take(first_batches(rows, _SCREENED)) if len(rows.rewards) > 2 * _SCREENED else rows
        )
        fits = fit_rows(sample, CANDIDATES, self._precisions)
        if sample is not rows:
            fair = [fit.candidate for fit in fits if fit.share >= _FAIR]
            order = [c for c in CANDIDATES if c in fair] or [fit.candidate for fit in fits[:2]]
            fits = fit_rows(rows, order, self._precisions)
        return [fit for fit in fits if fit.share >= _FAIR] or fits[:2]

    def _note(self, new: Regime, spoken: int) -> None:
        stretches = self.regimes.setdefault(new.candidate, [])
        self._seen[new.candidate] = self._seen.get(new.candidate, 0) + spoken
        self._silent_rows.setdefault(new.candidate, 0)
        for position, old in enumerate(stretches):
            both = old.joined(new)
            if both is not None:
                stretches[position] = both
                return
        if len(stretches) < 64 and (new.explained or not stretches):
            stretches.append(new)
        else:
            self._silent_rows[new.candidate] += new.rows

    def _note_winner(self, tied: list[Regime]) -> None:
        """One stretch more, unless one of the rules that tie for it explains the last one too."""
        joined = [self.winners[-1].joined(regime) for regime in tied] if self.winners else []
        both = next((each for each in joined if each is not None), None)
        if both is not None:
            self.winners[-1] = both
        elif len(self.winners) < 256:
            self.winners.append(tied[0])


def precisions_of(rows: Rows) -> tuple[Precision, ...]:
    """The roundings to try, from what the written numbers look like.

    Advantages that all end after d decimals or digits, or that a 16-bit float holds exactly, were
    rounded when they were written: a rule that gives these very numbers does so by accident.
    """
    double, single, half, brain = PRECISIONS
    narrow = rows.advantages.astype(np.float32)
    # A few round numbers are exact in any format: no reason to believe that all was computed in it.
    many = len(np.unique(narrow)) > _FEW
    out: list[Precision] = []
    if not (narrow.view(np.uint32) & 0xFFFF).any():
        out = _written(brain, 2.0**-8, many)
    elif np.array_equal(narrow.astype(np.float16).astype(np.float32), narrow):
        out = _written(half, 2.0**-11, many)
    decimals = _decimals(rows.advantages)
    if decimals is not None and not (out and decimals > _DECIMALS):
        reward = _decimals(rows.rewards)
        coarse = 0.5 * 10.0**-reward if reward is not None and reward > 2 else 0.0
        said = f"written with {decimals} decimals"
        out.append(Precision(said, single.unit, 0.5 * 10.0**-decimals, coarse))
    digits = _digits(rows.advantages)
    if digits is not None and not (out and digits > _DECIMALS):
        said = f"written with {digits} digits"
        out.append(Precision(said, single.unit, advantage_unit=0.5 * 10.0 ** (1 - digits)))
    if not out:
        out = (
            [single]
            if np.array_equal(narrow.astype(np.float64), rows.advantages)
            else [double, single]
        )
    return tuple(sorted(out, key=lambda p: (p.unit, p.advantage_unit, p.advantage_step)))


def _written(computed: Precision, unit: float, many: bool) -> list[Precision]:
    """Rounded when they were written, and (`many` numbers) computed in such a format."""
    written = Precision(f"written as {computed.name}", PRECISIONS[1].unit, 2.0**-25, 0.0, unit)
    return [written, *([computed] if many else [])]


def first_batches(rows: Rows, count: int) -> np.ndarray:
    """(N,) the rows of the first whole batches that hold at least `count` rows."""
    last = rows.batch[np.argsort(rows.batch, kind="stable")[min(count, len(rows.batch)) - 1]]
    return np.asarray(rows.batch <= last)


def _decimals(values: Floats) -> int | None:
    for decimals in range(1, 8):
        if np.array_equal(np.round(values, decimals), values):
            return decimals
    return None


def _digits(values: Floats) -> int | None:
    """Significant digits of written numbers; None for more than five."""
    some = values[values != 0]
    power = np.floor(np.log10(np.abs(some)))
    for digits in range(2, 6):
        # Divided by an exact power of ten: a product with 0.001 is not the number that was read.
        shift = digits - 1 - power
        up, down = 10.0 ** np.maximum(shift, 0), 10.0 ** np.maximum(-shift, 0)
        if np.array_equal(np.round(some * up / down) / up * down, some):
            return digits
    return None


def _regime(fit: Fit, first: int, last: int) -> Regime:
    return Regime(
        fit.candidate, fit.eps, first, last, fit.rows, fit.explained, fit.error, fit.precision
    )


def predicted(fit: Fit, rows: Rows) -> Floats:
    """(N,) what the fitted rule would have given."""
    return fit.candidate.evaluate(Moments(rows), fit.eps_value)


def regrouped(rows: Rows, fit: Fit | None) -> tuple[str, Fit] | None:
    """A grouping of the rows other than the logged one that explains them better, if any.

    Blocks of consecutive rows of 2 … 64, and whole batches, are tried.
    """
    before = 0.0 if fit is None else fit.share
    best: tuple[str, Fit] | None = None
    starts = np.r_[0, np.flatnonzero(np.diff(rows.batch)) + 1]
    position = np.arange(len(rows.batch)) - np.repeat(
        starts, np.diff(np.r_[starts, len(rows.batch)])
    )
    precisions = precisions_of(rows)
    for size in (2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 64, 0):
        block = position // size if size else np.zeros_like(position)
        codes = np.unique(rows.batch * (len(position) + 1) + block, return_inverse=True)[1]
        if np.array_equal(codes, np.unique(rows.group, return_inverse=True)[1]):
            continue
        grouped = rows._replace(group=codes)
        fits = _without_silent(fit_rows(grouped, _GROUP_RULES, precisions), grouped)
        if fits and fits[0].share > max(before + 0.05, 0.95 if best is None else best[1].share):
            best = (f"blocks of {size} consecutive rows" if size else "the whole batch", fits[0])
    return best


def _without_silent(fits: list[Fit], rows: Rows) -> list[Fit]:
    """The fits, with every advantage of a unanimous group as a row that these rules miss."""
    size = np.abs(rows.advantages)
    against = int(((Moments(rows).reach <= TOLERANCE) & (size > 1e-3 * size.max())).sum())
    return [replace(fit, rows=fit.rows + against) for fit in fits]


def by_prompt(rows: Rows, prompts: np.ndarray, fit: Fit | None) -> Fit | None:
    """The fit with all rollouts of a prompt in one group, where that explains more."""
    codes = np.unique(rows.batch * (int(prompts.max()) + 1) + prompts, return_inverse=True)[1]
    grouped = rows._replace(group=codes)
    fits = _without_silent(fit_rows(grouped, _GROUP_RULES, precisions_of(rows)), grouped)
    if fits and fits[0].share > (0.0 if fit is None else fit.share) + 0.05:
        return fits[0]
    return None


_GROUP_RULES = tuple(
    c
    for c in CANDIDATES
    if c.denominator != "constant" and c.numerator in ("mean", "leave_one_out")
)
