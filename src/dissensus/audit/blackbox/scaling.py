"""Rewards times 1000 … 10⁻¹⁴: they bracket eps, and show where a rule ends that fitted so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dissensus.audit.blackbox import probes
from dissensus.audit.blackbox.batch import Batch
from dissensus.audit.blackbox.candidates import CANDIDATES, LIMITED, Candidate
from dissensus.audit.blackbox.fit import PRECISIONS, Fit, fit_rows, fit_with
from dissensus.audit.blackbox.moments import Floats, Moments, Rows
from dissensus.audit.blackbox.subject import Reply, Subject

__all__ = ["ENOUGH", "Scaled", "concatenate", "fit_scaled", "fit_screen"]

ENOUGH = 0.999
"""Share of rows that a rule must explain to be the function's rule."""

_PRECISIONS = PRECISIONS[:2]  # float16 would let too many rules pass


class Scaled(NamedTuple):
    """What is left of the fits once rewards were scaled.

    Attributes:
        fits: From the best to the worst, over all probes.
        zero_below: (low, high) reach of rewards at which a group begins to be treated as silent.
        contradicted: What the scaled probes show against the best fit so far, in one line.
    """

    fits: list[Fit]
    zero_below: tuple[float, float] | None = None
    contradicted: str | None = None


def fit_screen(rows: Rows) -> list[Fit]:
    """Fit the family, and where nothing of it is enough the rules with a limited spread."""
    fits = fit_rows(rows, precisions=_PRECISIONS)
    if not fits or fits[0].share < ENOUGH:
        limited = _fit_any(rows, LIMITED)
        if _is_enough(limited):
            return [*limited, *fits]
    return fits


def fit_scaled(subject: Subject, rows: Rows, fits: Sequence[Fit]) -> Scaled:
    """Ask on scaled rewards, and keep the rules that explain those replies as well.

    Args:
        subject: The function.
        rows: The replies that `fits` were made from.
        fits: Sorted; the first explains enough.
    """
    good = [fit for fit in fits if fit.share >= ENOUGH]
    asked = _ask(subject, good[0].candidate)
    everything = _appended(rows, asked.probes)
    order = [c for c in (*CANDIDATES, *LIMITED) if any(c == fit.candidate for fit in good)]
    rest = [fit for fit in fits if fit.candidate not in order]
    again = _fit_any(everything, order)
    if _is_enough(again) and not asked.odd_zeros:
        return Scaled([*again, *rest], asked.zero_below)
    if not asked.odd_zeros:
        limited = _fit_any(everything, LIMITED)
        if _is_enough(limited):
            return Scaled([*limited, *again, *rest], asked.zero_below)
    said = asked.odd_zeros or _contradiction(good[0], asked.probes)
    return Scaled([*again, *rest], None, said)


class _Probe(NamedTuple):
    factor: float
    batch: Batch
    reply: Reply


class _Asked(NamedTuple):
    probes: list[_Probe]
    zero_below: tuple[float, float] | None
    odd_zeros: str | None


def _ask(subject: Subject, candidate: Candidate) -> _Asked:
    """The replies that say something about eps, and where groups begin to be treated as silent."""
    found, silent_at, alive_at = [], 0.0, np.inf
    for factor in probes.LARGE_SCALES:
        probe = _reply(subject, factor)
        if probe is None:
            break
        found.append(probe)  # a split group of large rewards that gets 0 is no silent group
    for factor in probes.SCALES:
        probe = _reply(subject, factor)
        if probe is None:
            break
        reach = _reach(probe.batch)
        silent = _silent_groups(probe.batch, probe.reply, equal=candidate.shift)
        silent_at = max(silent_at, float(reach[silent].max(initial=0.0)))
        alive_at = min(alive_at, float(reach[~silent].min(initial=np.inf)))
        if not silent.any():  # else it treats them as silent, which says nothing about eps
            found.append(probe)
    odd = None
    if silent_at > 2 * alive_at:
        odd = (
            f"a group whose rewards reach {silent_at:.3g} is treated as silent, "
            f"one whose rewards reach {alive_at:.3g} is not"
        )
    return _Asked(found, (silent_at, alive_at) if silent_at > 0 else None, odd)


