"""Strategies that sample uniformly and train on a part: the choice comes after the rollouts."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissensus.core.allocation.base import Choice
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.registry import strategy
from dissensus.core.allocation.step import Step
from dissensus.core.allocation.uniform import Uniform
from dissensus.core.groups import FloatArray, IntArray
from dissensus.errors import InputError

__all__ = ["Gfpo", "Pods"]


class _Downsample(Uniform):
    """Uniform draws, of which `keep` rollouts per group are trained on."""

    def __init__(self, prompts: Prompts, *, keep: int = 4, **sizes: Any) -> None:
        super().__init__(prompts, **sizes)
        self.keep = self._whole("keep", keep)

    def _best(self, rows: IntArray, step: Step, rng: np.random.Generator) -> IntArray:
        """(B, keep) those of each group's (B, n) rows that are trained on, keep < n."""
        raise NotImplementedError

    def _choose(self, step: Step, rng: np.random.Generator) -> Choice:
        keep = step.groups.is_scored.copy()
        rows = np.flatnonzero(keep)
        rows = rows[np.argsort(step.groups.index[rows], kind="stable")]
        size = np.bincount(step.groups.index[rows], minlength=len(step.groups))
        first = np.cumsum(size) - size
        for n in np.unique(size[size > self.keep]).tolist():
            whole = rows[first[size == n][:, None] + np.arange(n)]
            keep[whole] = False
            keep[self._best(whole, step, rng)] = True
        return Choice(keep)


@strategy("pods", source="PODS, arXiv:2504.13818, max-variance down-sampling", group_size=16)
class Pods(_Downsample):
    """Train on the `keep` rollouts of each group whose rewards vary most.

        the a lowest and keep − a highest rewards, a of the largest variance

    For two rewards: half of each, as far as there are. Advantages are those of the subset.

    Args:
        prompts: Number of prompts, or their ids.
        keep: Rollouts kept of each group; the paper goes from 16 to 4 and from 64 to 16.
        rule: "max_variance"; or "max_reward" and "random", what the paper compares with.
        **sizes: As `Allocator`.
    """

    def __init__(self, prompts: Prompts, *, rule: str = "max_variance", **sizes: Any) -> None:
        super().__init__(prompts, **sizes)
        if rule not in {"max_variance", "max_reward", "random"}:
            raise InputError(
                "rule must be 'max_variance', 'max_reward' or 'random'", where="pods", got=rule
            )
        self.rule = rule

    def _best(self, rows: IntArray, step: Step, rng: np.random.Generator) -> IntArray:
        if self.rule == "random":
            return rng.permuted(rows, axis=1)[:, : self.keep]
        rewards = step.rows["reward"][rows]
        rising = np.take_along_axis(rows, np.argsort(rewards, axis=1, kind="stable"), axis=1)
        low = 0 if self.rule == "max_reward" else _most_varied(np.sort(rewards), self.keep)[:, None]
        place = np.arange(self.keep)
        place = np.where(place < low, place, rows.shape[1] - self.keep + place)
        return np.take_along_axis(rising, np.broadcast_to(place, (len(rows), self.keep)), axis=1)


@strategy("gfpo", source="GFPO, arXiv:2508.09726", group_size=16, keep=8)
class Gfpo(_Downsample):
    """Train on the `keep` shortest rollouts of each group, or on those with most reward per token.

    Mean and standard deviation are those of the kept ones. The paper's adaptive `keep` by
    difficulty is not covered. Needs completion lengths.

    Args:
        prompts: Number of prompts, or their ids.
        keep: Rollouts kept of each group.
        by: "length" or "reward_per_token".
        **sizes: As `Allocator`.
    """

    needs_lengths = True

    def __init__(self, prompts: Prompts, *, by: str = "length", **sizes: Any) -> None:
        super().__init__(prompts, **sizes)
        if by not in {"length", "reward_per_token"}:
            raise InputError("by must be 'length' or 'reward_per_token'", where="gfpo", got=by)
        self.by = by

    def _best(self, rows: IntArray, step: Step, rng: np.random.Generator) -> IntArray:  # noqa: ARG002
        length = step.rows["length"][rows]
        key = length
        if self.by == "reward_per_token":
            key = -step.rows["reward"][rows] / np.maximum(length, 1.0)
        return np.take_along_axis(rows, np.argsort(key, axis=1, kind="stable"), axis=1)[
            :, : self.keep
        ]


def _most_varied(rising: FloatArray, keep: int) -> IntArray:
    """How many of the lowest of a group's rewards belong to the `keep` of largest variance.

    Args:
        rising: (B, n) rewards of each group in ascending order.
        keep: How many are kept, at most n.

    Example:
        >>> _most_varied(np.array([[0.0, 0.0, 0.0, 1.0]]), 2).tolist()
        [1]
    """
    low = np.arange(keep + 1)
    zero = np.zeros((len(rising), 1))
    totals = [np.hstack([zero, np.cumsum(each, axis=1)]) for each in (rising, rising**2)]
    mean, square = (
        (t[:, low] + t[:, -1:] - t[:, rising.shape[1] - keep + low]) / keep for t in totals
    )
    variance = square - mean**2
    # Among equals the most even split: rounding must not decide.
    is_best = variance >= variance.max(axis=1, keepdims=True) - 1e-12
    return np.asarray(np.argmin(np.where(is_best, np.abs(low - keep / 2), np.inf), axis=1))
