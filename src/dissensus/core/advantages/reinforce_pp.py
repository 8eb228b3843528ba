"""REINFORCE++ without a group baseline."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import IDENTITY, Profile, never
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.transforms import Whiten
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "reinforce_pp",
    source="Hu 2025, arXiv:2501.03262; as in verl 0.10.0.dev, core_algos.py",
    then=(Whiten(ddof=1, eps=1e-8, by="token"),),
    profile=Profile(
        title="REINFORCE++",
        evidence="library",
        is_centred=False,
        is_shift_invariant=False,
        scale="neither",
        is_silent=never,
        limit=IDENTITY,
    ),
)
def reinforce_pp(groups: RewardGroups, context: Context) -> FloatArray:
    """Whiten the rewards over the tokens of the batch; groups play no part.

        A = (r − μ) / sqrt(var(r, ddof 1) + 1e-8);   W = σ² / s;   B = (m − μ) / s

    with μ and s over the batch, each rollout weighing its length (`context.lengths`). So unanimous
    groups learn: k = 0 gets −μ/s and k = G gets (1−μ)/s, and which sign a group has depends on the
    other prompts. Any rewards, any G, one rollout per prompt included. Left out: the token-level KL
    penalty inside the reward, and a discount below 1. OpenRLHF's `reinforce` divides by the
    population standard deviation, with the variance clamped at 1e-8.
    """
    return groups.rewards if groups.is_scored.all() else np.nan_to_num(groups.rewards)
