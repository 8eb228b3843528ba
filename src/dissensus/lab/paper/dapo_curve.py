"""DAPO's logged share of all-correct prompts, against E[p^32] on a moving population.

What is assumed, and is not in DAPO's paper: the population is Big-Math under Llama-3.1-8B (DAPO
trained another model on other prompts), and competence rises as c(t) = 1 − exp(−(t − t₀)/τ), scaled
to 0 … 1 over the logged steps. Two ways for competence to move the solve rates:

    power   p → p^(1/T),             T = 1 + c·(T_end − 1)    the mapping of the paper's own script
    logit   logit p → logit p + δ,   δ = c·δ_end              a uniform gain in log-odds

The end (T_end, δ_end) is pinned so that E[p^32] meets the plateau, the mean of the last 8 points;
never solved problems stay at 0. The time scale τ is fitted. Beside them a curve without theory,
a(1 − exp(−(t − t₀)/τ)) with two free numbers. All three rise and saturate, so a good fit says that
the curve is consistent with the closed form, not that the closed form made it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dissensus.core.groups import FloatArray
from dissensus.errors import InputError
from dissensus.lab.paper.data import big_math
from dissensus.lab.paper.intervals import r_squared

__all__ = ["FILE_NAME", "CurveFit", "DapoCurve", "all_correct_curve", "fit_curve", "load_curve"]

FILE_NAME = "dapo_fig3b_all_correct_fraction.csv"
SAMPLES = 32
"""Rollouts behind each logged accuracy (avg@32)."""
_PLATEAU_POINTS = 8
_GRID = 400
_TIME_SCALES = (200.0, 40_000.0)
_LARGEST_END = 2000.0


class CurveFit(NamedTuple):
    """One mapping, fitted.

    Attributes:
        name: `power`, `logit` or `saturating`.
        end: T_end, δ_end, or the plateau a.
        time_scale: τ in steps.
        r_squared: Against the logged points.
        values: (n,) the curve at the logged steps.
        mean_solve_rate: Mean of p at the end; NaN without a population.
    """

    name: str
    end: float
    time_scale: float
    r_squared: float
    values: FloatArray
    mean_solve_rate: float


class DapoCurve(NamedTuple):
    """The logged points and the fits.

    Attributes:
        steps: (n,) training steps.
        logged: (n,) share of prompts with all 32 answers correct.
        plateau: Mean of the last 8 of them.
        fits: By mapping.
    """

    steps: FloatArray
    logged: FloatArray
    plateau: float
    fits: dict[str, CurveFit]


def load_curve(folder: Path) -> tuple[FloatArray, FloatArray]:
    """Steps and fractions from the digitised figure.

    Raises:
        InputError: The file is absent, or is no table of steps and shares long enough for a fit.
    """
    file = folder / FILE_NAME
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(
            f"DAPO's curve is not here ({error.strerror})",
            where=str(file),
            hint="name the folder of the digitised figure with --data",
        ) from error
    numbers = [line for line in lines if line[:1].isdigit()]
    try:
        table = np.array([[float(x) for x in line.split(",")] for line in numbers])
        steps, logged = table.T
    except ValueError as error:
        raise InputError("the file must hold rows of step,fraction", where=str(file)) from error
    if len(steps) <= _PLATEAU_POINTS or not np.ptp(steps) > 0:
        raise InputError(
            f"a fit needs more than {_PLATEAU_POINTS} steps", where=str(file), got=len(steps)
        )
    if not ((logged >= 0) & (logged <= 1)).all():
        raise InputError("fractions must lie in 0 … 1", where=str(file))
    return steps, logged


def fit_curve(steps: FloatArray, logged: FloatArray) -> DapoCurve:
    """Fit every mapping to the logged points.

    Raises:
        InputError: No move of Big-Math's solve rates reaches the plateau.
    """
    plateau = float(logged[-_PLATEAU_POINTS:].mean())
    fits = [_fit(name, steps, logged, plateau) for name in ("power", "logit")]
    fits.append(_fit_saturating(steps, logged))
    return DapoCurve(steps, logged, plateau, {fit.name: fit for fit in fits})


def all_correct_share(name: str, amount: FloatArray | float) -> FloatArray:
    """E[p^32] on Big-Math after moving every solve rate by T or δ.

    Example:
        >>> round(float(all_correct_share("power", 1.0)[0]), 3)      # the rates as they are
        0.119
    """
    moved = _moved(name, np.atleast_1d(np.asarray(amount, dtype=np.float64)))
    problems = big_math().problems
    return np.asarray((moved**SAMPLES) @ problems / problems.sum())


def all_correct_curve(name: str, end: float) -> tuple[FloatArray, FloatArray]:
    """Mean solve rate and E[p^32] while the population moves from where it is to its end."""
    amounts = np.linspace(_start(name), end, _GRID)
    problems = big_math().problems
    return _moved(name, amounts) @ problems / problems.sum(), all_correct_share(name, amounts)


def _start(name: str) -> float:
    return 1.0 if name == "power" else 0.0


def _moved(name: str, amount: FloatArray) -> FloatArray:
    """(n, 65) solve rates; 0 and 1 stay where they are."""
    p = big_math().solve_rate[None, :]
    if name == "power":
        return np.asarray(p ** (1.0 / amount[:, None]), dtype=np.float64)
    odds = np.exp(amount[:, None])
    return np.asarray(p * odds / (1.0 - p + p * odds), dtype=np.float64)


def _competence(steps: FloatArray, time_scale: float) -> FloatArray:
    rise = 1.0 - np.exp(-(steps - steps.min()) / time_scale)
    return np.asarray(rise / rise.max(), dtype=np.float64)


def _fit(name: str, steps: FloatArray, logged: FloatArray, plateau: float) -> CurveFit:
    from scipy import optimize

    start = _start(name)
    largest = _LARGEST_END if name == "power" else float(np.log(_LARGEST_END))
    low, high = all_correct_share(name, np.array([start, largest])).tolist()
    if not low < plateau < high:
        raise InputError(
            f"the last {_PLATEAU_POINTS} points must average {low:.2f} to {high:.2f}, as far as "
            "Big-Math's solve rates can move",
            where=FILE_NAME,
            got=round(plateau, 3),
        )
    end = float(
        optimize.brentq(
            lambda amount: float(all_correct_share(name, amount)[0]) - plateau, start, largest
        )
    )
    grid = np.linspace(0.0, 1.0, _GRID)
    shares = all_correct_share(name, start + grid * (end - start))

    def curve(time_scale: float) -> FloatArray:
        return np.interp(_competence(steps, time_scale), grid, shares)

    time_scale = _best_time_scale(lambda tau: curve(tau) - logged)
    values = curve(time_scale)
    fitted = r_squared(logged, values)
    rates, _ = all_correct_curve(name, end)
    return CurveFit(name, end, time_scale, fitted, values, float(rates[-1]))


def _best_time_scale(residual: Callable[[float], FloatArray]) -> float:
    from scipy import optimize

    found = optimize.minimize_scalar(
        lambda log_tau: float(np.square(residual(np.exp(log_tau))).sum()),
        bounds=tuple(np.log(_TIME_SCALES)),
        method="bounded",
    )
    return float(np.exp(found.x))


def _fit_saturating(steps: FloatArray, logged: FloatArray) -> CurveFit:
    """Least squares over τ, with the best height a for each τ in closed form."""

    def rise(tau: float) -> FloatArray:
        return np.asarray(1.0 - np.exp(-(steps - steps.min()) / tau), dtype=np.float64)

    def height(tau: float) -> float:
        return float(rise(tau) @ logged / np.square(rise(tau)).sum())

    tau = _best_time_scale(lambda t: height(t) * rise(t) - logged)
    values = height(tau) * rise(tau)
    return CurveFit("saturating", height(tau), tau, r_squared(logged, values), values, float("nan"))
