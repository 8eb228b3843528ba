"""Strategies that sample until enough groups are worth training on."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissensus.core.allocation.base import Allocator, Choice, Request
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.step import Outcomes, Step
from dissensus.core.groups import BoolArray, IntArray

__all__ = ["DynamicSampling", "OnlineDifficultyFilter", "OpenInstruct", "Refill"]


class Refill(Allocator):
    """Rounds of fresh prompts until `batch` groups are admitted, at most `max_rounds` of them.

    The first `batch` admitted groups are trained on; what was generated beyond them is thrown away.

    Args:
        prompts: Number of prompts, or their ids.
        max_rounds: Rounds of one step, ≥ 1.
        **sizes: As `Allocator`.
    """

    def __init__(self, prompts: Prompts, *, max_rounds: int = 10, **sizes: Any) -> None:
        super().__init__(prompts, **sizes)
        self.max_rounds = self._whole("max_rounds", max_rounds)

    def _admitted(self, seen: Outcomes) -> BoolArray:
        """(P,) which groups are trained on; default: those that are split."""
        return seen.is_split

    def _round_size(self, step: Step, missing: int) -> int:  # noqa: ARG002
        """Prompts of the next round; `missing` groups are still wanted."""
        return self.batch

    def _wanted(self, prompts: IntArray, rng: np.random.Generator) -> BoolArray:  # noqa: ARG002
        """(n,) which prompts may be sampled; default: all."""
        return np.ones(len(prompts), dtype=np.bool_)

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        missing = self.batch - int(self._admitted(step.outcomes).sum())
        if missing <= 0 or step.rounds >= self.max_rounds:
            return None
        size = self._round_size(step, missing)
        return self._groups(size, step, budget, rng, lambda prompts: self._wanted(prompts, rng))

    def _choose(self, step: Step, rng: np.random.Generator) -> Choice:  # noqa: ARG002
        admitted = self._admitted(step.outcomes)
        return Choice(step.expand(admitted & (np.cumsum(admitted) <= self.batch)))


@strategy(
    "dapo",
    source="DAPO, arXiv:2503.14476, dynamic sampling; verl `filter_groups`",
    generated="open",
)
class DynamicSampling(Refill):
    """Fresh prompts replace unanimous groups until the batch holds split ones only.

    verl raises an error when the last round does not fill the batch; this trains on what there is.
    """


@strategy(
    "online_difficulty",
    source="Bae et al., arXiv:2504.03380, balanced filtering",
    generated="open",
)
class OnlineDifficultyFilter(Refill):
    """Keep groups whose solve rate lies between `low` and `high`; refill the rest.

    The refill of the paper is asynchronous, which changes the time it takes and not the choice.

    Args:
        prompts: Number of prompts, or their ids.
        low: Smallest solve rate of a group that is kept.
        high: Largest one.
        **sizes: As `Refill`.
    """

    def __init__(
        self, prompts: Prompts, *, low: float = 0.2, high: float = 0.8, **sizes: Any
    ) -> None:
        super().__init__(prompts, **sizes)
        self.low = self._share("low", low)
        self.high = self._share("high", high, least=low)

    def _admitted(self, seen: Outcomes) -> BoolArray:
        # A rate of 1/5 must not miss a limit of .2 by a rounding error.
        inside = (seen.rate >= self.low - 1e-9) & (seen.rate <= self.high + 1e-9)
        return np.asarray(inside & seen.is_split)


@strategy(
    "open_instruct",
    source="Olmo 3, open-instruct `active_sampling`, `no_resampling_pass_rate`",
    generated="open",
)
class OpenInstruct(Refill):
    """Refill until the batch holds split groups, and retire prompts once they are solved.

    A prompt whose group reaches `retire_at` is not drawn again. Off by default in open-instruct,
    where nothing says what rate to take; all correct is this project's.

    Args:
        prompts: Number of prompts, or their ids.
        retire_at: Solve rate of a group from which on its prompt is retired.
        **sizes: As `Refill`.
    """

    def __init__(self, prompts: Prompts, *, retire_at: float = 1.0, **sizes: Any) -> None:
        super().__init__(prompts, **sizes)
        self.retire_at = self._share("retire_at", retire_at)
        self._column("retired", fill=False, dtype=np.bool_)

    def _wanted(self, prompts: IntArray, rng: np.random.Generator) -> BoolArray:  # noqa: ARG002
        return ~self._columns["retired"][prompts]

    def _learn(self, seen: Outcomes) -> None:
        self._columns["retired"][seen.prompts[seen.rate >= self.retire_at]] = True
