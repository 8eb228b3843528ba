"""Strategies that draw prompts at random with unequal chances."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissensus.core.allocation.base import Allocator, Request, each
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.refill import Refill
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.spreading import proportional, weighted_sample
from dissensus.core.allocation.step import Outcomes, Step
from dissensus.core.groups import BoolArray

__all__ = ["Cures", "PrimeRL", "not_in"]


def not_in(step: Step, present: BoolArray) -> BoolArray:
    """(n,) present prompts that have no rollout in this step."""
    allowed = present.copy()
    allowed[step.rows["prompt"]] = False
    return allowed


@strategy(
    "prime_rl",
    source="INTELLECT-3; prime-rl `DifficultyPoolSampler`, `filter_zero_advantages`",
    generated="open",
)
class PrimeRL(Refill):
    """Prompts are drawn by the pool of their latest solve rate; unanimous groups are refilled.

    Unseen prompts have weight 1. prime-rl draws with replacement, so that a prompt can have two
    groups at once; here a prompt comes once in a step.

    Args:
        prompts: Number of prompts, or their ids.
        hard: Largest rate of the hard pool.
        normal: Largest rate of the normal pool; above it is the easy one.
        weights: Of hard, normal and easy prompts.
        **sizes: As `Refill`.
    """

    def __init__(
        self,
        prompts: Prompts,
        *,
        hard: float = 0.25,
        normal: float = 0.75,
        weights: tuple[float, float, float] = (0.2, 1.0, 0.2),
        **sizes: Any,
    ) -> None:
        super().__init__(prompts, **sizes)
        self.limits = np.array([self._share("hard", hard), self._share("normal", normal)])
        with np.errstate(divide="ignore"):
            self.log_weights = np.log(np.array(weights, dtype=np.float64))
        self._column("log_weight", fill=0.0, dtype=np.float32)
        self._note("queue", np.empty(0, dtype=np.int64))  # prompts of the step, in drawing order

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        missing = self.batch - int(self._admitted(step.outcomes).sum())
        if missing <= 0 or step.rounds >= self.max_rounds:
            return None
        if not step.rounds:
            # Draws without replacement: later rounds go on where the earlier ones stopped.
            self._notes["queue"] = weighted_sample(
                self._columns["log_weight"],
                self.max_rounds * self.batch,
                rng,
                allowed=self.pool.is_present,
            )
        queue = self._notes["queue"]
        left = queue[not_in(step, self.pool.is_present)[queue]]
        return each(left[: min(self.batch, budget // self.group_size)], self.group_size)

    def _learn(self, seen: Outcomes) -> None:
        pool = np.searchsorted(self.limits, seen.rate, side="left")
        self._columns["log_weight"][seen.prompts] = self.log_weights[pool]


@strategy("cures", source="CurES, arXiv:2510.01037; ZexuSun/CurES@eccf298", extra="gradient norms")
class Cures(Allocator):
    """Prompts are drawn, and sized, by the spread of their solve rate.

        p = (k+1)/(n+2) of the last visit;   chance ∝ exp(sqrt(p(1−p)) / temperature)
        n_i ∝ sqrt(p(1−p)), between `least` and `most`

    The paper's sizes also need gradient norms of correct and wrong rollouts, which cost extra
    passes; n_i is what its formula gives when these are equal and orthogonal. Its code computes a
    temperature of 100 and more, which makes the draw all but uniform; the paper's idea needs a
    small one, and .1 is this project's choice.

    Args:
        prompts: Number of prompts, or their ids.
        temperature: Of the draw, > 0.
        least: Smallest group.
        most: Largest group.
        **sizes: As `Allocator`.
    """

    def __init__(
        self,
        prompts: Prompts,
        *,
        temperature: float = 0.1,
        least: int = 4,
        most: int = 8,
        **sizes: Any,
    ) -> None:
        super().__init__(prompts, **sizes)
        self.temperature = self._share("temperature", temperature, least=1e-6, most=1e6)
        self.least, self.most = self._whole("least", least), self._whole("most", most, least)
        self._column("spread", fill=0.5, dtype=np.float32)  # sqrt(p(1−p)) at the prior mean

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        if step.rounds:
            return None
        spread = self._columns["spread"]
        budget = min(budget, self.batch * self.group_size)
        count = min(self.batch, budget // self.least)
        found = weighted_sample(
            spread / np.float32(self.temperature), count, rng, allowed=self.pool.is_present
        )
        sizes = proportional(
            spread[found].astype(np.float64), budget, least=self.least, most=self.most
        )
        return Request(found, sizes)

    def _learn(self, seen: Outcomes) -> None:
        p = (seen.correct + 1) / (seen.size + 2)
        self._columns["spread"][seen.prompts] = np.sqrt(p * (1 - p))
