"""Which prompts the gradient of a rule comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray
from dissensus.core.laws._inputs import (
    SignatureLike,
    as_group_size,
    as_probability,
    broadcast,
)
from dissensus.core.laws.binomial import expected_contrast
from dissensus.core.laws.objective import difficulty_weight
from dissensus.errors import InputError

if TYPE_CHECKING:
    from dissensus.core.advantages import AdvantageEstimator

__all__ = ["gradient_mass", "mass_share"]


def gradient_mass(
    p: ArrayLike,
    rule: str | SignatureLike | Callable[..., Any] = "grpo",
    group_size: int | None = None,
) -> FloatArray:
    """Expected contrast that one group of each prompt contributes.

        G rollouts     E[W_G](p)
        large groups   p(1−p)·w(p):   GRPO sqrt(p(1−p)),   Dr. GRPO p(1−p)

    0 at p = 0 and p = 1. A rule that looks beyond rewards or beyond the group is taken in the
    neutral context (`advantages.neutral_context`): memory empty, rollouts alike but for the reward,
    and a batch of one group of each k = 0 … G. In another context pass its signature there.

    Args:
        p: Solve rate, any shape.
        rule: A name; an advantage estimator, which needs `group_size`; a signature, which has its
            own; or a function w(p) of the solve rate, for the large-group limit.
        group_size: G, or None for the large-group limit.

    Returns:
        Mass, shape of p.

    Raises:
        InputError: p outside [0, 1]; a rule without a known limit and no group size; a group size
            beside a signature of another one, or beside a function w(p).

    Example:
        >>> gradient_mass([0.0, 0.1, 0.5], "grpo").round(3).tolist()
        [0.0, 0.3, 0.5]
    """
    rate = as_probability(p)
    if hasattr(rule, "contrast"):
        return _mass_of_signature(rule, rate, group_size)
    is_estimator = hasattr(rule, "scope")
    if group_size is None:
        if is_estimator:
            raise InputError(
                "an estimator needs a group size", hint="pass group_size, or the rule's name"
            )
        inside = (rate > 0) & (rate < 1)
        # Away from the ends first: a weight may diverge there, and its product with 0 is 0.
        safe = np.where(inside, rate, 0.5)
        return np.where(inside, safe * (1.0 - safe) * difficulty_weight(safe, rule), 0.0)[()]
    size = int(as_group_size(group_size))
    if not (isinstance(rule, str) or is_estimator):
        raise InputError("a function w(p) holds for large groups only; drop group_size", got=size)
    # Deferred, because estimators may themselves use the laws.
    from dissensus.core import advantages

    estimator = advantages.get(rule) if isinstance(rule, str) else cast("AdvantageEstimator", rule)
    context = advantages.neutral_context(estimator)
    return expected_contrast(advantages.signature(estimator, size, context=context), rate)


def mass_share(
    p: ArrayLike,
    mask: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    rule: str | SignatureLike | Callable[..., Any] = "grpo",
    group_size: int | None = None,
) -> float:
    """Share of a data set's gradient mass that comes from the masked prompts.

        Σ_{i ∈ mask} n_i E[W_G](p_i) / Σ_i n_i E[W_G](p_i)

    Always say which G: the share of extreme prompts of Big-Math under GRPO is 24.7 % for large
    groups and 16.5 % for G = 8.

    Args:
        p: Solve rates, any shape.
        mask: Booleans, broadcast against p.
        weights: n_i ≥ 0, prompts (or groups) that row i stands for; None means 1.
        rule: As in `gradient_mass`.
        group_size: G, or None for the large-group limit.

    Returns:
        The share; NaN when the total mass is 0 (every prompt at p = 0 or p = 1).

    Raises:
        InputError: As `gradient_mass`; a mask that is not boolean, negative or non-finite weights,
            shapes that do not broadcast.

    Example:
        >>> round(mass_share([0.1, 0.5], [True, False], rule="dr_grpo"), 4)      # .09 / .34
        0.2647

    Source: arXiv:2607.00152, gradient-mass table.
    """
    rate = as_probability(p)
    chosen = np.asarray(mask)
    if chosen.dtype != np.bool_:
        raise InputError("The 'mask' parameter must be boolean", got=chosen.dtype.name)
    counts = np.asarray(1.0 if weights is None else weights, dtype=np.float64)
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise InputError("The 'weights' parameter must be finite and ≥ 0")
    rate, chosen_, counts = broadcast(p=rate, mask=chosen.astype(np.float64), weights=counts)
    mass = counts * gradient_mass(rate, rule, group_size)
    total = float(mass.sum())
    return float((mass * chosen_).sum()) / total if total != 0 else float("nan")


def _mass_of_signature(signature: Any, rate: FloatArray, group_size: int | None) -> FloatArray:
    if group_size is not None and int(as_group_size(group_size)) != signature.group_size:
        raise InputError(f"the signature has group size {signature.group_size}", got=group_size)
    return expected_contrast(signature, rate)
