"""OPO."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import IDENTITY, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError


@rule(
    "opo",
    source="Hao et al. 2025, arXiv:2505.23585; as in verl 0.10.0.dev, core_algos.py",
    needs=("lengths",),
    profile=Profile(title="OPO", evidence="library", is_centred=False, limit=IDENTITY),
)
def opo(groups: RewardGroups, context: Context) -> FloatArray:
    """Reward minus the group's length-weighted mean reward, the baseline of least variance.

        A = r − b,   b = Σ l r / Σ l;   W = σ²;   B = mean − b

    with lengths l, on the assumption that the squared gradient of a completion grows with its
    length. B is not 0 where length goes with reward: longer wrong answers lower b, and push up
    everything that was sampled. Unanimous and one-rollout groups get 0, where verl gives the raw
    reward to a rollout that stands alone. Any rewards, any G. A group without tokens is centred on
    its plain mean. The paper's exactly on-policy update is not part of the advantage.

    Raises:
        InputError: A length is negative.
    """
    lengths = np.where(groups.is_scored, np.asarray(context.lengths, dtype=np.float64), 0.0)
    if not (lengths >= 0).all():
        raise InputError("lengths must be numbers of tokens ≥ 0", where="opo")
    # In terms of the centred rewards, so that a unanimous group gets exactly 0.
    tokens = groups.sum_by_group(lengths)
    lengths *= groups.centered
    baseline = groups.sum_by_group(lengths) / np.where(tokens > 0, tokens, np.inf)
    advantages: FloatArray = groups.centered - groups.expand(baseline)
    return advantages
