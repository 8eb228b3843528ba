"""Pass@k training."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts, draw_rate, to_rollouts
from dissensus.core.advantages.profile import Limit, Profile, pass_at_k_rate
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import denominators
from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError

K = 4


def _slope(p: FloatArray) -> FloatArray:
    passed = pass_at_k_rate(p, K)
    return np.asarray((1 - p) ** (K - 1) / np.sqrt(passed * (1 - passed)))


def _is_silent(correct: IntArray, group_size: int) -> BoolArray:
    return np.asarray((correct == 0) | (correct > group_size - K), dtype=np.bool_)


@rule(
    "pass_at_k",
    source="Chen et al. 2025, arXiv:2508.10751; as in RUCAIBox/Passk_Training at c3ba575",
    profile=Profile(
        title="Pass@k training",
        evidence="code",
        rewards="binary",
        scale="invariant",
        is_silent=_is_silent,
        limit=Limit(
            f"(2/{K})·arcsin√(1 − (1−p)^{K})",
            _slope,
            lambda p: (2 / K) * np.arcsin(np.sqrt(pass_at_k_rate(p, K))),
        ),
    ),
)
def pass_at_k(
    groups: RewardGroups, context: Context, *, attempts: int = K, eps: float = 0.0
) -> FloatArray:
    """GRPO on the best of K answers, averaged over all ways to draw K of the group.

        ρ = 1 − C(G−k, K)/C(G, K);   σ = sqrt(ρ(1−ρ));   B = 0
        A₊ = (1 − ρ)/(σ + eps);   A₋ = (1 − ρ − C(G−k−1, K−1)/C(G−1, K−1))/(σ + eps)

    Silent for k = 0, and for every k > G − K: then each draw of K holds a correct answer (ρ = 1).
    A wrong answer is not blamed for the draws that a correct one rescues, so its advantage is far
    smaller than under GRPO. K = 1 is GRPO. Right-or-wrong rewards only; a group smaller than K has
    no draw and gets 0. The published code adds eps 1e-6. Left out: the paper's full and bootstrap
    sampling forms, of which this is the expectation.

    Args:
        groups: P groups of N rollouts.
        context: Not used.
        attempts: K ≥ 1, answers drawn together.
        eps: Added to σ; ≥ 0.

    Raises:
        InputError: Correctness is unknown, or K < 1.
    """
    require_attempts(attempts)
    is_correct, right, wrong = counts(groups, "pass_at_k")
    failed = draw_rate(wrong, groups.size, attempts)
    alone = draw_rate(wrong - 1, groups.size - 1, attempts - 1)
    spread = np.sqrt(failed * (1 - failed))
    is_split = (right > 0) & (failed > 0)
    denominator = denominators(groups, np.where(is_split, spread, np.nan), eps)
    return to_rollouts(groups, is_correct, failed / denominator, (failed - alone) / denominator)


def require_attempts(attempts: int) -> None:
    """Refuse a number of attempts that is not a whole number ≥ 1."""
    if attempts != int(attempts) or attempts < 1:
        raise InputError("The 'attempts' parameter must be a whole number ≥ 1", got=attempts)
