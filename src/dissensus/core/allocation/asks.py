"""What an allocator answers: rollouts to sample now, or the rollouts to train on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.core.groups import FloatArray, IntArray

__all__ = ["Draw", "Selection"]


@dataclass(frozen=True, eq=False)
class Draw:
    """Sample `counts[i]` rollouts of `prompts[i]` now.

    Attributes:
        prompts: (P,) ids, each once.
        counts: (P,) rollouts of each, ≥ 1.

    Example:
        >>> Draw(np.array(["a", "b"]), np.array([4, 8])).total
        12
    """

    prompts: NDArray[Any]
    counts: IntArray

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        _freeze(self)

    @property
    def total(self) -> int:
        """Rollouts asked for."""
        return int(self.counts.sum())


@dataclass(frozen=True, eq=False)
class Selection:
    """The step is complete: train on these rollouts.

    Rollouts are named by running numbers: the first one that was ever told to the allocator is 0,
    the next 1, and so on in the order of telling. Those below `first` are of earlier steps.

    Attributes:
        prompts: (P,) ids of the prompts trained on.
        rollouts: (T,) running number of each rollout trained on.
        groups: (T,) position in `prompts` of each rollout.
        weights: (P,) factor of the prompt's advantages. 1 means that each rollout counts alike;
            n̄/n_i that each prompt does (theory, section 7).
        baselines: (P,) mean reward to subtract instead of the mean of the rollouts trained on; NaN
            where that is meant.
        first: Running number of the first rollout that this step generated.
    """

    prompts: NDArray[Any]
    rollouts: IntArray
    groups: IntArray
    weights: FloatArray
    baselines: FloatArray
    first: int

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        _freeze(self)


def _freeze(ask: Any) -> None:
    for field in fields(ask):
        value = getattr(ask, field.name)
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
