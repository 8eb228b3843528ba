"""Ours: rollouts go where the posterior expects most contrast."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from dissensus.core import advantages, laws
from dissensus.core.allocation.base import Choice, Request
from dissensus.core.allocation.best_value import BestValue
from dissensus.core.allocation.group_size_law import count_prompts_once
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.step import Step
from dissensus.core.groups import FloatArray
from dissensus.errors import InputError

__all__ = ["Contrast", "contrast_by_size"]


@strategy("contrast", source="this project; theory, sections 3 and 7")
class Contrast(BestValue):
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
        **options: As `BestValue` and `Allocator`.
    """

    def __init__(
        self, prompts: Prompts, *, estimator: str = "grpo", least: int = 4, **options: Any
    ) -> None:
        self.estimator = estimator
        super().__init__(prompts, least=least, **options)

    def _tabulate(self, rates: FloatArray) -> FloatArray:
        return contrast_by_size(rates, self.estimator, self.least, self.most)

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        if step.rounds:
            return None
        return self._first_round(step, min(budget, self.batch * self.group_size), rng)

    def _choose(self, step: Step, rng: np.random.Generator) -> Choice:  # noqa: ARG002
        return count_prompts_once(step)


def contrast_by_size(rates: FloatArray, estimator: str, least: int, most: int) -> FloatArray:
    """(M, most+1) expected contrast of n = 0 … most rollouts at every solve rate; 0 below `least`.

    The table is made once for the same arguments, and read-only.

    Args:
        rates: (M,) solve rates.
        estimator: Advantage rule.
        least: Smallest group.
        most: Largest group.

    Raises:
        InputError: It is not concave in n, so that the best group sizes could not be found.

    Example:
        >>> contrast_by_size(np.array([0.5]), "dr_grpo", 2, 4).round(4).tolist()
        [[0.0, 0.0, 0.125, 0.1667, 0.1875]]
    """
    return _table(np.asarray(rates, dtype=np.float64).tobytes(), estimator, least, most)


@functools.lru_cache(maxsize=64)
def _table(rates: bytes, estimator: str, least: int, most: int) -> FloatArray:
    p = np.frombuffer(rates)
    values = np.zeros((len(p), most + 1))
    for n in range(least, most + 1):
        rule = advantages.signature(advantages.get(estimator), n)
        values[:, n] = laws.expected_contrast(rule, p)
    steps = np.diff(values[:, least:], axis=1)
    worth = np.concatenate([values[:, least : least + 1] / least, steps], axis=1)
    if (np.diff(worth, axis=1) > 1e-9).any():
        raise InputError(
            "the expected contrast of this estimator is not concave in the group size",
            where="contrast",
            got=estimator,
            hint="use grpo, dr_grpo, rloo or maxrl",
        )
    values.setflags(write=False)
    return values
