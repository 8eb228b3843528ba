"""The measures, computed by hand for a small batch."""

from __future__ import annotations

import numpy as np
import pytest

from dissensus import RewardGroups, advantages
from dissensus.core.disagreement import disagreement_metrics, summarise_groups
from dissensus.errors import InputError

# Four groups of four: one of four correct, two of four, all wrong, all correct.
BATCH = RewardGroups.from_dense([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])


def test_metrics_of_a_batch_by_hand():
    summary = summarise_groups(BATCH, advantages.get("grpo")(BATCH))
    sigma = [np.sqrt(3) / 4, 0.5]
    np.testing.assert_allclose(summary.contrast, [*sigma, 0, 0])
    metrics = disagreement_metrics(summary)
    assert metrics == pytest.approx(
        {
            "unanimous_frac": 0.5,
            "all_wrong_frac": 0.25,
            "all_correct_frac": 0.25,
            "group_std_mean": sum(sigma) / 4,
            "silent_frac": 0.5,
            "effective_rollout_frac": 0.5,
            "contrast_per_1000_rollouts": 1000 * sum(sigma) / 16,
        }
    )


def test_discarded_rollouts_count_in_r_and_untrained_groups_teach_nothing():
    summary = summarise_groups(BATCH, advantages.get("dr_grpo")(BATCH))
    metrics = disagreement_metrics(summary, trained=[4, 0, 4, 4], rollouts_generated=32)
    assert metrics["effective_rollout_frac"] == 4 / 32
    assert metrics["contrast_per_1000_rollouts"] == pytest.approx(1000 * (3 / 16) / 32)


def test_contrast_is_taken_against_correctness_not_the_reward():
    groups = RewardGroups.from_dense([[1, -1, -1, -1]])  # correct once; rewards two apart
    summary = summarise_groups(groups, [1.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(summary.contrast, [3 / 16])  # m(1 − m)(1 − 0), m = 1/4


def test_real_valued_rewards_have_sigma_as_contrast_under_grpo():
    groups = RewardGroups.from_dense([[0.1, 0.5, 0.9, 0.2]])
    summary = summarise_groups(groups, advantages.get("grpo")(groups))
    np.testing.assert_allclose(summary.contrast, np.std([0.1, 0.5, 0.9, 0.2]))
    metrics = disagreement_metrics(summary)
    assert "all_wrong_frac" not in metrics
    assert metrics["unanimous_frac"] == 0.0


def test_silent_is_a_property_of_the_rule_not_of_the_data():
    sign = 2 * BATCH.rewards - 1
    summary = summarise_groups(BATCH, sign)
    assert not summary.is_silent.any()
    np.testing.assert_allclose(summary.push, [-0.5, 0, -1, 1])


def test_without_advantages_silence_is_unknown():
    metrics = disagreement_metrics(summarise_groups(BATCH))
    assert "silent_frac" not in metrics
    assert "effective_rollout_frac" not in metrics


def test_unscored_rollouts_and_groups():
    groups = RewardGroups.from_flat([1, np.nan, 0, np.nan, np.nan], [0, 0, 0, 1, 1])
    summary = summarise_groups(groups, [1.0, 0.0, -1.0, 0.0, 0.0])
    np.testing.assert_allclose(summary.contrast[0], 0.5)  # Cov(±1, {1, 0}) over the two scored
    metrics = disagreement_metrics(summary)
    assert metrics["unanimous_frac"] == 0.0  # one scored group, which is split
    assert metrics["silent_frac"] == 0.5


def test_bad_input():
    with pytest.raises(InputError, match="one entry per rollout"):
        summarise_groups(BATCH, [1.0])
    with pytest.raises(InputError, match="at least the rollouts"):
        disagreement_metrics(summarise_groups(BATCH), rollouts_generated=3)


def test_a_group_without_scores_is_in_no_fraction_and_no_mean():
    groups = RewardGroups.from_flat([1, 1, 1, 0, np.nan, np.nan], [0, 0, 1, 1, 2, 2])
    metrics = disagreement_metrics(summarise_groups(groups))
    assert metrics == {
        "unanimous_frac": 0.5,
        "all_wrong_frac": 0.0,
        "all_correct_frac": 0.5,
        "group_std_mean": 0.25,
    }
