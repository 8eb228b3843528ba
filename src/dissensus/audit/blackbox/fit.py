"""Match rows of rewards and advantages against the family, with the interval of eps they allow.

For a candidate every row says, within rounding, which values of eps reproduce its advantage: an
interval. The eps of the rule lies in all of them; the best interval is the one that most rows
share. So the answer carries its own uncertainty, and rows that belong to no rule are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.audit.blackbox.candidates import CANDIDATES, CANONICAL_EPS, Candidate
from dissensus.audit.blackbox.moments import Floats, Moments, Rows

__all__ = [
    "PRECISIONS",
    "Fit",
    "Precision",
    "alike",
    "covering_interval",
    "fit_rows",
    "fit_with",
]

_WORTH = 0.02
TOLERANCE = 1e-6
"""A group whose rewards reach no further than this is unanimous."""


@dataclass(frozen=True)
class Precision:
    """Rounding of the arithmetic that made the advantages, and of the numbers as written.

    Attributes:
        name: What it is called in answers.
        unit: Relative rounding.
        advantage_step: Absolute rounding of written advantages (half of the last digit).
        reward_step: The same of written rewards.
        advantage_unit: Relative rounding of written advantages.
    """

    name: str
    unit: float
    advantage_step: float = 0.0
    reward_step: float = 0.0
    advantage_unit: float = 0.0


PRECISIONS = (
    Precision("float64", 2.0**-50),
    Precision("float32", 2.0**-22),
    Precision("float16", 2.0**-10),
    Precision("bfloat16", 2.0**-7),
)
"""From the finest: the first in which some rule explains all rows is the one that was used."""


@dataclass(frozen=True)
class Fit:
    """How well one candidate explains rows.

    Attributes:
        candidate: The rule.
        eps: (low, high) that the rows allow; for `constant` the divisor, for limited rules the
            floor, cap or bound; None: it has no eps.
        rows: Rows that say something about the rule.
        explained: How many of them the best interval of eps explains.
        error: Largest difference over the explained rows, relative where |A| exceeds 1.
        precision: The rounding that was allowed for.
    """

    candidate: Candidate
    eps: tuple[float, float] | None
    rows: int
    explained: int
    error: float
    precision: Precision

    @property
    def share(self) -> float:
        """Explained rows among those that say something; 0 without any."""
        return self.explained / self.rows if self.rows else 0.0

    @property
    def eps_value(self) -> float:
        """One eps for computing: a customary one inside the interval, else its middle."""
        if self.eps is None:
            return 0.0
        low, high = self.eps
        inside = [eps for eps in CANONICAL_EPS if low <= eps <= high]
        if inside:
            return inside[0]
        if low <= 0 or not np.isfinite(high):
            return low if np.isfinite(low) else 0.0
        return float(np.sqrt(low * high))

    @property
    def rank(self) -> tuple[float, bool, bool]:
        """Smaller is better: unexplained rows, then an unusual eps."""
        if self.eps is None or self.candidate.denominator == "constant":
            usual, odd = self.eps is None, False
        else:
            usual = self.eps[0] <= 0 or any(
                self.eps[0] <= eps <= self.eps[1] for eps in CANONICAL_EPS
            )
            odd = self.eps[0] > 1e-2
        return (-round(self.share, 3), odd, not usual)


def fit_rows(
    rows: Rows,
    candidates: Sequence[Candidate] = CANDIDATES,
    precisions: Iterable[Precision] = PRECISIONS,
    *,
    enough: float = 0.999,
) -> list[Fit]:
    """Fit every candidate and sort from the best to the worst.

    Args:
        rows: Finite rewards and advantages.
        candidates: Rules to try.
        precisions: Tried in order until a rule explains `enough` of the rows.
        enough: Share of explained rows that ends the search for a precision.

    Returns:
        Fits under the chosen precision; under the best one where none was enough, and a coarser
        one only where it explains clearly more.
    """
    m = Moments(rows)
    usable = [c for c in candidates if m.has_lengths or not c.uses_tokens]
    best: list[Fit] = []
    for precision in precisions:
        fits = [fit_with(rows, candidate, precision, m) for candidate in usable]
        fits.sort(key=lambda fit: fit.rank)
        if not best or (fits and fits[0].share > best[0].share + _WORTH):
            best = fits
        if best and best[0].share >= enough:
            break
    return best


def fit_with(
    rows: Rows, candidate: Candidate, precision: Precision, moments: Moments | None = None
) -> Fit:
    """Fit one candidate under one precision."""
    m = moments or Moments(rows)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return _fit(rows, candidate, precision, m)


def _fit(rows: Rows, candidate: Candidate, precision: Precision, m: Moments) -> Fit:
    low, high, speaks = eps_intervals(rows, candidate, precision, m)
    total = int(speaks.sum())
    interval, explained = covering_interval(low[speaks], high[speaks])
    eps = None if candidate.denominator == "none" else interval
    fit = Fit(candidate, eps, total, explained, 0.0, precision)
    if not explained:
        return fit
    good = speaks & (low <= interval[1]) & (high >= interval[0])
    error = np.abs(candidate.evaluate(m, fit.eps_value) - rows.advantages)[good]
    error /= np.maximum(1.0, np.abs(rows.advantages[good]))
    return Fit(candidate, eps, total, explained, float(error.max()), precision)


def eps_intervals(
    rows: Rows, candidate: Candidate, precision: Precision, m: Moments
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """(N,) lowest and highest eps that reproduces each row, and which rows say anything.

    A row that no eps reproduces has an empty interval (low > high).
    """
    unit = precision.unit
    top = candidate.top(m)
    scale = m.batch_largest if candidate.shift else m.largest
    slack_top = 8 * unit * scale + 2 * precision.reward_step
    relative = 16 * unit + precision.advantage_unit
    slack = relative * np.abs(rows.advantages) + precision.advantage_step
    size_top, size = np.abs(top), np.abs(rows.advantages)
    low = np.maximum(size_top - slack_top, 0) / (size + slack)
    low = np.where(np.isnan(low), 0.0, low)
    high = (size_top + slack_top) / np.maximum(size - slack, 0)
    high = np.where(np.isnan(high), np.inf, high)
    spread = candidate.spread(m, unit)
    if candidate.denominator not in ("none", "constant"):
        error = spread.error + 2 * precision.reward_step
        if candidate.limit is None:
            low, high = _minus(low, high, spread.value, error, unit, inside=candidate.inside)
        else:
            low, high = _limits(low, high, spread.value, error + 4 * unit * spread.value, candidate)
    clear = (size_top > slack_top) & (size > slack)
    opposite = clear & (np.sign(top) != np.sign(rows.advantages))
    speaks = (size_top > slack_top) | (size > slack)
    speaks &= np.isfinite(spread.value) & (m.size > 1)
    if not candidate.reads_silent_groups:
        speaks &= m.reach > TOLERANCE * np.minimum(1.0, np.maximum(m.batch_largest, 1e-30))
    if candidate.denominator == "none":
        opposite |= (low > 1) | (high < 1)
        low, high = np.zeros_like(low), np.ones_like(high)
    low = np.maximum(low, 1e-12 if candidate.denominator == "constant" else 0.0)
    return np.where(opposite, np.inf, low), np.where(opposite, -np.inf, high), speaks


def _minus(
    low: Floats, high: Floats, spread: Floats, error: Floats, unit: float, *, inside: bool
) -> tuple[Floats, Floats]:
    """From an interval of the denominator to one of eps."""
    wide = error + 4 * unit * spread
    most, least = spread + wide, np.maximum(spread - wide, 0)
    if inside:
        return low**2 * (1 - 4 * unit) - most**2, high**2 * (1 + 4 * unit) - least**2
    return low - most, high - least


def _limits(
    low: Floats, high: Floats, spread: Floats, wide: Floats, candidate: Candidate
) -> tuple[Floats, Floats]:
    """From an interval of the denominator to one of the floor, cap or bound of the spread."""
    most, least = spread + wide, np.maximum(spread - wide, 0)
    unchanged = (least <= high) & (most >= low)
    if candidate.limit == "floor":
        return np.where(unchanged, 0.0, low), np.where(least <= high, high, -np.inf)
    if candidate.limit == "cap":
        return np.where(most >= low, low, np.inf), np.where(unchanged, np.inf, high)
    undivided = (low <= 1) & (high >= 1)
    from_ = np.where(undivided & ~unchanged, least, 0.0)
    to = np.where(unchanged & ~undivided, most, np.inf)
    return from_, np.where(unchanged | undivided, to, -np.inf)


def alike(fits: Sequence[Fit]) -> list[Fit]:
    """Of sorted fits those that the rows cannot tell apart, the simplest first.

    A row or two may have been damaged: that alone decides for no rule.
    """
    tied = [fit for fit in fits if fit.rank == fits[0].rank and fit.rows >= fits[0].rows]
    fewest = min(fit.rows - fit.explained for fit in tied)
    return [fit for fit in tied if fit.rows - fit.explained <= 2 * fewest + 2]


def covering_interval(low: Floats, high: Floats) -> tuple[tuple[float, float], int]:
    """The interval that lies inside most of the given ones, and inside how many.

    Example:
        >>> covering_interval(np.array([0.0, 1.0, 5.0]), np.array([2.0, 3.0, 6.0]))
        ((1.0, 2.0), 2)
    """
    real = low <= high
    if not real.any():
        return (np.inf, -np.inf), 0
    starts, ends = np.sort(low[real]), np.sort(high[real])
    begun = np.searchsorted(starts, starts, side="right")
    ended = np.searchsorted(ends, starts, side="left")
    best = int(np.argmax(begun - ended))
    return (float(starts[best]), float(ends[ended[best]])), int((begun - ended)[best])
