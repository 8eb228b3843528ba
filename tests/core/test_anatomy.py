"""Anatomy of an update from the Gram matrix, against the score vectors themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dissensus import RewardGroups, advantages
from dissensus.core import anatomy
from dissensus.errors import InputError


def batch(seed, sizes=(4, 2, 6, 1, 5), dimension=7, order=None):
    """Scores, 0/1 rewards and ids of groups of unequal size, rows shuffled."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    rewards = rng.integers(0, 2, size=len(ids)).astype(float)
    scores = rng.normal(size=(len(ids), dimension)) + rewards[:, None]
    return scores, rewards, ids


@given(st.integers(0, 10_000), st.sampled_from(["grpo", "dr_grpo", "rloo"]))
def test_norms_and_shares_are_those_of_the_update_vectors(seed, name):
    scores, rewards, ids = batch(seed)
    groups = RewardGroups.from_flat(rewards, ids, correct=0.5)
    a = advantages.get(name)(groups)
    updates, parts = [], []
    for group in groups.ids:
        rows = np.flatnonzero(ids == group)
        updates.append((a[rows, None] * scores[rows]).mean(axis=0))
        parts.append((a[rows, None] * scores[rows]).sum(axis=0) / len(ids))
    norms = [u @ u for u in updates]
    gram = scores @ scores.T
    assert anatomy.update_norm_squared(gram, groups, a) == pytest.approx(norms, abs=1e-10)
    whole = np.sum(parts, axis=0)
    shares = anatomy.update_shares(gram, groups, a)
    if whole @ whole > 1e-12:
        assert shares == pytest.approx([p @ whole / (whole @ whole) for p in parts], abs=1e-8)
        assert shares.sum() == pytest.approx(1)


@given(st.integers(0, 10_000))
def test_identity_coefficient_times_difference_is_the_update(seed):
    scores, rewards, ids = batch(seed)
    groups = RewardGroups.from_flat(rewards, ids, correct=0.5)
    gram = scores @ scores.T
    difference = anatomy.score_difference(gram, groups).total
    for name, coefficient in [("grpo", groups.std()), ("dr_grpo", groups.std() ** 2)]:
        norm = anatomy.update_norm_squared(gram, groups, advantages.get(name)(groups))
        split = ~groups.is_unanimous()
        assert norm[split] == pytest.approx((coefficient**2 * difference)[split], rel=1e-9)
        assert (norm[~split] == 0).all()


def test_difference_is_that_of_the_mean_scores():
    scores, rewards, ids = batch(3)
    groups = RewardGroups.from_flat(rewards, ids, correct=0.5)
    found = anatomy.score_difference(scores @ scores.T, groups)
    for x, group in enumerate(groups.ids):
        right = scores[(ids == group) & (rewards == 1)]
        wrong = scores[(ids == group) & (rewards == 0)]
        k, rest = len(right), len(wrong)
        if min(k, rest) == 0:
            assert np.isnan([found.total[x], found.signal[x], found.noise[x]]).all()
            continue
        delta = right.mean(axis=0) - wrong.mean(axis=0)
        assert found.total[x] == pytest.approx(delta @ delta)
        if min(k, rest) < 2:
            assert np.isnan([found.signal[x], found.noise[x]]).all()
            continue
        # Sample variances with ddof 1, summed over parameters.
        noise = right.var(axis=0, ddof=1).sum() / k + wrong.var(axis=0, ddof=1).sum() / rest
        assert found.noise[x] == pytest.approx(noise)
        assert found.signal[x] == pytest.approx(delta @ delta - noise)


