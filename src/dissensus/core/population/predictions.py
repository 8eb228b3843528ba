"""What rules and filters would give on a population of solve rates.

R counts every rollout generated, those of discarded groups too (theory: section 0). So a filter
that only drops groups without contrast changes no contrast per rollout; it changes what is trained
on, and how long a step takes to fill.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dissensus.core import laws
from dissensus.core.advantages import AdvantageEstimator, Signature
from dissensus.core.groups import FloatArray
from dissensus.core.population.compatible import Compatible
from dissensus.core.population.population import BINS, Population, bin_of
from dissensus.core.population.sizes import signature_on
from dissensus.errors import DissensusError

__all__ = [
    "DifficultyRow",
    "FilterCost",
    "RuleRow",
    "compare_rules",
    "contrast_from_variance",
    "difficulty_rows",
    "filter_costs",
]

_PER = 1000.0


class RuleRow(NamedTuple):
    """One rule at one group size. Contrasts of different rules are on different scales.

    Attributes:
        name: The rule with its parameters.
        scope: "group", "batch" or "history".
        contrast_per_1000: 1000 · E[W] / G, in the rule's own units.
        push: Mean advantage E[B]: what pushes everything sampled up or down.
        silent: Share of groups with no advantage at all.
        mass: (10,) share of the gradient mass by tenth of solve rate.
        missing: Why there are no numbers; empty where there are.
    """

    name: str
    scope: str
    contrast_per_1000: float
    push: float
    silent: float
    mass: FloatArray
    missing: str


class FilterCost(NamedTuple):
    """What is done with silent groups, and what that costs per group that is trained on.

    Attributes:
        name: "keep", "drop" or "refill".
        generated_per_kept: Groups generated per group trained on.
        filled: Share of the places of a batch that hold a group with contrast.
        contrast_per_1000: Per 1,000 rollouts generated.
        contrast_per_1000_trained: Per 1,000 rollouts trained on.
    """

    name: str
    generated_per_kept: float
    filled: float
    contrast_per_1000: float
    contrast_per_1000_trained: float


class DifficultyRow(NamedTuple):
    """One tenth of solve rate.

    Attributes:
        low: Lower end.
        high: Upper end.
        groups: Share of the groups there.
        mass: Share of the gradient mass there, under the rule that is planned for.
        mass_low: Lower end of its interval.
        mass_high: Upper end.
        for_90: Rollouts per group for 90 % of the large-group signal of GRPO, at the middle.
        for_95: The same for 95 %.
    """

    low: float
    high: float
    groups: float
    mass: float
    mass_low: float
    mass_high: float
    for_90: int
    for_95: int


def compare_rules(
    population: Population, group_size: int, estimators: Sequence[AdvantageEstimator]
) -> list[RuleRow]:
    """Every rule on the same population at one group size; a rule without a signature says why."""
    return [_rule_row(population, group_size, each) for each in estimators]


def _rule_row(population: Population, group_size: int, estimator: AdvantageEstimator) -> RuleRow:
    nothing = float("nan")
    try:
        signature = signature_on(estimator, group_size, population)
        contrast = population.expected_contrast(signature)
        push = float(population.weights @ laws.expected_push(signature, population.rates))
        mass = population.mass_by_difficulty(signature)
    except DissensusError as error:
        empty = np.full(BINS, nothing)
        return RuleRow(
            repr(estimator), estimator.scope, nothing, nothing, nothing, empty, error.what
        )
    silent = population.silent_rate(signature.is_silent)
    per_1000 = _PER * contrast / group_size
    return RuleRow(repr(estimator), estimator.scope, per_1000, push, silent, mass, "")


def contrast_from_variance(
    estimator: AdvantageEstimator, variance: float, group_size: int
) -> float | None:
    """Contrast per 1,000 rollouts for rewards of any kind, where their variance determines it.

        Dr. GRPO: 1000 · (1 − 1/G) · variance / G;   RLOO: 1000 · variance / G

    The mean squared deviation of G rewards has expectation (1 − 1/G) · variance. The mean of σ
    itself has no such formula, so that nothing is said of rules that divide by it.

    Args:
        estimator: Rule.
        variance: Mean over groups of the unbiased variance of rewards.
        group_size: G.

    Returns:
        `None` for rules that the variance does not determine.

    Example:
        >>> from dissensus import advantages
        >>> contrast_from_variance(advantages.get("dr_grpo"), 0.2, 4)
        37.5
    """
    kept = {"dr_grpo": 1.0 - 1.0 / group_size, "rloo": 1.0}.get(estimator.name)
    if kept is None or estimator.transforms:
        return None
    return _PER * kept * variance / group_size


def filter_costs(
    silent: float, contrast: float, *, most_tries: int | None = None
) -> list[FilterCost]:
    """What keeping, dropping and refilling silent groups cost.

    A refilled place is tried until a group is not silent, 1/(1−s) groups on average, or at most
    `most_tries` times, (1−s^c)/(1−s) groups, and is then filled with chance 1−s^c. Every silent
    group has no contrast under rules whose silence is zero advantage, so contrast per rollout
    generated is the same for all three.

    Args:
        silent: Share s of silent groups; 1 means that refilling never ends.
        contrast: Contrast per 1,000 rollouts generated.
        most_tries: Cap c of a refill; None: without end.

    Example:
        >>> keep, drop, refill = filter_costs(0.5, 60.0)
        >>> refill.generated_per_kept, refill.contrast_per_1000, refill.contrast_per_1000_trained
        (2.0, 60.0, 120.0)
    """
    heard = 1.0 - silent
    per_kept = 1.0 / heard if heard > 0 else float("inf")
    trained = contrast / heard if heard > 0 else 0.0
    filled = 1.0 if most_tries is None else 1.0 - silent**most_tries
    return [
        FilterCost("keep", 1.0, heard, contrast, contrast),
        FilterCost("drop", per_kept, heard, contrast, trained),
        FilterCost("refill", per_kept, filled, contrast, trained),
    ]


def difficulty_rows(
    population: Population, allowed: Compatible, signature: Signature
) -> list[DifficultyRow]:
    """Groups, gradient mass and required rollouts by tenth of solve rate."""
    mass = laws.expected_contrast(signature, population.rates)
    place = bin_of(population.rates)
    parts = np.where(place == np.arange(BINS)[:, None], mass, 0.0)
    ends = allowed.range_of_ratio(parts, mass)
    shares = population.mass_by_difficulty(signature)
    groups = population.group_share()
    middle = (np.arange(BINS) + 0.5) / BINS
    needed = [laws.required_group_size(middle, fidelity=wanted) for wanted in (0.9, 0.95)]
    return [
        DifficultyRow(
            low=i / BINS,
            high=(i + 1) / BINS,
            groups=float(groups[i]),
            mass=float(shares[i]),
            mass_low=float(max(0.0, ends.low[i])),
            mass_high=float(min(1.0, ends.high[i])),
            for_90=int(needed[0][i]),
            for_95=int(needed[1][i]),
        )
        for i in range(BINS)
    ]
