"""Which single change buys most contrast per rollout, and what it costs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dissensus.core import laws
from dissensus.core.advantages import AdvantageEstimator
from dissensus.core.population.compatible import Compatible
from dissensus.core.population.population import Population
from dissensus.core.population.predictions import contrast_curves

__all__ = ["Change", "Recommendation", "recommend"]

_LEAST, _MOST = 2, 256


class Change(NamedTuple):
    """Another group size at the same number of rollouts.

    Attributes:
        group_size: The other size.
        contrast_per_1000: Contrast per 1,000 rollouts with it.
        gain: Change of the contrast per 1,000 rollouts.
        gain_low: Lower end of its interval, over all that the counts allow.
        gain_high: Upper end.
        gain_frac: Change as a fraction of today's contrast.
        prompts_ratio: Prompts per step over today's, rollouts being equal.
        unanimous: Share of unanimous groups with it.
        contrast_per_group_ratio: Contrast of a group over today's: how much of one group's signal
            is left.
        hard_fidelity: Share of the large-group GRPO signal that it keeps at a solve rate of 5 %.
    """

    group_size: int
    contrast_per_1000: float
    gain: float
    gain_low: float
    gain_high: float
    gain_frac: float
    prompts_ratio: float
    unanimous: float
    contrast_per_group_ratio: float
    hard_fidelity: float


class Recommendation(NamedTuple):
    """The change that buys most contrast per 1,000 rollouts, and the others that were weighed.

    Attributes:
        now: Contrast per 1,000 rollouts as it is.
        best: The change whose gain is surely positive and largest; None where none is.
        weighed: Every change that was weighed.
    """

    now: float
    best: Change | None
    weighed: list[Change]


def recommend(
    population: Population,
    allowed: Compatible,
    group_size: int,
    estimator: AdvantageEstimator,
) -> Recommendation:
    """Weigh half and twice the group size at equal rollouts, for one rule.

    Other rules are not weighed: their contrast is on another scale. Filters are not weighed either:
    they change no contrast per rollout generated (`predictions.filter_costs`).

    Args:
        population: Distribution of solve rates.
        allowed: All distributions the counts allow.
        group_size: G today.
        estimator: The rule in use.

    Raises:
        DissensusError: The rule has no signature on a population of solve rates.
    """
    sizes = [size for size in (group_size // 2, group_size * 2) if _LEAST <= size <= _MOST]
    now, *curves = contrast_curves(estimator, [group_size, *sizes], population)
    # A rule such as pass@k needs a least group size.
    known = {
        size: curve for size, curve in zip(sizes, curves, strict=True) if np.isfinite(curve).all()
    }
    current = float(population.weights @ now)
    if not known:
        return Recommendation(current, None, [])
    ends = allowed.range_of(np.stack([*known.values()]) - now)
    weighed = []
    for i, (size, curve) in enumerate(known.items()):
        value = float(population.weights @ curve)
        ratio = value * size / (current * group_size) if current else float("nan")
        weighed.append(
            Change(
                group_size=size,
                contrast_per_1000=value,
                gain=value - current,
                gain_low=float(ends.low[i]),
                gain_high=float(ends.high[i]),
                gain_frac=(value - current) / current if current else float("nan"),
                prompts_ratio=group_size / size,
                unanimous=float(population.unanimous_rate(size)),
                contrast_per_group_ratio=ratio,
                hard_fidelity=float(laws.fidelity(0.05, size)),
            )
        )
    sure = [change for change in weighed if change.gain_low > 0]
    return Recommendation(current, max(sure, key=lambda each: each.gain, default=None), weighed)
