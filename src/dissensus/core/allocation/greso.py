"""GRESO: prompts that were unanimous of late are probably skipped."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.refill import Refill
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.step import Outcomes, Step
from dissensus.core.groups import BoolArray, IntArray

__all__ = ["Greso"]

_LEAST_CHANCE, _STEP = 0.01, 0.01
_LOWEST, _HIGHEST = 0.05, 0.95


@strategy(
    "greso",
    source="GRESO, arXiv:2506.02177; Infini-AI-Lab/GRESO@b277843",
    generated="open",
)
class Greso(Refill):
    """A prompt whose last c visits were all correct (all wrong) is sampled with chance p^c.

        chance = max(p^c, .01),   p ∈ {p_easy, p_hard}

    After a step each p moves by .01, within [.05, .95], towards its target share of unanimous
    groups: down when there were more of that kind than wanted, up otherwise. Then as DAPO: split
    groups are kept, and the next round samples 1.25 times what the share of split groups so far
    says is missing, between a quarter of the batch and the first round.

    Args:
        prompts: Number of prompts, or their ids.
        target: Wanted share of unanimous groups; a third of them all correct.
        start: p_easy and p_hard at the beginning.
        easy: Solve rate from which on a visit counts as all correct.
        hard: Solve rate up to which it counts as all wrong.
        oversample: First round, in batches.
        **sizes: As `Refill`.
    """

    def __init__(
        self,
        prompts: Prompts,
        *,
        target: float = 0.25,
        start: float = 0.5,
        easy: float = 0.98,
        hard: float = 0.11,
        oversample: float = 1.5,
        **sizes: Any,
    ) -> None:
        super().__init__(prompts, **sizes)
        self.target, self.oversample = self._share("target", target), oversample
        self.easy, self.hard = self._share("easy", easy), self._share("hard", hard)
        self._column("run", fill=0, dtype=np.int16)  # visits in a row: > 0 easy, < 0 hard
        start = self._share("start", start, least=_LOWEST, most=_HIGHEST)
        self._note("chances", [start, start])  # of easy, of hard

    def _wanted(self, prompts: IntArray, rng: np.random.Generator) -> BoolArray:
        run = self._columns["run"][prompts].astype(np.float64)
        base = self._notes["chances"][(run < 0).astype(np.int64)]
        return np.asarray(rng.random(len(prompts)) < np.maximum(base ** np.abs(run), _LEAST_CHANCE))

    def _round_size(self, step: Step, missing: int) -> int:
        first = math.ceil(self.oversample * self.batch)
        if not step.rounds:
            return first
        split = max(float(step.outcomes.is_split.mean()), 1.0 / first)
        return min(first, max(math.ceil(1.25 * missing / split), math.ceil(self.batch / 4)))

    def _learn(self, seen: Outcomes) -> None:
        run = self._columns["run"]
        before = run[seen.prompts].astype(np.int64)
        is_easy, is_hard = seen.rate >= self.easy, seen.rate <= self.hard
        after = np.where(is_easy, np.maximum(before, 0) + 1, 0)
        after = np.where(is_hard, np.minimum(before, 0) - 1, after)
        run[seen.prompts] = np.clip(after, -1000, 1000)

    def _choose(self, step: Step, rng: np.random.Generator) -> Any:
        seen = step.outcomes
        shares = np.array([(seen.rate >= self.easy).mean(), (seen.rate <= self.hard).mean()])
        targets = self.target * np.array([1, 2]) / 3
        move = np.where(shares > targets, -_STEP, _STEP)
        self._notes["chances"] = np.clip(self._notes["chances"] + move, _LOWEST, _HIGHEST)
        return super()._choose(step, rng)
