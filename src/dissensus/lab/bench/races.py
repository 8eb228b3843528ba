"""Rollouts to a target: when an arm gets to where another one ends, with an interval.

The interval inverts paired differences. With μ_a(f) the held-out rate of an arm when a share f of
the budget R was generated, arm a needs the first share f at which μ_a(f) = μ_reference(1). Where
the interval of μ_a(f) − μ_reference(1) lies below zero it was not there yet, where it lies above it
was. So nothing has to be averaged over trainings that never got there, and the sampling error of
the target is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dissensus.core.comparisons import Estimates, compare_cells
from dissensus.core.groups import FloatArray
from dissensus.lab.bench.measures import first_crossing, rates_at
from dissensus.lab.bench.records import Arm, TrainingRecord
from dissensus.views.bench import Crossing, Goal, Interval, Race, Rival

__all__ = [
    "GOALS",
    "SHARES",
    "Field",
    "compare_shares",
    "rivals",
    "run_races",
    "share_bounds",
    "strategy_of",
]

GOALS = {"uniform": 1 / 2, "dapo": 1 / 3}
"""Shares of these strategies' rollouts with which ours is meant to reach their final rate."""

SHARES = np.linspace(0.0, 1.0, 201)
"""Of the budget, at which curves are compared with a target."""


@dataclass(frozen=True)
class Field:
    """A family of arms with their trainings, the baseline first, seeds in one order.

    Attributes:
        name: Of the family.
        baseline: Arm that the others are compared with.
        arms: Trainings by arm.
    """

    name: str
    baseline: Arm
    arms: dict[Arm, list[TrainingRecord]]


def run_races(field: Field, ours: Sequence[Arm]) -> tuple[list[Race], list[Goal]]:
    """To the baseline's final rate, and among allocators to that of DAPO's refill.

    Args:
        field: A family.
        ours: Arms that goals were set for.
    """
    targets = [field.baseline]
    if field.name == "allocators":
        targets += [arm for arm in field.arms if strategy_of(arm) == "dapo"]
    curves = {
        arm: np.array([rates_at(record, SHARES) for record in found])
        for arm, found in field.arms.items()
    }
    mine = [arm for arm in ours if arm in field.arms] if field.name == "allocators" else []
    n_goals = len(mine) * sum(strategy_of(target) in GOALS for target in targets)
    races, goals = [], []
    for target in targets:
        race, own = _race(field, target, curves, mine, n_goals)
        races.append(race)
        goals += [
            Goal(reference=race.reference, target=race.target, ratio=race.goal, crossing=each)
            for each in own
            if race.goal is not None
        ]
    return races, goals


def _race(
    field: Field, reference: Arm, curves: dict[Arm, FloatArray], mine: Sequence[Arm], n_goals: int
) -> tuple[Race, list[Crossing]]:
    """The race, and the crossings of ours with intervals for the goals alone."""
    ends = curves[reference][:, -1]
    target = float(ends.mean())
    own = first_crossing(SHARES, curves[reference].mean(axis=(0, 2)), target) or 1.0
    others = [arm for arm in curves if arm != reference]
    gaps = compare_shares(np.array([curves[arm] for arm in others]), ends)
    bounds = share_bounds(gaps, together=len(others))
    for_goals = share_bounds(gaps, together=max(1, n_goals))
    crossings, goals = [], []
    for i, arm in enumerate(others):
        share = first_crossing(SHARES, curves[arm].mean(axis=(0, 2)), target)
        found = Crossing(
            name=str(arm),
            share=share,
            ratio=None if share is None else share / own,
            interval=_around(bounds[i], share, own),
            reached=sum(
                first_crossing(SHARES, one, target) is not None for one in curves[arm].mean(axis=2)
            ),
        )
        crossings.append(found)
        if arm in mine:
            goals.append(replace(found, interval=_around(for_goals[i], share, own)))
    order = sorted(crossings, key=lambda each: (each.share is None, each.share or 0.0))
    race = Race(
        family=field.name,
        reference=str(reference),
        target=target,
        share=own,
        crossings=order,
        goal=GOALS.get(strategy_of(reference)) if field.name == "allocators" else None,
    )
    return race, goals


def compare_shares(curves: FloatArray, ends: FloatArray) -> list[Estimates]:
    """Differences from the target at every one of `SHARES`.

    Args:
        curves: (K, S, F, H) held-out rates at `SHARES`.
        ends: (S, H) rates whose mean is the target.
    """
    return [compare_cells(curves[:, :, f] - ends) for f in range(len(SHARES))]


def share_bounds(
    gaps: Sequence[Estimates], *, together: int
) -> list[tuple[float | None, float | None]]:
    """Shares of the budget between which arms reach a target, one step outward each.

    Before the first share at which the interval of the difference reaches zero the target was not
    reached; at the first one at which it lies above zero it was. `None` lies beyond the budget.

    Args:
        gaps: From `compare_shares`.
        together: Arms that are looked at together.
    """
    found = [each.bounds(together=together) for each in gaps]
    low, high = (np.array([each[end] for each in found]) for end in (0, 1))
    bounds: list[tuple[float | None, float | None]] = []
    for i in range(low.shape[1]):
        if np.isnan(low[:, i]).any():
            bounds.append((0.0, None))
            continue
        may, must = np.flatnonzero(high[:, i] >= 0), np.flatnonzero(low[:, i] > 0)
        bounds.append(
            (
                float(SHARES[max(0, may[0] - 1)]) if len(may) else None,
                float(SHARES[min(must[0] + 1, len(SHARES) - 1)]) if len(must) else None,
            )
        )
    return bounds


def _around(
    bounds: tuple[float | None, float | None], share: float | None, own: float
) -> tuple[float | None, float | None]:
    """Bounds of a share as bounds of the ratio, the estimate within.

    The upper end is divided by the reference's own share, which is at most 1 and found early rather
    than late: a claim that an arm needs few rollouts is not helped by a baseline that stood still.
    """
    low, high = bounds
    if share is not None:
        low = share if low is None else min(low, share)
        high = None if high is None else max(high, share)
    return low, None if high is None else high / own


def rivals(field: Field, ours: Iterable[Arm], races: Iterable[Race]) -> list[Rival]:
    """Published strategies against each of ours, at the rollouts at which ours reaches a target."""
    mine = [arm for arm in ours if arm in field.arms]
    published = [arm for arm in field.arms if arm not in mine and arm != field.baseline]
    if not published:
        return []
    found = []
    for arm in mine:
        for race in (each for each in races if each.family == field.name):
            crossing = race.of(str(arm))
            share = 1.0 if crossing is None or crossing.share is None else crossing.share
            cells = np.array([[rates_at(r, [share])[0] for r in field.arms[a]] for a in published])
            own = np.array([rates_at(record, [share])[0] for record in field.arms[arm]])
            gaps = compare_cells(cells - own)
            bounds = gaps.bounds(together=len(published))
            found += [
                Rival(
                    ours=str(arm),
                    name=str(other),
                    reference=race.reference,
                    share=share,
                    difference=Interval(
                        float(gaps.mean[i]), float(bounds.low[i]), float(bounds.high[i])
                    ),
                )
                for i, other in enumerate(published)
            ]
    return found


def strategy_of(arm: Arm) -> str:
    """Name of an arm's allocator, without parameters."""
    return arm.allocator.partition("(")[0].strip()
