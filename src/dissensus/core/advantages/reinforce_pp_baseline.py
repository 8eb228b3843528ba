"""REINFORCE++ with a group baseline."""

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import IDENTITY, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.transforms import Whiten
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "reinforce_pp_baseline",
    source="Hu 2025, arXiv:2501.03262; as in verl 0.9.1, core_algos.py",
    then=(Whiten(ddof=1, eps=1e-8, by="token"),),
    profile=Profile(
        title="REINFORCE++-baseline", evidence="library", shifts_with_batch=True, limit=IDENTITY
    ),
)
def reinforce_pp_baseline(groups: RewardGroups, context: Context) -> FloatArray:
    """Centre on the group mean, then whiten over the tokens of the batch.

        A = (c − mean_batch(c)) / sqrt(var_batch(c, ddof 1) + 1e-8),   c = r − group mean

    Batch statistics weigh each rollout by its length (`context.lengths`). A unanimous group has
    c = 0 and gets −mean/std: zero only if the token-weighted mean of c is. So its silent set is
    not the unanimous groups. The paper's token-level KL penalty is not part of this.
    """
    return groups.centered
