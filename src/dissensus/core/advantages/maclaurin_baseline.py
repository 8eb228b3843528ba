"""The Maclaurin estimator of MaxRL with a leave-one-out baseline."""

from functools import partial

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts, for_each_count, to_rollouts
from dissensus.core.advantages.profile import LOG, Profile, never
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError


@rule(
    "maclaurin_baseline",
    source="arXiv:2602.02710; as in tajwarfahim/maxrl at c0698eb, maclaurin.py",
    profile=Profile(
        title="Maclaurin with baseline",
        evidence="code",
        rewards="binary",
        is_centred=False,
        scale="invariant",
        is_silent=never,
        limit=LOG,
    ),
)
def maclaurin_baseline(
    groups: RewardGroups, context: Context, *, order: int | None = None
) -> FloatArray:
    """The Maclaurin estimator, each tuple of rollouts measured against the other tuples.

        ρ_j = C(w, j) / (C(G, j) − 1)       w = G − k wrong
        A₊ = 1 + Σ_j ρ_j,   A₋ = −(k/w) Σ_j ρ_j − 1[k = 0, T ≥ G]      j = 2 … min(T, G−1)

    The j-th term of log p asks whether j rollouts all fail; its baseline is the share of the other
    j-tuples that do. Tuples share rollouts, so unlike a leave-one-out mean this baseline depends on
    the score, and the slope climbed is too small: at p = 0.1 by 38 % for G = 8, by 15 % for 64, by
    4 % for 256. The first term has no baseline: k = G gets 1 each; k = 0 gets −1 each for T ≥ G
    (None: T = G) and 0 for less. Right-or-wrong rewards. The published code has order 16 and gives
    1/G of these numbers.

    Raises:
        InputError: Correctness is unknown, or order < 1.
    """
    if order is not None and order < 1:
        raise InputError("The 'order' parameter must be ≥ 1, or None", got=order)
    is_correct, right, wrong = counts(groups, "maclaurin_baseline")
    size = groups.size
    highest = int(size.max(initial=0))
    order = highest if order is None else order
    total = for_each_count(groups, wrong, partial(_sum_of_ratios, last=min(order, highest - 1)))
    failed = (right == 0) & (order >= size) & (size > 1)
    negative = -right / np.maximum(wrong, 1) * total - failed
    return to_rollouts(groups, is_correct, 1.0 + total, negative)


def _sum_of_ratios(size: IntArray, wrong: IntArray, last: int) -> FloatArray:
    """Σ_j C(w, j) / (C(G, j) − 1) over j = 2 … min(last, G−1), from (U, 1) each."""
    i = np.arange(max(last, 1))
    left = np.maximum(size - i, 1)
    share = np.cumprod(np.maximum(wrong - i, 0) / left, axis=1)  # C(w, j) / C(G, j), j = i + 1
    one = np.cumprod(np.where(i < size, (i + 1) / left, 1.0), axis=1)  # 1 / C(G, j)
    has_others = (i + 1 < size) & (i > 0)
    ratios = share / np.where(has_others, 1.0 - one, np.inf)
    return np.asarray(ratios.sum(axis=1), dtype=np.float64)
