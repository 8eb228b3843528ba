"""Entropy of the outcome."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.weights.base import Weight, solve_rate
from dissensus.core.groups import FloatArray, RewardGroups


@dataclass(frozen=True)
class entropy(Weight):
    """The entropy of right and wrong in the group: most weight where both are equally likely.

        u = −m·ln m − (1−m)·ln(1−m),   m = k/G;   large groups: the same at p

    On Dr. GRPO: f = [p²(1 − 2·ln p) − (1−p)²(1 − 2·ln(1−p))]/4. On GRPO: f′ = u(p)/sqrt(p(1−p)),
    which is nearly flat from .2 to .8.

    m is the mean reward where correctness is unknown and rewards lie within 0 … 1. Unanimous groups
    have u = 0, which silences them under rules that give them something.

    Raises:
        InputError: Rewards without a solve rate.

    Example:
        >>> from dissensus import RewardGroups
        >>> groups = RewardGroups.from_dense([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
        >>> entropy().raw(groups, Context()).round(3).tolist()
        [0.562, 0.693, 0.0]
    """

    formula: ClassVar[str] = "−p·ln p − (1−p)·ln(1−p)"

    def raw(self, groups: RewardGroups, context: Context) -> FloatArray:
        """Entropy of m in nats."""
        return self.at(solve_rate(groups, self))

    def at(self, p: FloatArray) -> FloatArray:
        """u(p)."""
        return _minus_x_log_x(p) + _minus_x_log_x(1.0 - p)


def _minus_x_log_x(x: FloatArray) -> FloatArray:
    return np.asarray(x * np.log(1.0 / np.where(x > 0, x, 1.0)))
