"""PVPO."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import IDENTITY, Profile, never
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "pvpo",
    source="Feng et al. 2025, arXiv:2508.21104, as a summary of it states it",
    needs=("reference_means",),
    profile=Profile(
        title="PVPO",
        evidence="secondary",
        is_centred=False,
        is_shift_invariant=False,
        scale="neither",
        is_silent=never,
        limit=IDENTITY,
    ),
)
def pvpo(groups: RewardGroups, context: Context) -> FloatArray:
    """Reward minus the mean reward of a frozen reference policy on the same prompt.

        A = r − V,   V: `context.reference_means`;   W = σ²;   B = mean − V

    Any rewards. A group is silent only if all its rewards equal V: all-wrong groups (k = 0) get −V,
    all-correct ones (k = G) 1 − V, and so do unanimous and one-rollout groups of any reward. Left
    out: the filtering of prompts by the reference, and the injected solutions of prompts that it
    never solves.
    """
    baseline = groups.expand(np.asarray(context.reference_means, dtype=np.float64))
    return np.asarray(groups.rewards - baseline, dtype=np.float64)
