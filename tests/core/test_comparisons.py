"""Paired differences at once: by hand, against another library, and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dissensus.core.comparisons import Estimates, bootstrap_cells, compare_cells, tie_letters


def test_the_spread_of_seeds_and_of_prompts_add_up():
    # Seed means 0.1 and 0.3, prompt means 0.1 and 0.3, nothing left over: 0.02/2 + 0.02/2.
    found = compare_cells([[[0.0, 0.2], [0.2, 0.4]]])
    assert found.error[0] ** 2 == pytest.approx(0.02)
    assert found.freedom[0] == pytest.approx(2.0)  # (.01 + .01)² / (.01² / 1 + .01² / 1)


def test_a_variance_is_averaged_with_those_of_the_others():
    # One prompt; seed means of the first arm are 0 and 2: variance 2, over two seeds 1.
    found = compare_cells(np.array([[[0.0], [2.0]], [[0.0], [0.0]], [[1.0], [1.0]]]))
    assert (found.error**2).tolist() == pytest.approx([1 / 2, 1 / 4, 1 / 4])
    assert found.freedom.tolist() == pytest.approx([2.0] * 3)


def test_nothing_is_borrowed_from_a_single_other():
    found = compare_cells(np.array([[[0.0], [2.0]], [[0.0], [0.0]]]))
    assert (found.error**2).tolist() == pytest.approx([1.0, 0.0])
    assert found.freedom.tolist() == pytest.approx([1.0, 1.0])


def test_the_squared_error_is_the_variance_of_the_mean():
    rng = np.random.default_rng(0)
    seeds, prompts, repeats = 5, 30, 4000
    cells = (
        0.5 * rng.normal(size=(repeats, seeds, 1))
        + 0.8 * rng.normal(size=(repeats, 1, prompts))
        + 2.0 * rng.normal(size=(repeats, seeds, prompts))
    )
    truth = 0.5**2 / seeds + 0.8**2 / prompts + 2.0**2 / (seeds * prompts)
    assert cells.mean(axis=(1, 2)).var() == pytest.approx(truth, rel=0.1)
    # Averaging variances with each other leaves their mean as it is.
    assert np.mean(compare_cells(cells).error ** 2) == pytest.approx(truth, rel=0.05)


def test_one_prompt_and_one_arm_is_the_t_interval():
    x = [1.0, 2.0, 4.0, 8.0]
    bounds = compare_cells(np.reshape(x, (1, 4, 1))).bounds()
    low, high = stats.t.interval(0.95, 3, np.mean(x), stats.sem(x))
    assert (bounds.low[0], bounds.high[0]) == pytest.approx((low, high))


def test_intervals_that_hold_together_split_the_risk():
    found = Estimates(np.zeros(1), np.ones(1), np.array([8.0]))
    reach = float(found.bounds(together=13).high[0])
    assert (2 * stats.t.cdf(reach, 8) - 1) ** 13 == pytest.approx(0.95)
    assert reach > float(found.bounds().high[0])


def test_a_single_seed_has_no_interval():
    found = compare_cells(np.ones((3, 1, 4)))
    assert np.isnan(found.error).all()
    assert np.isnan(found.bounds(together=3).low).all()


def test_equal_cells_have_no_width():
    bounds = compare_cells(np.full((4, 3, 5), 0.25)).bounds(together=4)
    assert bounds.low.tolist() == bounds.high.tolist() == [0.25] * 4


@pytest.mark.parametrize("shape", [(2, 3), (0, 2, 2), (1, 0, 2)])
def test_cells_have_three_dimensions(shape):
    with pytest.raises(ValueError, match="shape"):
        compare_cells(np.zeros(shape))


def test_a_whole_family_is_held_as_often_as_said():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        arms = (
            rng.normal(size=(9, 5, 1)) + rng.normal(size=(9, 5, 20)) + rng.normal(size=(9, 1, 20))
        )
        bounds = compare_cells(arms[1:] - arms[0]).bounds(together=8)
        held += bool(((bounds.low <= 0) & (bounds.high >= 0)).all())
    # Below this, 95 % would be four standard errors away.
    assert held / 400 > 0.95 - 4 * np.sqrt(0.95 * 0.05 / 400)


def test_the_bootstrap_reaches_as_far_as_its_law():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1, 60, 1)) + rng.normal(size=(1, 1, 60))
    low, high = (float(end[0]) for end in bootstrap_cells(x, rng))
    error = np.sqrt(x.mean(axis=2).var() / 60 + x.mean(axis=1).var() / 60)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.1)


# ---- letters ---------------------------------------------------------------------------------


def test_letters_by_hand():
    apart = np.zeros((4, 4), dtype=bool)
    for i, j in ((0, 2), (0, 3), (1, 3)):
        apart[i, j] = apart[j, i] = True
    assert tie_letters(apart) == ["a", "ab", "bc", "c"]
    assert tie_letters(np.zeros((3, 3))) == ["a", "a", "a"]
    assert tie_letters(~np.eye(3, dtype=bool)) == ["a", "b", "c"]


@given(st.integers(1, 7), st.integers(0, 2**21 - 1))
def test_items_share_a_letter_exactly_when_they_are_not_told_apart(size, bits):
    apart = np.zeros((size, size), dtype=bool)
    first, second = np.triu_indices(size, 1)
    apart[first, second] = [bool(bits >> i & 1) for i in range(len(first))]
    apart |= apart.T
    letters = tie_letters(apart)
    for i, j in zip(first, second, strict=True):
        assert bool(set(letters[i]) & set(letters[j])) != apart[i, j]
    assert all(letters)
