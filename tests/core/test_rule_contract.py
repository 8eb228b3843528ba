"""Every registered rule keeps what its profile says: one suite for all of them."""

from __future__ import annotations

import inspect
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_formulas import FORMULAS

from dissensus import RewardGroups, advantages
from dissensus.core.advantages import AdvantageEstimator, Context, EstimatorState
from dissensus.core.advantages.tokens import sum_over_tokens
from dissensus.errors import InputError, MissingContextError

NAMES = advantages.names()
SIZES = [4, 8, 16]


def rule(name: str) -> tuple[AdvantageEstimator, advantages.Profile]:
    return advantages.get(name), advantages.profile(name)


def having(**wanted: object) -> list[str]:
    """Names of the rules whose profile or estimator has these values."""
    chosen = []
    for name in NAMES:
        estimator, profile = rule(name)
        found = [getattr(profile, key, getattr(estimator, key, None)) for key in wanted]
        if found == list(wanted.values()):
            chosen.append(name)
    return chosen


def call(
    estimator: AdvantageEstimator, groups: RewardGroups, like: RewardGroups | None = None
) -> np.ndarray:
    """Advantages in the neutral context, whose reference batch fits `like` (or the groups)."""
    context = advantages.neutral_context(estimator)(groups)
    if like is not None:
        reference = advantages.neutral_context(estimator)(like).reference
        context = replace(context, reference=reference)
    return estimator(groups, context)


def table(size: int) -> tuple[np.ndarray, np.ndarray]:
    """(G+1, G) rewards, and which are correct, with k = 0 … G in row k."""
    is_correct = np.arange(size) < np.arange(size + 1)[:, None]
    return is_correct.astype(float), is_correct


@pytest.mark.parametrize("name", NAMES)
def test_it_is_documented(name):
    estimator, profile = rule(name)
    doc = inspect.getdoc(estimator.function)
    assert profile.title
    assert estimator.source
    assert "A" in doc
    assert "nanimous" in doc or "k = 0" in doc


