"""What a rule maximises for one prompt, and how much weight that puts on each difficulty."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray
from dissensus.core.laws._inputs import SignatureLike, as_probability, positive_negative_of
from dissensus.core.laws.binomial import average_binomial
from dissensus.errors import InputError

if TYPE_CHECKING:
    from dissensus.core.advantages import Limit

__all__ = ["difficulty_weight", "implied_objective", "large_group_objective", "objective_slope"]


def objective_slope(signature: SignatureLike, p: ArrayLike) -> FloatArray:
    """Slope of the function of the solve rate that a rule climbs in expectation.

        F′(p) = E[ m(1−p)A₊ − (1−m)pA₋ ] / (p(1−p)),      k ~ Binomial(G, p), m = k/G
              = Σ_{j=0}^{G−1} C(G−1,j) p^j (1−p)^(G−1−j) [A₊(j+1) − A₋(j)]

    The second line, which is computed, conditions on one rollout and counts the correct ones among
    the other G−1: nothing is divided, and p = 0 and p = 1 are ordinary points. For a
    one-parameter Bernoulli-logit prompt the expected update is p(1−p)F′(p). It equals
    E[W]/(p(1−p)) only for rules without push, because the mean score of a group moves with m.

    Args:
        signature: A rule's advantages for every k (`advantages.signature`).
        p: Solve rate, any shape.

    Returns:
        F′(p), shape of p. Error: 1e-13 of the same average of |A₊(j+1) − A₋(j)|, for p from 1e-9
        to 1 − 1e-9 and G ≤ 4096.

    Raises:
        InputError: p outside [0, 1], or a signature with missing or non-finite entries.

    Example:
        >>> from types import SimpleNamespace
        >>> k = np.arange(5)
        >>> dr_grpo = SimpleNamespace(group_size=4, positive=1 - k / 4, negative=-k / 4)
        >>> objective_slope(dr_grpo, [0.0, 0.3]).round(12).tolist()      # 1 − 1/G
        [0.75, 0.75]

    Source: arXiv:2607.00152 for rules without push; with push derived in docs/theory.md.
    """
    return average_binomial(_steps(signature), as_probability(p))


def implied_objective(signature: SignatureLike, p: ArrayLike) -> FloatArray:
    """The function of the solve rate that a rule climbs in expectation; 0 at p = 0.

        F(p) = ∫₀ᵖ F′ = Σ_k C(G,k) p^k (1−p)^(G−k) D(k),   D(k) = (1/G) Σ_{j<k} [A₊(j+1) − A₋(j)]

    The sum is exact, no quadrature: a Bernstein polynomial integrates to one of a degree more.
    As G grows it tends to 2·arcsin√p for GRPO and is p(1 − 1/G) for Dr. GRPO.

    Args and errors as `objective_slope`.

    Returns:
        F(p), shape of p. Error: 1e-13 of the same average with |A₊(j+1) − A₋(j)|.

    Example:
        >>> from types import SimpleNamespace
        >>> k = np.arange(5)
        >>> dr_grpo = SimpleNamespace(group_size=4, positive=1 - k / 4, negative=-k / 4)
        >>> implied_objective(dr_grpo, [0.0, 0.4]).round(12).tolist()
        [0.0, 0.3]
    """
    steps = _steps(signature)
    heights = np.concatenate([[0.0], np.cumsum(steps)]) / len(steps)
    return average_binomial(heights, as_probability(p))


def difficulty_weight(
    p: ArrayLike, rule: str | SignatureLike | Callable[[FloatArray], ArrayLike] = "grpo"
) -> FloatArray:
    """How much a rule multiplies the gradient p(1−p) of a prompt of solve rate p.

        large groups   w(p) = f′(p):     GRPO 1/sqrt(p(1−p)),   Dr. GRPO 1
        G rollouts     w(p) = E[W]/(p(1−p)) = (1 − 1/G) E[A₊(j+1) − A₋(j+1)],  j ~ Binomial(G−2, p)

    Args:
        p: Solve rate, any shape.
        rule: A name, for the large-group limit; a signature, for its own group size; or a function
            of p that is returned as it is. `lite_ppo` and `reinforce_pp_baseline` are exact up to
            the batch's standard deviation, one factor for all prompts.

    Returns:
        w(p), shape of p; inf where the limit diverges (GRPO at p = 0 and p = 1).

    Raises:
        InputError: p outside [0, 1], an unknown name, or a broken signature.

    Example:
        >>> difficulty_weight([0.5, 0.1], "grpo").round(3).tolist()
        [2.0, 3.333]

    Source: arXiv:2607.00152, section on difficulty weighting.
    """
    rate = as_probability(p)
    if isinstance(rule, str):
        with np.errstate(divide="ignore"):
            return np.asarray(_limit(rule).slope(rate))[()]
    if not hasattr(rule, "positive"):
        if not callable(rule):
            raise InputError("rule must be a name, a signature or a function of p", got=rule)
        return np.asarray(rule(rate), dtype=np.float64)
    positive, negative = positive_negative_of(cast("SignatureLike", rule))
    group_size = len(positive) - 1
    if group_size < 2:
        return np.zeros_like(rate)[()]
    gap = (positive - negative)[1:-1] * (1.0 - 1.0 / group_size)
    return average_binomial(gap, rate)


def large_group_objective(p: ArrayLike, rule: str = "grpo") -> FloatArray:
    """The objective f(p) that a rule climbs when groups are large.

    GRPO and DAPO 2·arcsin√p, Dr. GRPO and RLOO p, and what the profile of any other rule states
    (`advantages.profile`). A rule that divides by a batch statistic has its limit up to that
    factor, which all prompts share.

    Raises:
        InputError: p outside [0, 1], or an unknown name.

    Example:
        >>> round(float(large_group_objective(1.0, "grpo")), 6)
        3.141593

    Source: arXiv:2607.00152; MaxRL and DisCO as listed in docs/theory.md.
    """
    with np.errstate(divide="ignore"):
        objective = _limit(rule).objective
        if objective is None:
            raise InputError("the large-group objective of this rule has no closed form", got=rule)
        return np.asarray(objective(as_probability(p)))[()]


def _limit(name: str) -> Limit:
    # Deferred, because estimators may themselves use the laws.
    from dissensus.core import advantages

    limit = advantages.profile(name).limit
    if limit is None:
        raise InputError(
            "no large-group limit of this rule is known in closed form",
            got=name,
            hint="pass a group size or a signature",
        )
    return limit


def _steps(signature: SignatureLike) -> FloatArray:
    """(G,) A₊(j+1) − A₋(j): what one more correct rollout is worth beside j other correct ones."""
    positive, negative = positive_negative_of(signature)
    return np.asarray(positive[1:] - negative[:-1], dtype=np.float64)
