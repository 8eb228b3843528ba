"""GRPO."""

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import ARCSINE, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "grpo",
    source="Shao et al. 2024, arXiv:2402.03300, eq. 3; contrast: arXiv:2607.00152, thm. 1",
    profile=Profile(title="GRPO", evidence="library", scale="invariant", limit=ARCSINE),
)
def grpo(groups: RewardGroups, context: Context, *, ddof: int = 0, eps: float = 0.0) -> FloatArray:
    """Centre on the group mean and divide by the group standard deviation.

        A = (r − mean) / (std(ddof) + eps);   W = σ for ddof 0, eps 0;   B = 0

    Unanimous and one-rollout groups get 0. TRL: ddof 1, eps 1e-4; verl: ddof 1, eps 1e-6.
    The paper's KL term and clipping are losses, and not part of the advantage. GSPO, GMPO, CISPO,
    SAPO, VESPO and LUSPO (arXiv:2507.18071, 2507.20673, 2506.13585, 2511.20347, 2602.10693,
    2602.05261) have this advantage, and change how a loss treats the importance ratio.
    """
    return divide_by_std(groups, groups.std(ddof), eps)
