"""DOTS with rollout replay: prompts predicted near ½, and stored split groups beside them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.allocation.base import Allocator, Choice, Request, each
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.predictor import as_features, attend
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.spreading import weighted_sample
from dissensus.core.allocation.step import CARRIED, Outcomes, Step
from dissensus.core.allocation.weighted import not_in
from dissensus.core.groups import BoolArray

__all__ = ["Dots"]


@strategy(
    "dots",
    source="DOTS + rollout replay, arXiv:2506.05316; ASTRAL-Group@59df918",
    extra="embeddings",
)
class Dots(Allocator):
    """Prompts drawn by softmax(−|p̂ − target| / τ), and stored groups for the rest of the batch.

    With features, every `every` steps `reference` random prompts are sampled first (their rollouts
    count as generated), and p̂ is attention over them. The authors train an adapter and a
    calibration on top of the attention; that is not covered. Without features p̂ is the rate of
    the prompt's last visit, ½ for unseen ones.

    A share `fresh` of the batch is sampled; the rest are split groups of earlier steps, at random
    from the newest ones that hold `buffer` rollouts, as far as there are. A prompt that is sampled
    anew replaces its stored group.

    Args:
        prompts: Number of prompts, or their ids.
        features: (n, d) embedding of each prompt; prompts added later are not predicted.
        target: Wanted solve rate.
        tau: Temperature of the draw.
        every: Steps between predictions, μ.
        reference: Prompts sampled for a prediction.
        fresh: Share of the batch that is sampled, σ.
        buffer: Stored rollouts.
        **sizes: As `Allocator`.
    """

    reuses_rollouts = True

    def __init__(
        self,
        prompts: Prompts,
        *,
        features: ArrayLike | None = None,
        target: float = 0.5,
        tau: float = 1e-3,
        every: int = 2,
        reference: int = 256,
        fresh: float = 0.5,
        buffer: int = 512,
        **sizes: Any,
    ) -> None:
        super().__init__(prompts, **sizes)
        self.features = as_features(features, len(self.pool), "dots")
        self.target, self.fresh = self._share("target", target), self._share("fresh", fresh)
        self.tau = self._share("tau", tau, least=1e-9, most=1e9)
        self.every, self.reference = (
            self._whole("every", every),
            self._whole("reference", reference),
        )
        self.buffer = self._whole("buffer", buffer, 0)
        self._column("rate", fill=0.5, dtype=np.float32)
        self._note("step", 0)

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        predicts = self.features is not None and self._notes["step"] % self.every == 0
        if step.rounds > int(predicts):
            return None
        allowed = not_in(step.of_round(0), self.pool.is_present)
        if predicts and not step.rounds:
            count = min(self.reference, budget // (2 * self.group_size))
            if count:
                found = rng.choice(np.flatnonzero(allowed), min(count, int(allowed.sum())), False)
                return each(found.astype(np.int64), self.group_size)
        n_stored = len(np.unique(self._stored(step)["prompt"]))
        count = self.batch - min(n_stored, self.batch - math.ceil(self.fresh * self.batch))
        log_weights = -np.abs(self._columns["rate"] - np.float32(self.target))
        found = weighted_sample(
            log_weights / np.float32(self.tau),
            min(count, budget // self.group_size),
            rng,
            allowed=allowed,
        )
        return each(found, self.group_size)

    def _learn(self, seen: Outcomes) -> None:
        rates = self._columns["rate"]
        if self.features is None:
            rates[seen.prompts] = seen.rate
        elif self._step.rounds == 1 and self._notes["step"] % self.every == 0:
            inside = seen.prompts < len(self.features)
            if inside.any():
                wanted = np.arange(len(self.features))
                rates[wanted] = attend(
                    self.features, seen.prompts[inside], seen.rate[inside], wanted
                )

    def _stored(self, step: Step) -> Any:
        return step.rows[step.rows["round"] == CARRIED]

    def _choose(self, step: Step, rng: np.random.Generator) -> Choice:
        rows = step.rows
        is_new = rows["round"] != CARRIED
        stored = ~is_new & ~np.isin(rows["prompt"], rows["prompt"][is_new])
        self._notes["step"] += 1
        keep = is_new | self._replayed(step, stored, rng)
        split = Step(rows[is_new], step.rounds, step.tol).outcomes if is_new.any() else None
        fresh = is_new & np.isin(rows["prompt"], split.prompts[split.is_split]) if split else is_new
        return Choice(keep, carry=self._newest(rows["prompt"], stored | fresh))

    def _replayed(self, step: Step, stored: BoolArray, rng: np.random.Generator) -> BoolArray:
        prompts = step.rows["prompt"]
        held = np.unique(prompts[stored])
        n_new = len(np.unique(prompts[step.rows["round"] != CARRIED]))
        missing = max(0, min(self.batch - n_new, len(held)))
        return stored & np.isin(prompts, rng.choice(held, missing, replace=False))

    def _newest(self, prompts: Any, wanted: BoolArray) -> BoolArray:
        """Whole groups, the newest first, of at most `buffer` rollouts."""
        # Rows stand in the order in which they were sampled, so the last groups are the newest.
        newest, size = np.unique(prompts[wanted][::-1], return_counts=True)
        last = np.array([np.flatnonzero(wanted & (prompts == each_))[-1] for each_ in newest])
        order = np.argsort(-last) if len(last) else np.empty(0, dtype=np.int64)
        fits = np.cumsum(size[order]) <= self.buffer
        return np.asarray(wanted & np.isin(prompts, newest[order[fits]]))
