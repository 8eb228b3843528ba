"""Target solve rate."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.weights.base import Weight, check_range, solve_rate
from dissensus.core.groups import FloatArray, RewardGroups


@dataclass(frozen=True)
class target(Weight):
    """Most weight for prompts whose solve rate is near a target.

        u = exp(−(m − rate)² / (2·width²)),   m = k/G;   large groups: the same at p

    On Dr. GRPO: f = Φ((p − rate)/width), the normal distribution function: progress counts where
    the solve rate passes the target. On GRPO: f′ = u(p)/sqrt(p(1−p)).

    m is the mean reward where correctness is unknown and rewards lie within 0 … 1. Unanimous groups
    have a u of their own, which matters under rules that give them something.

    Raises:
        InputError: rate outside 0 … 1, width not above 0; rewards without a solve rate.

    Example:
        >>> from dissensus import RewardGroups
        >>> groups = RewardGroups.from_dense([[1, 0, 0, 0], [1, 1, 0, 0]])
        >>> target(0.5, 0.25).raw(groups, Context()).round(3).tolist()    # one width off: e^(−1/2)
        [0.607, 1.0]
    """

    rate: float = 0.5
    width: float = 0.2
    formula: ClassVar[str] = "exp(−(p − rate)²/(2·width²))"
    source: ClassVar[str] = (
        "derived here; targets by selection: AdaRFT, arXiv:2504.05520; PCL, arXiv:2510.01135"
    )

    def __post_init__(self) -> None:
        check_range(self, "rate", 0.0, 1.0)
        check_range(self, "width", 1e-6)

    def raw(self, groups: RewardGroups, context: Context) -> FloatArray:
        """exp(−(m − rate)²/(2·width²))."""
        return self.at(solve_rate(groups, self))

    def at(self, p: FloatArray) -> FloatArray:
        """u(p)."""
        return np.asarray(np.exp(-0.5 * ((p - self.rate) / self.width) ** 2))
