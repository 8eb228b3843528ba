"""DAPO."""

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.profile import ARCSINE, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.groups import FloatArray, RewardGroups


@rule(
    "dapo",
    source="Yu et al. 2025, arXiv:2503.14476, eq. 8–11; arXiv:2607.00152, thm. 1",
    profile=Profile(title="DAPO", evidence="library", scale="invariant", limit=ARCSINE),
)
def dapo(groups: RewardGroups, context: Context, *, ddof: int = 0, eps: float = 0.0) -> FloatArray:
    """GRPO on split groups; unanimous groups are discarded, which as an advantage is 0.

        A = 1[σ > 0] · (r − mean) / (std(ddof) + eps);   W = 1[σ > 0] · σ;   B = 0

    What sets DAPO apart from GRPO is not the advantage but the refill: a trainer replaces the
    discarded groups by fresh ones (`silent="resample"` in the TRL integration). The paper's clip
    bounds, token-mean loss and overlong shaping are not part of the advantage.
    """
    return divide_by_std(groups, groups.std(ddof), eps)
