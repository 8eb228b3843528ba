"""Steps that follow an estimator: `chain(estimator, Whiten(ddof=1, eps=1e-8))`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dissensus.core.advantages.base import Context, Rule, Scope
from dissensus.core.advantages.neutral import reference_context
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError, MissingContextError

__all__ = ["Clip", "Whiten"]


@dataclass(frozen=True)
class Clip:
    """Limit advantages to [low, high].

    Example:
        >>> from dissensus import RewardGroups
        >>> from dissensus.core.advantages import chain
        >>> chain("dr_grpo", Clip(-0.3, 0.3))(RewardGroups.from_dense([[1, 0]])).tolist()
        [0.3, -0.3]
    """

    low: float
    high: float
    scope: Scope = "group"
    needs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError("Clip needs low < high", got=(self.low, self.high))

    @property
    def name(self) -> str:
        """Short name with parameters."""
        return f"clip({self.low}, {self.high})"

    def __call__(
        self, advantages: FloatArray, groups: RewardGroups, context: Context, rule: Rule
    ) -> FloatArray:
        """Advantages limited to [low, high]."""
        return np.clip(advantages, self.low, self.high)


@dataclass(frozen=True)
class Whiten:
    r"""Subtract the batch mean and divide by the batch standard deviation.

        A ← (A − mean(A)) / sqrt(var(A) + eps),   var with `ddof`

    Weighted by tokens (each rollout counts `lengths` times, as frameworks do that whiten a padded
    token table) or by rollouts. The statistics come from `context.reference` where it is given,
    for which the rule is called again. A group with zero advantage gets −mean/std, which is zero
    only when the weighted mean is. A batch without any spread gets zeros.

    Args:
        ddof: Subtracted from the number of weighted entries (Bessel's correction: 1).
        eps: Added to the variance, inside the root.
        by: `token` (needs `context.lengths`) or `rollout`.

    Source: `masked_whiten` in verl 0.9.1, `verl/utils/torch_functional.py`.
    """

    ddof: int
    eps: float
    by: Literal["token", "rollout"] = "token"
    scope: Scope = "batch"
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Short name with parameters."""
        return f"whiten(ddof={self.ddof}, eps={self.eps}, by={self.by!r})"

    def __call__(
        self, advantages: FloatArray, groups: RewardGroups, context: Context, rule: Rule
    ) -> FloatArray:
        """Whitened advantages; unscored rollouts do not enter the statistics."""
        if context.reference is None:
            values, weights = groups.scored(advantages), self._weights(groups, context)
        else:
            # The reference has no lengths of its own here, so each of its rollouts counts once.
            asked = rule(context.reference, reference_context(rule, context))
            values = context.reference.scored(asked)
            weights = np.ones(len(values))
        count = weights.sum() - self.ddof
        if not weights.any():  # nothing scored, or only empty completions
            return np.zeros_like(advantages)
        mean = float(weights @ values / weights.sum())
        away = values - mean
        squares = float(weights @ np.square(away, out=away))
        if count <= 0 or squares <= 0:
            return np.zeros_like(advantages)
        if mean**2 * weights.sum() <= 1e-24 * squares:
            mean = 0.0  # a rounding error, which would give unanimous groups an advantage
        whitened: FloatArray = advantages - mean
        whitened /= np.sqrt(squares / count + self.eps)
        return whitened

    def _weights(self, groups: RewardGroups, context: Context) -> FloatArray:
        if self.by == "rollout":
            return np.ones(int(groups.is_scored.sum()))
        if context.lengths is None:
            raise MissingContextError(
                "whitening by token needs the context field 'lengths'",
                hint="pass context=Context(lengths=…), or whiten by='rollout'",
            )
        lengths = groups.scored(np.asarray(context.lengths, dtype=np.float64))
        if not lengths.min(initial=0.0) >= 0:
            raise InputError("lengths must be numbers of tokens ≥ 0", where=self.name)
        return lengths
