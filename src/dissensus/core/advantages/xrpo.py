"""XRPO's novelty bonus."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts
from dissensus.core.advantages.profile import ARCSINE, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.advantages.tokens import log_likelihood_per_token
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "xrpo",
    source="Bamba et al. 2025, arXiv:2510.06672, as in Wodlfvllf/grpo-composer and its reviews",
    needs=("log_likelihoods", "lengths"),
    profile=Profile(
        title="XRPO (novelty bonus)",
        evidence="secondary",
        rewards="binary",
        scale="invariant",
        limit=ARCSINE,
    ),
)
def xrpo(
    groups: RewardGroups,
    context: Context,
    *,
    bonus: float = 2.5,
    most: float = 0.5,
    ddof: int = 0,
    eps: float = 0.0,
) -> FloatArray:
    """GRPO, and more of it for correct answers that the policy found unlikely.

        A = A_GRPO + min(max(λ(1 − η), 0), κ · A_GRPO) for correct rollouts, A_GRPO for wrong ones
        η = exp(s − group mean of s),   s: log-likelihood per token

    λ is `bonus`, κ is `most`. Where all rollouts are equally likely it is GRPO: W = σ and B = 0;
    otherwise B ≥ 0, since only additions are made. Unanimous (k = 0, k = G) and one-rollout groups
    get 0. Right-or-wrong rewards only. Left out: the allocation of rollouts by uncertainty and the
    in-context examples for prompts without any success.

    Raises:
        InputError: Correctness is unknown, or a log-likelihood is not finite.
    """
    is_correct, _, _ = counts(groups, "xrpo")
    advantages = divide_by_std(groups, groups.std(ddof), eps)
    score = log_likelihood_per_token(groups, context)
    mean = np.nan_to_num(groups.mean_by_group(score))
    novelty: FloatArray = groups.expand(-mean)
    novelty += score
    # Above the mean the bonus is 0 in any case: limited there, no exponential can overflow.
    np.exp(np.minimum(novelty, 0.0, out=novelty), out=novelty)
    added = np.subtract(1.0, novelty, out=novelty)
    added *= bonus
    np.minimum(added, most * np.maximum(advantages, 0.0), out=added)
    added *= is_correct
    advantages += added
    return advantages
