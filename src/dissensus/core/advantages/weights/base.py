"""What a weight is: one multiplier per group, of mean one over the rollouts that it acts on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np

from dissensus.core.advantages.base import AdvantageEstimator, Context, Scope
from dissensus.core.advantages.neutral import reference_context
from dissensus.core.advantages.tokens import sum_over_tokens
from dissensus.core.groups import FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError

__all__ = ["Batch", "Weight", "check_range", "solve_rate"]


class Batch(NamedTuple):
    """Groups, and what the weighted rule does with them.

    Attributes:
        groups: P groups.
        context: Of these groups.
        pull: (P,) mean |A| over the scored rollouts of each group; for right-or-wrong rewards and
            a rule without push it is twice the contrast W.
        moved: (P,) rollouts of each group; 0 where every advantage of the group is 0.
    """

    groups: RewardGroups
    context: Context
    pull: FloatArray
    moved: IntArray


class Weight(ABC):
    """A multiplier w per group that composes with any rule: A ← w · A.

        w = u / mean(u),   the mean over all rollouts of non-silent groups whose u is finite

    u is what a weight defines. The mean is taken over the batch, or over `context.reference` where
    it is given, so that the learning rate keeps its meaning: a weight moves emphasis between
    groups, and not the step length. A group of non-finite u is left as it is (w = 1). A rule's
    silent groups stay silent; a rule without push gets none.

    With large groups a rule that climbs f climbs f̃ with f̃′(p) = f′(p) · u(p) / mean(u): the
    weight's `formula` says u(p), `at` computes it.

    A subclass is a frozen dataclass named as it is written, `power(alpha=0.5)`.

    Attributes:
        formula: u as a function of the solve rate p when groups are large, in plain text.
        source: Paper and section, or where the idea is from.
    """

    formula: ClassVar[str]
    source: ClassVar[str] = "derived here"
    wrapper: ClassVar[str] = "weighted"

    @abstractmethod
    def raw(self, groups: RewardGroups, context: Context) -> FloatArray:
        """(P,) u ≥ 0 before it is brought to mean one."""

    def at(self, p: FloatArray) -> FloatArray | None:
        """u(p) for large groups; None where it is no function of the solve rate alone."""
        return None

    def learn(self, batch: Batch) -> None:  # noqa: B027 — most weights learn nothing
        """Update `context.state`, after the batch has been weighted."""

    @property
    def name(self) -> str:
        """The weight as it is written."""
        return repr(self)

    @property
    def scope(self) -> Scope:
        """`batch`: the mean is one over a batch; `history` for a weight that learns."""
        return "history" if "state" in self.needs else "batch"

    @property
    def needs(self) -> tuple[str, ...]:
        """Context fields that it requires."""
        return ()

    def __call__(
        self,
        advantages: FloatArray,
        groups: RewardGroups,
        context: Context,
        rule: AdvantageEstimator,
    ) -> FloatArray:
        """Weighted advantages, per rollout or per token as they came."""
        batch = _batch(advantages, groups, context, rule)
        per_rollout = groups.expand(self.multipliers(batch, _population(batch, rule)))
        if rule.is_per_token:
            per_rollout = np.repeat(per_rollout, np.diff(_offsets(context)))
        self.learn(batch)
        weighted: FloatArray = np.multiply(advantages, per_rollout, out=per_rollout)
        return weighted

    def multipliers(self, batch: Batch, population: Batch) -> FloatArray:
        """(P,) w of each group of the batch, of mean one over the population."""
        u = self.raw(batch.groups, batch.context)
        known = u if population is batch else self.raw(population.groups, population.context)
        counts = np.where(np.isfinite(known), population.moved, 0)
        total = float(counts @ np.where(counts > 0, known, 0.0))
        # Where every weight is 0 nothing can have mean one: the advantages become 0.
        mean = total / counts.sum() if total > 0 else 1.0
        return np.where(np.isfinite(u), u / mean, 1.0)


def solve_rate(groups: RewardGroups, weight: Weight) -> FloatArray:
    """(P,) k/G, or the mean reward where correctness is unknown and rewards lie within 0 … 1.

    Raises:
        InputError: Neither is there, so there is no solve rate.
    """
    if groups.correct is not None:
        return np.asarray(groups.correct / np.maximum(groups.size, 1), dtype=np.float64)
    low, high = float(np.fmin.reduce(groups.rewards)), float(np.fmax.reduce(groups.rewards))
    if low < 0 or high > 1:
        raise InputError(
            "this weight needs a solve rate: correctness is unknown, and rewards leave 0 … 1",
            where=repr(weight),
            got=(low, high),
            hint="declare correct=, or use power(), which needs no more than σ",
        )
    return groups.mean


def check_range(weight: Weight, name: str, low: float = -math.inf, high: float = math.inf) -> None:
    """Refuse a parameter that is no finite number between `low` and `high`.

    Raises:
        InputError: It is not.
    """
    value = getattr(weight, name)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and low <= value <= high):
        span = f" from {low:g} to {high:g}" if low > -math.inf else ""
        raise InputError(
            f"The '{name}' parameter must be a finite number{span}",
            where=type(weight).__name__,
            got=value,
        )


def _batch(
    advantages: FloatArray, groups: RewardGroups, context: Context, rule: AdvantageEstimator
) -> Batch:
    if rule.is_per_token:
        offsets = _offsets(context)
        tokens = np.maximum(np.diff(offsets), 1)
        size = sum_over_tokens(np.abs(advantages), offsets) / tokens
    else:
        size = np.abs(advantages)
    pull = groups.mean_by_group(size)
    moved = np.where(pull > 0, groups.size, 0).astype(np.int64)  # NaN: nothing scored, not moved
    return Batch(groups, context, pull, moved)


def _population(batch: Batch, rule: AdvantageEstimator) -> Batch:
    """What the mean is taken over: the batch, or what the rule makes of a reference batch."""
    reference = batch.context.reference
    if reference is None:
        return batch
    context = reference_context(rule, batch.context)
    return _batch(rule(reference, context), reference, context, rule)


def _offsets(context: Context) -> IntArray:
    if context.token_offsets is None:
        raise InputError("a weight of a rule per token needs context.token_offsets")
    return context.token_offsets
