"""AVSPO."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts
from dissensus.core.advantages.profile import ARCSINE, Profile, never
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "avspo",
    source="He et al. 2026, arXiv:2605.21125, as accounts of it state it; its repository is empty",
    scope="batch",
    profile=Profile(
        title="AVSPO (virtual rewards)",
        evidence="secondary",
        rewards="binary",
        is_centred=False,
        scale="invariant",
        is_silent=never,
        limit=ARCSINE,
    ),
)
def avspo(
    groups: RewardGroups,
    context: Context,
    *,
    alpha: float = 1.0,
    threshold: float = 0.0,
    ddof: int = 0,
    eps: float = 0.0,
) -> FloatArray:
    """GRPO, with virtual rewards in the statistics of unanimous groups when many groups are.

        split groups: A = (r − mean)/(std(ddof) + eps);   W = σ for ddof 0, eps 0;   B = 0
        unanimous ones: mean and std over the group and V rollouts of the opposite reward, so
        A = −sqrt(V/G) for k = 0, +sqrt(V/G) for k = G (ddof 0), and B = A
        V = ⌈G · rate^α⌉ within 1 … G, where rate = unanimous groups / groups > threshold, else 0

    Correctness is counted as 0 and 1 in unanimous groups. Right-or-wrong rewards only. The rate is
    that of `context.reference` where it is given. Virtual rollouts are in the statistics only. What
    the accounts leave open is chosen here: the opposite reward (the paper draws from a range), a
    fixed threshold (the paper adapts it to the mean reward), and the exponent α = 1.

    Args:
        groups: P groups of N rollouts.
        context: Optional `reference`.
        alpha: α > 0.
        threshold: Rate of unanimous groups up to which nothing is injected, in [0, 1].
        ddof: Of the standard deviation.
        eps: Added to the standard deviation; ≥ 0.

    Raises:
        InputError: Correctness is unknown.
    """
    _, right, wrong = counts(groups, "avspo")
    advantages = divide_by_std(groups, groups.std(ddof), eps)
    population = groups if context.reference is None else context.reference
    answered = max(int(np.count_nonzero(population.size)), 1)
    rate = np.count_nonzero(population.is_unanimous()) / answered
    is_collapsed = groups.is_unanimous() & ((right == 0) | (wrong == 0))
    if rate <= threshold or not is_collapsed.any():
        return advantages
    size = np.maximum(groups.size, 1)
    virtual = np.clip(np.ceil(size * rate**alpha), 1, size)
    total = size + virtual
    spread = np.sqrt(size * virtual / total / np.maximum(total - ddof, 1))
    direction = is_collapsed * np.where(right > 0, 1.0, -1.0)
    advantages += groups.expand(direction * virtual / total / (spread + eps))
    return advantages
