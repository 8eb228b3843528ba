"""Power of the disagreement."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.weights.base import Weight, check_range
from dissensus.core.groups import FloatArray, RewardGroups


@dataclass(frozen=True)
class power(Weight):
    """A power of the group's disagreement, the population standard deviation of its rewards.

        u = σ^alpha;   large groups: u(p) = (p(1−p))^(alpha/2)

    On GRPO: f′(p) = (p(1−p))^((alpha−1)/2), so that alpha 1 is Dr. GRPO (f = p), 0 is GRPO
    (2·arcsin√p), −1 is DisCO (logit p), up to one factor; between them f is the incomplete beta
    function B(p; (1+alpha)/2, (1+alpha)/2). On Dr. GRPO alpha −1 is GRPO.

    Rewards may be real-valued: their unit drops out with the mean. Unanimous groups have σ = 0, so
    a positive alpha silences them under rules that give them something, and a negative one leaves
    them as they are.

    Raises:
        InputError: alpha is not a finite number.

    Example:
        >>> from dissensus import RewardGroups, advantages
        >>> groups = RewardGroups.from_dense([[1, 0, 0, 0], [1, 1, 0, 0]])
        >>> w = advantages.weighted("grpo", power(1.0))(groups) / advantages.get("grpo")(groups)
        >>> w.round(3).tolist()                          # σ = .433 and .5, over their mean
        [0.928, 0.928, 0.928, 0.928, 1.072, 1.072, 1.072, 1.072]
    """

    alpha: float = 0.5
    formula: ClassVar[str] = "(p(1−p))^(alpha/2)"

    def __post_init__(self) -> None:
        check_range(self, "alpha")

    def raw(self, groups: RewardGroups, context: Context) -> FloatArray:
        """σ^alpha."""
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(groups.std() ** self.alpha)

    def at(self, p: FloatArray) -> FloatArray:
        """u(p)."""
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray((p * (1.0 - p)) ** (self.alpha / 2.0))
