"""Unbiased rates, against the drawing of subsets they stand for."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws_cases import big_math
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
    ],
)
def test_bad_input_is_one_line(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
