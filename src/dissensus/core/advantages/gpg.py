"""GPG."""

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import IDENTITY, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "gpg",
    source="Chu et al. 2025, arXiv:2504.02546; as in AMAP-ML/GPG at e096da8",
    scope="batch",
    profile=Profile(title="GPG", evidence="code", limit=IDENTITY),
)
def gpg(groups: RewardGroups, context: Context) -> FloatArray:
    """Centre on the group mean, and make up for the rollouts that carry no gradient.

        A = α (r − mean),   α = N / (N − M);   W = α σ²;   B = 0

    N scored rollouts in the batch, M of them in unanimous groups, which get 0. So this is Dr. GRPO
    with a step length that does not shrink as groups fall silent. Counts come from
    `context.reference` where it is given; without any split group α is 1. The published code
    applies α to the loss, with 1e-5 added to 1/α. Left out: F_norm = std, a variant of their
    ablation, and sampling anew while 1/α is below a threshold. verl 0.10.0.dev takes rollouts of
    reward 0 for M, so there α depends on correctness and not on silence.
    """
    population = groups if context.reference is None else context.reference
    carrying = population.size[~population.is_unanimous()].sum()
    alpha = population.size.sum() / carrying if carrying else 1.0
    advantages: FloatArray = groups.centered * alpha
    return advantages
