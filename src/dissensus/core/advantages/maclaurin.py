"""The Maclaurin estimator of MaxRL."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts, for_each_count, to_rollouts
from dissensus.core.advantages.profile import LOG, Profile, never
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError


@rule(
    "maclaurin",
    source="arXiv:2602.02710; as in tajwarfahim/maxrl at c0698eb, maclaurin.py",
    profile=Profile(
        title="Maclaurin",
        evidence="code",
        rewards="binary",
        is_centred=False,
        scale="invariant",
        is_silent=never,
        limit=LOG,
    ),
)
def maclaurin(groups: RewardGroups, context: Context, *, order: int | None = None) -> FloatArray:
    """Unbiased slope of the first terms of log p, without a baseline.

        A₊ = 1,   A₋ = −Σ_{j=2}^{min(T, w)} C(w−1, j−1) / C(G−1, j−1)      w = G − k wrong

    climbs −Σ_{j≤T} (1−p)^j / j exactly, T = `order`. Without a limit (None, or T ≥ w) the sum has
    a closed form: A₋ = −(w−1)/(k+1). W = m(1−m)(A₊ − A₋), and B is large: k = G still gets 1 each
    and k = 0 gets −(G−1) each, so no group is silent and the variance is that of a policy gradient
    without baseline. Right-or-wrong rewards; an order above G adds nothing. The published code has
    order 16 and gives 1/G of these numbers, for a loss that sums over the group. Its third form,
    cross-fitted over disjoint tuples, is left out.

    Raises:
        InputError: Correctness is unknown, or order < 1.
    """
    if order is not None and order < 1:
        raise InputError("The 'order' parameter must be ≥ 1, or None", got=order)
    is_correct, right, wrong = counts(groups, "maclaurin")
    if order is None or order >= wrong.max(initial=0):
        negative = -np.maximum(wrong - 1, 0) / (right + 1.0)
    else:
        j = np.arange(1, order)
        negative = for_each_count(
            groups,
            wrong,
            lambda size, wrong: (
                -np.cumprod(np.maximum(wrong - j, 0) / np.maximum(size - j, 1), axis=1).sum(axis=1)
            ),
        )
    return to_rollouts(groups, is_correct, np.ones(len(groups)), negative)
