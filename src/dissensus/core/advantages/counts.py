"""Which rollouts are correct, for rules that are defined by counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError

__all__ = ["Counts", "counts", "draw_rate", "for_each_count", "to_rollouts"]


class Counts(NamedTuple):
    """Correct and wrong rollouts of P groups.

    Attributes:
        is_correct: (N,) per rollout.
        correct: (P,) k.
        wrong: (P,) G − k.
    """

    is_correct: BoolArray
    correct: IntArray
    wrong: IntArray

    @property
    def share(self) -> FloatArray:
        """(P,) m = k/G; 0 for a group without a scored rollout."""
        share: FloatArray = self.correct / np.maximum(self.correct + self.wrong, 1)
        return share


def counts(groups: RewardGroups, rule: str) -> Counts:
    """The counts of right and wrong rollouts, of which `rule` is a function.

    Raises:
        InputError: Correctness is unknown.
    """
    if groups.is_correct is None or groups.correct is None:
        if not groups.is_scored.any():  # without a reward there is nothing to be right or wrong
            return Counts(np.zeros(groups.n_rollouts, dtype=np.bool_), groups.size, groups.size)
        raise InputError(
            f"{rule} needs to know which rollouts are correct, and the rewards do not say it: "
            "they take more than two values, or one that is not 0, 1 or −1",
            hint="pass correct=, a threshold or an array, to RewardGroups",
        )
    return Counts(groups.is_correct, groups.correct, groups.size - groups.correct)


def draw_rate(part: IntArray, whole: IntArray, draws: int) -> FloatArray:
    """Chance that `draws` of `whole` rollouts, drawn without replacement, all lie in `part`.

        C(part, draws) / C(whole, draws) = Π_{j<draws} (part − j)/(whole − j)

    0 where `part` has fewer than `draws`; 1 for no draws. A product of ratios cannot overflow, as
    the binomial coefficients of large groups do.
    """
    rate = np.ones(len(whole))
    for j in range(min(draws, int(whole.max()))):
        rate *= np.maximum(part - j, 0) / np.maximum(whole - j, 1)
    return np.where(part >= draws, rate, 0.0)


def to_rollouts(
    groups: RewardGroups, is_correct: BoolArray, positive: FloatArray, negative: FloatArray
) -> FloatArray:
    """(N,) A₊ of the group for a correct rollout, A₋ for any other, from (P,) each."""
    advantages: FloatArray = groups.expand(negative)
    np.copyto(advantages, groups.expand(positive), where=is_correct)
    return advantages


def for_each_count(
    groups: RewardGroups, wrong: IntArray, function: Callable[[IntArray, IntArray], FloatArray]
) -> FloatArray:
    """(P,) `function(size, wrong)`, called once with the few pairs that occur, (U, 1) each.

    For rules whose value is a sum over orders: (U, J) tables are small where (P, J) ones are not.
    """
    has_size = np.bincount(groups.size) > 0
    row = np.cumsum(has_size) - 1
    width = int(wrong.max(initial=0)) + 1
    code = row[groups.size] * width + wrong
    occurs = np.bincount(code) > 0
    pairs = np.flatnonzero(occurs)
    size = np.flatnonzero(has_size)[pairs // width]
    values = function(size[:, None], (pairs % width)[:, None])
    return np.asarray(values[(np.cumsum(occurs) - 1)[code]], dtype=np.float64)
