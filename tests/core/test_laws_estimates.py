"""Unbiased rates, against the drawing of subsets they stand for."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws_cases import big_math, dr_grpo, grpo, random_rule
from scipy import stats

from dissensus import laws
from dissensus.errors import InputError


@given(st.integers(1, 8), st.data())
def test_estimate_is_the_share_of_subsets(n, data):
    k = data.draw(st.integers(0, n))
    size = data.draw(st.integers(1, n))
    subsets = list(itertools.combinations([1] * k + [0] * (n - k), size))
    right = sum(all(s) for s in subsets) / len(subsets)
    wrong = sum(not any(s) for s in subsets) / len(subsets)
    assert laws.unbiased_all_correct_rate(k, n, size) == pytest.approx(right, rel=1e-14, abs=0)
    assert laws.unbiased_all_wrong_rate(k, n, size) == pytest.approx(wrong, rel=1e-14, abs=0)
    either = sum(len(set(s)) == 1 for s in subsets) / len(subsets)
    assert laws.unbiased_unanimous_rate(k, n, size) == pytest.approx(either, rel=1e-14, abs=0)


@given(st.floats(0, 1), st.integers(1, 40), st.data())
def test_its_mean_over_samples_is_the_law(p, n, data):
    size = data.draw(st.integers(1, n))
    k = np.arange(n + 1)
    weights = stats.binom.pmf(k, n, p)
    mean = weights @ laws.unbiased_unanimous_rate(k, n, size)
    assert mean == pytest.approx(p**size + (1 - p) ** size, abs=1e-12)


@pytest.mark.parametrize(
    ("k", "n", "size"), [(3000, 4096, 512), (4095, 4096, 4000), (900, 1000, 8)]
)
def test_error_against_exact_fractions(k, n, size):
    exact = Fraction(math.comb(k, size), math.comb(n, size))
    got = Fraction(float(laws.unbiased_all_correct_rate(k, n, size)))
    assert abs(got / exact - 1) < size * 1.2e-16
    drawn = stats.hypergeom.pmf(size, n, k, size)
    assert laws.unbiased_all_correct_rate(k, n, size) == pytest.approx(drawn, rel=1e-8)


@given(st.integers(2, 8), st.integers(0, 99), st.data())
def test_contrast_is_the_mean_over_subsets(n, seed, data):
    k = data.draw(st.integers(0, n))
    rule = random_rule(data.draw(st.integers(2, n)), seed)
    subsets = list(itertools.combinations([1] * k + [0] * (n - k), rule.group_size))
    by_hand = sum(rule.contrast[sum(s)] for s in subsets) / len(subsets)
    got = laws.unbiased_expected_contrast(rule, k, n)
    assert got == pytest.approx(by_hand, rel=1e-12, abs=1e-13)


@given(st.floats(0, 1), st.integers(8, 40))
def test_its_mean_is_the_expected_contrast(p, n):
    k = np.arange(n + 1)
    mean = stats.binom.pmf(k, n, p) @ laws.unbiased_expected_contrast(dr_grpo(8), k, n)
    assert mean == pytest.approx(p * (1 - p) * 7 / 8, abs=1e-12)


@pytest.mark.parametrize(("k", "n", "size"), [(1, 64, 32), (30, 64, 8), (2000, 4096, 512)])
def test_contrast_against_exact_fractions(k, n, size):
    rule = grpo(size)
    counts = [math.comb(k, j) * math.comb(n - k, size - j) for j in range(size + 1)]
    total = math.comb(n, size)
    exact = sum(
        Fraction(c, total) * Fraction(w) for c, w in zip(counts, rule.contrast, strict=True)
    )
    got = Fraction(float(laws.unbiased_expected_contrast(rule, k, n)))
    assert abs(got / exact - 1) < 1e-10


def test_rates_of_big_math(shared_data):
    k, problems = big_math(shared_data)

    def percent(values):
        return round(100 * float(np.average(values, weights=problems)))

    sizes = [4, 8, 16, 32, 64]
    assert [percent(laws.unanimous_rate(k / 64, g)) for g in sizes] == [59, 44, 32, 23, 17]
    assert [percent(laws.unbiased_unanimous_rate(k, 64, g)) for g in sizes[:3]] == [59, 43, 30]
    assert int(problems.sum()) == 215_608
    assert round(100 * problems[0] / problems.sum(), 1) == 4.0
    assert round(100 * problems[-1] / problems.sum(), 1) == 7.2


def test_limits_and_shapes():
    assert laws.unbiased_unanimous_rate([[0], [3]], 4, [1, 2, 4]).shape == (2, 3)
    assert laws.unbiased_unanimous_rate([0, 4], 4, 4).tolist() == [1, 1]
    assert laws.unbiased_unanimous_rate([0, 1, 4], 4, 1) == pytest.approx([1, 1, 1])
    assert laws.unbiased_unanimous_rate(2, 4, 3) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: laws.unbiased_unanimous_rate(5, 4, 2),
        lambda: laws.unbiased_unanimous_rate(1, 4, 8),
        lambda: laws.unbiased_unanimous_rate(0.5, 4, 2),
        lambda: laws.unbiased_unanimous_rate(-1, 4, 2),
        lambda: laws.unbiased_unanimous_rate([1, 2], [4, 4, 4], 2),
        lambda: laws.unbiased_unanimous_rate(0, 0, 1),
        lambda: laws.unbiased_expected_contrast(grpo(8), 3, 4),
    ],
)
def test_bad_input_is_one_line(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
