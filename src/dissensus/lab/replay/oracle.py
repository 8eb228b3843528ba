"""The ceiling of a replay: our allocator with solve rates known instead of believed."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core import advantages, laws
from dissensus.core.advantages import Signature
from dissensus.core.allocation.contrast import Contrast
from dissensus.core.groups import FloatArray, IntArray
from dissensus.lab.replay.world import World

__all__ = ["Oracle", "signature_of"]


@functools.cache
def signature_of(estimator: str, group_size: int) -> Signature:
    """What a rule gives to groups of this size."""
    return advantages.signature(advantages.get(estimator), group_size)


class Oracle(Contrast):
    """Group sizes of largest expected contrast, with every prompt's p known before it is asked.

    It knows p and not the rewards. It obeys what `contrast` obeys: bounds on group sizes, a share
    of rollouts that covers the pool, and the bound on a prompt's rollouts. It is the best in every
    step; over a whole replay a plan that saves good prompts for later could be a little better.

    Args:
        world: Whose solve rates it knows.
        estimator: Advantage rule whose contrast is meant.
        **parameters: As `Contrast`.
    """

    name = "oracle"

    def __init__(self, world: World, *, estimator: str = "grpo", **parameters: Any) -> None:
        super().__init__(len(world.scene.record), estimator=estimator, **parameters)
        self.values = _values(world.scene.rates, estimator, self.least, self.most)
        self.posterior = _Known(world)  # type: ignore[assignment]  # what Contrast asks of one
        everyone = np.arange(len(self.pool))
        self._columns["score"][:] = self.posterior.average(self.values[:, self.least], everyone)
        self._columns["is_seen"][:] = True


class _Known:
    """A posterior that is certain."""

    def __init__(self, world: World) -> None:
        self._world = world

    def update(self, prompts: IntArray, correct: ArrayLike, size: ArrayLike) -> None:
        """Rewards say nothing new."""

    def average(self, values: FloatArray, prompts: IntArray) -> FloatArray:
        """f(p) of each prompt at its next visit."""
        return np.asarray(values[self._world.next_states(prompts)])


def _values(rates: FloatArray, estimator: str, least: int, most: int) -> FloatArray:
    """(M, most+1) expected contrast by group size at every solve rate; 0 below `least`."""
    values = np.zeros((len(rates), most + 1))
    for n in range(least, most + 1):
        values[:, n] = laws.expected_contrast(signature_of(estimator, n), rates)
    return values
