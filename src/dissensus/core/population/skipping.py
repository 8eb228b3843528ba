"""What leaving out prompts before sampling would give: those whose last group was unanimous.

A silent group that has been generated cannot be undone: filters after sampling change no contrast
per rollout. A prompt whose last group was unanimous can be left out *before* its next one, and its
rollouts go to others. With the last group and the next one of one prompt independent given its
solve rate, and s(p) the chance that the last group put it on the list,

    skipped E[s],    contrast of the rest E[(1−s)W]/E[1−s],    would have split E[s·split]/E[s]
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from dissensus.core import laws
from dissensus.core.advantages import Signature
from dissensus.core.population.compatible import Compatible, Interval
from dissensus.core.population.population import Population
from dissensus.core.population.products import Product, product_of_averages

__all__ = ["Estimated", "SkipRow", "skip_rows"]

_PER = 1000.0
_NOBODY = 1e-6


class Estimated(NamedTuple):
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


class SkipRow(NamedTuple):
    """The next visit with some prompts left out, per 1,000 rollouts generated for the rest.

    Attributes:
        name: Whose last group puts them on the list: "all-wrong", "all-correct", "unanimous".
        skipped: Share of the prompts that are left out.
        would_split: Share of those left out whose next group would have been split: the price.
        contrast_ratio: Contrast of the rest over that without leaving any out.
        split_per_1000: Split groups of the rest.
        signal_to_noise: Signal to noise of a batch of the rest over that without leaving any out,
            where score noise dominates.
    """

    name: str
    skipped: Estimated
    would_split: Estimated
    contrast_ratio: Estimated
    split_per_1000: Estimated
    signal_to_noise: Estimated


def skip_rows(population: Population, allowed: Compatible, signature: Signature) -> list[SkipRow]:
    """Predict the next visit when prompts with a unanimous last group are left out.

    Holds for solve rates that stay as they are between two visits. Where no such group is expected
    there is no row.

    Args:
        population: Distribution of solve rates.
        allowed: All distributions the counts allow.
        signature: The rule in use at the group size in use.
    """
    p, w, size = population.rates, population.weights, signature.group_size
    moments = laws.update_moments(signature, p)
    split = 1.0 - laws.unanimous_rate(p, size)
    wrong, right = laws.all_wrong_rate(p, size), laws.all_correct_rate(p, size)
    listed = {
        name: skipped
        for name, skipped in (
            ("all-wrong", wrong),
            ("all-correct", right),
            ("unanimous", wrong + right),
        )
        if w @ moments.contrast > 0 and _NOBODY < w @ skipped < 1.0 - _NOBODY
    }
    if not listed:
        return []
    skipped = np.stack([*listed.values()])
    rest = 1.0 - skipped
    product = partial(product_of_averages, population, allowed)
    columns = (
        _as_share(Product(skipped @ w, allowed.range_of(skipped))),
        _as_share(product((skipped * split, 1.0), (skipped, -1.0))),
        product((rest * moments.contrast, 1.0), (rest, -1.0), (moments.contrast, -1.0)),
        product((rest * split * (_PER / size), 1.0), (rest, -1.0)),
        product(
            (rest * moments.signal, 1.0), (rest * moments.noise, -0.5), (rest, -0.5),
            (moments.signal, -1.0), (moments.noise, 0.5),
        ),
    )  # fmt: skip
    return [
        SkipRow(name, *(_estimated(column, i) for column in columns))
        for i, name in enumerate(listed)
    ]


def _estimated(found: Product, i: int) -> Estimated:
    return Estimated(*(float(each[i]) for each in (found.value, *found.range)))


def _as_share(found: Product) -> Product:
    low, high = found.range
    return Product(found.value, Interval(np.maximum(low, 0.0), np.minimum(high, 1.0)))
