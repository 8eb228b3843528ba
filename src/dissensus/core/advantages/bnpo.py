"""BNPO."""

import math
from typing import NamedTuple

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts, to_rollouts
from dissensus.core.advantages.profile import Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "bnpo",
    source="Xiao et al. 2025, arXiv:2506.02864; as in changyi7231/BNPO at a9c51b9",
    scope="batch",
    profile=Profile(title="BNPO", evidence="code", rewards="binary", scale="invariant"),
)
def bnpo(groups: RewardGroups, context: Context, *, max_weight: float = 1e6) -> FloatArray:
    """Centre, and divide by a Beta density fitted to the solve rates of the batch.

        A = min(1 / Beta(m; α, β), max_weight) · (1[correct] − m);   W = m(1−m) / Beta(m; α, β)
        α = max(1, 1 + a/3),   β = max(1, 1 + b/3);   B = 0

    a, b are the Beta fit by moments to the k/G of the batch (variance with ddof 1), so the divisor
    follows the policy: α = β = 1 is Dr. GRPO, α = β = 3/2 is GRPO up to a factor. Unanimous and
    one-rollout groups get 0. The fit is on `context.reference` where that is given; fewer than two
    groups, or solve rates without spread, leave α = β = 1. Right-or-wrong rewards; the published
    code maps other rewards to [0, 1] by a range that the user states. Left out: the decomposition
    of the advantage over several rewards.

    Raises:
        InputError: Correctness is unknown.
    """
    counted = counts(groups, "bnpo")
    fit = _fitted(groups if context.reference is None else context.reference)
    m = counted.share
    split = (counted.correct > 0) & (counted.wrong > 0)
    inside = np.where(split, m, 0.5)
    log_density = (
        (fit.alpha - 1.0) * np.log(inside)
        + (fit.beta - 1.0) * np.log1p(-inside)
        + math.lgamma(fit.alpha + fit.beta)
        - math.lgamma(fit.alpha)
        - math.lgamma(fit.beta)
    )
    weight = np.exp(np.minimum(-log_density, math.log(max_weight))) * split
    return to_rollouts(groups, counted.is_correct, weight * (1.0 - m), -weight * m)


class _Beta(NamedTuple):
    alpha: float
    beta: float


def _fitted(population: RewardGroups) -> _Beta:
    """The exponents of the divisor from the solve rates of a batch."""
    rates = counts(population, "bnpo").share[population.size > 0]
    variance = float(rates.var(ddof=1)) if len(rates) > 1 else 0.0
    if variance <= 0:
        return _Beta(1.0, 1.0)
    mean = float(rates.mean())
    strength = mean * (1.0 - mean) / variance - 1.0
    return _Beta(
        max(1.0, 1.0 + strength * mean / 3.0), max(1.0, 1.0 + strength * (1.0 - mean) / 3.0)
    )
