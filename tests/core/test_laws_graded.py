"""The split of an update under graded rewards, against simulated scores."""

from __future__ import annotations

import numpy as np
import pytest

from dissensus import RewardGroups, advantages, laws
from dissensus.errors import InputError

RNG = np.random.default_rng(5)
REWARDS = np.round(RNG.random((40, 6)), 2)
GROUPS = RewardGroups.from_dense(REWARDS)


def ranks(groups):
    """A rule that bends: the rank of the reward in its group, centred."""
    table = groups.rewards.reshape(len(groups), -1)
    return (table.argsort(axis=1).argsort(axis=1) - (table.shape[1] - 1) / 2).ravel()


def updates(values, scores):
    """(P, D) mean(A·s) of each group."""
    return (values.reshape(40, 6)[:, :, None] * scores).mean(axis=1)


def lines(scores):
    """β (P, D), and what is left of the scores, by numpy's own least squares."""
    slopes = np.array([np.polyfit(r, s, 1)[0] for r, s in zip(REWARDS, scores, strict=True)])
    fitted = scores.mean(axis=1, keepdims=True) + slopes[:, None, :] * (
        REWARDS - REWARDS.mean(axis=1, keepdims=True)
    )[:, :, None]  # fmt: skip
    return slopes, scores - fitted


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "rloo", "dapo"])
def test_rules_that_are_lines_leave_nothing_out_whatever_the_scores(name):
    values = advantages.get(name)(GROUPS)
    scores = RNG.normal(size=(40, 6, 3)) + REWARDS[:, :, None] ** 3
    slopes, _ = lines(scores)
    found = laws.graded_contrast(GROUPS, values)
    assert found.rest.max() == 0
    np.testing.assert_allclose(
        updates(values, scores), found.contrast[:, None] * slopes, atol=1e-12
    )
    std = REWARDS.std(axis=1)
    expected = {"grpo": std, "dapo": std, "dr_grpo": std**2, "rloo": std**2 * 6 / 5}[name]
    np.testing.assert_allclose(found.contrast, expected)
    np.testing.assert_allclose(found.push, 0, atol=1e-12)
    np.testing.assert_allclose(found.std, std)


def test_linear_scores_leave_nothing_out_whatever_the_rule():
    values = ranks(GROUPS) + 0.7  # with a push
    slopes = RNG.normal(size=(40, 1, 3))
    scores = slopes * REWARDS[:, :, None] + RNG.normal(size=(40, 1, 3))
    found = laws.graded_contrast(GROUPS, values)
    assert found.rest.min() > 0
    expected = found.contrast[:, None] * slopes[:, 0] + found.push[:, None] * scores.mean(axis=1)
    np.testing.assert_allclose(updates(values, scores), expected, atol=1e-12)


def test_what_is_left_out_lies_within_the_bound_and_reaches_it():
    values = ranks(GROUPS)
    scores = RNG.normal(size=(40, 6, 200))
    slopes, left = lines(scores)
    found = laws.graded_contrast(GROUPS, values)
    missing = updates(values, scores) - found.contrast[:, None] * slopes
    bound = found.rest[:, None] * left.std(axis=1)
    assert (np.abs(missing) <= bound + 1e-12).all()
    assert (np.abs(missing) / bound).max() > 0.95
    # Noise without a bend averages to 0; a score that bends with the reward does not.
    assert abs(missing.mean()) < 4 * missing.std() / np.sqrt(missing.size)
    bent = (REWARDS**2)[:, :, None]
    slopes, _ = lines(bent)
    missing = updates(values, bent) - found.contrast[:, None] * slopes
    assert np.abs(missing).max() > 1e-3


def test_right_or_wrong_rewards_give_the_contrast_of_the_signature():
    groups = RewardGroups.from_dense((np.arange(8) < np.arange(9)[:, None]).astype(float))
    for name in ("grpo", "dr_grpo", "maxrl"):
        found = laws.graded_contrast(groups, advantages.get(name)(groups))
        expected = advantages.signature(advantages.get(name), 8).contrast
        np.testing.assert_allclose(found.contrast, expected, atol=1e-15)
        assert not found.rest.any()


def test_unanimous_groups_have_all_their_spread_in_the_rest():
    groups = RewardGroups.from_dense([[0.3, 0.3]])
    found = laws.graded_contrast(groups, [1.0, 3.0])
    assert found.contrast.tolist() == [0.0]
    assert found.push.tolist() == [2.0]
    assert found.rest.tolist() == [1.0]
    with pytest.raises(InputError, match="one entry per rollout"):
        laws.graded_contrast(groups, [1.0])
