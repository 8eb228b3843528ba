"""RewardGroups against pandas, hand-computed values and its own symmetries."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dissensus import RewardGroups
from dissensus.core.correctness import InferredCorrectness
from dissensus.errors import InputError

REWARDS = st.sampled_from([0.0, 1.0, -1.0, 0.1, 0.3, 0.7, 2.5, float("nan")])


@st.composite
def ragged(draw):
    """Rewards and ids in any order, groups of any size, unscored rollouts among them."""
    size = draw(st.integers(1, 60))
    rewards = draw(hnp.arrays(np.float64, size, elements=REWARDS))
    ids = draw(hnp.arrays(np.int64, size, elements=st.integers(-3, 9)))
    return rewards, ids


@given(ragged())
def test_statistics_equal_pandas_for_any_order_and_size(data):
    rewards, ids = data
    groups = RewardGroups.from_flat(rewards, ids)
    grouped = pd.Series(rewards).groupby(ids, sort=False)
    assert groups.ids.tolist() == list(grouped.groups) or sorted(groups.ids) == sorted(
        grouped.groups
    )
    for ours, theirs in [
        (groups.mean, grouped.mean()),
        (groups.std(ddof=0), grouped.std(ddof=0)),
        (groups.std(ddof=1), grouped.std(ddof=1)),
        (groups.min, grouped.min()),
        (groups.max, grouped.max()),
        (groups.size, grouped.count()),
        (groups.rollouts, grouped.size()),
    ]:
        np.testing.assert_allclose(ours, theirs.loc[groups.ids], atol=1e-9)


@given(ragged(), st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing_but_the_order(data, random):
    rewards, ids = data
    order = np.array(random.sample(range(len(ids)), len(ids)))
    before = RewardGroups.from_flat(rewards, ids)
    after = RewardGroups.from_flat(rewards[order], ids[order])
    np.testing.assert_allclose(after.centered, before.centered[order], atol=1e-12)
    by_id = dict(zip(before.ids.tolist(), before.std().tolist(), strict=True))
    np.testing.assert_allclose(after.std(), [by_id[i] for i in after.ids.tolist()], atol=1e-12)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.dtype("U3"), object])
def test_every_kind_of_id_gives_the_same_groups(kind):
    ids = np.array(["7", "3", "7", "9", "3", "7"])
    ids = ids.astype(kind) if kind is not object else ids.astype(object)
    groups = RewardGroups.from_flat([1, 0, 0, 1, 1, 1], ids)
    assert [str(i) for i in groups.ids] == ["7", "3", "9"]  # first appearance
    assert groups.rollouts.tolist() == [3, 2, 1]
    np.testing.assert_allclose(groups.mean, [2 / 3, 1 / 2, 1.0])


@pytest.mark.parametrize("kind", [np.int8, np.int16, object])
def test_ids_whose_range_overflows_their_own_type_group_as_any_other(kind):
    far = {np.int8: 100, np.int16: 30_000, object: 2**70}[kind]
    ids = np.array([-far, far, -far, 5] * 5_000, dtype=kind)
    groups = RewardGroups.from_flat(np.tile([1.0, 0.0, 0.0, 1.0], 5_000), ids)
    assert groups.ids.tolist() == [-far, far, 5]
    assert groups.mean.tolist() == [0.5, 0.0, 1.0]
    assert RewardGroups.from_flat([1, 0], [-1, 2**63]).ids.tolist() == [-1, 2**63]


class _Tensor:
    """Hands out its own memory, as a tensor on the CPU or a data frame's column does."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array.astype(dtype or self.array.dtype, copy=bool(copy))


def test_no_memory_is_shared_with_the_caller():
    rewards, flags, ids = np.array([1.0, 0.0]), np.array([True, False]), np.array([7])
    flat = RewardGroups.from_flat(_Tensor(rewards), [0, 0], correct=flags)
    dense = RewardGroups.from_dense(rewards[None], ids=ids)
    rewards[:], flags[:], ids[:] = 9.0, True, 8
    assert flat.rewards.tolist() == dense.rewards.tolist() == [1.0, 0.0]
    assert flat.correct.tolist() == [1]
    assert dense.ids.tolist() == [7]


def test_flags_of_a_table_must_have_its_shape():
    with pytest.raises(InputError, match="shape"):
        RewardGroups.from_dense([[1, 0, 0], [0, 0, 0]], correct=np.zeros((3, 2), bool))


def test_rewards_too_large_for_a_variance_are_refused():
    largest = RewardGroups.from_flat([1e150, -1e150], [0, 0])
    assert largest.std().tolist() == [1e150]
    for reward in (2e150, -1e200, 1e308):
        with pytest.raises(InputError, match="row 1"):
            RewardGroups.from_flat([0.0, reward, np.nan], [0, 0, 0])