def _reply(subject: Subject, factor: float) -> _Probe | None:
    batch = probes.scale_probe(factor, 5)
    reply = subject.try_ask(batch)
    if reply is None:
        return None
    if not np.isfinite(reply.advantages).all():
        subject.failures.append(f"advantages of rewards times {factor:g} are NaN or infinite")
        return None
    return _Probe(factor, batch, reply)


def concatenate(parts: Sequence[Rows]) -> Rows:
    """Rows after rows; their groups and batches must be numbered apart already."""
    return Rows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _appended(rows: Rows, asked: Sequence[_Probe]) -> Rows:
    parts, group, batch = [rows], int(rows.group.max()) + 1, int(rows.batch.max()) + 1
    for _, probe, reply in asked:
        parts.append(probe.rows(reply.advantages, batch=batch, first_group=group))
        group, batch = group + probe.n_groups, batch + 1
    return concatenate(parts)


def _fit_any(rows: Rows, candidates: Sequence[Candidate]) -> list[Fit]:
    """Fit under the first precision that is enough; under the best one where none is."""
    best: list[Fit] = []
    for precision in _PRECISIONS:
        fits = fit_rows(rows, candidates, [precision])
        if not best or fits[0].share > best[0].share:
            best = fits
        if _is_enough(best):
            break
    return best


def _is_enough(fits: Sequence[Fit]) -> bool:
    return bool(fits) and fits[0].share >= ENOUGH


def _contradiction(fit: Fit, asked: Sequence[_Probe]) -> str:
    """Which scaled rewards the fit of the others does not explain, with one of them."""
    against, example, worst = [], "", 0.0
    for factor, batch, reply in asked:
        rows = batch.rows(reply.advantages, batch=0, first_group=0)
        alone = fit_with(rows, fit.candidate, _PRECISIONS[1])
        if alone.share >= ENOUGH and _meet(alone.eps, fit.eps):
            continue
        against.append(factor)
        with np.errstate(all="ignore"):
            expected = fit.candidate.evaluate(Moments(rows), fit.eps_value)
        off = np.abs(expected - rows.advantages)
        at = int(np.nanargmax(off / np.maximum(np.abs(expected), 1e-300)))
        size = float(off[at] / max(abs(expected[at]), 1e-300))
        if size > worst:
            worst = size
            example = (
                f"; times {factor:g} a reward gets {rows.advantages[at]:+.3g}, "
                f"not {expected[at]:+.3g}"
            )
    if not against:
        return f"{fit.candidate.formula} needs another eps at every scale of the rewards"
    scales = f"{against[0]:g}" if len(against) == 1 else f"{max(against):g} … {min(against):g}"
    return f"{fit.candidate.formula} fits until rewards are multiplied by {scales}{example}"


def _meet(one: tuple[float, float] | None, two: tuple[float, float] | None) -> bool:
    if one is None or two is None:
        return True
    return one[0] <= two[1] * (1 + 1e-6) and two[0] <= one[1] * (1 + 1e-6)


def _silent_groups(batch: Batch, reply: Reply, *, equal: bool) -> NDArray[np.bool_]:
    """(N,) whether the rollout's whole group gets 0, or one value (`equal`), as after whitening."""
    alive = np.zeros(batch.n_groups, dtype=bool)
    first = reply.advantages[np.searchsorted(batch.group_ids, batch.group_ids)]
    np.logical_or.at(alive, batch.group_ids, reply.advantages != (first if equal else 0))
    return ~alive[batch.group_ids]


def _reach(batch: Batch) -> Floats:
    table = batch.dense
    return np.repeat(table.max(axis=1) - table.min(axis=1), table.shape[1])
