"""Where the unanimous share of a run is going: a damped trend over stretches of equal length.

A policy that learns moves every prompt, so the last share seen is a poor guess of the next one. A
line through the shares of the S earlier stretches, fitted with weights 0.9^(S−s), gives level and
slope, and h stretches ahead

    ŷ = level + (φ + φ² + … + φ^h) · slope,      φ = 0.7

All-wrong and all-correct shares are forecast each for itself and the unanimous share is their sum,
because they move in opposite directions at different speeds. Damped trends: Gardner and McKenzie,
*Forecasting trends in time series*, 1985.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from dissensus.core.groups import FloatArray
from dissensus.errors import InputError

__all__ = ["LEAST_STRETCHES", "DriftForecast", "ShareForecast", "forecast_shares", "trend_weights"]

LEAST_STRETCHES = 3
_DAMPING, _GUESSED, _DISCOUNT = 0.7, 0.3, 0.9


class ShareForecast(NamedTuple):
    """One share of the groups of a later stretch.

    Attributes:
        last: Share in the last stretch: what persistence would say.
        expected: Forecast.
        low: Lower end of the 95 % interval for the share that will be measured.
        high: Upper end.
    """

    last: float
    expected: float
    low: float
    high: float


class DriftForecast(NamedTuple):
    """Shares of a later stretch.

    Attributes:
        unanimous: Both causes.
        all_wrong: Groups without a correct rollout.
        all_correct: Groups without a wrong one.
    """

    unanimous: ShareForecast
    all_wrong: ShareForecast
    all_correct: ShareForecast


def trend_weights(stretches: int, ahead: int = 1) -> FloatArray:
    """Weights of the earlier shares in the forecast; they sum to one.

    Args:
        stretches: S ≥ 2.
        ahead: Stretches ahead, h ≥ 1.

    Example:
        >>> w = trend_weights(4)
        >>> float(w.sum().round(12)), bool(w[-1] > w[0])
        (1.0, True)
    """
    level, slope = _line(stretches)
    return np.asarray(level + _reach(ahead) * slope)


def forecast_shares(
    all_wrong: ArrayLike, all_correct: ArrayLike, groups: ArrayLike, *, ahead: int = 1
) -> DriftForecast:
    """Forecast the unanimous share of a later stretch from equally long earlier ones.

    The interval is for the share that will be *measured* in a stretch as long as the last one. It
    holds the noise of independent groups in the earlier stretches and the later one (of half a
    group more of either kind, so that a share of 0 has some), the damping, which is a guess, ± 0.3
    slopes per stretch, and what the earlier stretches scatter around the line beyond such noise.
    Scatter is known from few stretches only: its part has the width of Student's t with S − 2
    degrees of freedom, the others of S.

    Args:
        all_wrong: (S,) groups of each stretch without a correct rollout, oldest first.
        all_correct: (S,) groups without a wrong one.
        groups: (S,) groups, ≥ 1 each.
        ahead: Stretches ahead, ≥ 1.

    Raises:
        InputError: Fewer than three stretches, or one without a group.

    Example:
        >>> forecast = forecast_shares([400, 380, 360], [100, 130, 160], [1000, 1000, 1000])
        >>> round(forecast.unanimous.expected, 3), forecast.unanimous.last
        (0.527, 0.52)
    """
    total = np.asarray(groups, dtype=np.float64)
    wrong, right = (np.asarray(each, dtype=np.float64) for each in (all_wrong, all_correct))
    if len(total) < LEAST_STRETCHES or not (total >= 1).all():
        raise InputError(
            f"a drift needs {LEAST_STRETCHES} stretches with groups", where="forecast", got=total
        )
    return DriftForecast(
        _forecast_one(wrong + right, total, ahead),
        _forecast_one(wrong, total, ahead),
        _forecast_one(right, total, ahead),
    )


def _forecast_one(count: FloatArray, total: FloatArray, ahead: int) -> ShareForecast:
    stretches, share = len(count), count / total
    weights = trend_weights(stretches, ahead)
    expected = float(np.clip(weights @ share, 0.0, 1.0))
    level, slope = _line(stretches) @ share
    rest = share - (level + slope * (np.arange(stretches) - (stretches - 1.0)))
    noise = _noise(count, total)
    added = np.square(np.append(weights, 1.0))  # to the forecast, and the share itself
    later = _noise(expected * total[-1:], total[-1:])
    known = float(added @ np.append(noise, later)) + (_GUESSED * ahead * slope) ** 2
    beyond = float(added.sum() * max(0.0, rest @ rest / (stretches - 2.0) - noise.mean()))
    known_t, beyond_t = special.stdtrit([stretches, stretches - 2], 0.975)
    reach = float(np.sqrt(known_t**2 * known + beyond_t**2 * beyond))
    low, high = max(0.0, expected - reach), min(1.0, expected + reach)
    return ShareForecast(float(share[-1]), expected, low, high)


def _noise(count: FloatArray, total: FloatArray) -> FloatArray:
    """Variance of a share of independent groups, with half a group more of either kind."""
    p = (count + 0.5) / (total + 1.0)
    return p * (1.0 - p) / total


def _line(stretches: int) -> FloatArray:
    """(2, S) what each stretch adds to the level at the last one, and to the slope."""
    s = np.arange(stretches) - (stretches - 1.0)
    weight = _DISCOUNT**-s
    line = np.stack([np.ones(stretches), s])
    return np.asarray(np.linalg.solve((line * weight) @ line.T, line * weight))


def _reach(ahead: int) -> float:
    return float(np.sum(_DAMPING ** np.arange(1, ahead + 1)))
