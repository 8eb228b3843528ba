"""Reinforce-Ada: sample each prompt until it has shown both sides, or one right answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissensus.core.allocation.base import Allocator, Choice, Request, each
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.step import Outcomes, Step
from dissensus.core.groups import BoolArray

__all__ = ["ReinforceAda"]

_SOURCE = "Reinforce-Ada, arXiv:2510.04996; RLHFlow/Reinforce-Ada@05be605"


@strategy("reinforce_ada_positive", source=_SOURCE, generated="open", balanced=False)
@strategy("reinforce_ada", source=_SOURCE, generated="open")
class ReinforceAda(Allocator):
    """Rounds of `per_round` rollouts until a prompt has n/2 correct and n/2 wrong ones.

    The positive rule stops at the first correct one. Then `keep` = n rollouts of each prompt are
    trained on, half of them correct where there are as many, and advantages are centred on the mean
    of *all* draws (`Selection.baselines`). The authors switch the division by std off.

    The later version of the paper that estimates group sizes is not covered.

    Args:
        prompts: Number of prompts, or their ids.
        balanced: Whether both sides are wanted.
        keep: n.
        per_round: Rollouts of a prompt in one round.
        max_rounds: Rounds.
        **sizes: As `Allocator`; `group_size` is not used.
    """

    def __init__(
        self,
        prompts: Prompts,
        *,
        balanced: bool = True,
        keep: int = 4,
        per_round: int = 8,
        max_rounds: int = 4,
        **sizes: Any,
    ) -> None:
        super().__init__(prompts, **sizes)
        self.balanced, self.keep = bool(balanced), self._whole("keep", keep)
        self.per_round = self._whole("per_round", per_round)
        self.max_rounds = self._whole("max_rounds", max_rounds)

    @property
    def trained_per_prompt(self) -> int:
        """As `Allocator`."""
        return self.keep

    def _done(self, seen: Outcomes) -> BoolArray:
        if not self.balanced:
            return np.asarray(seen.correct >= 1)
        wanted = self.keep / 2
        return np.asarray((seen.correct >= wanted) & (seen.size - seen.correct >= wanted))

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        if step.rounds >= self.max_rounds:
            return None
        if step.rounds:
            return each(step.outcomes.prompts[~self._done(step.outcomes)], self.per_round)
        count = min(self.batch, budget // self.per_round)
        return each(self._fresh(count, step, rng), self.per_round)

    def _choose(self, step: Step, rng: np.random.Generator) -> Choice:  # noqa: ARG002
        keep = np.zeros(len(step), dtype=np.bool_)
        is_correct, scored = step.rows["credit"] >= 0.5, step.groups.is_scored
        order = np.argsort(step.groups.index, kind="stable")
        for rows in np.split(order, np.cumsum(step.groups.rollouts)[:-1]):
            correct = rows[is_correct[rows] & scored[rows]]
            wrong = rows[~is_correct[rows] & scored[rows]]
            n_wrong = max(self.keep // 2, self.keep - len(correct))
            chosen_wrong = wrong[:n_wrong]
            keep[chosen_wrong] = True
            keep[correct[: self.keep - len(chosen_wrong)]] = True
        return Choice(keep, baselines=step.groups.mean)
