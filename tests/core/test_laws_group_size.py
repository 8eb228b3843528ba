"""Fidelity and required group sizes, against scipy's binomial and a search from below."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dissensus import laws
from dissensus.errors import InputError


def slow_fidelity(p, size):
    k = np.arange(size + 1)
    weights = stats.binom.pmf(k, size, p)
    return weights @ np.sqrt(k * (size - k)) / size / np.sqrt(p * (1 - p))


@given(st.floats(1e-6, 1 - 1e-6), st.integers(1, 400))
def test_fidelity_is_expected_std_over_its_limit(p, size):
    assert laws.fidelity(p, size) == pytest.approx(slow_fidelity(p, size), rel=1e-11, abs=0)


@given(st.floats(1e-9, 0.5))
def test_fidelity_never_falls_and_is_symmetric(p):
    phi = laws.fidelity(p, np.arange(1, 200))
    assert (np.diff(phi) >= -1e-15).all()
    assert phi == pytest.approx(laws.fidelity(1 - p, np.arange(1, 200)), rel=1e-6)


def test_published_values():
    assert laws.fidelity([0.5, 0.05], 8).round(4).tolist() == [0.9278, 0.5390]
    table = {  # p: exact (closed form) for fidelity 90, 95 and 99 %
        0.5: [(7, 5), (11, 10), (51, 50)],
        0.3: [(9, 6), (14, 12), (61, 60)],
        0.1: [(22, 14), (36, 28), (144, 139)],
        0.05: [(42, 26), (69, 53), (273, 263)],
    }
    for p, row in table.items():
        for target, (exact, closed) in zip([0.90, 0.95, 0.99], row, strict=True):
            assert laws.required_group_size(p, fidelity=target) == exact
            assert round(float(laws.group_size_law(p, fidelity=target))) == closed


@given(st.floats(0.02, 0.98), st.floats(0.01, 0.97))
def test_required_size_is_the_smallest(p, target):
    size = 1
    while slow_fidelity(p, size) < target - 1e-13:
        size += 1
    assert laws.required_group_size(p, fidelity=target) == size


def test_tiny_solve_rates_follow_poisson():
    # For p → 0 the count is Poisson(λ), φ = E[√k]/√λ, and the size is λ/p.
    needed = laws.required_group_size([1e-9, 1e-7], fidelity=0.95)
    k = np.arange(200)
    for p, size in zip([1e-9, 1e-7], needed, strict=True):
        rate = size * p
        phi = stats.poisson.pmf(k, rate) @ np.sqrt(k) / np.sqrt(rate)
        assert phi == pytest.approx(0.95, abs=1e-6)
        assert laws.fidelity(p, size) >= 0.95 > laws.fidelity(p, size - 1)


def test_high_fidelity_meets_the_closed_form():
    p = np.array([0.5, 0.01])
    exact = laws.required_group_size(p, fidelity=1 - 1e-6)
    assert exact / laws.group_size_law(p, fidelity=1 - 1e-6) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("p", [0.5, 0.3, 0.01, 1e-6])
def test_expansion_continues_the_sum(p):
    # Just below and just above Gp(1−p) = 1e5, where the sum hands over to the expansion.
    turn = 1e5 / (p * (1 - p))
    size = np.floor([turn * (1 - 1e-9) - 1, turn * (1 + 1e-9) + 1])
    low, high = 1 - laws.fidelity(p, size)
    assert low * size[0] == pytest.approx(high * size[1], rel=2e-9)


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_expansion_against_forty_digits(p):
    mp.mp.dps = 40
    size, exact_p = int(1.2e5 / (p * (1 - p))), mp.mpf(p)
    mean, spread = size * p, np.sqrt(size * p * (1 - p))
    first = int(mean - 14 * spread)
    log_weight = mp.log(mp.binomial(size, first)) + first * mp.log(exact_p)
    weight = mp.exp(log_weight + (size - first) * mp.log(1 - exact_p))
    total = mp.mpf(0)
    for k in range(first, int(mean + 14 * spread)):
        total += weight * mp.sqrt(mp.mpf(k) * (size - k)) / size
        weight *= mp.mpf(size - k) / (k + 1) * exact_p / (1 - exact_p)
    phi = total / mp.sqrt(exact_p * (1 - exact_p))
    assert abs(float(laws.fidelity(p, size)) - phi) < 1e-15


def test_rows_of_very_different_sizes_do_not_disturb_each_other():
    p = np.array([0.5, 1e-9, 0.2, 0.5, 0.0])
    size = np.array([2, 1e12, 1e5, 1e13, 8])
    together = laws.fidelity(p, size)
    alone = [float(laws.fidelity(x, y)) for x, y in zip(p, size, strict=True)]
    assert together.tolist() == alone
    assert together[2:4] == pytest.approx(
        1 - 1 / (8 * size[2:4] * p[2:4] * (1 - p[2:4])), abs=2e-10
    )


def test_limits_and_shapes():
    assert laws.fidelity([0.0, 1.0], 8).tolist() == [0, 0]
    assert laws.fidelity(0.5, 1) == 0
    assert laws.fidelity([[0.5], [0.1]], [2, 4, 8]).shape == (2, 3)
    assert laws.required_group_size([[0.0, 1.0]]).tolist() == [[np.inf, np.inf]]
    assert laws.group_size_law([0.0, 1.0]).tolist() == [np.inf, np.inf]
    assert np.ndim(laws.required_group_size(0.5)) == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: laws.fidelity(0.5, 0),
        lambda: laws.fidelity([0.5, 0.1], [1, 2, 3]),
        lambda: laws.required_group_size(0.5, fidelity=1.0),
        lambda: laws.required_group_size(0.5, fidelity=0.0),
        lambda: laws.required_group_size(0.5, fidelity=1 - 1e-10),
        lambda: laws.required_group_size(0.5, fidelity=float("nan")),
        lambda: laws.required_group_size(1e-16),
        lambda: laws.group_size_law(1.5),
    ],
)
def test_bad_input_is_one_line(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
