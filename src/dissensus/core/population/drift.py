"""Where the unanimous share of a run is going: a damped trend over stretches of equal length.

A policy that learns moves every prompt, so the last share seen is a poor guess of the next one. With
the shares y_s of earlier stretches, s = 1 … S, a line fitted by least squares with weights 0.9^(S−s)
gives level and slope, and h stretches ahead

    ŷ = level + (φ + φ² + … + φ^h) · slope,      φ = 0.7

All-wrong and all-correct shares are forecast each for itself and the unanimous share is their sum,
because they move in opposite directions at different speeds. Damped trends: Gardner & McKenzie 1985.
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
_DAMPING, _DISCOUNT = 0.7, 0.9


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
    """Shares of a later stretch, and how well such forecasts did on earlier ones of the same run.

    Attributes:
        unanimous: Both causes.
        all_wrong: Groups without a correct rollout.
        all_correct: Groups without a wrong one.
        splits: Earlier stretches that were forecast from those before them.
        error: Mean absolute error of their unanimous share; NaN without any.
        persistence_error: The same of saying that nothing changes.
    """

    unanimous: ShareForecast
    all_wrong: ShareForecast
    all_correct: ShareForecast
    splits: int
    error: float
    persistence_error: float


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
    s = np.arange(stretches) - (stretches - 1.0)
    weight = _DISCOUNT**-s
    line = np.stack([np.ones(stretches), s])
    # Rows: what each stretch adds to the level now, and to the slope.
    level, slope = np.linalg.solve((line * weight) @ line.T, line * weight)
    return np.asarray(level + np.sum(_DAMPING ** np.arange(1, ahead + 1)) * slope)


def forecast_shares(
    all_wrong: ArrayLike, all_correct: ArrayLike, groups: ArrayLike, *, ahead: int = 1
) -> DriftForecast:
    """Forecast the unanimous share of a later stretch from equally long earlier ones.

    The interval is for the share that will be *measured* in a stretch as long as the last one. Its
    variance is the sampling noise of the earlier stretches and of the later one, groups taken as
    independent, or the mean square error of the forecasts of earlier stretches where that is
    larger; its width is Student's with S degrees of freedom.

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
    wrong, right = (np.asarray(each, dtype=np.float64) / total for each in (all_wrong, all_correct))
    if len(total) < LEAST_STRETCHES or not (total >= 1).all():
        raise InputError(
            f"a drift needs {LEAST_STRETCHES} stretches with groups", where="forecast", got=total
        )
    splits = range(LEAST_STRETCHES, len(total) - ahead + 1)
    both = wrong + right
    shares = [
        _forecast_one(parts, total, ahead, splits) for parts in ([wrong, right], [wrong], [right])
    ]
    target = both[LEAST_STRETCHES - 1 + ahead :]
    said = np.array([trend_weights(end, ahead) @ both[:end] for end in splits])
    kept = both[LEAST_STRETCHES - 1 : len(total) - ahead]
    return DriftForecast(
        *shares,
        splits=len(splits),
        error=float(np.abs(said - target).mean()) if len(said) else float("nan"),
        persistence_error=float(np.abs(kept - target).mean()) if len(said) else float("nan"),
    )


def _forecast_one(
    parts: list[FloatArray], total: FloatArray, ahead: int, splits: range
) -> ShareForecast:
    share = np.sum(parts, axis=0)
    weights = trend_weights(len(share), ahead)
    expected = float(np.clip(weights @ share, 0.0, 1.0))
    noise = float(np.square(weights) @ (share * (1.0 - share) / total))
    noise += expected * (1.0 - expected) / float(total[-1])
    missed = [trend_weights(end, ahead) @ share[:end] - share[end - 1 + ahead] for end in splits]
    # One earlier forecast by itself says little about how far off they usually are.
    seen = float(np.mean(np.square(missed))) if len(missed) > 1 else 0.0
    reach = float(special.stdtrit(len(share), 0.975) * np.sqrt(max(noise, seen)))
    low, high = max(0.0, expected - reach), min(1.0, expected + reach)
    return ShareForecast(float(share[-1]), expected, low, high)
