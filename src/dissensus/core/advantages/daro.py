"""DARO."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts
from dissensus.core.advantages.profile import Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError

_KEY = "daro_log_weights"


@rule(
    "daro",
    source="Zhou et al. 2025, arXiv:2510.09001, from memory; bins as in Wodlfvllf/grpo-composer",
    scope="history",
    needs=("state",),
    profile=Profile(
        title="DARO",
        evidence="recollection",
        rewards="binary",
        scale="invariant",
    ),
)
def daro(
    groups: RewardGroups,
    context: Context,
    *,
    bins: int = 10,
    learning_rate: float = 0.1,
    ddof: int = 0,
    eps: float = 0.0,
) -> FloatArray:
    """GRPO with a learnt weight for each bin of solve rates, so that all bins count alike.

        A = w_b · (r − mean)/(std(ddof) + eps),   b = ⌈m · bins⌉;   W = w_b · σ;   B = 0
        after each batch   log w_b ← log w_b − rate · (w_b · L_b − 1)   for the bins it holds
        L_b = Σ |A_GRPO| over the rollouts of bin b / rollouts of split groups

    That is a gradient step on Σ_b [w_b L_b − log w_b], whose optimum is w_b = 1/L_b. Weights start
    at 1, where this is GRPO. Unanimous groups (k = 0, k = G) get 0 and teach nothing. Rewards are
    right or wrong. The weights lie in `context.state`, which each call updates: call once a batch.
    Left out: the paper trains w with the policy's optimiser, and its L is the clipped loss, which
    on policy is zero in value; the size of the advantages stands for it here.

    Args:
        groups: P groups of N rollouts.
        context: With `state`.
        bins: Equal parts of (0, 1].
        learning_rate: Of the log-weights, in (0, 1].
        ddof: Of the standard deviation.
        eps: Added to the standard deviation; ≥ 0.

    Raises:
        InputError: Correctness is unknown, fewer than one bin, a rate outside (0, 1], or a state
            with another number of bins.
    """
    _, right, _ = counts(groups, "daro")
    if not (bins >= 1 and 0 < learning_rate <= 1):
        raise InputError("daro needs bins ≥ 1 and 0 < learning_rate ≤ 1", got=(bins, learning_rate))
    state = context.state if context.state is not None else {}
    log_weights = np.array(state.get(_KEY, np.zeros(bins)), dtype=np.float64)
    if log_weights.shape != (bins,):
        raise InputError(
            f"the state of daro must hold {bins} weights", where=_KEY, got=log_weights.shape
        )
    # ⌈m · bins⌉ in whole numbers: 0.7 · 10 is more than 7 in floats.
    which = np.maximum(-(-right * bins // np.maximum(groups.size, 1)) - 1, 0)
    advantages = divide_by_std(groups, groups.std(ddof), eps)
    size_of = groups.sum_by_group(np.abs(advantages))
    total = max(float(groups.size[size_of > 0].sum()), 1.0)
    load = np.bincount(which, weights=size_of, minlength=bins) / total
    weighted = advantages * groups.expand(np.exp(log_weights)[which])
    state[_KEY] = log_weights - np.where(
        load > 0, learning_rate * (np.exp(log_weights) * load - 1.0), 0.0
    )
    return np.asarray(weighted, dtype=np.float64)
