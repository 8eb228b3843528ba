"""Any objective of the solve rate."""

import re
from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts, draw_rate, to_rollouts
from dissensus.core.advantages.profile import ARCSINE, IDENTITY, LOG, LOGIT, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError

Slope: TypeAlias = Callable[[FloatArray], FloatArray]

_SLOPES: dict[str, Slope] = {
    "identity": IDENTITY.slope,
    "arcsin": ARCSINE.slope,
    "log": LOG.slope,
    "logit": LOGIT.slope,
}
_KNOWN = f"{', '.join(_SLOPES)} or pass_at_k(K)"


@rule(
    "surrogate",
    source="Thrampoulidis et al. 2025, arXiv:2510.23049; finite-G form derived here",
    profile=Profile(
        title="Surrogate objective F(p)",
        evidence="abstract",
        rewards="binary",
        scale="invariant",
        limit=ARCSINE,
    ),
)
def surrogate(
    groups: RewardGroups,
    context: Context,
    *,
    objective: str | Slope = "arcsin",
    form: Literal["plug_in", "unbiased"] = "plug_in",
) -> FloatArray:
    """Climb a chosen objective F of the solve rate, by the slope F′ that the group suggests.

        plug_in:   A = F′(m) · (c − m);   W = F′(m) · σ²;   B = 0        (c: 1 correct, 0 wrong)
        unbiased:  A = D(j) · (c − j/(G−1)),   j: correct among the *others*,   E[D(j)] = F′(p)

    Unanimous groups (k = 0, k = G) and one-rollout groups get 0. Right-or-wrong rewards only.

    | objective | F(p) | plug_in is | D(j) of the unbiased form climbs |
    |---|---|---|---|
    | identity | p | Dr. GRPO | 1: p, exactly (RLOO) |
    | arcsin | 2·arcsin√p | GRPO | no unbiased form |
    | log | log p | MaxRL | G/(j+1): −Σ_{i≤G} (1−p)^i / i |
    | logit | log p − log(1−p) | DisCO | G/(j+1) + G/(G−j): G terms of both logarithms |
    | pass_at_k(K) | 1 − (1−p)^K | | K·C(G−1−j, K−1)/C(G−1, K−1): pass@K, exactly, for K ≤ G |

    The plug-in form is exact for large groups only. Both factors of the unbiased form leave the
    rollout itself out, so the gradient of its F is exact at every G; it is not centred unless D is
    constant: B = m(1−m)·G/(G−1)·(D(k−1) − D(k)). An unbiased form exists only where F′ is a
    polynomial of degree < G, hence the truncated logarithms. A function instead of a name is F′,
    (P,) → (P,), for 0 < p < 1, in the plug-in form. Left out: the paper's regularised variants.

    Args:
        groups: P groups of N rollouts.
        context: Not used.
        objective: Name of F, or the function F′.
        form: `plug_in` or `unbiased`.

    Raises:
        InputError: Correctness is unknown, no such objective, or it has no unbiased form.
    """
    is_correct, right, wrong = counts(groups, "surrogate")
    size = groups.size
    if form == "plug_in":
        is_split = (right > 0) & (wrong > 0)
        rate = np.where(is_split, right, 1) / np.where(is_split, size, 2)
        slope = np.where(is_split, _slope(objective)(rate), 0.0)
        plus, minus = slope * (1 - rate), -slope * rate
    elif form == "unbiased":
        others = np.maximum(size - 1, 1)
        plus = _unbiased_slope(objective, right - 1, size) * wrong / others
        minus = _unbiased_slope(objective, right, size) * -right / others
    else:
        raise InputError("The 'form' parameter must be 'plug_in' or 'unbiased'", got=form)
    return to_rollouts(groups, is_correct, plus, minus)


def _slope(objective: str | Slope) -> Slope:
    if callable(objective):
        return objective
    attempts = _attempts(objective)
    if attempts:
        return lambda p: attempts * (1 - p) ** (attempts - 1)
    if objective not in _SLOPES:
        raise InputError(f"The 'objective' parameter must be {_KNOWN}", got=objective)
    return _SLOPES[objective]


def _unbiased_slope(objective: str | Slope, others: IntArray, size: IntArray) -> FloatArray:
    """(P,) D(j) from j correct among G − 1 others; 0 where there is no such rollout."""
    exists = (others >= 0) & (others < size)
    right, count = np.where(exists, others, 0), np.maximum(size, 1)
    attempts = None if callable(objective) else _attempts(objective)
    if attempts:
        slope = attempts * draw_rate(count - 1 - right, count - 1, attempts - 1)
    elif objective == "identity":
        slope = np.ones(len(size))
    elif objective == "log":
        slope = count / (right + 1)
    elif objective == "logit":
        slope = count / (right + 1) + count / (count - right)
    else:
        raise InputError(
            "this objective has no unbiased form",
            where="surrogate",
            got=objective,
            hint=f"identity, log, logit and pass_at_k(K) have one; form='plug_in' takes {_KNOWN}",
        )
    return np.where(exists, slope, 0.0)


def _attempts(objective: str) -> int | None:
    """K of `pass_at_k(K)`, None for any other name."""
    match = re.fullmatch(r"pass_at_k\(([1-9]\d*)\)", objective)
    return int(match[1]) if match else None
