"""An estimator that becomes another one over the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from dissensus.core.advantages.base import AdvantageEstimator, Context, EstimatorState
from dissensus.core.advantages.weights.schedule import progress
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError

__all__ = ["schedule_estimators"]


def schedule_estimators(
    first: AdvantageEstimator, second: AdvantageEstimator, *, start: float = 0, stop: float = 100
) -> AdvantageEstimator:
    """Go from one estimator to another, in a straight line over the steps of the training.

        A = (1−t)·A_first + t·A_second,   t = (step − start)/(stop − start), held within 0 … 1

    Nothing is rescaled, and rules differ in scale: from GRPO to Dr. GRPO the step shrinks too.
    Where it must not, mix weights, which have mean one: `schedule(power(0), power(1))` on GRPO goes
    to Dr. GRPO at GRPO's scale. The step is `context.step`, that of the optimiser in a trainer.
    Each of the two keeps a memory of its own, and learns from every batch.

    Raises:
        InputError: What is mixed is not two estimators, or the steps do not rise.

    Example:
        >>> from dissensus import RewardGroups, advantages
        >>> rule = advantages.get("schedule(grpo, dr_grpo, start=0, stop=10)")
        >>> groups = RewardGroups.from_dense([[1, 0]])
        >>> [rule(groups, advantages.Context(step=t)).tolist() for t in (0, 5, 20)]
        [[1.0, -1.0], [0.75, -0.75], [0.5, -0.5]]
    """
    both = (first, second)
    if not all(isinstance(each, AdvantageEstimator) for each in both):
        raise InputError("schedule mixes two weights, or two estimators", got=both)
    progress(start, start, stop)
    return AdvantageEstimator(
        name="schedule",
        function=_mix,
        parameters={"first": first, "second": second, "start": start, "stop": stop},
        source=" → ".join(each.source for each in both),
        scope=max((each.scope for each in both), key=("group", "batch", "history").index),
        needs=tuple(dict.fromkeys(("step", *first.needs, *second.needs))),
    )


def _mix(
    groups: RewardGroups,
    context: Context,
    *,
    first: AdvantageEstimator,
    second: AdvantageEstimator,
    start: float,
    stop: float,
) -> FloatArray:
    """A straight line from one estimator to another over the steps of the training."""
    t = progress(context.step, start, stop)
    is_per_token = first.is_per_token or second.is_per_token
    mixed: list[FloatArray] = []
    for key, estimator in (("first", first), ("second", second)):
        with _own_memory(context, key) as own:
            values = estimator(groups, own)
        if is_per_token and not estimator.is_per_token and context.token_offsets is not None:
            values = np.repeat(values, np.diff(context.token_offsets))
        mixed.append(values)
    return (1.0 - t) * mixed[0] + t * mixed[1]


@contextmanager
def _own_memory(context: Context, key: str) -> Iterator[Context]:
    """The context with the part of the memory that stands under `key`, which is written back."""
    if context.state is None:
        yield context
        return
    prefix = f"{key}/"
    own = {n.removeprefix(prefix): v for n, v in context.state.items() if n.startswith(prefix)}
    state = EstimatorState(**own)
    yield replace(context, state=state)
    for name, values in state.items():
        context.state[prefix + name] = values