def test_ids_far_apart_group_as_well_as_narrow_ones():
    far = np.array([10**15, -(10**15), 10**15, 5])
    groups = RewardGroups.from_flat([1, 0, 0, 1], far)
    assert groups.ids.tolist() == [10**15, -(10**15), 5]
    assert groups.mean.tolist() == [0.5, 0.0, 1.0]


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7, 0.95])
def test_constant_float32_rewards_are_unanimous_although_their_std_is_not_zero(value):
    rewards = np.full(8, value, dtype=np.float32)
    rewards[::2] = np.nextafter(rewards[::2], 1)  # the residue that frameworks amplify
    groups = RewardGroups.from_flat(rewards, np.zeros(8, dtype=int))
    assert groups.is_unanimous().all()
    assert not groups.is_unanimous(tol=0.0).any()


def test_constant_groups_have_no_rounding_residue():
    groups = RewardGroups.from_dense(np.full((1, 7), 0.1))
    assert groups.centered.tolist() == [0.0] * 7
    assert groups.std().tolist() == [0.0]


def test_unscored_rollouts_belong_but_do_not_count():
    groups = RewardGroups.from_flat([1.0, np.nan, 0.0, np.nan], ["a", "a", "a", "b"])
    assert groups.rollouts.tolist() == [3, 1]
    assert groups.size.tolist() == [2, 0]
    assert groups.mean[0] == 0.5
    assert np.isnan(groups.mean[1])
    assert groups.is_unanimous().tolist() == [False, False]
    assert groups.centered.tolist() == [0.5, 0.0, -0.5, 0.0]


def test_one_rollout_is_unanimous_and_has_no_sample_std():
    groups = RewardGroups.from_flat([0.4], ["only"])
    assert groups.is_unanimous().tolist() == [True]
    assert groups.std(ddof=0).tolist() == [0.0]
    assert np.isnan(groups.std(ddof=1)).all()


@pytest.mark.parametrize(
    ("rewards", "expected"),
    [
        ([0, 1, 1, 0], [1, 1]),
        ([-1, 1, -1, -1], [1, 0]),
        ([0, 10, 10, 10], [1, 2]),
        ([0, 0, 0, 0], [0, 0]),
        ([1, 1, 1, 1], [2, 2]),
        ([-1, -1, -1, -1], [0, 0]),
        ([0.35, 0.35, 0.35, 0.35], None),
        ([0.0, 0.5, 1.0, 1.0], None),
        ([np.nan, np.nan, np.nan, np.nan], None),
    ],
)
def test_two_valued_rewards_declare_themselves_and_others_stay_unknown(rewards, expected):
    groups = RewardGroups.from_flat(rewards, [0, 0, 1, 1])
    assert (None if groups.correct is None else groups.correct.tolist()) == expected
    if expected is None:
        assert groups.is_correct is groups.is_all_wrong is groups.is_all_correct is None


def test_declared_correctness_wins_over_two_values():
    by_threshold = RewardGroups.from_flat([0.2, 0.7, 0.9, 0.1], [0, 0, 1, 1], correct=0.7)
    assert by_threshold.correct.tolist() == [1, 1]
    float32_threshold = RewardGroups.from_flat(np.float32([0.7]), [0], correct=0.7)
    assert float32_threshold.correct.tolist() == [1]
    flags = np.array([True, True, False, True])
    by_flag = RewardGroups.from_flat([0, 0, 1, np.nan], [0, 0, 1, 1], correct=flags)
    assert by_flag.correct.tolist() == [2, 0]  # the unscored rollout counts for nothing


def test_unknown_can_be_declared_and_is_not_read_from_the_rewards():
    groups = RewardGroups.from_flat([0, 1], [0, 0], correct="unknown")
    assert groups.correct is groups.is_all_correct is None
    assert groups.with_correct(0.5).correct.tolist() == [1]
    assert groups.with_correct(None).with_correct("unknown").correct is None
    with pytest.raises(InputError, match="can only be 'unknown'"):
        RewardGroups.from_flat([0, 1], [0, 0], correct="unkown")


def test_a_third_reward_value_makes_the_rest_of_a_run_unknown():
    seen = InferredCorrectness(tol=1e-6)
    assert seen.declare(np.array([0.0, np.nan])) is None
    assert seen.declare(np.array([10.0, 10.0 + 1e-8])) == 10.0
    assert seen.declare(np.array([5.0])) == "unknown"
    resumed = InferredCorrectness(tol=1e-6, values=seen.values)
    assert resumed.declare(np.array([0.0, 10.0])) == "unknown"


def test_all_wrong_and_all_correct_split_the_unanimous_groups():
    groups = RewardGroups.from_flat([0, 0.1, 0, 0, 1, 1], [0, 0, 1, 1, 2, 2], correct=0.5)
    assert groups.is_all_wrong.tolist() == [False, True, False]  # the first disagrees on format
    assert groups.is_all_correct.tolist() == [False, False, True]
    assert groups.is_unanimous().tolist() == [False, True, True]


