"""What an update is made of: norms, signal, noise and shares, from one score Gram matrix.

The score of rollout i is s_i = ∇θ log πθ(y_i | x), and K_ij = ⟨s_i, s_j⟩. From K every advantage
rule can be examined on the same rollouts without another backward pass. The identity says that a
group's update is g = W·Δs + B·s̄; this module says how long Δs is, and how much of it is signal.

Length normalisation replaces s_i by a multiple of it, so K holds whichever scores it was made from.
`dissensus.integrations.autograd` makes K for a language model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError

__all__ = [
    "ScoreDifference",
    "agreement",
    "score_difference",
    "update_norm_squared",
    "update_shares",
]


class ScoreDifference(NamedTuple):
    """Squared length of Δs, the mean score of correct minus that of wrong rollouts, taken apart.

        ‖Δs‖² = signal + noise,      noise = V₊/k + V₋/(G−k)

    exactly, for the sample estimates as for their expectations.

    Attributes:
        total: (P,) ‖Δs‖²; NaN where all rollouts of a group agree or correctness is unknown.
        signal: (P,) unbiased estimate of ‖δ‖², δ = E[s | correct] − E[s | wrong]; it can be
            negative. NaN unless a group has two correct and two wrong rollouts.
        noise: (P,) unbiased estimate of what sampling adds to ‖δ‖²; NaN as `signal`.
    """

    total: FloatArray
    signal: FloatArray
    noise: FloatArray


def update_norm_squared(gram: ArrayLike, groups: RewardGroups, advantages: ArrayLike) -> FloatArray:
    """Squared length of each group's update.

        ‖g_x‖² = Aᵀ K A / G²,      g_x = (1/G) Σ_{i ∈ x} A_i s_i

    0 for a silent group; a one-rollout group has A²K. G counts scored rollouts.

    Args:
        gram: (N, N) inner products of the scores of all rollouts, in the order of the groups' rows.
        groups: P groups of the same N rollouts.
        advantages: (N,) what each rollout's score is multiplied with.

    Returns:
        (P,) squared norms, never below 0; NaN for a group without a scored rollout.

    Raises:
        InputError: A matrix or advantages of another shape, not finite, or a matrix that is not
            symmetric.

    Example:
        >>> groups = RewardGroups.from_dense([[1, 0]])
        >>> update_norm_squared(np.eye(2), groups, [1, -1]).tolist()      # (1 + 1) / 4
        [0.5]

    Source: docs/theory.md, anatomy of an update.
    """
    within = _within_groups(_as_gram(gram, groups), groups)
    a = _as_advantages(advantages, groups)
    quadratic = groups.sum_by_group(a * (within @ a))
    return np.maximum(quadratic, 0.0) / _sizes(groups) ** 2


def score_difference(gram: ArrayLike, groups: RewardGroups) -> ScoreDifference:
    """Squared length of Δs of each group, as signal and noise.

        signal = mean_{i≠j ∈ +} K_ij + mean_{i≠j ∈ −} K_ij − 2 mean_{i ∈ +, j ∈ −} K_ij

    where + are the k correct and − the G−k wrong rollouts. Leaving out i = j is what removes the
    bias: K_ii holds the noise of one rollout. The disagreement σ multiplies both parts, but only
    noise grows, as 1/k, where σ shrinks; that is why ‖g‖ barely depends on k.

    Args:
        gram: (N, N) inner products of scores.
        groups: P groups of the same N rollouts, with known correctness.

    Returns:
        ScoreDifference(total, signal, noise), each (P,).

    Raises:
        InputError: As `update_norm_squared`; or the groups' correctness is unknown.

    Example:
        >>> scores = np.array([[3.0], [1.0], [0.0], [0.0]])
        >>> groups = RewardGroups.from_dense([[1, 1, 0, 0]])
        >>> [x.tolist() for x in score_difference(scores @ scores.T, groups)]
        [[4.0], [3.0], [1.0]]

    Source: docs/theory.md, anatomy of an update.
    """
    within = _within_groups(_as_gram(gram, groups), groups)
    if groups.is_correct is None:
        raise InputError(
            "correctness is unknown for these rewards",
            where="score_difference",
            hint="pass correct= to RewardGroups",
        )
    right = groups.is_correct.astype(np.float64)
    wrong = (groups.is_scored & ~groups.is_correct).astype(np.float64)
    k, rest = groups.sum_by_group(right), groups.sum_by_group(wrong)
    own = np.diagonal(within)
    toward_right, toward_wrong = within @ right, within @ wrong
    sum_right = groups.sum_by_group(right * toward_right)
    sum_wrong = groups.sum_by_group(wrong * toward_wrong)
    own_right = groups.sum_by_group(right * own)
    own_wrong = groups.sum_by_group(wrong * own)
    cross = _ratio(groups.sum_by_group(right * toward_wrong), k * rest)
    total = _ratio(sum_right, k**2) + _ratio(sum_wrong, rest**2) - 2.0 * cross
    signal = (
        _ratio(sum_right - own_right, k * (k - 1))
        + _ratio(sum_wrong - own_wrong, rest * (rest - 1))
        - 2.0 * cross
    )
    return ScoreDifference(np.maximum(total, 0.0), signal, np.maximum(total, 0.0) - signal)


def update_shares(gram: ArrayLike, groups: RewardGroups, advantages: ArrayLike) -> FloatArray:
    """Share of each group in the update of the batch.

        ⟨n_x g_x, g⟩ / ‖g‖² / N,      g = (1/N) Σ_i A_i s_i,   n_x rollouts of N in group x

    Every rollout counts once, as trainers average. The shares sum to 1; a group that pulls against
    the batch has a negative one, a silent group 0.

    Args, errors as `update_norm_squared`.

    Returns:
        (P,) shares; all NaN when the batch update vanishes.

    Example:
        >>> scores = np.array([[1.0], [-1.0], [-0.5], [0.5]])
        >>> groups = RewardGroups.from_dense([[1, 0], [1, 0]])
        >>> update_shares(scores @ scores.T, groups, [1, -1, 1, -1]).tolist()
        [2.0, -1.0]
    """
    kernel = _as_gram(gram, groups)
    a = _as_advantages(advantages, groups)
    parts = groups.sum_by_group(a * (kernel @ a))
    total, scale = float(parts.sum()), float(a**2 @ np.diagonal(kernel))
    if total <= 1e-14 * scale or total == 0:
        return np.full(len(groups), np.nan)
    return parts / total


def agreement(gram: ArrayLike, groups: RewardGroups, first: ArrayLike, second: ArrayLike) -> float:
    """Cosine between the batch updates that two advantage rules make of the same rollouts.

        aᵀKb / sqrt(aᵀKa · bᵀKb)

    Their lengths do not matter, as they do not for an optimiser with a tuned learning rate.

    Args:
        gram: (N, N) inner products of scores.
        groups: P groups of the same N rollouts.
        first: (N,) advantages of one rule.
        second: (N,) advantages of the other.

    Returns:
        Cosine in [−1, 1]; NaN when either update vanishes.

    Raises:
        InputError: As `update_norm_squared`.

    Example:
        >>> groups = RewardGroups.from_dense([[1, 0]])
        >>> agreement(np.eye(2), groups, [1, -1], [2, -2])
        1.0
    """
    kernel = _as_gram(gram, groups)
    a, b = _as_advantages(first, groups), _as_advantages(second, groups)
    product = float(a @ kernel @ a) * float(b @ kernel @ b)
    if product <= 0:
        return float("nan")
    return float(np.clip(a @ kernel @ b / np.sqrt(product), -1.0, 1.0))


def _as_gram(gram: ArrayLike, groups: RewardGroups) -> FloatArray:
    kernel = np.asarray(gram, dtype=np.float64)
    n = groups.n_rollouts
    if kernel.shape != (n, n):
        raise InputError(
            f"gram must be ({n}, {n}): one row and column per rollout", got=kernel.shape
        )
    if not np.isfinite(kernel).all():
        raise InputError("gram must be finite")
    scale = float(np.abs(np.diagonal(kernel)).max(initial=0.0))
    if float(np.abs(kernel - kernel.T).max()) > 1e-4 * scale:
        raise InputError("gram must be symmetric", hint="it holds inner products ⟨s_i, s_j⟩")
    return kernel


def _as_advantages(advantages: ArrayLike, groups: RewardGroups) -> FloatArray:
    values = np.asarray(advantages, dtype=np.float64)
    if values.shape != (groups.n_rollouts,) or not np.isfinite(values).all():
        raise InputError(
            f"advantages must be {groups.n_rollouts} finite numbers, one per rollout",
            got=values.shape,
        )
    return values


def _within_groups(kernel: FloatArray, groups: RewardGroups) -> FloatArray:
    return np.where(groups.index[:, None] == groups.index[None, :], kernel, 0.0)


def _sizes(groups: RewardGroups) -> FloatArray:
    return np.where(groups.size > 0, groups.size, np.nan)


def _ratio(total: FloatArray, count: FloatArray) -> FloatArray:
    out = np.full(len(total), np.nan)
    np.divide(total, count, out=out, where=count > 0)
    return out
