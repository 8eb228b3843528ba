"""The group-size law as a strategy: every prompt at the same fidelity."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissensus.core.allocation.base import Allocator, Choice, Request
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.spreading import proportional
from dissensus.core.allocation.step import Outcomes, Step
from dissensus.core.laws import group_size_law

__all__ = ["GroupSizeLaw", "count_prompts_once"]


def count_prompts_once(step: Step) -> Choice:
    """Train on everything, with advantages scaled by n̄/n_i: every prompt counts once."""
    size = np.maximum(step.outcomes.size, 1)
    return Choice(np.ones(len(step), dtype=np.bool_), weights=size.mean() / size)


@strategy("group_size_law", source="arXiv:2607.00152, group-size law; as a strategy this project's")
class GroupSizeLaw(Allocator):
    """The batch of a shuffled epoch, with n_i in proportion to 1/(p_i(1−p_i)).

        n_i = 1 / (8 (1 − φ) p_i(1−p_i)),   φ such that Σ n_i = batch · group_size

    so every prompt keeps the same share φ of its signal, as far as the bounds allow. p is
    (k + ½)/(n + 1) over past visits that fade by `decay`. Advantages are scaled by n̄/n_i.

    The law says what a fidelity costs, not that it is worth the cost: 1/(p(1−p)) grows without
    bound, so never and always solved prompts, which teach nothing, get most rollouts (`most` each).
    It is here to be compared with; for training leave such prompts out first.

    Args:
        prompts: Number of prompts, or their ids.
        least: Smallest group.
        most: Largest group; None: four times `group_size`.
        decay: What a visit counts after the next one.
        **sizes: As `Allocator`.
    """

    def __init__(
        self,
        prompts: Prompts,
        *,
        least: int = 2,
        most: int | None = None,
        decay: float = 0.9,
        **sizes: Any,
    ) -> None:
        super().__init__(prompts, **sizes)
        self.least = self._whole("least", least)
        self.most = self._whole("most", most or max(least, 4 * self.group_size), least)
        self.decay = self._share("decay", decay)
        self._column("correct", fill=0.0, dtype=np.float32)
        self._column("size", fill=0.0, dtype=np.float32)

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        if step.rounds:
            return None
        budget = min(budget, self.batch * self.group_size)
        found = self._fresh(min(self.batch, budget // self.least), step, rng)
        correct, size = (self._columns[name][found].astype(float) for name in ("correct", "size"))
        wanted = group_size_law((correct + 0.5) / (size + 1))
        return Request(found, proportional(wanted, budget, least=self.least, most=self.most))

    def _learn(self, seen: Outcomes) -> None:
        for name, count in (("correct", seen.correct), ("size", seen.size)):
            values = self._columns[name]
            values[seen.prompts] = self.decay * values[seen.prompts] + count

    def _choose(self, step: Step, rng: np.random.Generator) -> Choice:  # noqa: ARG002
        return count_prompts_once(step)
