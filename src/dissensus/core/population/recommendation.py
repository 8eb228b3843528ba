"""Which single change gains by both measures, what the others would give, and what each costs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dissensus.core import laws
from dissensus.core.advantages import AdvantageEstimator
from dissensus.core.population.compatible import Compatible
from dissensus.core.population.population import Population
from dissensus.core.population.products import product_of_averages
from dissensus.core.population.sizes import moments_by_size, signature_on
from dissensus.core.population.skipping import Estimated, SkipRow, skip_rows

__all__ = ["Change", "Recommendation", "SizeCost", "recommend"]

_LEAST, _MOST = 2, 256
_PER = 1000.0
_HARD = 0.05
# The limit in which prompts have no signal in common: what favours small groups most.
_NOTHING_COMMON = 1e-9


class SizeCost(NamedTuple):
    """What another group size costs.

    Attributes:
        prompts_ratio: Prompts per step over today's, rollouts being equal.
        unanimous: Share of unanimous groups with it.
        contrast_per_group_ratio: Contrast of a group over today's: how much of one group's signal
            is left.
        hard_fidelity: Share of the large-group GRPO signal that it keeps at a solve rate of 5 %.
        even_noise: Score noise over signal, V/‖δ‖², above which the larger of the two sizes has
            the better signal to noise: where all prompts pull one way, and where each pulls its
            own. Infinite where counts say that it never has.
    """

    prompts_ratio: float
    unanimous: float
    contrast_per_group_ratio: float
    hard_fidelity: float
    even_noise: tuple[float, float]


class Change(NamedTuple):
    """A change at the same number of rollouts generated, by both measures.

    Attributes:
        kind: "group_size" or "skip".
        name: "groups of 4", "skip all-wrong", …
        group_size: Group size with it.
        contrast_per_1000: Contrast per 1,000 rollouts with it.
        contrast_ratio: The same over today's.
        signal_to_noise: Signal to noise of a batch over today's, where score noise dominates.
        cost: Of another size, or of skipping.
    """

    kind: str
    name: str
    group_size: int
    contrast_per_1000: float
    contrast_ratio: Estimated
    signal_to_noise: Estimated
    cost: SizeCost | SkipRow

    @property
    def gains(self) -> bool:
        """Whether it gains by both measures, each beyond its interval."""
        return self.contrast_ratio.low > 1.0 and self.signal_to_noise.low > 1.0

    @property
    def loses(self) -> bool:
        """Whether it loses by both measures, each beyond its interval."""
        return self.contrast_ratio.high < 1.0 and self.signal_to_noise.high < 1.0


class Recommendation(NamedTuple):
    """The change that gains most by both measures, and the others that were weighed.

    Attributes:
        now: Contrast per 1,000 rollouts as it is.
        best: Of the changes that surely gain by both measures the one with most contrast; None
            where there is none.
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
    """Weigh half and twice the group size, and skipping prompts, at equal rollouts, for one rule.

    Other rules are not weighed: their contrast is on another scale. Filters after sampling are not
    weighed either: they change no contrast per rollout generated (`predictions.filter_costs`).

    Args:
        population: Distribution of solve rates.
        allowed: All distributions the counts allow.
        group_size: G today.
        estimator: The rule in use.

    Raises:
        DissensusError: The rule has no signature on a population of solve rates.
    """
    signature = signature_on(estimator, group_size, population)
    now = _PER / group_size * population.expected_contrast(signature)
    if not now > 0:
        return Recommendation(now, None, [])
    weighed = _other_sizes(population, allowed, group_size, estimator)
    weighed += [
        Change(
            "skip",
            f"skip {row.name}",
            group_size,
            now * row.contrast_ratio.value,
            row.contrast_ratio,
            row.signal_to_noise,
            row,
        )
        for row in skip_rows(population, allowed, signature)
    ]
    sure = [change for change in weighed if change.gains]
    best = max(sure, key=lambda each: each.contrast_ratio.value, default=None)
    return Recommendation(now, best, weighed)


def _other_sizes(
    population: Population, allowed: Compatible, group_size: int, estimator: AdvantageEstimator
) -> list[Change]:
    sizes = [size for size in (group_size // 2, group_size * 2) if _LEAST <= size <= _MOST]
    moments = moments_by_size(estimator, [group_size, *sizes], population)
    G = np.array([group_size, *sizes], dtype=np.float64)[:, None]
    contrast, power = moments.contrast / G, moments.noise * G
    ratio = product_of_averages(population, allowed, (contrast[1:], 1.0), (contrast[0], -1.0))
    signal = product_of_averages(
        population, allowed,
        (moments.signal[1:], 1.0), (power[1:], -0.5), (moments.signal[0], -1.0), (power[0], 0.5),
    )  # fmt: skip
    changes = []
    for i, size in enumerate(sizes):
        # A rule such as pass@k needs a least group size.
        if not np.isfinite(ratio.value[i]):
            continue
        per_1000 = _PER * float(contrast[i + 1] @ population.weights)
        gain, snr = (
            Estimated(*(float(part[i]) for part in (each.value, *each.range)))
            for each in (ratio, signal)
        )
        cost = SizeCost(
            prompts_ratio=group_size / size,
            unanimous=float(population.unanimous_rate(size)),
            contrast_per_group_ratio=gain.value * size / group_size,
            hard_fidelity=float(laws.fidelity(_HARD, size)),
            even_noise=_even(population, estimator, sorted((size, group_size))),
        )
        changes.append(Change("group_size", f"groups of {size}", size, per_1000, gain, snr, cost))
    return changes


def _even(
    population: Population, estimator: AdvantageEstimator, sizes: list[int]
) -> tuple[float, float]:
    small, large = (signature_on(estimator, size, population) for size in sizes)
    low, high = (
        laws.even_noise(small, large, population.rates, population.weights, common=common)
        for common in (1.0, _NOTHING_COMMON)
    )
    return low, high
