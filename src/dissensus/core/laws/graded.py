"""Contrast of any advantages on any rewards: what takes the place of W when rewards are graded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError

__all__ = ["GradedContrast", "graded_contrast"]


class GradedContrast(NamedTuple):
    """The update of each group as contrast · β + push · s̄ + rest; see `graded_contrast`.

    Attributes:
        contrast: (P,) Cov(A, R), the coefficient of β; in units of A · R.
        push: (P,) mean(A), the coefficient of the mean score.
        rest: (P,) what multiplies the scatter of the score around its line, at most.
        std: (P,) σ, of the rewards.
    """

    contrast: FloatArray
    push: FloatArray
    rest: FloatArray
    std: FloatArray


def graded_contrast(groups: RewardGroups, advantages: ArrayLike) -> GradedContrast:
    """Split the update of each group by how the score moves with the reward.

        g = mean(A·s) = Cov(A, s) + mean(A)·s̄                                            (exact)
        s_i = s̄ + β(R_i − R̄) + e_i,   β = Cov(R, s)/σ²,   so that Cov(R, e) = 0          (exact)
        g = Cov(A, R)·β + mean(A)·s̄ + Cov(A, e),   |Cov(A, e)| ≤ rest · std(e)            (exact)
        rest = std(A)·sqrt(1 − corr(A, R)²)

    over the scored rollouts of one group, for every coordinate of the score. `rest` is 0 where A is
    a line of R, as under GRPO (Cov(A, R) = σ), Dr. GRPO (σ²), RLOO and every rule that centres and
    scales: then g = contrast · β, nothing left out, and β is Δs when rewards are 0 and 1. For rules
    that bend (ranks, signs, clips, a sum of normalised rewards) the last term is there too. It is
    what an approximation by contrast · β leaves out; it averages to 0 over groups if the expected
    score is a line in the reward, and otherwise need not.

    Multiplying all rewards by c multiplies the contrast under GRPO by c and divides β by c: between
    prompts of one reward function contrasts compare, between reward functions they do not. Nor does
    β stay the same from prompt to prompt, any more than Δs does.

    Args:
        groups: P groups of N rollouts.
        advantages: (N,) in input order.

    Raises:
        InputError: Advantages of another length.

    Example:
        >>> groups = RewardGroups.from_dense([[0.0, 0.5, 1.0, 0.5]])
        >>> found = graded_contrast(groups, groups.centered / groups.std()[0])
        >>> found.contrast.round(4).tolist(), groups.std().round(4).tolist(), found.rest.tolist()
        ([0.3536], [0.3536], [0.0])

    Source: theory, section 2; the bound is Cauchy and Schwarz on what is left of A beside R.
    """
    values = np.asarray(advantages, dtype=np.float64)
    if values.shape != (groups.n_rollouts,):
        raise InputError(
            "advantages must have one entry per rollout",
            where="graded_contrast",
            got=(values.shape, groups.n_rollouts),
        )
    push = groups.mean_by_group(values)
    variance = groups.std() ** 2
    contrast = groups.mean_by_group(values * groups.centered)
    slope = np.divide(contrast, variance, out=np.zeros_like(contrast), where=variance > 0)
    left = values - groups.expand(push) - groups.centered * groups.expand(slope)
    rest = np.sqrt(groups.mean_by_group(np.square(left)))
    # Rounding leaves a residue in rules that are lines, which would read as a bend.
    spread = np.sqrt(groups.mean_by_group(np.square(values)))
    return GradedContrast(contrast, push, np.where(rest > 1e-12 * spread, rest, 0.0), groups.std())
