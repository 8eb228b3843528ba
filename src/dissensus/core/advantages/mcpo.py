"""MCPO."""

import math

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts
from dissensus.core.advantages.profile import Limit, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.groups import FloatArray, RewardGroups


def _slope(p: FloatArray) -> FloatArray:
    """1/s below ½ and 1/(2s²) above, s² = p(1−p)."""
    variance = p * (1.0 - p)
    return np.where(p <= 0.5, 1.0 / np.sqrt(variance), 0.5 / variance)


def _objective(p: FloatArray) -> FloatArray:
    return np.where(
        p <= 0.5, 2.0 * np.arcsin(np.sqrt(p)), math.pi / 2 + 0.5 * (np.log(p) - np.log1p(-p))
    )


@rule(
    "mcpo",
    source="Liao et al. 2026, arXiv:2604.16972, eq. 12–14",
    profile=Profile(
        title="MCPO",
        evidence="secondary",
        rewards="binary",
        scale="invariant",
        limit=Limit("2·arcsin√p to p = ½, then π/2 + ½·logit p", _slope, _objective),
    ),
)
def mcpo(groups: RewardGroups, context: Context, *, ddof: int = 0, eps: float = 0.0) -> FloatArray:
    """GRPO whose weight does not fall again on prompts solved more than half of the time.

        A = (r − mean) / (std(ddof) · c + eps),   c = 1 for m ≤ ½, else 2·sqrt(m(1−m))
        W = σ for m ≤ ½, else ½ (for ddof 0, eps 0);   B = 0

    m is the share of correct rollouts, so correctness must be known. Unanimous and one-rollout
    groups get 0: W jumps from ½ at k = G−1 to nothing at k = G. Read in an account of the paper
    that transcribes its equations, which leave ddof and eps open. Left out: the paper's other half,
    a hinge on the KL divergence that holds the policy in place at k = G.

    Raises:
        InputError: Correctness is unknown.
    """
    m = counts(groups, "mcpo").share
    shrink = np.where(m <= 0.5, 1.0, 2.0 * np.sqrt(m * (1.0 - m)))
    return divide_by_std(groups, groups.std(ddof) * shrink, eps)
