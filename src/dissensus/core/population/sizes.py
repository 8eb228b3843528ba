"""What other group sizes would give on a population of solve rates, by two measures.

*Contrast per 1,000 rollouts* says how much a batch disagrees; each group counts once, so small
groups always look good. *Signal to noise* of a batch update says how well the batch tells its
direction; where the noise of scores dominates, counts determine it up to a factor that all group
sizes share (docs: theory, the noise of a batch), and larger groups mostly look good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dissensus.core import advantages, laws
from dissensus.core.advantages import AdvantageEstimator, Context, Signature
from dissensus.core.groups import FloatArray
from dissensus.core.laws import UpdateMoments
from dissensus.core.population.compatible import Compatible, Interval
from dissensus.core.population.population import Population
from dissensus.core.population.products import product_of_averages
from dissensus.errors import DissensusError

__all__ = ["SizeTable", "moments_by_size", "predict_sizes", "signature_on"]

_PER = 1000.0


class SizeTable(NamedTuple):
    """Quantities by group size, with the interval of each over what the counts allow.

    Attributes:
        group_size: (S,) G.
        all_wrong: (S,) share of groups without a correct rollout.
        all_correct: (S,) share without a wrong one.
        contrast_per_1000: (S,) 1000 · E[W_G] / G; NaN where the rule has no signature.
        signal_to_noise: (S,) signal to noise of a batch of equally many rollouts over that of the
            group size in use, where score noise dominates; NaN as the contrast.
        unanimous_range: Interval of the sum of both shares.
        all_wrong_range: Interval of the first.
        all_correct_range: Interval of the second.
        contrast_range: Interval of the contrast.
        signal_range: Interval of the signal to noise, to first order.
    """

    group_size: FloatArray
    all_wrong: FloatArray
    all_correct: FloatArray
    contrast_per_1000: FloatArray
    signal_to_noise: FloatArray
    unanimous_range: Interval
    all_wrong_range: Interval
    all_correct_range: Interval
    contrast_range: Interval
    signal_range: Interval

    @property
    def unanimous(self) -> FloatArray:
        """(S,) share of groups whose rollouts agree."""
        return self.all_wrong + self.all_correct

    @property
    def split_per_1000(self) -> FloatArray:
        """(S,) split groups per 1,000 rollouts, 1000 · (1 − unanimous) / G."""
        return _PER * (1.0 - self.unanimous) / self.group_size


def signature_on(
    estimator: AdvantageEstimator, group_size: int, population: Population
) -> Signature:
    """The signature of a rule; a batch rule takes its statistics from the population.

    Raises:
        DissensusError: It needs context that a population of solve rates cannot give.
    """
    context = None
    if estimator.scope == "batch":
        context = Context(reference=population.as_batch(group_size))
    return advantages.signature(estimator, group_size, context=context)


def moments_by_size(
    estimator: AdvantageEstimator, sizes: Sequence[int], population: Population
) -> UpdateMoments:
    """(S, m) moments of one group's update; NaN at sizes the rule is not defined for.

    Raises:
        DissensusError: It is defined for none of them.
    """
    rates = population.rates
    found, refused = [], []
    for size in sizes:
        try:
            found.append(laws.update_moments(signature_on(estimator, size, population), rates))
        except DissensusError as error:
            refused.append(error)
            nothing = np.full(len(rates), np.nan)
            found.append(UpdateMoments(nothing, nothing, nothing, nothing))
    if refused and len(refused) == len(sizes):
        raise refused[0]
    return UpdateMoments(*(np.stack(each) for each in zip(*found, strict=True)))


def predict_sizes(
    population: Population,
    allowed: Compatible,
    sizes: Sequence[int],
    estimator: AdvantageEstimator,
    *,
    group_size: int,
) -> SizeTable:
    """Predict unanimity, contrast and signal to noise for every group size, with intervals.

    Args:
        population: Distribution of solve rates.
        allowed: All distributions the counts allow.
        sizes: Group sizes, ≥ 2.
        estimator: Rule whose contrast is predicted.
        group_size: The one in use, to which signal to noise is relative.

    Raises:
        DissensusError: As `signature_on`.
    """
    G = np.asarray(sizes, dtype=np.float64)
    wrong = laws.all_wrong_rate(population.rates, G[:, None])
    right = laws.all_correct_rate(population.rates, G[:, None])
    moments = moments_by_size(estimator, [*sizes, group_size], population)
    contrast = _PER * moments.contrast[:-1] / G[:, None]
    known = np.asarray(np.isfinite(contrast).all(axis=1))
    kinds = (wrong + right, wrong, right, np.where(known[:, None], contrast, 0.0))
    ends = allowed.range_of(np.concatenate(kinds))
    ranges = [
        Interval(low, high)
        for low, high in zip(np.split(ends.low, 4), np.split(ends.high, 4), strict=True)
    ]
    shares = [Interval(np.clip(each.low, 0, 1), np.clip(each.high, 0, 1)) for each in ranges[:3]]
    w = population.weights
    spread = Interval(*(np.where(known, end, np.nan) for end in ranges[3]))
    power = moments.noise * np.append(G, group_size)[:, None]
    signal = product_of_averages(
        population, allowed, (moments.signal[:-1], 1.0), (power[:-1], -0.5),
        (moments.signal[-1], -1.0), (power[-1], 0.5),
    )  # fmt: skip
    return SizeTable(
        G, wrong @ w, right @ w, contrast @ w, signal.value,
        shares[0], shares[1], shares[2], spread, signal.range,
    )  # fmt: skip
