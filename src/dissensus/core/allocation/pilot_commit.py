"""Pilot-Commit: a pilot decides whether a prompt is skipped, deferred or sampled in full."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissensus.core.allocation.base import Allocator, Choice, Request, each
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.step import Outcomes, Step
from dissensus.core.groups import BoolArray

__all__ = ["PilotCommit"]


@strategy(
    "pilot_commit",
    source="Pilot-Commit, arXiv:2605.26606, known second-hand",
    generated="open",
)
class PilotCommit(Allocator):
    """After `pilot` rollouts: above `skip` skipped, below `defer` deferred, else `commit` more.

    Trains on pilots and commitments together. A skipped prompt sits out the next epoch; a deferred
    one comes again in it. (That is this project's reading: the sources say no more. It fits the
    paper's remark on prompts solved in epoch 2 that are not in epoch 3.) Pilots take at most half
    of the budget, their share in the paper's sizes, and leave room for one commitment.

    Args:
        prompts: Number of prompts, or their ids.
        pilot: Rollouts of a pilot.
        commit: Rollouts after it.
        skip: Solve rate above which a prompt is skipped.
        defer: Solve rate below which it is deferred.
        candidates: Pilots of a step, in batches.
        **sizes: As `Allocator`; `group_size` is not used.
    """

    def __init__(
        self,
        prompts: Prompts,
        *,
        pilot: int = 16,
        commit: int = 48,
        skip: float = 0.75,
        defer: float = 0.125,
        candidates: int = 3,
        **sizes: Any,
    ) -> None:
        super().__init__(prompts, **sizes)
        self.pilot, self.commit = self._whole("pilot", pilot), self._whole("commit", commit)
        self.skip, self.defer = self._share("skip", skip), self._share("defer", defer)
        self.candidates = self._whole("candidates", candidates)
        self._column("sits_out", fill=-1, dtype=np.int32)  # epoch in which it is not drawn

    @property
    def trained_per_prompt(self) -> int:
        """As `Allocator`."""
        return self.pilot + self.commit

    def _committed(self, pilots: Outcomes) -> BoolArray:
        inside = (pilots.rate <= self.skip) & (pilots.rate >= self.defer)
        return np.asarray(inside & (np.cumsum(inside) <= self.batch))

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        if step.rounds > 1:
            return None
        if step.rounds == 1:
            pilots = step.outcomes
            return each(pilots.prompts[self._committed(pilots)], self.commit)
        sits_out, epochs = self._columns["sits_out"], self.epochs
        pays = max(self.pilot, min(budget // 2, budget - self.commit))
        count = min(self.candidates * self.batch, pays // self.pilot)
        found = self._fresh(count, step, rng, lambda prompts: sits_out[prompts] != epochs.number)
        return each(found, self.pilot)

    def _learn(self, seen: Outcomes) -> None:
        solved = seen.prompts[seen.rate > self.skip]
        self._columns["sits_out"][solved] = self.epochs.number + 1

    def _choose(self, step: Step, rng: np.random.Generator) -> Choice:  # noqa: ARG002
        return Choice(step.expand(step.groups.rollouts > self.pilot))
