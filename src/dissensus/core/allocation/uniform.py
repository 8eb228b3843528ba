"""Every prompt alike."""

from __future__ import annotations

import numpy as np

from dissensus.core.allocation.base import Allocator, Request
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.step import Step

__all__ = ["Uniform"]


@strategy("uniform", source="GRPO, arXiv:2402.03300; what every trainer does by default")
class Uniform(Allocator):
    """The next `batch` prompts of a shuffled epoch get `group_size` rollouts each.

    All of them are trained on, unanimous groups included.
    """

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        return None if step.rounds else self._groups(self.batch, step, budget, rng)
