"""Ours, by what a group says of its direction: rollouts go where they make updates surer."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from scipy import stats

from dissensus.core.allocation.base import Request
from dissensus.core.allocation.best_value import BestValue
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.spreading import concave_envelope, spread
from dissensus.core.allocation.step import Outcomes, Step
from dissensus.core.groups import FloatArray, IntArray
from dissensus.errors import InputError

__all__ = ["Signal", "reliability", "reliability_by_size"]


@strategy("signal", source="this project; docs/allocation.md")
class Signal(BestValue):
    """Rollouts where they add most to the share of the groups' directions that is signal.

        max Σ_i E[h_i/(h_i + ν)],   h = k(n−k)/n,   Σ n_i ≤ batch · group_size

    Δs of a group, which it moves along, is δ with noise of squared length V/k + V/(n−k) = V/h. The
    share of ‖Δs‖² that is signal is h/(h + ν), ν = V/‖δ‖²; and if prompts' own δ differ, the
    squared signal to noise of the best weighted batch is Σ h/(h + ν) up to a factor. Contrast asks
    whether a group is split; this asks how well both sides are known, too. It is not concave in n:
    hard prompts get larger groups or none, and one of n ≈ sqrt(ν/(p(1−p))) is worth most each.

    With `rounds` 2 a share `first` of the step's rollouts goes to groups of at most `pilot`. Then
    the groups are looked at, and the rest goes where it adds most: to split groups that are worth
    knowing better, to unanimous ones that may split, or to further prompts.

    The pool is covered as by `contrast`. Every rollout counts alike: large groups are sure.

    Args:
        prompts: Number of prompts, or their ids.
        score_noise: ν > 0. The lab's model has 1.0, 95 % interval 0.5 to 2.5.
        rounds: 1 or 2; in the simulator 2 is within the error of 1 (docs/allocation.md).
        first: Share of the rollouts in the first of two rounds.
        pilot: Largest group of the first of two rounds, ≥ `least`.
        least: Smallest group, ≥ 2.
        **options: As `BestValue` and `Allocator`.
    """

    def __init__(
        self,
        prompts: Prompts,
        *,
        score_noise: float = 1.0,
        rounds: int = 1,
        first: float = 0.6,
        pilot: int = 4,
        least: int = 2,
        **options: Any,
    ) -> None:
        self.score_noise = self._share("score_noise", score_noise, least=1e-6, most=1e6)
        self.first = self._share("first", first)
        if rounds not in {1, 2}:
            raise InputError("The 'rounds' parameter must be 1 or 2", got=rounds)
        self.rounds = rounds
        super().__init__(prompts, least=least, **options)
        self.pilot = self._whole("pilot", min(pilot, self.most), self.least)

    def _tabulate(self, rates: FloatArray) -> FloatArray:
        return reliability_by_size(rates, self.score_noise, self.least, self.most)

    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        whole = self.batch * self.group_size
        if step.rounds >= self.rounds:
            return None
        if step.rounds:
            return self._second_round(step, min(budget, whole - len(step.rows)), rng)
        if self.rounds == 1:
            return self._first_round(step, min(budget, whole), rng)
        share = max(self.pilot, round(self.first * min(budget, whole)))
        return self._first_round(step, min(budget, share), rng, most=self.pilot)

    def _second_round(self, step: Step, left: int, rng: np.random.Generator) -> Request:
        seen = step.outcomes
        fresh, worth = self._candidates(left // self.least + 1, seen.prompts, rng)
        gains = concave_envelope(self._gains(seen), least=1)
        counts = spread(np.concatenate([gains, worth]), left, least=1)
        too_few = (counts < self.least) & (np.arange(len(counts)) >= len(seen.prompts))
        return Request(np.concatenate([seen.prompts, fresh]), np.where(too_few, 0, counts))

    def _gains(self, seen: Outcomes) -> FloatArray:
        """(P, most+1) expected gain of m = 0 … most more rollouts of groups that were seen."""
        gains = np.empty((len(seen.prompts), self.most + 1))
        correct = np.minimum(np.floor(seen.correct + 0.5).astype(np.int64), seen.size)
        rates = np.asarray(self.beliefs.rates, dtype=np.float64).tobytes()
        for k, n in set(zip(correct.tolist(), seen.size.tolist(), strict=True)):
            rows = (correct == k) & (seen.size == n)
            table = _gain_table(rates, self.score_noise, k, n, self.most)
            gains[rows] = self.beliefs.average(table, seen.prompts[rows])
        return gains


def reliability(correct: IntArray, size: IntArray, score_noise: float) -> FloatArray:
    """Share of ‖Δs‖² that is signal, h/(h + ν) with h = k(n−k)/n; 0 for a unanimous group.

    Args:
        correct: k, any shape.
        size: n, the same shape.
        score_noise: ν.

    Example:
        >>> reliability(np.array([2, 4]), np.array([4, 4]), 1.0).tolist()
        [0.5, 0.0]
    """
    k, n = np.asarray(correct), np.asarray(size)
    comparisons = k * (n - k) / np.maximum(n, 1)
    return np.asarray(comparisons / (comparisons + score_noise))


def reliability_by_size(rates: FloatArray, score_noise: float, least: int, most: int) -> FloatArray:
    """(M, most+1) expected reliability of n = 0 … most rollouts at every rate; 0 below `least`.

    The table is made once for the same arguments, and read-only.

    Args:
        rates: (M,) solve rates.
        score_noise: ν.
        least: Smallest group.
        most: Largest group.

    Example:
        >>> reliability_by_size(np.array([0.5]), 0.5, 2, 2).round(9).tolist()  # ½ of ½/(½ + ½)
        [[0.0, 0.0, 0.25]]
    """
    table = _gain_table(np.asarray(rates, dtype=np.float64).tobytes(), score_noise, 0, 0, most)
    values = np.where(np.arange(most + 1) >= least, table, 0.0)
    values.setflags(write=False)
    return values


@functools.lru_cache(maxsize=4096)
def _gain_table(rates: bytes, score_noise: float, correct: int, size: int, most: int) -> FloatArray:
    """(M, most+1) expected gain of m more rollouts of a group with k of n; none beyond `most`."""
    p = np.frombuffer(rates)[:, None]
    now = reliability(np.array(correct), np.array(size), score_noise)
    gains = np.zeros((len(p), most + 1))
    for m in range(1, most + 1):
        if size + m > most:
            gains[:, m] = gains[:, m - 1]
            continue
        more = np.arange(m + 1)
        then = reliability(correct + more, np.full(m + 1, size + m), score_noise)
        gains[:, m] = stats.binom.pmf(more, m, p) @ then - now
    gains.setflags(write=False)
    return gains
