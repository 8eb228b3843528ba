"""Quantile advantage estimation."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import ARCSINE, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import denominators
from dissensus.core.advantages.tables import RolloutTable
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError


@rule(
    "quantile",
    source="Wu et al. 2025, arXiv:2509.22611; as the README of junkangwu/QAE quotes its code",
    profile=Profile(
        title="QAE (quantile baseline)",
        evidence="secondary",
        is_centred=False,
        scale="invariant",
        limit=ARCSINE,
    ),
)
def quantile(
    groups: RewardGroups,
    context: Context,
    *,
    level: float = 0.4,
    ddof: int = 0,
    eps: float = 0.0,
) -> FloatArray:
    """GRPO with a quantile of the group's rewards as the baseline instead of their mean.

        A = (r − Q_level)/(std(ddof) + eps);   W = σ for ddof 0, eps 0
        B = σ/(1−m) where Q = 0 (m below about 1 − level), −σ/m where Q = 1

    Any rewards; Q interpolates linearly between order statistics, as `torch.quantile` does. For
    right-or-wrong rewards it is a gate: on hard prompts only correct rollouts get an advantage, on
    easy ones only wrong rollouts do. Unanimous (k = 0, k = G) and one-rollout groups get 0. The
    method's code adds ddof 1, eps 1e-6. Left out: DAPO's loss and refill, which it runs on.

    Args:
        groups: P groups of N rollouts.
        context: Not used.
        level: Of the quantile, in (0, 1).
        ddof: Of the standard deviation.
        eps: Added to the standard deviation; ≥ 0.

    Raises:
        InputError: A level outside (0, 1).
    """
    if not 0 < level < 1:
        raise InputError("The 'level' parameter must lie between 0 and 1", got=level)
    usable = (groups.size > max(ddof, 1)) & ~groups.is_unanimous()
    last = np.where(usable, groups.size - 1, 0)
    position = level * last
    below = position.astype(np.int64)
    ascending = np.sort(RolloutTable(groups).of(groups.rewards), axis=1)
    rows = np.arange(len(groups))
    low, high = ascending[rows, below], ascending[rows, np.minimum(below + 1, last)]
    baseline = low + (position - below) * (high - low)
    advantages: FloatArray = groups.expand(np.where(usable, groups.mean - baseline, 0.0))
    advantages += groups.centered
    std = np.where(usable, groups.std(ddof), np.nan)
    advantages /= groups.expand(denominators(groups, std, eps))
    return advantages
