"""What a rule says about itself: the contract tests hold it to every word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from dissensus.core.groups import BoolArray, FloatArray, IntArray

__all__ = [
    "ARCSINE",
    "IDENTITY",
    "LOG",
    "LOGIT",
    "Evidence",
    "Limit",
    "Profile",
    "never",
    "pass_at_k_rate",
    "unanimous_only",
]

Evidence: TypeAlias = Literal[
    "code", "library", "paper", "abstract", "secondary", "recollection", "derived"
]
"""Where the formula was read: the method's own code, a training library, the paper, its abstract,
somebody else's account of it, memory alone, or our own algebra."""


def unanimous_only(correct: IntArray, group_size: int) -> BoolArray:
    """Silent on k = 0 and k = G and nowhere else, as every rule is that only centres."""
    return np.asarray((correct == 0) | (correct == group_size), dtype=np.bool_)


def never(correct: IntArray, group_size: int) -> BoolArray:
    """Silent on no group at all."""
    return np.zeros(np.shape(correct), dtype=np.bool_)


@dataclass(frozen=True)
class Limit:
    """What a rule climbs when groups are large: f with f′(p) = A₊ − A₋.

    Attributes:
        formula: f in plain text, such as `2·arcsin√p`.
        slope: f′(p), for p in [0, 1]; inf where it diverges.
        objective: f(p); None where it has no closed form.
    """

    formula: str
    slope: Callable[[FloatArray], FloatArray]
    objective: Callable[[FloatArray], FloatArray] | None = None

    def times(self, formula: str, weight: Callable[[FloatArray], FloatArray]) -> Limit:
        """The limit of the rule under a weight u(p), up to one factor: f̃′ = f′ · u."""
        return Limit(
            self.formula if formula == "1" else f"∫ {formula} d[{self.formula}]",
            lambda p: np.asarray(self.slope(np.asarray(p)) * weight(np.asarray(p))),
        )


ARCSINE = Limit(
    "2·arcsin√p", lambda p: 1.0 / np.sqrt(p * (1.0 - p)), lambda p: 2.0 * np.arcsin(np.sqrt(p))
)
# Up to a positive factor that all prompts share, where a rule divides by a batch statistic.
IDENTITY = Limit("p", np.ones_like, np.copy)
LOG = Limit("log p", lambda p: 1.0 / p, np.log)
LOGIT = Limit("logit p", lambda p: 1.0 / (p * (1.0 - p)), lambda p: np.log(p) - np.log1p(-p))


def pass_at_k_rate(p: FloatArray, attempts: int) -> FloatArray:
    """Chance that at least one of K attempts is correct, 1 − (1−p)^K."""
    return np.asarray(1.0 - (1.0 - p) ** attempts, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Properties of a rule at its default parameters.

    The defaults are those of `r − mean`. Batch rules state them for a fixed reference batch, rules
    with memory for a fixed state, and rules that read more than rewards for `neutral_context`.

    Attributes:
        title: Name as the field writes it.
        evidence: Where the formula was read.
        rewards: `binary` where the rule is one of right or wrong: correctness must be known.
        is_centred: The advantages of a group sum to zero: no push, B = 0.
        is_shift_invariant: Adding a constant to all rewards changes nothing.
        scale: What multiplying all rewards by c > 0 does: nothing, multiply the advantages by c, or
            something else.
        is_silent: `(k, G) → bool`: the groups of right-or-wrong rewards with no advantage at all.
        shifts_with_batch: A mean over the batch is subtracted at the end, which is 0 in the neutral
            batch. In one whose lengths go with reward it is not, and then every group is pushed by
            −mean/std, unanimous ones too: `is_centred` and `is_silent` hold in the neutral batch.
        is_ordered: The order of the rollouts inside a group matters.
        limit: The large-group objective, where it is known in closed form.
    """

    title: str = ""
    evidence: Evidence = "derived"
    rewards: Literal["any", "binary"] = "any"
    is_centred: bool = True
    is_shift_invariant: bool = True
    scale: Literal["invariant", "proportional", "neither"] = "proportional"
    is_silent: Callable[[IntArray, int], BoolArray] = unanimous_only
    shifts_with_batch: bool = False
    is_ordered: bool = False
    limit: Limit | None = None
