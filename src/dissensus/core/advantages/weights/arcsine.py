"""Arcsine weight."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.weights.base import Weight, check_range, solve_rate
from dissensus.core.groups import FloatArray, RewardGroups


@dataclass(frozen=True)
class arcsine(Weight):
    """Turn expected reward into the arcsine objective, with a solve rate that is never 0 or 1.

        u = 1 / sqrt(q(1−q)),   q = (k + prior) / (G + 2·prior);   large groups: 1/sqrt(p(1−p))

    q is the mean solve rate after k of G under a Beta(prior, prior); prior 1/2 is Jeffreys', the
    arcsine law. On Dr. GRPO: f = 2·arcsin√p, as GRPO, but finite groups at the ends weigh less than
    under a division by σ: u(1 of 8) is 2.7 instead of 3.0. On GRPO: f = logit p.

    k is G times the mean reward where correctness is unknown and rewards lie within 0 … 1.
    Unanimous groups have a finite u, which matters under rules that give them something.

    Raises:
        InputError: prior not above 0; rewards without a solve rate.

    Example:
        >>> from dissensus import RewardGroups
        >>> groups = RewardGroups.from_dense([[1, 0, 0, 0, 0, 0, 0, 0]])
        >>> arcsine(0.5).raw(groups, Context()).round(3).tolist()         # q = 1.5/9
        [2.683]
    """

    prior: float = 0.5
    formula: ClassVar[str] = "1/sqrt(p(1−p))"
    source: ClassVar[str] = "derived here; the objective: Thrampoulidis et al., arXiv:2510.23049"

    def __post_init__(self) -> None:
        check_range(self, "prior", np.finfo(float).tiny)

    def raw(self, groups: RewardGroups, context: Context) -> FloatArray:
        """1/sqrt(q(1−q))."""
        correct = solve_rate(groups, self) * groups.size
        return self.at((correct + self.prior) / (groups.size + 2.0 * self.prior))

    def at(self, p: FloatArray) -> FloatArray:
        """u(p)."""
        with np.errstate(divide="ignore"):
            return np.asarray(1.0 / np.sqrt(p * (1.0 - p)))
