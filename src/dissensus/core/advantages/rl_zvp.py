"""RL-ZVP."""

import numpy as np

from dissensus.core.advantages.base import Context
from dissensus.core.advantages.counts import counts
from dissensus.core.advantages.profile import ARCSINE, Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_by_std
from dissensus.core.advantages.tokens import max_over_tokens
from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups


def _is_silent(correct: IntArray, group_size: int) -> BoolArray:
    return np.asarray(correct == 0, dtype=np.bool_)


@rule(
    "rl_zvp",
    source="Le et al. 2025, arXiv:2509.21880, eq. 5",
    needs=("token_offsets", "token_entropies"),
    profile=Profile(
        title="RL-ZVP",
        evidence="paper",
        rewards="binary",
        is_centred=False,
        scale="invariant",
        is_silent=_is_silent,
        limit=ARCSINE,
    ),
)
def rl_zvp(
    groups: RewardGroups,
    context: Context,
    *,
    alpha: float = 0.1,
    ddof: int = 0,
    eps: float = 0.0,
) -> FloatArray:
    """GRPO on split groups; by the entropy of each token on unanimous ones.

        split:        A = (r − mean)/(std(ddof) + eps), for all tokens;   W = σ;   B = 0
        all correct:  A_t = α · H_t
        all wrong:    A_t = −α · (max H over the rollout − H_t)

    One advantage per token, (T,); H_t is the entropy of the policy at token t, in nats. All-correct
    groups (k = G) are pushed up, most at uncertain tokens; all-wrong ones (k = 0) are pushed down,
    least at uncertain tokens, and not at all where a rollout's entropies are equal. One-rollout
    groups are unanimous. Right-or-wrong rewards only. The value of α in the paper is not known
    here. Left out: its clip bounds and token-level loss.

    Raises:
        InputError: Correctness is unknown.
    """
    _, right, wrong = counts(groups, "rl_zvp")
    offsets, entropies = np.asarray(context.token_offsets), np.asarray(context.token_entropies)
    lengths = np.diff(offsets)
    advantages = np.repeat(divide_by_std(groups, groups.std(ddof), eps), lengths)
    is_up = groups.expand(groups.is_unanimous() & (wrong == 0)) & groups.is_scored
    is_down = groups.expand(groups.is_unanimous() & (right == 0)) & groups.is_scored
    rows = np.flatnonzero(is_up | is_down)
    ends = np.concatenate([[0], np.cumsum(lengths[rows])])
    tokens = np.arange(ends[-1]) + np.repeat(offsets[rows] - ends[:-1], lengths[rows])
    entropy = entropies[tokens]
    origin = np.where(is_down[rows], max_over_tokens(entropy, ends), 0.0)
    advantages[tokens] = alpha * (entropy - np.repeat(origin, lengths[rows]))
    return advantages
