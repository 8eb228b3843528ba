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
        """Those of a group's rows that are trained on."""
        raise NotImplementedError

    def _choose(self, step: Step, rng: np.random.Generator) -> Choice:
        keep = np.zeros(len(step), dtype=np.bool_)
        scored = step.groups.is_scored
        order = np.argsort(step.groups.index, kind="stable")
        for group in np.split(order, np.cumsum(step.groups.rollouts)[:-1]):
            rows = group[scored[group]]
            keep[rows if len(rows) <= self.keep else self._best(rows, step, rng)] = True
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
            return rng.choice(rows, self.keep, replace=False)
        rewards = step.rows["reward"][rows]
        rising = rows[np.argsort(rewards, kind="stable")]
        low = 0 if self.rule == "max_reward" else _most_varied(np.sort(rewards), self.keep)
        return np.concatenate([rising[:low], rising[len(rising) - (self.keep - low) :]])


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
        return rows[np.argsort(key, kind="stable")[: self.keep]]


def _most_varied(rising: FloatArray, keep: int) -> int:
    """How many of the lowest of some sorted rewards belong to the `keep` of largest variance.

    Example:
        >>> _most_varied(np.array([0.0, 0.0, 0.0, 1.0]), 2)
        1
    """
    low = np.arange(keep + 1)
    total = [np.concatenate([[0.0], np.cumsum(each)]) for each in (rising, rising**2)]
    mean, square = ((t[low] + t[-1] - t[len(rising) - keep + low]) / keep for t in total)
    variance = square - mean**2
    # Among equals the most even split: rounding must not decide.
    best = np.flatnonzero(variance >= variance.max() - 1e-12)
    return int(best[np.argmin(np.abs(best - keep / 2))])
