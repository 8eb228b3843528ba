"""The ceiling of a replay: our allocator with solve rates known instead of believed."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core import advantages
from dissensus.core.advantages import Signature
from dissensus.core.allocation.contrast import Contrast
from dissensus.core.groups import FloatArray
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
        **parameters: As `Contrast`.
    """

    name = "oracle"

    def __init__(self, world: World, **parameters: Any) -> None:
        super().__init__(len(world.scene.record), beliefs=_Known(world), **parameters)


class _Known:
    """Beliefs that are certain."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def rates(self) -> FloatArray:
        """(M,) the solve rates there are."""
        return self._world.scene.rates

    def grow(self, prompts: int) -> None:
        """No prompts appear in a replay."""

    def update(self, prompts: ArrayLike, correct: ArrayLike, size: ArrayLike) -> None:
        """Rewards say nothing new."""

    def average(self, values: ArrayLike, prompts: ArrayLike) -> FloatArray:
        """f(p) of each prompt at its next visit."""
        return np.asarray(np.asarray(values)[self._world.next_states(np.asarray(prompts))])
