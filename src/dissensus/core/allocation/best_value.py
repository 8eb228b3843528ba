"""Group sizes of largest expected value under what is believed of solve rates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.allocation.base import Allocator, Request
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.spreading import concave_envelope, spread
from dissensus.core.allocation.step import Outcomes, Step
from dissensus.core.difficulty import SolveRatePosterior
from dissensus.core.groups import FloatArray, IntArray
from dissensus.errors import InputError

__all__ = ["Beliefs", "BestValue"]


class Beliefs(Protocol):
    """What may be believed, or known, of solve rates; `SolveRatePosterior` is one.

    With one of your own, state_dict and load_state_dict of the allocator do not cover it.
    """

    @property
    def rates(self) -> FloatArray:
        """(M,) solve rates at which functions are tabulated."""

    def grow(self, prompts: int) -> None:
        """Make room for more prompts."""

    def update(self, prompts: ArrayLike, correct: ArrayLike, size: ArrayLike) -> None:
        """Take in groups of one moment."""

    def average(self, values: ArrayLike, prompts: ArrayLike) -> FloatArray:
        """(N, F) or (N,) E[f(p)] of each prompt, from (M, F) or (M,) values at `rates`."""


class BestValue(Allocator):
    """What `contrast` and `signal` share; a subclass says what a group is worth.

        max Σ_i E[v(n_i)]   subject to   Σ n_i ≤ batch · group_size,  n_i ∈ {0} ∪ [least, most]

    Where E[v(n)] is not concave in n, that of its concave envelope.

    Args:
        prompts: Number of prompts, or their ids.
        least: Smallest group, ≥ 2.
        most: Largest group; None: four times `group_size`.
        explore: Share of rollouts that cover the pool.
        most_often: Bound on a prompt's rollouts, in those of uniform sampling, ≥ 1.
        beliefs: What is believed of solve rates; None: a `SolveRatePosterior`.
        **sizes: As `Allocator`.
    """

    def __init__(
        self,
        prompts: Prompts,
        *,
        least: int,
        most: int | None = None,
        explore: float = 0.1,
        most_often: float = 2.0,
        beliefs: Beliefs | None = None,
        **sizes: Any,
    ) -> None:
        super().__init__(prompts, **sizes)
        self.least = self._whole("least", least, 2)
        self.most = self._whole("most", most or max(least, 4 * self.group_size), least)
        self.explore = self._share("explore", explore)
        self.most_often = self._share("most_often", most_often, least=1.0, most=1e9)
        if beliefs is not None and not hasattr(beliefs, "average"):
            raise InputError("beliefs must have an average", where=self.name, got=type(beliefs))
        self.beliefs = SolveRatePosterior(len(self.pool)) if beliefs is None else beliefs
        self.values = self._tabulate(self.beliefs.rates)
        self._column("score", fill=0.0, dtype=np.float32)
        self._column("is_seen", fill=False, dtype=np.bool_)
        self._column("ready", fill=0, dtype=np.int32)  # step from which on it may be drawn
        self._note("step", 0)
        if beliefs is not None:
            self.rescore()

    @abstractmethod
    def _tabulate(self, rates: FloatArray) -> FloatArray:
        """(M, most+1) value of n = 0 … most rollouts at every solve rate; 0 below `least`."""

    def rescore(self) -> None:
        """Take up what `beliefs` now says of every prompt, those without a visit included.

        For beliefs that do not come from the groups told, such as an oracle's; the posterior of
        solve rates needs it never.
        """
        self._score(np.arange(len(self.pool)))

    def add(self, prompts: Any) -> None:
        """As `Allocator.add`; the posterior expects of new prompts what others showed at first."""
        super().add(prompts)
        self.beliefs.grow(len(self.pool))

    def state_dict(self) -> dict[str, Any]:
        """As `Allocator.state_dict`, with the posterior's."""
        if not isinstance(self.beliefs, SolveRatePosterior):
            return super().state_dict()
        named = self.beliefs.state_dict().items()
        return super().state_dict() | {
            f"posterior.{name}": np.array(value) for name, value in named
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        super().load_state_dict(state)
        if isinstance(self.beliefs, SolveRatePosterior):
            head = "posterior."
            beliefs = {name[len(head) :]: state[name] for name in state if name.startswith(head)}
            self.beliefs = SolveRatePosterior.from_state_dict(beliefs)

    # ---- one round ----------------------------------------------------------------------------

    def _first_round(
        self, step: Step, budget: int, rng: np.random.Generator, *, most: int | None = None
    ) -> Request:
        """Explorers, and the best of what is known; no group larger than `most`, if given."""
        self._notes["step"] += 1
        largest = self.most if most is None else most
        size = self.group_size if most is None else most
        explorers = self._explorers(step, budget, size, rng)
        left = budget - size * len(explorers)
        found, worth = self._candidates(left // self.least + 1, explorers, rng)
        counts = spread(worth[:, : largest + 1], left, least=self.least)
        order = np.argsort(-counts, kind="stable")  # with a short budget, large groups first
        sizes = np.full(len(explorers), size)
        return Request(
            np.concatenate([explorers, found[order]]), np.concatenate([sizes, counts[order]])
        )

    def _explorers(self, step: Step, budget: int, size: int, rng: np.random.Generator) -> IntArray:
        wanted = int(self.explore * budget / size + rng.random())
        count = min(wanted, budget // size)
        ready, now = self._columns["ready"], self._notes["step"]
        return self._fresh(count, step, rng, lambda prompts: ready[prompts] <= now)

    def _candidates(
        self, count: int, without: IntArray, rng: np.random.Generator
    ) -> tuple[IntArray, FloatArray]:
        """Prompts that the optimum lies among, and (P, most+1) what each group size is worth."""
        known, unseen = self._best_known(count, without), self._unseen(count, without, rng)
        alike = np.repeat(self._expected(unseen[:1]), len(unseen), axis=0)
        return np.concatenate([known, unseen]), np.concatenate([self._expected(known), alike])

    def _expected(self, prompts: IntArray) -> FloatArray:
        if not len(prompts):
            return np.empty((0, self.most + 1))
        return concave_envelope(self.beliefs.average(self.values, prompts), least=self.least)

    def _best_known(self, count: int, without: IntArray) -> IntArray:
        may = self.pool.is_present & self._columns["is_seen"]
        may &= self._columns["ready"] <= self._notes["step"]
        may[without] = False
        prompts = np.flatnonzero(may)
        if len(prompts) <= count:
            return prompts
        score = self._columns["score"][prompts]
        return prompts[np.sort(np.argpartition(score, len(score) - count)[len(score) - count :])]

    def _unseen(self, count: int, without: IntArray, rng: np.random.Generator) -> IntArray:
        may = self.pool.is_present & ~self._columns["is_seen"]
        may[without] = False
        prompts = np.flatnonzero(may)
        return rng.choice(prompts, min(count, len(prompts)), replace=False)

    # ---- what groups teach --------------------------------------------------------------------

    def _learn(self, seen: Outcomes) -> None:
        self.beliefs.update(seen.prompts, np.floor(seen.correct + 0.5), seen.size)
        self._score(seen.prompts)
        whole = self._step.outcomes  # all rounds of the step
        n_prompts = int(np.count_nonzero(self.pool.is_present))
        rest = whole.size * n_prompts / (self.most_often * self.batch * self.group_size)
        later = self._notes["step"] + np.maximum(1, np.floor(rest + 0.5))
        self._columns["ready"][whole.prompts] = np.minimum(later, np.iinfo(np.int32).max)

    def _score(self, prompts: IntArray) -> None:
        """Keep what the first rollouts of these prompts are worth each, at their best size."""
        self._columns["score"][prompts] = self._expected(prompts)[:, self.least]
        self._columns["is_seen"][prompts] = True
