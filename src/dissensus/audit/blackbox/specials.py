"""Match replies against rules outside the family, and bracket their eps by search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dissensus.audit.blackbox.batch import Batch
from dissensus.audit.blackbox.known import Special
from dissensus.audit.blackbox.subject import Reply, Subject

__all__ = ["SpecialFit", "fit_special"]

_TOL = 2e-5
_GRID = np.concatenate([[0.0], np.logspace(-13, -1, 241)])


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
    start = 1e-6 if special.has_eps else 0.0
    if special.has_eps and _worst(special, replies, start, slack=3e-3) > 1:
        return None
    if not special.has_eps:
        if _worst(special, replies, start) > 1:
            return None
        return SpecialFit(special, None, _error(special, replies, start))
    small = [(batch, subject.try_ask(batch)) for batch in _mixed_scales()]
    asked = [*replies, *((b, r) for b, r in small if r is not None)]
    errors = np.array([_worst(special, asked, eps) for eps in _GRID])
    good = np.flatnonzero(errors <= 1)
    if not len(good):
        return _between(special, asked, errors)
    low, high = int(good[0]), int(good[-1])
    bounds = (_edge(special, asked, low, -1), _edge(special, asked, high, 1))
    middle = float(np.sqrt(bounds[0] * bounds[1])) if bounds[0] > 0 else bounds[0]
    return SpecialFit(special, bounds, _error(special, asked, middle))


def _mixed_scales() -> list[Batch]:
    """Batches whose groups differ in scale, so that whitening does not hide the eps."""
    batches = []
    for power in range(1, 9):
        rng = np.random.default_rng(power)
        levels = (1.0, 1.0, 10.0**-power, 0.5 * 10.0**-power)
        groups = [np.sort(rng.random(5))[::-1] * level for level in levels]
        batches.append(Batch.of(groups, rng.integers(1, 9, size=20), power))
    return batches


def _between(
    special: Special, asked: Sequence[tuple[Batch, Reply]], errors: np.ndarray
) -> SpecialFit | None:
    """The allowed interval may be narrower than the grid: search around its best point."""
    best = int(np.argmin(errors))
    low, high = _GRID[max(best - 1, 0)], _GRID[min(best + 1, len(_GRID) - 1)]
    fine = np.linspace(low, high, 401)
    close = np.array([_worst(special, asked, eps) for eps in fine])
    good = np.flatnonzero(close <= 1)
    if not len(good):
        return None
    bounds = (float(fine[max(good[0] - 1, 0)]), float(fine[min(good[-1] + 1, 400)]))
    return SpecialFit(special, bounds, _error(special, asked, float(fine[good[len(good) // 2]])))


def _edge(
    special: Special, asked: Sequence[tuple[Batch, Reply]], position: int, direction: int
) -> float:
    """Where, beyond a grid point that fits, the rule stops to fit."""
    inside = float(_GRID[position])
    if not 0 <= position + direction < len(_GRID):
        return inside
    outside = float(_GRID[position + direction])
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


def _pair(
    special: Special, batch: Batch, reply: Reply, eps: float
) -> tuple[np.ndarray | None, np.ndarray]:
    expected = special.predict(batch, eps)
    if expected.ndim == 1:
        # One value per rollout is expected: a reply that varies by token is another rule.
        return (None if reply.per_token else expected), reply.advantages
    if reply.tokens is None:
        return None, reply.advantages
    return expected, reply.tokens
