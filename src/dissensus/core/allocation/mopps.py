"""MoPPS: Thompson sampling of prompts that are neither easy nor hard."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissensus.core.allocation.base import Allocator, Request, each
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.step import Outcomes, Step

__all__ = ["Mopps"]


@strategy("mopps", source="MoPPS, arXiv:2507.04632; thu-rllab/MoPPS@a883f51, top-k rule")
class Mopps(Allocator):
    """Of some candidates, those whose drawn solve rate is nearest to `target`.

        p_i ~ Beta(a_i, b_i);   smallest (p_i − target)²
        a ← λa + (1−λ)a0 + k,   b ← λb + (1−λ)b0 + n − k

    Its code sets a = 8 outright when n is 1 (a conditional expression binds weaker than the sum);
    here n = 1 is an update like any other.

    Args:
        prompts: Number of prompts, or their ids.
        target: Wanted solve rate.
        candidates: Candidates, in batches.
        decay: λ; 1 never forgets, .5 in the authors' Countdown runs.
        prior: a0 = b0.
        **sizes: As `Allocator`.
    """

    def __init__(
        self,
        prompts: Prompts,
        *,
        target: float = 0.5,
        candidates: int = 8,
        decay: float = 1.0,
        prior: float = 1.0,
        **sizes: Any,
    ) -> None:
        super().__init__(prompts, **sizes)
        self.target, self.decay = self._share("target", target), self._share("decay", decay)
        self.candidates, self.prior = self._whole("candidates", candidates), prior
        self._column("a", fill=prior)
        self._column("b", fill=prior)

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        if step.rounds:
            return None
        found = self._fresh(self.candidates * self.batch, step, rng)
        drawn = rng.beta(self._columns["a"][found], self._columns["b"][found])
        order = np.argsort((drawn - self.target) ** 2, kind="stable")
        return each(found[order[: min(self.batch, budget // self.group_size)]], self.group_size)

    def _learn(self, seen: Outcomes) -> None:
        for name, count in (("a", seen.correct), ("b", seen.size - seen.correct)):
            values = self._columns[name]
            faded = self.decay * values[seen.prompts] + (1.0 - self.decay) * self.prior
            values[seen.prompts] = faded + count
