"""Unlikeliness reward."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts
from dissensus.core.advantages.profile import ARCSINE, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.advantages.tables import RolloutTable, net_wins
from dissensus.core.advantages.tokens import log_likelihood_per_token
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError


@rule(
    "unlikeliness",
    source="He et al. 2025, arXiv:2506.02355; AndreHe02/rewarding-unlikely-release at ca1cff0",
    needs=("log_likelihoods", "lengths"),
    profile=Profile(
        title="Unlikeliness reward",
        evidence="code",
        rewards="binary",
        scale="invariant",
        limit=ARCSINE,
    ),
)
def unlikeliness(
    groups: RewardGroups,
    context: Context,
    *,
    beta: float = 0.25,
    ddof: int = 0,
    eps: float = 0.0,
) -> FloatArray:
    """GRPO after a correct answer's reward is cut by how likely the policy found it.

        r′ = c · (1 − β · rank/G),   c: 1 correct, 0 wrong;   A = (r′ − mean r′)/(std(ddof) + eps)

    rank counts from 0, the least likely rollout of the group, by log-likelihood per token; equally
    likely ones share their mean rank (the code read breaks ties by position). B = 0; where all are
    equally likely it is GRPO, W = σ. All-wrong groups (k = 0) and one-rollout groups get 0; an
    all-correct group (k = G) does *not* where likelihoods differ: its unlikely answers go up and
    its likely ones down, though it is unanimous. Right-or-wrong rewards only. The code read uses
    ddof 1, eps 1e-6 and, in its script, β 0.25. Left out: more epochs per batch, which the paper
    also changes.

    Args:
        groups: P groups of N rollouts.
        context: With `log_likelihoods` and `lengths`.
        beta: β in [0, 1].
        ddof: Of the standard deviation.
        eps: Added to the standard deviation; ≥ 0.

    Raises:
        InputError: Correctness is unknown, β outside [0, 1], or a log-likelihood is not finite.
    """
    if not 0 <= beta <= 1:
        raise InputError("The 'beta' parameter must lie in [0, 1]", got=beta)
    is_correct, _, _ = counts(groups, "unlikeliness")
    table = RolloutTable(groups)
    # Twice the rank from 0 is the net wins + G − 1.
    share = (-0.5 * beta / np.maximum(groups.size, 1))[:, None]
    factor = net_wins(table.of(log_likelihood_per_token(groups, context)))
    factor *= share
    factor += 1.0 + share * (groups.size[:, None] - 1)
    reshaped = groups.with_rewards(table.back(factor) * is_correct)
    return divide_by_std(reshaped, reshaped.std(ddof), eps)
