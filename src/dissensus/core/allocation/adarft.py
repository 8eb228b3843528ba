"""AdaRFT: a target difficulty that follows the reward."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.allocation.base import Allocator, Choice, Request, each
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.spreading import largest
from dissensus.core.allocation.step import Outcomes, Step
from dissensus.errors import InputError

__all__ = ["AdaRFT"]

_HARDEST = 100.0


@strategy("adarft", source="AdaRFT, arXiv:2504.05520; limenlp/verl@fe9979a")
class AdaRFT(Allocator):
    """The prompts whose difficulty is nearest to a target T, which follows the mean reward.

        T ← clip(T + eta · tanh(alpha · (solve rate − beta)), 0, 100)

    Its sampler sorts by |d − T| anew for each batch, and so repeats the same prompts while T
    stands; here a prompt is drawn again only when all others were drawn.

    Without `difficulty` it is nearly uniform over a pass: each prompt comes once, only the order
    is by the rate of its last visit. Judge the published method with given difficulties only.

    Args:
        prompts: Number of prompts, or their ids.
        difficulty: (n,) difficulty of each prompt in [0, 100]. None: 100 · (1 − rate) of its last
            visit (this project's stand-in). Unseen and later prompts have 50.
        start: T at the beginning.
        beta: Wanted solve rate.
        alpha: Sensitivity.
        eta: Largest step of T.
        **sizes: As `Allocator`.
    """

    def __init__(
        self,
        prompts: Prompts,
        *,
        difficulty: ArrayLike | None = None,
        start: float = 0.0,
        beta: float = 0.5,
        alpha: float = 2.0,
        eta: float = 50.0,
        **sizes: Any,
    ) -> None:
        super().__init__(prompts, **sizes)
        self.beta, self.alpha, self.eta = self._share("beta", beta), float(alpha), float(eta)
        self.learns = difficulty is None
        self._column("difficulty", fill=_HARDEST / 2, dtype=np.float32)
        self._column("drawn", fill=0, dtype=np.int32)  # passes in which it was drawn
        self._note("target", self._share("start", start, most=_HARDEST))
        self._note("pass", 1)
        if difficulty is not None:
            given = np.asarray(difficulty, dtype=np.float32)
            if given.shape != (len(self.pool),) or not ((given >= 0) & (given <= 100)).all():
                raise InputError(
                    "difficulty must have one number in [0, 100] per prompt",
                    where="adarft",
                    got=given.shape,
                )
            self._columns["difficulty"] = given

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        if step.rounds:
            return None
        count = min(self.batch, budget // self.group_size)
        keys = rng.random(len(self.pool), dtype=np.float32)  # decides between equals
        keys *= np.float32(-1e-3)
        keys -= np.abs(self._columns["difficulty"] - np.float32(self._notes["target"]))
        keys[~self.pool.is_present] = -np.inf
        drawn = self._columns["drawn"]
        found = largest(np.where(drawn < self._notes["pass"], keys, np.float32(-np.inf)), count)
        if len(found) < count:
            self._notes["pass"] += 1
            keys[found] = -np.inf
            found = np.concatenate([found, largest(keys, count - len(found))])
        drawn[found] = self._notes["pass"]
        return each(found, self.group_size)

    def _learn(self, seen: Outcomes) -> None:
        if self.learns:
            self._columns["difficulty"][seen.prompts] = _HARDEST * (1 - seen.rate)

    def _choose(self, step: Step, rng: np.random.Generator) -> Choice:
        seen = step.outcomes
        if seen.size.any():
            rate = seen.correct.sum() / seen.size.sum()
            moved = self._notes["target"] + self.eta * np.tanh(self.alpha * (rate - self.beta))
            self._notes["target"] = np.clip(moved, 0.0, _HARDEST)
        return super()._choose(step, rng)
