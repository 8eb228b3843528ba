"""LENS."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts
from dissensus.core.advantages.profile import ARCSINE, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.advantages.tokens import log_likelihood_per_token
from dissensus.core.groups import BoolArray, FloatArray, RewardGroups
from dissensus.errors import InputError


@rule(
    "lens",
    source="Feng et al. 2025, arXiv:2510.08696, section 5.1",
    needs=("log_likelihoods", "lengths"),
    profile=Profile(
        title="LENS",
        evidence="paper",
        rewards="binary",
        scale="invariant",
        limit=ARCSINE,
    ),
)
def lens(
    groups: RewardGroups,
    context: Context,
    *,
    alpha: float = 0.25,
    ddof: int = 0,
    eps: float = 0.0,
) -> FloatArray:
    """GRPO with wrong answers penalised by the policy's confidence in them.

        A = (r′ − mean r′)/(std(ddof) + eps) in split groups, α(r′ − mean r′) in all-wrong ones
        r′ = 1 for correct, −(1/G) · q/(D − q) for wrong rollouts;   q = exp(log-likelihood/length)
        D = 2·max q over the group, in split groups at least G / Σ_correct 1/q

    All-wrong groups (k = 0) get a signal where confidences differ: confident errors go down, the
    others up; at equal confidence they get 0. All-correct (k = G), hence all unanimous groups of
    equal confidence, and one-rollout groups get 0. B = 0; where all confidences are equal it is
    GRPO, W = σ. Right-or-wrong rewards only. q stands for the likelihood in D too, which the paper
    leaves open. Left out: nothing of the advantage (α is a factor on the loss there).

    Args:
        groups: P groups of N rollouts.
        context: With `log_likelihoods` and `lengths`.
        alpha: α, weight of the all-wrong groups.
        ddof: Of the standard deviation, in split groups.
        eps: Added to it; ≥ 0.

    Raises:
        InputError: Correctness is unknown, a negative parameter, or a log-likelihood that is not
            finite.
    """
    if not (alpha >= 0 and eps >= 0):
        raise InputError("The 'alpha' and 'eps' parameters must be ≥ 0", got=(alpha, eps))
    is_correct, right, _ = counts(groups, "lens")
    score = log_likelihood_per_token(groups, context)
    calibrated = groups.with_rewards(_calibrate(groups, score, is_correct))
    # All-wrong groups are centred and weighted only, which is a division by 1/α.
    weight = 1.0 / alpha if alpha > 0 else np.inf
    denominator = np.where(right > 0, calibrated.std(ddof) + eps, weight)
    return divide_by_std(calibrated, denominator, 0.0)


def _calibrate(groups: RewardGroups, score: FloatArray, is_correct: BoolArray) -> FloatArray:
    """(N,) r′ from the log-likelihoods per token."""
    # Only ratios q/D matter, so the largest q of the group is set to 1, and none underflows.
    odds: FloatArray = groups.expand(-np.nan_to_num(groups.with_rewards(score).max))
    odds += score
    np.clip(odds, -700.0, 0.0, out=odds)  # unscored ones may lie above the largest
    odds *= 1 - 2 * is_correct.view(np.int8)
    np.exp(odds, out=odds)  # 1/q of correct, q of wrong rollouts
    inverse = groups.sum_by_group(odds * is_correct)
    size = np.maximum(groups.size, 1)
    scale = np.maximum(2.0, size / np.where(inverse > 0, inverse, np.inf))
    away = odds - groups.expand(scale)
    away *= groups.expand(size.astype(np.float64))
    odds /= away
    odds *= ~is_correct
    odds += is_correct
    return odds
