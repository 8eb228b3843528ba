"""Match replies against rules outside the family, and bracket their eps by search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dissensus.audit.blackbox.batch import Batch
from dissensus.audit.blackbox.known import Special
from dissensus.audit.blackbox.moments import Floats
from dissensus.audit.blackbox.subject import Reply, Subject

__all__ = ["SpecialFit", "fit_special"]

_TOL = 2e-5
_STARTS = (1e-6, 1e-3, 1e-2, 0.05)
_GRID: Floats = np.concatenate([[0.0], np.logspace(-13, -1, 121)])


class SpecialFit(NamedTuple):
    """A rule outside the family that equals the function.

    Attributes:
        special: The rule.
        eps: (low, high) that the replies allow; None: it has none.
        error: Largest absolute difference.
    """

    special: Special
    eps: tuple[float, float] | None
    error: float


def fit_special(
    subject: Subject, special: Special, replies: Sequence[tuple[Batch, Reply]]
) -> SpecialFit | None:
    """Compare with the replies; where the rule has an eps, bracket it on groups of small spread.

    Returns:
        None when it is another rule.
    """
    if not special.has_eps:
        if _worst(special, replies, 0.0) > 1:
            return None
        return SpecialFit(special, None, _error(special, replies, 0.0))
    if min(_worst(special, replies, eps, slack=0.03) for eps in _STARTS) > 1:
        return None
    small = [(batch, subject.try_ask(batch)) for batch in _mixed_scales()]
    asked = [(batch, reply) for batch, reply in small if reply is not None] or list(replies)
    bounds = _bracket(special, asked)
    if bounds is None:
        return None
    middle = float(np.sqrt(bounds[0] * bounds[1])) if bounds[0] > 0 else bounds[0]
    if _worst(special, replies, middle) > 1:
        return None
    return SpecialFit(special, bounds, _error(special, [*replies, *asked], middle))


def _mixed_scales() -> list[Batch]:
    """Batches whose groups differ in scale, so that whitening does not hide the eps."""
    batches = []
    for power in range(1, 9):
        rng = np.random.default_rng(power)
        levels = (1.0, 1.0, 10.0**-power, 0.5 * 10.0**-power)
        groups = [np.sort(rng.random(5))[::-1] * level for level in levels]
        batches.append(Batch.of(groups, rng.integers(1, 9, size=20), power))
    return batches


def _bracket(special: Special, asked: Sequence[tuple[Batch, Reply]]) -> tuple[float, float] | None:
    """(low, high) of the eps that reproduce the replies; None where there is none."""
    grid = _GRID
    errors = np.array([_worst(special, asked, eps) for eps in grid])
    if errors.min() > 1:  # the interval may be narrower than the grid: look around its best point
        best = int(np.argmin(errors))
        grid = np.linspace(_GRID[max(best - 1, 0)], _GRID[min(best + 1, len(_GRID) - 1)], 401)
        errors = np.array([_worst(special, asked, eps) for eps in grid])
    good = np.flatnonzero(errors <= 1)
    if not len(good):
        return None
    first, last = int(good[0]), int(good[-1])
    return _edge(special, asked, grid, first, -1), _edge(special, asked, grid, last, 1)


def _edge(
    special: Special,
    asked: Sequence[tuple[Batch, Reply]],
    grid: Floats,
    position: int,
    direction: int,
) -> float:
    """Where, beyond a grid point that fits, the rule stops to fit."""
    inside = float(grid[position])
    if not 0 <= position + direction < len(grid):
        return inside
    outside = float(grid[position + direction])
    for _ in range(24):
        middle = (inside + outside) / 2
        if _worst(special, asked, middle) <= 1:
            inside = middle
        else:
            outside = middle
    return outside


def _worst(
    special: Special, asked: Sequence[tuple[Batch, Reply]], eps: float, slack: float = _TOL
) -> float:
    """Largest difference in units of what rounding allows; ≤ 1 is a match."""
    worst = 0.0
    for batch, reply in asked:
        expected, seen = _pair(special, batch, reply, eps)
        if expected is None:
            return np.inf
        scale = slack * max(1.0, float(np.abs(seen).max()))
        worst = max(worst, float(np.abs(expected - seen).max()) / scale)
        if worst > 1e6:
            break
    return worst


def _error(special: Special, asked: Sequence[tuple[Batch, Reply]], eps: float) -> float:
    pairs = [_pair(special, batch, reply, eps) for batch, reply in asked]
    return max(float(np.abs(e - s).max()) for e, s in pairs if e is not None)


def _pair(special: Special, batch: Batch, reply: Reply, eps: float) -> tuple[Floats | None, Floats]:
    expected = special.predict(batch, eps)
    if expected.ndim == 1:
        # One value per rollout is expected: a reply that varies by token is another rule.
        return (None if reply.per_token else expected), reply.advantages
    if reply.tokens is None:
        return None, reply.advantages
    return expected, reply.tokens
