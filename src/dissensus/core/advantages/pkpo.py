"""PKPO."""

from typing import Literal

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts, draw_rate, to_rollouts
from dissensus.core.advantages.pass_at_k import require_attempts
from dissensus.core.advantages.profile import Limit, Profile, pass_at_k_rate
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError

K = 4


def _is_silent(correct: IntArray, group_size: int) -> BoolArray:
    is_unanimous = (correct == 0) | (correct == group_size)
    return np.asarray(is_unanimous | (correct > group_size - K + 1), dtype=np.bool_)


@rule(
    "pkpo",
    source="Walder & Karkhanis 2025, arXiv:2505.15201; as in tajwarfahim/maxrl at c0698eb",
    profile=Profile(
        title="PKPO",
        evidence="code",
        rewards="binary",
        scale="invariant",
        is_silent=_is_silent,
        limit=Limit(
            f"(1 − (1−p)^{K})/{K}",
            lambda p: (1 - p) ** (K - 1),
            lambda p: pass_at_k_rate(p, K) / K,
        ),
    ),
)
def pkpo(
    groups: RewardGroups,
    context: Context,
    *,
    attempts: int = K,
    baseline: Literal["group", "none"] = "group",
) -> FloatArray:
    """Reward a correct answer by the chance that K − 1 others drawn with it are all wrong.

        a = C(G−k, K−1)/C(G−1, K−1);   W = a · σ² · G/(G−1);   B = 0
        A₊ = a · (G−k)/(G−1);   A₋ = −a · k/(G−1)

    Silent for k = 0, and for every k > G − K + 1 (any K − 1 others hold a correct answer, a = 0).
    K = 1 is RLOO. Right-or-wrong rewards only; a group smaller than K gets 0.

    `baseline="group"` subtracts the mean of the other rollouts' credits, as in the code read. Those
    credits count this rollout's reward too, which biases the gradient by the order of 1/G.
    `baseline="none"` gives A₊ = a, A₋ = 0 and B = m·a ≥ 0: for such rewards that is the paper's
    "leave one out, minus one" form, whose gradient is exactly that of pass@K, over K. A group that
    is all correct then stays silent only for K > 1. Left out: real-valued rewards (best of K).

    Args:
        groups: P groups of N rollouts.
        context: Not used.
        attempts: K ≥ 1, answers drawn together.
        baseline: `group` or `none`.

    Raises:
        InputError: Correctness is unknown, K < 1, or no such baseline.
    """
    require_attempts(attempts)
    if baseline not in ("group", "none"):
        raise InputError("The 'baseline' parameter must be 'group' or 'none'", got=baseline)
    is_correct, right, wrong = counts(groups, "pkpo")
    credit = np.where(right > 0, draw_rate(wrong, groups.size - 1, attempts - 1), 0.0)
    credit = np.where(groups.size >= attempts, credit, 0.0)
    if baseline == "none":
        return to_rollouts(groups, is_correct, credit, np.zeros(len(groups)))
    others = np.maximum(groups.size - 1, 1)
    return to_rollouts(groups, is_correct, credit * wrong / others, -credit * right / others)
