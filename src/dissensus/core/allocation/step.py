"""The rollouts of one step, as strategies look at them."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups

__all__ = ["CARRIED", "ROW", "Outcomes", "Step"]

ROW = np.dtype(
    [
        ("number", np.int64),  # running number, in the order of telling
        ("prompt", np.int64),  # position in the pool
        ("reward", np.float64),  # NaN: unscored
        ("credit", np.float64),  # 1 correct, 0 wrong; the reward in [0, 1] where that is unknown
        ("length", np.float64),  # tokens; NaN: not told
        ("round", np.int64),  # round of its step that sampled it
    ]
)
"""One rollout."""

CARRIED = -1
"""Round of rollouts that were generated in an earlier step."""


class Outcomes(NamedTuple):
    """What is known of each prompt's rollouts.

    Attributes:
        prompts: (P,) position in the pool.
        size: (P,) scored rollouts.
        correct: (P,) correct ones; with graded rewards the sum of rewards clipped to [0, 1].
        rate: (P,) correct / size; NaN where size is 0.
        is_split: (P,) rewards differ.
    """

    prompts: IntArray
    size: IntArray
    correct: FloatArray
    rate: FloatArray
    is_split: BoolArray

    def where(self, wanted: BoolArray) -> Outcomes:
        """Those of some prompts."""
        picked: list[Any] = [each[wanted] for each in self]
        return Outcomes(*picked)


class Step:
    """The rollouts of a step so far, in an order that does not depend on when they came back.

    Attributes:
        rows: (T,) rollouts, by round and, within it, by prompt as asked.
        rounds: Rounds that are complete.
        tol: Rewards closer than this are equal.
    """

    def __init__(self, rows: NDArray[Any], rounds: int, tol: float) -> None:
        self.rows, self.rounds, self.tol = rows, rounds, tol

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def groups(self) -> RewardGroups:
        """Rollouts by prompt, all rounds of it together; ids are positions in the pool."""
        rows = self.rows
        return RewardGroups.from_flat(
            rows["reward"], rows["prompt"], correct="unknown", tol=self.tol
        )

    @cached_property
    def outcomes(self) -> Outcomes:
        """What the groups show; one entry per group."""
        if not len(self.rows):
            none = np.empty(0)
            whole = none.astype(np.int64)
            return Outcomes(whole, whole, none, none, none.astype(np.bool_))
        groups = self.groups
        correct = groups.sum_by_group(np.where(groups.is_scored, self.rows["credit"], 0.0))
        rate = np.divide(correct, groups.size, where=groups.size > 0, out=correct * np.nan)
        is_split = (groups.size > 0) & ~groups.is_unanimous()
        return Outcomes(groups.ids.astype(np.int64), groups.size, correct, rate, is_split)

    def of_round(self, round_: int) -> Step:
        """The rollouts of one round only."""
        return Step(self.rows[self.rows["round"] == round_], self.rounds, self.tol)

    def expand(self, per_group: NDArray[Any]) -> NDArray[Any]:
        """A value per group to one per rollout."""
        return self.groups.expand(per_group)
