"""DARS: a second stage gives hard prompts more rollouts."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissensus.core.allocation.base import Allocator, Choice, Request
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.step import Step
from dissensus.core.groups import FloatArray, IntArray
from dissensus.errors import InputError

__all__ = ["Dars"]

_SOURCE = "DARS, arXiv:2508.13755; yangzhch6/DARS@9b21b71"
_FROM = 0.5


@strategy("dars_hw", source=_SOURCE, generated="open", schedule="hardness_weighted", most=64)
@strategy("dars_et", source=_SOURCE, generated="open")
class Dars(Allocator):
    """After `group_size` rollouts, prompts solved less than half the time get more.

        equal treatment      ΔN = N (S_max − S) / S
        hardness weighted    ΔN = N (2(1 − acc) S_max − S) / S
        S = 2 acc(1−acc)  or, for GRPO,  2 sqrt(acc(1−acc));   acc = 0 counts as .5/N

    at most `most` − N, so that every hard prompt's update weighs as much as one at acc = ½ (or
    more). Prompts that stay at 0, or reach `upper`, are not trained on.

    Args:
        prompts: Number of prompts, or their ids.
        schedule: "equal_treatment" or "hardness_weighted".
        most: Largest group.
        upper: Solve rate from which on a prompt is dropped.
        divided: Whether the estimator divides by the std (GRPO).
        **sizes: As `Allocator`.
    """

    def __init__(
        self,
        prompts: Prompts,
        *,
        schedule: str = "equal_treatment",
        most: int = 32,
        upper: float = 1.0,
        divided: bool = True,
        **sizes: Any,
    ) -> None:
        super().__init__(prompts, **sizes)
        if schedule not in {"equal_treatment", "hardness_weighted"}:
            raise InputError(
                "schedule must be 'equal_treatment' or 'hardness_weighted'",
                where="dars",
                got=schedule,
            )
        self.schedule, self.divided = schedule, bool(divided)
        self.most, self.upper = self._whole("most", most), self._share("upper", upper)

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        if step.rounds > 1:
            return None
        if not step.rounds:
            return self._groups(self.batch, step, budget, rng)
        seen = step.outcomes
        return Request(seen.prompts, self._more(np.nan_to_num(seen.rate, nan=1.0)))

    def _more(self, rate: FloatArray) -> IntArray:
        size = self.group_size
        rate_or_half = np.where(rate > 0, rate, 0.5 / size)
        mass = 2 * rate_or_half * (1 - rate_or_half)
        largest = 0.5
        if self.divided:
            mass, largest = np.sqrt(2 * mass), 1.0
        if self.schedule == "hardness_weighted":
            wanted = 2 * (1 - rate_or_half) * largest
        else:
            wanted = np.full(len(rate), largest)
        more = np.divide(size * (wanted - mass), mass, where=mass > 0, out=np.zeros(len(rate)))
        more = np.where(rate >= _FROM, 0.0, np.clip(more, 0.0, max(0, self.most - size)))
        return np.floor(more + 0.5).astype(np.int64)

    def _choose(self, step: Step, rng: np.random.Generator) -> Choice:  # noqa: ARG002
        rate = step.outcomes.rate
        return Choice(step.expand((rate > 0) & (rate < self.upper)))
