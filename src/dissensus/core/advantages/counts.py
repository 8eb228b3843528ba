"""Which rollouts are correct, for rules that are defined by counts."""

from __future__ import annotations

from typing import NamedTuple

from dissensus.core.groups import BoolArray, IntArray, RewardGroups
from dissensus.errors import InputError

__all__ = ["Counts", "counts"]


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