@pytest.mark.parametrize("name", NAMES)
def test_its_written_form_gives_it_back(name):
    estimator, _ = rule(name)
    written = repr(estimator).partition(" | ")[0]
    assert advantages.get(written) == estimator
    assert pickle.loads(pickle.dumps(estimator)) == estimator


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_golden_signature(name, size):
    estimator, profile = rule(name)
    if profile.is_ordered:
        pytest.skip("rollouts of equal reward get different advantages: no signature")
    found = advantages.signature(
        estimator, group_size=size, context=advantages.neutral_context(estimator)
    )
    expected = np.array([FORMULAS[name](k, size) for k in range(size + 1)])
    np.testing.assert_allclose(found.positive[1:], expected[1:, 0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.negative[:-1], expected[:-1, 1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_silent_set_is_as_declared(name, size):
    estimator, profile = rule(name)
    rewards, is_correct = table(size)
    values = call(estimator, RewardGroups.from_dense(rewards, correct=is_correct))
    silent = ~values.reshape(size + 1, size).any(axis=1)
    assert silent.tolist() == profile.is_silent(np.arange(size + 1), size).tolist()


@pytest.mark.parametrize("name", having(is_ordered=False))
def test_ddof_is_not_felt_in_large_groups(name):
    estimator, profile = rule(name)
    if "ddof" not in estimator.parameters or profile.limit is None:
        pytest.skip("no ddof, or no objective that it could change")
    contrasts = []
    for ddof in (0, 1, 2):
        other = replace(estimator, parameters={**estimator.parameters, "ddof": ddof})
        context = advantages.neutral_context(other)
        contrasts.append(advantages.signature(other, group_size=256, context=context).contrast)
        assert advantages.limit(other) is profile.limit
    np.testing.assert_allclose(contrasts[1:], contrasts[:1] * 2, rtol=0.02)


@pytest.mark.parametrize("name", having(is_ordered=False))
def test_uneven_lengths_reach_unanimous_groups_where_it_is_declared(name):
    estimator, profile = rule(name)
    if set(estimator.needs) & {"token_offsets", "log_likelihoods"}:
        pytest.skip("its neutral context needs lengths of its own")
    rewards = np.array([[0.0, 0, 0, 0], [1, 0, 0, 0]])
    groups = RewardGroups.from_dense(rewards, correct=rewards == 1)
    context = replace(
        advantages.neutral_context(estimator)(groups),
        lengths=np.array([1, 1, 1, 1, 50, 2, 2, 2]),
        reference=None,
    )
    unanimous = estimator(groups, context)[:4]
    if profile.shifts_with_batch:
        np.testing.assert_allclose(unanimous, -1.75, atol=0.01)
    elif estimator.scope == "group" or profile.is_centred:
        is_silent = bool(profile.is_silent(np.array([0]), 4)[0])
        assert (not unanimous.any()) == is_silent


def split_rewards(profile: advantages.Profile, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(12, 6) rewards with no unanimous group, and which are correct."""
    rng = np.random.default_rng(seed)
    rewards, is_correct = table(6)
    rows = rng.permuted(np.tile(np.arange(6), (12, 1)), axis=1)
    which = rng.integers(1, 6, 12)[:, None]
    mixed, right = rewards[which, rows], is_correct[which, rows]
    if profile.rewards == "any":
        mixed = mixed + 0.4 * rng.random(mixed.shape)
    return mixed, right


def split_and_unanimous(profile: advantages.Profile) -> RewardGroups:
    """The twelve split groups, one all-wrong and one all-correct."""
    rewards, right = split_rewards(profile)
    ends = np.repeat([[0.0], [1.0]], 6, axis=1)
    return RewardGroups.from_dense(
        np.concatenate([rewards, ends]), correct=np.concatenate([right, ends == 1])
    )


@pytest.mark.parametrize("name", NAMES)
def test_push_is_as_declared(name):
    estimator, profile = rule(name)
    groups = split_and_unanimous(profile)
    context = advantages.neutral_context(estimator)(groups)
    if context.lengths is not None and context.log_likelihoods is None:
        # a baseline that weighs by length shows its push only then
        lengths = np.random.default_rng(0).integers(1, 9, groups.n_rollouts)
        context = replace(context, lengths=lengths)
    values = estimator(groups, context).reshape(len(groups), -1)
    assert (np.abs(values.sum(axis=1)).max() < 1e-9) == profile.is_centred


@pytest.mark.parametrize("name", having(is_ordered=False))
def test_the_order_of_rollouts_does_not_matter(name):
    estimator, profile = rule(name)
    rewards, right = split_rewards(profile)
    order = np.random.default_rng(1).permutation(rewards.size)
    ids = np.repeat(np.arange(12), 6)
    dense = RewardGroups.from_dense(rewards, correct=right)
    straight = call(estimator, dense)
    shuffled = RewardGroups.from_flat(
        rewards.ravel()[order], ids[order], correct=right.ravel()[order]
    )
    np.testing.assert_allclose(call(estimator, shuffled, dense), straight[order], atol=1e-12)


@pytest.mark.parametrize("name", having(is_ordered=True))
def test_the_order_of_rollouts_matters_where_it_is_declared_to(name):
    estimator, _ = rule(name)
    values = call(estimator, RewardGroups.from_dense([[1.0, 0, 0, 1], [0.0, 1, 1, 0]]))
    first, second = values.reshape(2, 4)
    assert not np.allclose(first[[0, 3, 1, 2]], second[[1, 2, 0, 3]])


@pytest.mark.parametrize("name", having(scope="group"))
def test_groups_do_not_touch_each_other(name):
    estimator, profile = rule(name)
    rewards, right = split_rewards(profile)
    rewards[0], right[0] = 0.0, False  # a unanimous neighbour, where a batch rule would show itself
    together = call(estimator, RewardGroups.from_dense(rewards, correct=right)).reshape(12, 6)
    for row in range(12):
        alone = RewardGroups.from_dense(rewards[row : row + 1], correct=right[row : row + 1])
        np.testing.assert_allclose(call(estimator, alone), together[row], atol=1e-12)


@st.composite
def batches(draw):
    """Ragged groups of real rewards with unscored rollouts, in shuffled order."""
    size = draw(st.integers(1, 40))
    values = st.sampled_from([0.0, 1.0, 0.25, -1.0, 3.0, float("nan")])
    rewards = np.array(draw(st.lists(values, min_size=size, max_size=size)))
    ids = np.array(draw(st.lists(st.integers(0, 6), min_size=size, max_size=size)))
    return rewards, ids


@pytest.mark.parametrize("name", having(is_ordered=False, is_per_token=False))
@settings(max_examples=25)
@given(data=batches(), random=st.randoms(use_true_random=False))
def test_row_order_does_not_matter_whatever_the_groups(name, data, random):
    rewards, ids = data
    estimator, _ = rule(name)
    order = np.array(random.sample(range(len(ids)), len(ids)))
    groups = RewardGroups.from_flat(rewards, ids, correct=0.5)
    shuffled = RewardGroups.from_flat(rewards[order], ids[order], correct=0.5)
    before = call(estimator, groups, groups)
    np.testing.assert_allclose(call(estimator, shuffled, groups), before[order], atol=1e-9)
    assert before.dtype == np.float64
    assert not before[np.isnan(rewards)].any()


@pytest.mark.parametrize("name", having(scope="group", is_ordered=False, is_per_token=False))
@settings(max_examples=25)
@given(data=batches())
def test_group_rules_answer_each_group_by_itself(name, data):
    rewards, ids = data
    estimator, profile = rule(name)
    groups = RewardGroups.from_flat(rewards, ids, correct=0.5)
    values = call(estimator, groups)
    if profile.is_centred:
        np.testing.assert_allclose(groups.sum_by_group(values), 0, atol=1e-9)
    for group in groups.ids.tolist():
        mine = ids == group
        alone = RewardGroups.from_flat(rewards[mine], ids[mine], correct=0.5)
        np.testing.assert_allclose(values[mine], call(estimator, alone), atol=1e-9)


@pytest.mark.parametrize("name", having(scope="batch"))
def test_a_batch_rule_looks_at_its_batch(name):
    estimator, profile = rule(name)
    context = advantages.neutral_context(estimator)

    def by_itself(groups: RewardGroups) -> np.ndarray:
        return estimator(groups, replace(context(groups), reference=None)).reshape(len(groups), -1)

    groups = split_and_unanimous(profile)
    rewards = groups.rewards.reshape(len(groups), -1)
    right = groups.is_correct.reshape(rewards.shape)
    alone = [
        by_itself(RewardGroups.from_dense(rewards[row : row + 1], correct=right[row : row + 1]))[0]
        for row in range(len(groups))
    ]
    assert not np.allclose(by_itself(groups), alone)


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_added_to_rewards_does_what_is_declared(name):
    estimator, profile = rule(name)
    rewards, right = split_rewards(profile)
    moved = RewardGroups.from_dense(rewards + 0.75, correct=right)
    before = call(estimator, RewardGroups.from_dense(rewards, correct=right))
    assert np.allclose(call(estimator, moved), before, atol=1e-9) == profile.is_shift_invariant


@pytest.mark.parametrize("name", NAMES)
def test_a_factor_on_rewards_does_what_is_declared(name):
    estimator, profile = rule(name)
    rewards, right = split_rewards(profile)
    graded = RewardGroups.from_dense(rewards, correct=right)
    binary = RewardGroups.from_dense(right.astype(float), correct=right)
    found = ["invariant", "proportional"]
    for groups in (graded, binary):
        before, after = (call(estimator, groups.with_rewards(c * groups.rewards)) for c in (1, 3))
        # eps is a length of its own, which a factor moves by up to its share of the denominator.
        found = [
            kind
            for kind in found
            if np.allclose(after, (3 if kind == "proportional" else 1) * before, rtol=1e-3)
        ]
    assert found == [profile.scale] or (not found and profile.scale == "neither")


@pytest.mark.parametrize("name", having(is_per_token=False))
def test_an_unscored_rollout_gets_nothing_and_changes_nothing(name):
    estimator, _ = rule(name)
    with_hole = RewardGroups.from_flat(
        [1, 0, np.nan, 0, 1, 0, 0], [0, 0, 0, 0, 1, 1, 1], correct=0.5
    )
    without = RewardGroups.from_flat([1, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 1], correct=0.5)
    values = call(estimator, with_hole)
    assert values[2] == 0
    np.testing.assert_allclose(np.delete(values, 2), call(estimator, without), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_ragged_tiny_and_empty_groups_give_finite_advantages(name):
    estimator, _ = rule(name)
    ragged = RewardGroups.from_flat([1, 0, 0, 1, 1, 0, 1], [0, 1, 1, 2, 2, 2, 2], correct=0.5)
    assert np.isfinite(call(estimator, ragged)).all()
    one = RewardGroups.from_flat([1.0], [0], correct=0.5)
    assert np.isfinite(call(estimator, one)).all()
    for correct in (0.5, None):
        unscored = RewardGroups.from_flat([np.nan, np.nan], [0, 0], correct=correct)
        assert not call(estimator, unscored).any()
        bare = replace(advantages.neutral_context(estimator)(unscored), reference=None)
        assert not estimator(unscored, bare).any()


@pytest.mark.parametrize("name", having(scope="group"))
def test_equal_rewards_in_float32_are_unanimous(name):
    estimator, profile = rule(name)
    constant = np.full((3, 8), 0.1, dtype=np.float32) + np.float32(1e-9) * np.arange(8)
    if profile.rewards == "binary" or not profile.is_silent(np.array([0, 8]), 8).all():
        pytest.skip("what it gives to unanimous groups is its own choice")
    assert np.abs(call(estimator, RewardGroups.from_dense(constant))).max() < 1e-6


@pytest.mark.parametrize("name", having(scope="history"))
def test_memory_survives_a_checkpoint(name):
    estimator, profile = rule(name)
    neutral = advantages.neutral_context(estimator)
    batches = [
        RewardGroups.from_dense(*split_rewards(profile, seed)[:1], correct=right)
        for seed, right in ((s, split_rewards(profile, s)[1]) for s in range(4))
    ]

    def run(state: EstimatorState, groups: list[RewardGroups]) -> np.ndarray:
        bare = [replace(neutral(each), state=state, reference=None) for each in groups]
        return [estimator(*pair) for pair in zip(groups, bare, strict=True)][-1]

    straight = run(EstimatorState(), batches)
    saved = EstimatorState()
    run(saved, batches[:2])
    saved = EstimatorState.from_state_dict(json.loads(json.dumps(saved.state_dict())))
    np.testing.assert_array_equal(run(saved, batches[2:]), straight)
    assert not np.array_equal(run(EstimatorState(), batches[3:]), straight)


@pytest.mark.parametrize("name", having(is_per_token=True))
def test_a_rule_per_token_gives_one_advantage_per_token(name):
    estimator, _ = rule(name)
    groups = RewardGroups.from_dense([[1, 0, 0], [1, 1, 1], [0, 0, 0]], correct=0.5)
    lengths = np.array([3, 1, 2, 4, 0, 2, 1, 3, 2])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    entropies = np.random.default_rng(0).random(offsets[-1])
    context = replace(
        advantages.neutral_context(estimator)(groups),
        token_offsets=offsets,
        token_entropies=entropies,
    )
    values = estimator(groups, context)
    assert values.shape == entropies.shape
    assert np.isfinite(values).all()
    assert sum_over_tokens(values, offsets)[4] == 0


@pytest.mark.parametrize("name", having(rewards="binary"))
def test_a_rule_for_right_or_wrong_says_so_when_correctness_is_unknown(name):
    estimator, _ = rule(name)
    groups = RewardGroups.from_dense([[0.1, 0.5, 0.9]])
    with pytest.raises(InputError, match="correct"):
        call(estimator, groups)


@pytest.mark.parametrize("name", [n for n in NAMES if advantages.profile(n).limit])
def test_the_large_group_limit_is_that_of_large_signatures(name):
    estimator, profile = rule(name)
    if profile.is_ordered:
        pytest.skip("no signature")
    size = 4096
    k = np.array([410, 1024, 2048, 2867, 3277])
    is_correct = np.arange(size) < k[:, None]
    groups = RewardGroups.from_dense(is_correct.astype(float), correct=is_correct)
    values = call(estimator, groups).reshape(len(k), size)
    slope = values[:, 0] - values[:, -1]
    expected = profile.limit.slope(k / size)
    ratio = slope / expected
    is_scaled = estimator.scope == "batch"  # up to one factor that all prompts share
    np.testing.assert_allclose(ratio / (ratio[0] if is_scaled else 1.0), 1.0, rtol=5e-3)


@pytest.mark.parametrize("name", [n for n in NAMES if advantages.profile(n).limit])
def test_the_limit_objective_integrates_its_slope(name):
    limit = advantages.profile(name).limit
    if limit.objective is None:
        return
    p, step = np.linspace(0.05, 0.95, 19), 1e-5
    rise = (limit.objective(p + step) - limit.objective(p - step)) / (2 * step)
    np.testing.assert_allclose(rise, limit.slope(p), rtol=1e-6)


def test_the_context_that_a_rule_says_it_needs_is_asked_for():
    for name in NAMES:
        estimator, _ = rule(name)
        groups = RewardGroups.from_dense([[1, 0]], correct=0.5)
        for missing in estimator.needs:
            context = replace(advantages.neutral_context(estimator)(groups), **{missing: None})
            with pytest.raises(MissingContextError, match=missing):
                estimator(groups, context)


def test_every_rule_has_a_formula_of_its_own_in_the_tests():
    ordered = set(having(is_ordered=True))
    assert set(FORMULAS) == set(NAMES) - ordered


def test_a_context_without_anything_is_enough_for_plain_rules():
    groups = RewardGroups.from_dense([[1, 0]])
    assert advantages.get("grpo")(groups, Context()).tolist() == [1.0, -1.0]
