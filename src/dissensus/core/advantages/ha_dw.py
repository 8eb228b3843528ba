"""HA-DW."""

import numpy as np

from dissensus.core.advantages.base import Context, EstimatorState
from dissensus.core.advantages.profile import Profile
from dissensus.core.advantages.registry import rule
from dissensus.core.advantages.scaling import divide_sides_by_std
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError


@rule(
    "ha_dw",
    source="Yang et al. 2026, arXiv:2601.08521; as in yangfengkai/HA-DW at 8b08794",
    scope="history",
    needs=("state",),
    profile=Profile(
        title="HA-DW",
        evidence="code",
        is_centred=False,
        is_shift_invariant=False,
        scale="neither",
    ),
)
def ha_dw(
    groups: RewardGroups,
    context: Context,
    *,
    scale: float = 1.5,
    window: int = 10,
    ddof: int = 1,
    eps: float = 0.0,
) -> FloatArray:
    """GRPO with more weight on successes of prompts harder than of late, and less on easier ones.

        A = scale · exp(−sgn(mean − H) sgn(r − mean) |mean − H|) · (r − mean) / (std(ddof) + eps)

    H is the mean of the last `window` batch means of the reward, this batch included. A success on
    a prompt below H and a failure on one above it are amplified, the reverse damped, so B is not 0:
    it has the sign of H − mean. Unanimous and one-rollout groups get 0. Meant for rewards in
    [0, 1], the scale on which |mean − H| is measured. Memory: `batch_means` in `context.state`;
    this batch's mean is taken from `context.reference` where that is given. The published code adds
    eps 1e-6. The paper's text has another H, a Kalman-style running mean with a gain that follows
    its own variability; what is here is what the published code does.

    Raises:
        InputError: window < 1.
    """
    if window < 1:
        raise InputError("The 'window' parameter must be ≥ 1", got=window)
    state = EstimatorState() if context.state is None else context.state
    population = groups if context.reference is None else context.reference
    scored = population.scored(population.rewards)
    past = state.get("batch_means", np.empty(0))
    recent = np.append(past, scored.mean())[-window:] if len(scored) else past
    state["batch_means"] = recent
    away = np.nan_to_num(groups.mean - (recent.mean() if len(recent) else np.nan))
    above, below = scale * np.exp(-away), scale * np.exp(away)
    return divide_sides_by_std(groups, groups.std(ddof), eps, above=above, below=below)
