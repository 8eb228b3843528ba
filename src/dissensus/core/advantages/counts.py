"""Which rollouts are correct, for rules that are defined by counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError

__all__ = ["Counts", "counts", "draw_rate"]


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


def counts(groups: RewardGroups, rule: str) -> Counts:
    """The counts of right and wrong rollouts, of which `rule` is a function.

    Raises:
        InputError: Correctness is unknown.
    """
    if groups.is_correct is None or groups.correct is None:
        raise InputError(
            f"{rule} needs to know which rollouts are correct, and the rewards "
            "take more than two values",
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