def test_signal_is_unbiased_and_the_plain_difference_is_not():
    # δ = (1, 0): ‖δ‖² = 1; unit noise in two parameters adds V₊/k + V₋/(G−k) = 2/3 + 2/5.
    rng = np.random.default_rng(11)
    size, right = 8, 3
    rewards = np.tile(np.arange(size) < right, (250, 1)).astype(float)
    groups = RewardGroups.from_dense(rewards)
    signals, totals = [], []
    for _ in range(16):
        scores = rng.normal(size=(groups.n_rollouts, 2))
        scores[:, 0] += groups.rewards
        found = anatomy.score_difference(scores @ scores.T, groups)
        signals.append(found.signal.mean())
        totals.append(found.total.mean())
    error = np.std(signals, ddof=1) / 4
    assert np.mean(signals) == pytest.approx(1, abs=5 * error)
    assert np.mean(totals) == pytest.approx(1 + 2 / 3 + 2 / 5, abs=5 * np.std(totals, ddof=1) / 4)
    assert error < 0.05


@given(hnp.arrays(float, (6, 4), elements=st.floats(-3, 3)), st.integers(0, 100))
def test_nothing_depends_on_the_order_of_rows(scores, seed):
    rewards, ids = np.array([1, 0, 1, 1, 0, 0.0]), np.array([0, 0, 0, 0, 0, 1])
    order = np.random.default_rng(seed).permutation(6)
    plain = RewardGroups.from_flat(rewards, ids)
    mixed = RewardGroups.from_flat(rewards[order], ids[order])
    place = [list(mixed.ids).index(group) for group in plain.ids]
    a, b = advantages.get("grpo")(plain), advantages.get("grpo")(mixed)
    gram = scores @ scores.T
    shuffled = gram[np.ix_(order, order)]
    assert anatomy.update_norm_squared(shuffled, mixed, b)[place] == pytest.approx(
        anatomy.update_norm_squared(gram, plain, a), abs=1e-9
    )
    for one, other in zip(
        anatomy.score_difference(shuffled, mixed),
        anatomy.score_difference(gram, plain),
        strict=True,
    ):
        assert one[place] == pytest.approx(other, abs=1e-9, nan_ok=True)


def test_agreement_of_two_rules():
    scores, rewards, ids = batch(5)
    groups = RewardGroups.from_flat(rewards, ids, correct=0.5)
    gram = scores @ scores.T
    a, b = advantages.get("grpo")(groups), advantages.get("dr_grpo")(groups)
    first, second = a @ scores, b @ scores
    cosine = first @ second / np.linalg.norm(first) / np.linalg.norm(second)
    assert anatomy.agreement(gram, groups, a, b) == pytest.approx(cosine)
    assert anatomy.agreement(gram, groups, a, -3 * a) == pytest.approx(-1)
    assert np.isnan(anatomy.agreement(gram, groups, a, 0 * a))


def test_unscored_rollouts_are_left_out():
    scores = np.array([[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    groups = RewardGroups.from_flat([1.0, 0.0, np.nan], [0, 0, 0], correct=0.5)
    a = advantages.get("grpo")(groups)
    gram = scores @ scores.T
    assert anatomy.update_norm_squared(gram, groups, a) == pytest.approx([0.5])
    assert anatomy.score_difference(gram, groups).total == pytest.approx([2.0])


def test_silent_batches_have_no_shares():
    groups = RewardGroups.from_dense([[1, 1], [0, 0]])
    gram = np.eye(4)
    a = advantages.get("grpo")(groups)
    assert anatomy.update_norm_squared(gram, groups, a).tolist() == [0, 0]
    assert np.isnan(anatomy.update_shares(gram, groups, a)).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda g: anatomy.update_norm_squared(np.eye(3), g, [1, -1]),
        lambda g: anatomy.update_norm_squared([[1, 5], [0, 1]], g, [1, -1]),
        lambda g: anatomy.update_norm_squared([[1, np.nan], [np.nan, 1]], g, [1, -1]),
        lambda g: anatomy.update_norm_squared(np.eye(2), g, [1, -1, 0]),
        lambda g: anatomy.update_shares(np.eye(2), g, [1, np.inf]),
        lambda g: anatomy.score_difference(np.eye(2), RewardGroups.from_dense([[0.3, 0.3]])),
    ],
)
def test_bad_input_is_one_line(call):
    with pytest.raises(InputError) as caught:
        call(RewardGroups.from_dense([[1, 0]]))
    assert "\n" not in str(caught.value)
