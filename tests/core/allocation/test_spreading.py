"""Spreading rollouts over prompts: optimal against every possibility."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dissensus import advantages, laws
from dissensus.core.allocation.spreading import (
    best_gains,
    largest,
    proportional,
    spread,
    weighted_sample,
)


def best_by_force(values, budget, least):
    sizes = [0, *range(least, values.shape[1])]
    totals = [
        sum(values[i, n] for i, n in enumerate(counts))
        for counts in itertools.product(sizes, repeat=len(values))
        if sum(counts) <= budget
    ]
    return max(totals)


@st.composite
def concave_tables(draw):
    """Values over 0, 2, 3, …: never a later rollout worth more than an earlier one."""
    prompts, most = draw(st.integers(1, 4)), draw(st.integers(2, 5))
    table = np.zeros((prompts, most + 1))
    for row in table:
        # whole numbers make ties, which are where a greedy rule goes wrong
        worth = sorted(draw(st.lists(st.integers(0, 9), min_size=most - 1, max_size=most - 1)))
        row[2:] = np.cumsum([2 * worth[-1], *reversed(worth[:-1])])
    return table


@given(concave_tables(), st.integers(0, 14))
def test_nothing_beats_the_spread_of_pairs_and_singles(table, budget):
    counts = spread(table, budget)
    assert counts.sum() <= budget
    assert not (counts == 1).any()
    got = table[np.arange(len(table)), counts].sum()
    assert got == pytest.approx(best_by_force(table, budget, 2))


def test_a_pair_is_given_up_for_three_where_that_is_better():
    # By hand: [2, 0] is worth 1.0 with one rollout left; [0, 3] is worth 0.98 + 0.48.
    table = np.array([[0, 0, 1.0, 1.0], [0, 0, 0.98, 1.46]])
    assert spread(table, 3).tolist() == [0, 3]


@pytest.mark.parametrize("rule", ["grpo", "dr_grpo", "maxrl"])
@pytest.mark.parametrize("budget", [0, 1, 2, 3, 7, 10, 13])
def test_expected_contrast_is_spread_optimally(rule, budget):
    rates = np.array([0.5, 0.03, 0.9, 0.3])
    table = np.zeros((4, 6))
    for n in range(2, 6):
        signature = advantages.signature(advantages.get(rule), n)
        table[:, n] = laws.expected_contrast(signature, rates)
    counts = spread(table, budget)
    assert table[np.arange(4), counts].sum() == pytest.approx(best_by_force(table, budget, 2))


@pytest.mark.parametrize("least", [3, 4])
def test_larger_blocks_lose_less_than_one_block(least):
    rng = np.random.default_rng(0)
    for _ in range(30):
        p = rng.random(3)
        n = np.arange(7)
        table = np.where(n >= least, (p * (1 - p))[:, None] * (1 - 1 / np.maximum(n, 1)), 0.0)
        for budget in range(14):
            counts = spread(table, budget, least=least)
            assert counts.sum() <= budget
            assert ((counts == 0) | (counts >= least)).all()
            lost = best_by_force(table, budget, least) - table[np.arange(3), counts].sum()
            assert -1e-12 <= lost < table[:, least].max()


def test_expected_contrast_of_grpo_is_concave_in_the_group_size():
    # Nothing to cite: the sums by definition, at many solve rates and sizes.
    p = np.concatenate([[1e-6, 1e-3], np.linspace(0.01, 0.99, 99)])
    values = []
    for n in range(1, 66):
        k = np.arange(n + 1)
        chance = stats.binom.pmf(k, n, p[:, None])
        values.append(chance @ (np.sqrt(k * (n - k)) / n))
    steps = np.diff(values, axis=0)
    assert (np.diff(steps, axis=0) <= 1e-12).all()
    assert (steps[1] <= values[1] / 2 + 1e-12).all()  # v(3) − v(2) ≤ v(2)/2


@given(
    st.lists(st.floats(0, 1e3), min_size=1, max_size=8),
    st.integers(0, 60),
    st.integers(1, 4),
    st.integers(0, 6),
)
def test_proportional_counts_add_up_within_their_bounds(shape, budget, least, more):
    most = least + more
    counts = proportional(np.array(shape), budget, least=least, most=most)
    assert ((counts >= least) & (counts <= most)).all()
    reachable = min(max(budget, least * len(shape)), most * len(shape))
    assert counts.sum() == reachable


def test_best_gains_takes_the_largest_first():
    assert best_gains(np.array([[5.0, 1.0], [4.0, 3.0], [-1.0, -2.0]]), 4).tolist() == [2, 2, 0]
    assert best_gains(np.empty((2, 0)), 4).tolist() == [0, 0]


def test_weighted_sample_follows_its_weights():
    # P(first = i) = w_i / Σ w by definition; 4 standard errors of 20,000 draws
    weights, rng = np.array([1.0, 2.0, 5.0]), np.random.default_rng(0)
    allowed = np.ones(3, dtype=bool)
    firsts = [weighted_sample(np.log(weights), 1, rng, allowed=allowed)[0] for _ in range(20_000)]
    found = np.bincount(firsts, minlength=3) / 20_000
    assert np.abs(found - weights / 8).max() < 4 * np.sqrt(0.25 / 20_000)


def test_largest_skips_what_is_excluded():
    keys = np.array([1, -np.inf, 3, 2], dtype=np.float32)
    assert largest(keys, 9).tolist() == [2, 3, 0]
    assert largest(keys[:0], 3).tolist() == []


def test_weighted_sample_takes_a_draw_of_exactly_zero():
    class Zeros:
        def standard_exponential(self, count, dtype):
            return np.zeros(count, dtype=dtype)

    assert len(weighted_sample(np.zeros(3), 2, Zeros(), allowed=np.ones(3, dtype=bool))) == 2
