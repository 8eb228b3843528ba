"""Weights learnt by bins of difficulty."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.weights.base import Batch, Weight, check_range, solve_rate
from dissensus.core.groups import FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError, MissingContextError


@dataclass(frozen=True)
class learned_bins(Weight):
    """Even out what bins of difficulty contribute, as earlier batches showed it.

        u = clip((mean pull / pull_b)^strength, 1/largest, largest),   b the bin of m = k/G

    pull_b is what is learnt: Σ over the groups of bin b of size · mean|A| of the rule *before* the
    weight, as a share of all rollouts, averaged over batches with `decay`. (mean|A| is twice the
    contrast for right-or-wrong rewards and a rule without push.) So with strength 1 every bin that
    was seen pulls equally in the long run, whether it is rare, or common, or weakly weighted by the
    rule; strength 0 changes nothing. The mean is over the bins seen so far.

    A batch is weighted by what the batches before it taught, then learnt from, so that its own
    noise is not divided by itself; the first one has w = 1. Unseen bins have u = 1. Bins of equal
    width, the last one with m = 1. In evaluation a trainer runs it on a copy of the memory.

    There is no objective of its own: the weights follow the data, as in DARO, whose loss weights
    are learnt by gradient and tend to 1/loss per bin.

    Raises:
        InputError: Parameters out of range; rewards without a solve rate.
    """

    bins: int = 5
    strength: float = 1.0
    decay: float = 0.9
    largest: float = 4.0
    formula: ClassVar[str] = "learnt: (mean pull/pull of the bin of p)^strength"
    source: ClassVar[str] = "derived here, after DARO, arXiv:2510.09001"

    def __post_init__(self) -> None:
        if not isinstance(self.bins, int) or self.bins < 1:
            raise InputError("The 'bins' parameter must be a whole number ≥ 1", got=self.bins)
        check_range(self, "strength", 0.0)
        check_range(self, "decay", 0.0, 1.0 - 1e-9)
        check_range(self, "largest", 1.0)

    @property
    def needs(self) -> tuple[str, ...]:
        """The state, where the bins are kept."""
        return ("state",)

    def raw(self, groups: RewardGroups, context: Context) -> FloatArray:
        """The weight of each group's bin, from earlier batches."""
        learnt = self._learnt(context)
        is_seen = learnt > 0
        if not is_seen.any():
            return np.ones(len(groups))
        ratio = learnt[is_seen].mean() / np.where(is_seen, learnt, np.inf)
        by_bin = np.clip(ratio**self.strength, 1.0 / self.largest, self.largest)
        return np.where(is_seen, by_bin, 1.0)[self._bin(groups)]

    def learn(self, batch: Batch) -> None:
        """Move the memory of each bin towards its pull in this batch."""
        groups, rollouts = batch.groups, int(batch.groups.size.sum())
        if rollouts == 0 or batch.context.state is None:
            return
        pull = np.where(groups.size > 0, batch.pull, 0.0) * groups.size / rollouts
        found = np.bincount(self._bin(groups), weights=pull, minlength=self.bins)
        before = self._learnt(batch.context)
        # The factor by which a short memory falls short is the same for all bins, and drops out.
        batch.context.state[self._key] = self.decay * before + (1.0 - self.decay) * found

    @property
    def _key(self) -> str:
        return repr(self)

    def _learnt(self, context: Context) -> FloatArray:
        if context.state is None:
            raise MissingContextError(
                "learned_bins needs the context field 'state'", where=repr(self)
            )
        return np.asarray(context.state.get(self._key, np.zeros(self.bins)), dtype=np.float64)

    def _bin(self, groups: RewardGroups) -> IntArray:
        rate = np.nan_to_num(solve_rate(groups, self))
        return np.minimum((rate * self.bins).astype(np.int64), self.bins - 1)