@given(ragged())
def test_sums_and_expansion_are_inverse_to_each_other(data):
    rewards, ids = data
    groups = RewardGroups.from_flat(rewards, ids)
    per_group = np.arange(len(groups), dtype=float) + 1
    np.testing.assert_allclose(
        groups.sum_by_group(groups.expand(per_group)), per_group * groups.rollouts
    )
    assert groups.expand(np.arange(len(groups))).tolist() == groups.index.tolist()
    assert groups.ids[groups.index].tolist() == ids.tolist()


@given(ragged(), ragged())
def test_merging_two_batches_of_different_groups_keeps_both(first, second):
    (rewards_a, ids_a), (rewards_b, ids_b) = first, second
    merged = RewardGroups.from_flat(
        np.concatenate([rewards_a, rewards_b]), np.concatenate([ids_a, ids_b + 100])
    )
    one, other = RewardGroups.from_flat(rewards_a, ids_a), RewardGroups.from_flat(rewards_b, ids_b)
    np.testing.assert_allclose(merged.std(), np.concatenate([one.std(), other.std()]), atol=1e-12)


def test_arrays_are_read_only_and_the_callers_stay_writable():
    rewards, ids = np.array([0.0, 1.0]), np.array([1, 1])
    groups = RewardGroups.from_flat(rewards, ids)
    with pytest.raises(ValueError, match="read-only"):
        groups.rewards[0] = 5
    rewards[0] = 9.0
    ids[0] = 9
    assert groups.rewards.tolist() == [0.0, 1.0]
    assert groups.ids.tolist() == [1]


@pytest.mark.parametrize(
    ("rewards", "ids", "options", "message"),
    [
        ([], [], {}, "non-empty"),
        ([1.0], [1, 2], {}, "one entry per rollout"),
        ([1.0, np.inf], [1, 1], {}, "finite or NaN"),
        ([1.0, -np.inf], [1, 1], {}, "row 1"),
        ([[1.0, 0.0]], [1], {}, "1-D"),
        (["a", "b"], [1, 1], {}, "must be numbers"),
        ([1.0, 0.0], [1, "1"], {}, "all integers or all strings"),
        ([1.0, 0.0], [1.5, 2.5], {}, "integers or"),
        ([1.0, 0.0], np.array([1.5, 2.5]), {}, "integers or"),
        ([1.0, 0.0], [None, None], {}, "integers or"),
        ([1.0, 0.0], [True, False], {}, "integers or"),
        ([1.0, 0.0], np.array([[1], [1]]), {}, "one-dimensional"),
        ([1.0, 0.0], [1, 1], {"tol": -1.0}, "tol"),
        ([1.0, 0.0], [1, 1], {"tol": float("nan")}, "tol"),
        ([1.0, 0.0], [1, 1], {"correct": float("nan")}, "threshold"),
        ([1.0, 0.0], [1, 1], {"correct": np.array([1.0, 0.0])}, "booleans"),
        ([1.0, 0.0], [1, 1], {"correct": np.array([True])}, "booleans"),
    ],
)
def test_bad_input_is_one_clear_line(rewards, ids, options, message):
    with pytest.raises(InputError, match=message) as caught:
        RewardGroups.from_flat(rewards, ids, **options)
    assert "\n" not in str(caught.value)


def test_dense_equals_flat():
    table = np.array([[1.0, 0.0, np.nan], [0.2, 0.2, 0.2]])
    dense = RewardGroups.from_dense(table, ids=["x", "y"])
    flat = RewardGroups.from_flat(table.ravel(), ["x"] * 3 + ["y"] * 3)
    assert dense.ids.tolist() == flat.ids.tolist()
    np.testing.assert_array_equal(dense.centered, flat.centered)
    np.testing.assert_array_equal(dense.size, flat.size)
    with pytest.raises(InputError, match="each of the 2 groups once"):
        RewardGroups.from_dense(table, ids=["x", "x"])


def test_other_rewards_keep_groups_correctness_and_what_is_unscored():
    groups = RewardGroups.from_flat([1, np.nan, 0, 1], ["b", "a", "a", "b"])
    other = groups.with_rewards([3.0, 4.0, 5.0, 6.0])
    assert other.ids.tolist() == ["b", "a"]
    assert other.mean.tolist() == [4.5, 5.0]
    assert other.size.tolist() == [2, 1]
    assert other.correct.tolist() == [2, 0]
    assert RewardGroups.from_dense([[0.1, 0.5, 0.9]]).with_rewards([1.0, 0, 0]).correct is None
    with pytest.raises(InputError):
        groups.with_rewards([[1.0, 2.0, 3.0, 4.0]])
    with pytest.raises(InputError):
        groups.with_rewards([1.0])


@pytest.mark.parametrize("size", [1, 8, 127, 128, 300])
def test_correct_rollouts_of_groups_of_any_size_are_counted(size):
    groups = RewardGroups.from_dense([[1.0] * size, [0.0] * size], correct=0.5)
    assert groups.correct.tolist() == [size, 0]
