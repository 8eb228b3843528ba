"""Unanimous groups to epsilon."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.weights.base import Weight, check_range
from dissensus.core.groups import FloatArray, RewardGroups


@dataclass(frozen=True)
class unanimous_to(Weight):
    """Damp what a rule gives to groups whose rewards are all equal.

        u = epsilon on unanimous groups, 1 on split ones;   large groups: 1 for 0 < p < 1

    For rules that push unanimous groups: sign advantages, NGRPO, REINFORCE++ and others. Under a
    rule that is silent there it changes nothing. The objective of large groups stays as it is; at
    finite G the terms of k = 0 and k = G in F′ count epsilon-fold against the rest. Any rewards.

    Raises:
        InputError: epsilon below 0.

    Example:
        >>> from dissensus import RewardGroups
        >>> unanimous_to(0.1).raw(RewardGroups.from_dense([[1, 0], [1, 1]]), Context()).tolist()
        [1.0, 0.1]
    """

    epsilon: float = 0.1
    formula: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        check_range(self, "epsilon", 0.0)

    def raw(self, groups: RewardGroups, context: Context) -> FloatArray:
        """Epsilon where max − min ≤ tol."""
        return np.where(groups.is_unanimous(), float(self.epsilon), 1.0)

    def at(self, p: FloatArray) -> FloatArray:
        """u(p)."""
        return np.where((p > 0) & (p < 1), 1.0, float(self.epsilon))
