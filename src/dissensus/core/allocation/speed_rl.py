"""SPEED-RL: screen prompts with a few rollouts, go on with those that split."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissensus.core.allocation.base import Allocator, Choice, Request
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.step import Step
from dissensus.core.groups import BoolArray

__all__ = ["SpeedRL"]


@strategy("speed_rl", source="SPEED-RL, arXiv:2506.09016; defaults of its code", generated="open")
class SpeedRL(Allocator):
    """Prompts whose `screen` rollouts split get `more` of them, and are trained on with all.

    One draw holds the rest of the prompts that qualified and the screening of the next ones, so
    that the sampler is busy. Prompts that qualified and are not needed in this step wait for the
    next; their screening rollouts are then one policy old, as in the paper.

    Args:
        prompts: Number of prompts, or their ids.
        screen: Rollouts of the screening.
        more: Rollouts after it.
        candidates: Prompts screened in one draw, in batches.
        max_rounds: Draws of one step.
        **sizes: As `Allocator`; `group_size` is not used.
    """

    reuses_rollouts = True

    def __init__(
        self,
        prompts: Prompts,
        *,
        screen: int = 4,
        more: int = 20,
        candidates: int = 4,
        max_rounds: int = 10,
        **sizes: Any,
    ) -> None:
        super().__init__(prompts, **sizes)
        self.screen, self.more = self._whole("screen", screen), self._whole("more", more)
        self.candidates = self._whole("candidates", candidates)
        self.max_rounds = self._whole("max_rounds", max_rounds)

    @property
    def trained_per_prompt(self) -> int:
        """As `Allocator`."""
        return self.screen + self.more

    def _ready(self, step: Step) -> BoolArray:
        """(P,) which groups of the step have all their rollouts."""
        return np.asarray(step.groups.rollouts > self.screen)

    def _waiting(self, step: Step) -> BoolArray:
        """(P,) which groups have qualified and lack the rest."""
        present = self.pool.is_present[step.outcomes.prompts]
        return step.outcomes.is_split & ~self._ready(step) & present

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        n_ready, chosen = 0, np.empty(0, dtype=np.int64)
        n_waiting = 0
        if len(step):
            n_ready = int(self._ready(step).sum())
            waiting = step.outcomes.prompts[self._waiting(step)]
            chosen = waiting[: max(0, self.batch - n_ready)]
            n_waiting = len(waiting) - len(chosen)
        if n_ready >= self.batch or step.rounds >= self.max_rounds:
            return None
        fresh = np.empty(0, dtype=np.int64)
        if n_waiting < self.batch:
            paid = max(0, budget - self.more * len(chosen)) // self.screen
            fresh = self._fresh(min(self.candidates * self.batch, paid), step, rng)
        counts = np.repeat([self.more, self.screen], [len(chosen), len(fresh)])
        return Request(np.concatenate([chosen, fresh]), counts)

    def _choose(self, step: Step, rng: np.random.Generator) -> Choice:  # noqa: ARG002
        ready = self._ready(step)
        keep = ready & (np.cumsum(ready) <= self.batch)
        return Choice(step.expand(keep), carry=step.expand(self._waiting(step)))
