"""Knapsack RL: group sizes that maximise the chance of a useful gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissensus.core.allocation.base import Allocator, Request
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.spreading import best_gains
from dissensus.core.allocation.step import Outcomes, Step
from dissensus.core.groups import FloatArray, IntArray

__all__ = ["Knapsack"]


@strategy(
    "knapsack",
    source="Knapsack RL, arXiv:2509.25849; a third-party copy of its code",
)
class Knapsack(Allocator):
    """The batch of a shuffled epoch, with n_i chosen for the greatest total value.

        max Σ_i (1 − p_i^n_i − (1−p_i)^n_i) · p_i(1−p_i)²   subject to   Σ n_i = batch · group_size

    p is the rate of the last visit. Unseen prompts get `group_size`, those at 0 or 1 get `least`.
    Budget that the others do not need, by their cost ln(1−α)/ln(max(p, 1−p)), goes to prompts at 0,
    or to those at 1 where there is none. The value is concave in n, so taking the greatest gain
    first finds what the paper's dynamic programme does.

    Its code counts what the first `least` rollouts are worth again in the gain of the next one,
    and so favours breadth; here a gain is the gain.

    Args:
        prompts: Number of prompts, or their ids.
        least: Smallest group.
        most: Largest group.
        alpha: α.
        **sizes: As `Allocator`.
    """

    def __init__(
        self,
        prompts: Prompts,
        *,
        least: int = 2,
        most: int = 128,
        alpha: float = 0.9,
        **sizes: Any,
    ) -> None:
        super().__init__(prompts, **sizes)
        self.least, self.most = self._whole("least", least), self._whole("most", most, least)
        self.alpha = self._share("alpha", alpha)
        self._column("rate", fill=np.nan, dtype=np.float32)

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        if step.rounds:
            return None
        count = min(self.batch, budget // self.group_size)
        found = self._fresh(count, step, rng)
        return Request(found, self._sizes(found))

    def _learn(self, seen: Outcomes) -> None:
        self._columns["rate"][seen.prompts] = seen.rate

    def _sizes(self, prompts: IntArray) -> IntArray:
        rate = self._columns["rate"][prompts].astype(np.float64)
        counts = np.where(np.isnan(rate), self.group_size, min(self.least, self.group_size))
        spare = len(prompts) * self.group_size - int(counts.sum())
        mixed = (rate > 0) & (rate < 1)
        p = rate[mixed]
        cost = np.minimum(np.log1p(-self.alpha) / np.log(np.maximum(p, 1 - p)), self.most)
        abundant = max(0, spare - int(np.floor(cost).sum()))
        others = np.flatnonzero(rate == 0)
        others = others if len(others) else np.flatnonzero(rate == 1)
        others = others if len(others) else np.flatnonzero(np.isnan(rate))
        if len(others):
            shares = np.full(len(others), abundant // len(others))
            shares[: abundant % len(others)] += 1
            counts[others] += shares
            spare -= abundant
        counts[mixed] += best_gains(self._gains(p), spare)
        return counts

    def _gains(self, p: FloatArray) -> FloatArray:
        """(n, K) what one more rollout adds, from `least` on."""
        n, p = np.arange(self.least, self.most), p[:, None]
        more = p**n * (1 - p) + (1 - p) ** n * p
        return np.asarray(more * p * (1 - p) ** 2)
