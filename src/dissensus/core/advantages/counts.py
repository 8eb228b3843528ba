"""Which rollouts are correct, for rules that are defined by counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError

__all__ = ["Counts", "counts", "to_rollouts"]


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
        raise InputError(
            f"{rule} needs to know which rollouts are correct, and the rewards "
            "take more than two values",
            hint="pass correct=, a threshold or an array, to RewardGroups",
        )
    return Counts(groups.is_correct, groups.correct, groups.size - groups.correct)


def to_rollouts(
    groups: RewardGroups, is_correct: BoolArray, positive: FloatArray, negative: FloatArray
) -> FloatArray:
    """(N,) A₊ of the group for a correct rollout, A₋ for any other, from (P,) each."""
    advantages: FloatArray = groups.expand(negative)
    np.copyto(advantages, groups.expand(positive), where=is_correct)
    return advantages
