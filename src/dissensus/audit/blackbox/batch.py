"""What a function under audit is called on: rollouts with everything it may look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.audit.blackbox.moments import Floats, Ints, Rows
from dissensus.errors import UnsupportedError

__all__ = ["Batch"]


@dataclass(frozen=True)
class Batch:
    """Rollouts of one sampling, in the order in which the function gets them.

    Attributes:
        rewards: (N,) rewards that float32 holds exactly, as frameworks compute in float32.
        group_ids: (N,) number of the group, 0 … P−1.
        lengths: (N,) tokens of each completion, ≥ 1.
        seed: What the further inputs (values, log_probs, baselines) are made from.
        redrawn: Name of one further input that is drawn anew.
        single: Adapters that pass numpy arrays pass float32, not float64.
    """

    rewards: Floats
    group_ids: Ints
    lengths: Ints
    seed: int = 0
    redrawn: str | None = None
    single: bool = False

    @classmethod
    def of(
        cls, groups: Sequence[ArrayLike], lengths: ArrayLike | None = None, seed: int = 0
    ) -> Batch:
        """A batch of consecutive groups; lengths are 1 … 7 by turns unless given.

        Example:
            >>> Batch.of([[1, 0], [1, 1, 0]]).group_ids.tolist()
            [0, 0, 1, 1, 1]
        """
        arrays = [np.asarray(g, dtype=np.float32).astype(np.float64) for g in groups]
        rewards = np.concatenate(arrays)
        ids = np.repeat(np.arange(len(arrays)), [len(a) for a in arrays])
        given = 1 + (np.arange(len(rewards)) * 5) % 7 if lengths is None else np.asarray(lengths)
        return cls(rewards, ids.astype(np.int64), given.astype(np.int64), seed)

    @property
    def n_groups(self) -> int:
        """P."""
        return int(self.group_ids.max()) + 1

    @property
    def group_size(self) -> int:
        """G where all groups are equal in size and consecutive.

        Raises:
            UnsupportedError: They are not.
        """
        sizes = np.bincount(self.group_ids)
        consecutive = np.array_equal(self.group_ids, np.repeat(np.arange(len(sizes)), sizes))
        if len(set(sizes.tolist())) != 1 or not consecutive:
            raise UnsupportedError("this signature takes consecutive groups of one size only")
        return int(sizes[0])

    @property
    def dense(self) -> Floats:
        """(P, G) rewards.

        Raises:
            UnsupportedError: Groups differ in size or are not consecutive.
        """
        return self.rewards.reshape(-1, self.group_size)

    def passed(self, rewards: Floats) -> NDArray[Any]:
        """A copy of rewards in the type in which a numpy function gets them."""
        return rewards.astype(np.float32 if self.single else np.float64)

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(N, T) which tokens are there."""
        return np.arange(int(self.lengths.max())) < self.lengths[:, None]

    @cached_property
    def token_rewards(self) -> Floats:
        """(N, T) the whole reward on the last token."""
        table = np.zeros(self.mask.shape)
        table[np.arange(len(self.rewards)), self.lengths - 1] = self.rewards
        return table

    @cached_property
    def values(self) -> Floats:
        """(N, T) what a value network might say."""
        return self._random("values", self.mask.shape) * self.mask

    @cached_property
    def log_probs(self) -> Floats:
        """(N, T) log-probabilities of the sampled tokens."""
        return np.log(0.2 + 0.6 * self._random("log_probs", self.mask.shape))

    @cached_property
    def sum_pi_squared(self) -> Floats:
        """(N, T) sum of the squared probabilities of the vocabulary."""
        return 0.3 + 0.5 * self._random("log_probs", self.mask.shape, stream=7)

    @cached_property
    def baselines(self) -> Floats:
        """(N,) reward of a greedy rollout of the same prompt."""
        return self._random("baselines", self.n_groups)[self.group_ids]

    def permuted(self, order: ArrayLike) -> Batch:
        """The same rollouts in another order."""
        at = np.asarray(order)
        return replace(
            self, rewards=self.rewards[at], group_ids=self.group_ids[at], lengths=self.lengths[at]
        )

    def scaled(self, factor: float, shift: float = 0.0) -> Batch:
        """Every reward times `factor` plus `shift`, rounded to float32."""
        changed = (self.rewards * factor + shift).astype(np.float32).astype(np.float64)
        return replace(self, rewards=changed)

    def with_lengths(self, lengths: ArrayLike) -> Batch:
        """The same rewards with other completion lengths."""
        return replace(self, lengths=np.asarray(lengths, dtype=np.int64))

    def rows(self, advantages: Floats, *, batch: int, first_group: int) -> Rows:
        """Rows for matching, with groups numbered from `first_group`."""
        return Rows(
            self.rewards,
            advantages,
            self.group_ids + first_group,
            np.full(len(self.rewards), batch),
            self.lengths.astype(np.float64),
        )

    def redraw(self, name: str) -> Batch:
        """The same batch with one further input drawn anew."""
        return replace(self, redrawn=name)

    def _random(self, name: str, shape: Any, stream: int = 0) -> Floats:
        start = len(name) + stream + 1000 * (name == self.redrawn)
        rng = np.random.default_rng([self.seed, start])
        drawn: Floats = rng.random(shape).astype(np.float32).astype(np.float64)
        return drawn
