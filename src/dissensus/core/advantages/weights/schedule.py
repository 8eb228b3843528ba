"""From one weight to another over the training."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.weights.base import Batch, Weight, check_range
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError, MissingContextError

__all__ = ["progress", "schedule"]


@dataclass(frozen=True)
class schedule(Weight):
    """Go from one weight to another, in a straight line over the steps of the training.

        w = (1−t)·w_first + t·w_second,   t = (step − start)/(stop − start), held within 0 … 1

    Both are at mean one before they are mixed, so the mix has mean one as well; in a batch in which
    one of them is 0 throughout, it has the other's part of one. The objective of
    large groups is the same mix of the two. `power(0)` is no weight at all: a schedule from it
    fades a weight in. Two estimators are mixed by `advantages.schedule`, or by writing them here.

    Raises:
        InputError: What is mixed is not two weights, or the steps do not rise.

    Example:
        >>> from dissensus.core.advantages.weights import focal, power
        >>> schedule(power(0.0), focal(1.0), start=0, stop=100)
        schedule(first=power(alpha=0.0), second=focal(gamma=1.0), start=0, stop=100)
    """

    first: Weight
    second: Weight
    start: float = 0
    stop: float = 100
    formula: ClassVar[str] = "(1−t)·u_first(p)/mean + t·u_second(p)/mean"

    def __post_init__(self) -> None:
        if not (isinstance(self.first, Weight) and isinstance(self.second, Weight)):
            raise InputError(
                "schedule mixes two weights, or two estimators",
                got=(self.first, self.second),
            )
        check_range(self, "start")
        check_range(self, "stop")
        progress(self.start, self.start, self.stop)

    @property
    def needs(self) -> tuple[str, ...]:
        """The step, and what the two weights need."""
        return tuple(dict.fromkeys(("step", *self.first.needs, *self.second.needs)))

    def raw(self, groups: RewardGroups, context: Context) -> FloatArray:
        """The mix of u, without their means: `multipliers` is what is used."""
        t = progress(context.step, self.start, self.stop)
        first, second = (each.raw(groups, context) for each in (self.first, self.second))
        with np.errstate(invalid="ignore"):  # a u of infinity, none of which counts
            return np.asarray((1.0 - t) * first + t * second)

    def multipliers(self, batch: Batch, population: Batch) -> FloatArray:
        """(P,) w, each of the two brought to mean one before they are mixed."""
        t = progress(batch.context.step, self.start, self.stop)
        first, second = (e.multipliers(batch, population) for e in (self.first, self.second))
        return np.asarray((1.0 - t) * first + t * second)

    def learn(self, batch: Batch) -> None:
        """Both weights learn from the batch, whichever of them is in force."""
        self.first.learn(batch)
        self.second.learn(batch)


def progress(step: float | None, start: float, stop: float) -> float:
    """How far a schedule is, from 0 at `start` to 1 at `stop`.

    Raises:
        InputError: The steps do not rise.
        MissingContextError: There is no step.
    """
    if not stop > start:
        raise InputError("a schedule needs start < stop", got=(start, stop))
    if step is None:
        raise MissingContextError(
            "a schedule needs the context field 'step'", hint="pass context=Context(step=…)"
        )
    return min(max((step - start) / (stop - start), 0.0), 1.0)
