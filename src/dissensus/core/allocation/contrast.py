"""Ours: rollouts go where the posterior expects most contrast."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from dissensus.core import advantages, laws
from dissensus.core.allocation.base import Allocator, Choice, Request
from dissensus.core.allocation.group_size_law import count_prompts_once
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.spreading import spread
from dissensus.core.allocation.step import Outcomes, Step
from dissensus.core.difficulty import SolveRatePosterior
from dissensus.core.groups import FloatArray, IntArray
from dissensus.errors import InputError

__all__ = ["Contrast", "contrast_by_size"]


@strategy("contrast", source="this project; theory, sections 3 and 7")
class Contrast(Allocator):
    """Group sizes that maximise the expected contrast of the step under the posterior.

        max Σ_i E[W_{n_i}]   subject to   Σ n_i ≤ batch · group_size,  n_i ∈ {0} ∪ [least, most]

    The expectation is over the solve rate, too: E[W_n] = Σ_j belief_j E[W_n | p_j], so a prompt
    that is hardly known is worth what its kind is worth on average. Every prompt counts once:
    advantages are scaled by n̄/n_i. `spread` finds the optimum.

    Two rules keep the pool covered. A share `explore` of the rollouts goes to groups of
    `group_size` in shuffled epochs, whatever is believed of them. And no prompt gets more than
    `most_often` times the rollouts of uniform sampling: after n rollouts it rests for
    n · prompts / (most_often · batch · group_size) steps.

    With `least` 2 the optimum often is many pairs: two rollouts of one prompt have more contrast
    per rollout than eight, and more noise. In the simulator 4 trains as well where scores are clean
    and better where they are noisy (docs/allocation.md).

    A step over 10,000,000 prompts takes a fraction of a second: scores of visited prompts are kept,
    and all unseen ones are worth the same.

    Args:
        prompts: Number of prompts, or their ids.
        estimator: Advantage rule whose contrast is meant, of those whose E[W_n] is concave in n.
        least: Smallest group, ≥ 2.
        most: Largest group; None: four times `group_size`.
        explore: Share of rollouts that cover the pool.
        most_often: Bound on a prompt's rollouts, in those of uniform sampling, ≥ 1.
        **sizes: As `Allocator`.
    """

    def __init__(
        self,
        prompts: Prompts,
        *,
        estimator: str = "grpo",
        least: int = 4,
        most: int | None = None,
        explore: float = 0.1,
        most_often: float = 2.0,
        **sizes: Any,
    ) -> None:
        super().__init__(prompts, **sizes)
        self.least = self._whole("least", least, 2)
        self.most = self._whole("most", most or max(least, 4 * self.group_size), least)
        self.explore = self._share("explore", explore)
        self.most_often = self._share("most_often", most_often, least=1.0, most=1e9)
        self.posterior = SolveRatePosterior(len(self.pool))
        self.values = contrast_by_size(self.posterior.model.rates, estimator, self.least, self.most)
        self._column("score", fill=0.0, dtype=np.float32)
        self._column("is_seen", fill=False, dtype=np.bool_)
        self._column("ready", fill=0, dtype=np.int32)  # step from which on it may be drawn
        self._note("step", 0)

    def add(self, prompts: Any) -> None:
        """As `Allocator.add`; the posterior expects of new prompts what others showed at first."""
        super().add(prompts)
        self.posterior.grow(len(self.pool))

    def state_dict(self) -> dict[str, Any]:
        """As `Allocator.state_dict`, with the posterior's."""
        beliefs = self.posterior.state_dict()
        named = {f"posterior.{name}": np.array(value) for name, value in beliefs.items()}
        return super().state_dict() | named

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        super().load_state_dict(state)
        head = "posterior."
        beliefs = {name[len(head) :]: state[name] for name in state if name.startswith(head)}
        self.posterior = SolveRatePosterior.from_state_dict(beliefs)

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        if step.rounds:
            return None
        self._notes["step"] += 1
        budget = min(budget, self.batch * self.group_size)
        explorers = self._explorers(step, budget, rng)
        left = budget - self.group_size * len(explorers)
        pairs = left // self.least + 1
        known = self._best_known(pairs, explorers)
        unseen = self._unseen(pairs, explorers, rng)
        found = np.concatenate([known, unseen])
        counts = spread(self._expected(known, unseen), left, least=self.least)
        order = np.argsort(-counts, kind="stable")  # with a short budget, large groups first
        sizes = np.full(len(explorers), self.group_size)
        return Request(
            np.concatenate([explorers, found[order]]), np.concatenate([sizes, counts[order]])
        )

    def _explorers(self, step: Step, budget: int, rng: np.random.Generator) -> IntArray:
        wanted = int(self.explore * budget / self.group_size + rng.random())
        count = min(wanted, budget // self.group_size)
        ready, now = self._columns["ready"], self._notes["step"]
        return self._fresh(count, step, rng, lambda prompts: ready[prompts] <= now)

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

    def _expected(self, known: IntArray, unseen: IntArray) -> FloatArray:
        """(P, most+1) expected contrast of every group size; unseen prompts are all alike."""
        return np.concatenate(
            [
                self.posterior.average(self.values, known),
                np.repeat(self.posterior.average(self.values, unseen[:1]), len(unseen), axis=0)
                if len(unseen)
                else np.empty((0, self.most + 1)),
            ]
        )

    def _learn(self, seen: Outcomes) -> None:
        self._believe(seen)
        n_prompts = int(np.count_nonzero(self.pool.is_present))
        rest = seen.size * n_prompts / (self.most_often * self.batch * self.group_size)
        later = self._notes["step"] + np.maximum(1, np.floor(rest + 0.5))
        self._columns["ready"][seen.prompts] = np.minimum(later, np.iinfo(np.int32).max)

    def _believe(self, seen: Outcomes) -> None:
        """Take in what the groups say of the prompts' solve rates."""
        self.posterior.update(seen.prompts, np.floor(seen.correct + 0.5), seen.size)
        worth = self.posterior.average(self.values[:, self.least], seen.prompts)
        self._columns["score"][seen.prompts] = worth
        self._columns["is_seen"][seen.prompts] = True

    def _choose(self, step: Step, rng: np.random.Generator) -> Choice:  # noqa: ARG002
        return count_prompts_once(step)


def contrast_by_size(rates: FloatArray, estimator: str, least: int, most: int) -> FloatArray:
    """(M, most+1) expected contrast of n = 0 … most rollouts at every solve rate; 0 below `least`.

    Args:
        rates: (M,) solve rates.
        estimator: Advantage rule.
        least: Smallest group.
        most: Largest group.

    Raises:
        InputError: It is not concave in n, so that the best group sizes could not be found.
    """
    values = np.zeros((len(rates), most + 1))
    for n in range(least, most + 1):
        values[:, n] = laws.expected_contrast(_signature(estimator, n), rates)
    steps = np.diff(values[:, least:], axis=1)
    worth = np.concatenate([values[:, least : least + 1] / least, steps], axis=1)
    if (np.diff(worth, axis=1) > 1e-9).any():
        raise InputError(
            "the expected contrast of this estimator is not concave in the group size",
            where="contrast",
            got=estimator,
            hint="use grpo, dr_grpo, rloo or maxrl",
        )
    return values


@functools.cache
def _signature(estimator: str, group_size: int) -> advantages.Signature:
    return advantages.signature(advantages.get(estimator), group_size)
