"""Focal weight."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.weights.base import Weight, check_range, solve_rate
from dissensus.core.groups import FloatArray, RewardGroups


@dataclass(frozen=True)
class focal(Weight):
    """Less weight for prompts that are solved already.

        u = (1 − m)^gamma,   m = k/G;   large groups: u(p) = (1−p)^gamma

    On GRPO: f′(p) = p^(−1/2) (1−p)^(gamma−1/2), whence f = B(p; 1/2, gamma + 1/2), the incomplete
    beta function. On Dr. GRPO: f = −(1−p)^(gamma+1)/(gamma+1).

    m is the mean reward where correctness is unknown and rewards lie within 0 … 1. k = 0 has u = 1;
    k = G has u = 0, which silences it under rules that give it something.

    Raises:
        InputError: gamma below 0; rewards without a solve rate.

    Example:
        >>> from dissensus import RewardGroups
        >>> groups = RewardGroups.from_dense([[1, 0, 0, 0], [1, 1, 0, 0]])
        >>> focal(1.0).raw(groups, Context()).tolist()
        [0.75, 0.5]
    """

    gamma: float = 1.0
    formula: ClassVar[str] = "(1−p)^gamma"
    source: ClassVar[str] = (
        "Lin et al. 2017, arXiv:1708.02002; on GRPO and without a mean of one: arXiv:2602.06717"
    )

    def __post_init__(self) -> None:
        check_range(self, "gamma", 0.0)

    def raw(self, groups: RewardGroups, context: Context) -> FloatArray:
        """(1 − m)^gamma."""
        return self.at(solve_rate(groups, self))

    def at(self, p: FloatArray) -> FloatArray:
        """u(p)."""
        return np.asarray((1.0 - p) ** self.gamma)
