"""The measures of disagreement: one definition for trainer metrics, records and reports."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError

__all__ = ["GroupSummary", "disagreement_metrics", "summarise_groups"]


class GroupSummary(NamedTuple):
    """What one generation's groups did; every field is (P,), None where it cannot be known.

    `contrast` is the population covariance of the advantages with correctness, which for two
    rewards is W = m(1−m)(A₊ − A₋); with unknown correctness, the covariance with the reward
    (σ for GRPO). `push` is the mean advantage, B. `is_silent` says that every advantage is 0.
    """

    rollouts: IntArray
    size: IntArray
    mean: FloatArray
    std: FloatArray
    correct: IntArray | None
    is_unanimous: BoolArray
    is_all_wrong: BoolArray | None
    is_all_correct: BoolArray | None
    is_silent: BoolArray | None
    contrast: FloatArray | None
    push: FloatArray | None


def summarise_groups(groups: RewardGroups, advantages: ArrayLike | None = None) -> GroupSummary:
    """Statistics of each group under the advantages in use.

        W = Cov(A, c),   B = mean(A),   c = 1[correct], or the reward where correctness is unknown

    Args:
        groups: P groups of N rollouts.
        advantages: (N,) what the optimiser receives, in input order; None where not known.

    Raises:
        InputError: Advantages of another length.

    Example:
        >>> groups = RewardGroups.from_dense([[1, 0, 0, 0], [1, 1, 1, 1]])
        >>> summary = summarise_groups(groups, groups.centered)
        >>> summary.contrast.tolist(), summary.is_silent.tolist()
        ([0.1875, 0.0], [False, True])

    Source: theory, sections 0 and 2.
    """
    is_silent = contrast = push = None
    if advantages is not None:
        values = np.asarray(advantages, dtype=np.float64)
        if values.shape != (groups.n_rollouts,):
            raise InputError(
                "advantages must have one entry per rollout",
                where="summarise_groups",
                got=(values.shape, groups.n_rollouts),
            )
        is_silent = groups.sum_by_group(values != 0) == 0
        push = groups.mean_by_group(values)
        # Unscored rollouts have centred reward 0, so they drop out of the covariance by themselves.
        against = groups.centered
        if groups.is_correct is not None and groups.correct is not None:
            share = groups.correct / np.maximum(groups.size, 1)
            against = np.where(groups.is_scored, groups.is_correct - groups.expand(share), 0.0)
        contrast = groups.mean_by_group(values * against)
    return GroupSummary(
        rollouts=groups.rollouts,
        size=groups.size,
        mean=groups.mean,
        std=groups.std(ddof=0),
        correct=groups.correct,
        is_unanimous=groups.is_unanimous(),
        is_all_wrong=groups.is_all_wrong,
        is_all_correct=groups.is_all_correct,
        is_silent=is_silent,
        contrast=contrast,
        push=push,
    )


def disagreement_metrics(
    summary: GroupSummary,
    *,
    trained: ArrayLike | None = None,
    rollouts_generated: int | None = None,
) -> dict[str, float]:
    """The numbers a trainer logs. Fractions lie in 0 … 1; a key is absent where it is unknown.

    | key | formula |
    |---|---|
    | unanimous_frac | groups with max − min ≤ tol / scored groups |
    | all_wrong_frac | unanimous groups with k = 0 / scored groups; likewise `all_correct_frac` |
    | silent_frac | groups whose advantages are all 0 / groups |
    | group_std_mean | mean over groups of the population std |
    | effective_rollout_frac | trained rollouts in non-silent groups / R |
    | contrast_per_1000_rollouts | 1000 · Σ W over trained groups / R |

    Args:
        summary: From `summarise_groups`.
        trained: (P,) rollouts of each group that were trained on; None: all.
        rollouts_generated: R, all that were generated for this update, discarded ones included;
            None: the rollouts of these groups.

    Raises:
        InputError: R smaller than the rollouts of these groups.
    """
    total = int(summary.rollouts.sum())
    generated = total if rollouts_generated is None else rollouts_generated
    if generated < total:
        raise InputError(
            "rollouts_generated must count at least the rollouts of the groups",
            got=(generated, total),
        )
    metrics = {}
    is_scored = summary.size > 0
    n_scored = int(np.count_nonzero(is_scored))
    if n_scored:  # a group without a scored rollout is neither unanimous, nor has it a std
        metrics["unanimous_frac"] = int(np.count_nonzero(summary.is_unanimous)) / n_scored
        if summary.is_all_wrong is not None and summary.is_all_correct is not None:
            metrics["all_wrong_frac"] = int(np.count_nonzero(summary.is_all_wrong)) / n_scored
            metrics["all_correct_frac"] = int(np.count_nonzero(summary.is_all_correct)) / n_scored
        metrics["group_std_mean"] = float(summary.std[is_scored].sum()) / n_scored
    if summary.is_silent is not None and summary.contrast is not None:
        used = summary.rollouts if trained is None else np.asarray(trained)
        metrics["silent_frac"] = float(summary.is_silent.mean())
        metrics["effective_rollout_frac"] = float(used[~summary.is_silent].sum() / generated)
        contrast = summary.contrast[(used > 0) & is_scored].sum()
        metrics["contrast_per_1000_rollouts"] = float(1000.0 * contrast / generated)
    return metrics
