"""Uncertain solve rates: against scipy's beta-binomial, quadrature and 60-digit arithmetic."""

from __future__ import annotations

import json

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws_cases import dr_grpo, grpo, random_rule
from scipy import integrate, stats

from dissensus import laws
from dissensus.errors import InputError

shapes = st.floats(0.05, 50)


@given(shapes, shapes, st.integers(1, 64))
def test_rates_are_the_ends_of_the_beta_binomial(a, b, size):
    pmf = stats.betabinom(size, a, b).pmf
    assert laws.beta_all_wrong_rate(a, b, size) == pytest.approx(pmf(0), rel=1e-10)
    assert laws.beta_all_correct_rate(a, b, size) == pytest.approx(pmf(size), rel=1e-10)
    either = pmf(0) + pmf(size)
    assert laws.beta_unanimous_rate(a, b, size) == pytest.approx(min(either, 1), rel=1e-10)


@given(shapes, shapes, st.integers(1, 64), st.integers(0, 1000))
def test_expected_contrast_averages_over_the_counts(a, b, size, seed):
    drawn = random_rule(size, seed)
    weights = stats.betabinom(size, a, b).pmf(np.arange(size + 1))
    expected = weights @ drawn.contrast
    assert laws.beta_expected_contrast(drawn, a, b) == pytest.approx(expected, abs=1e-10)


def test_expected_contrast_is_the_mean_of_the_binomial_one():
    density = stats.beta(2.0, 3.5).pdf
    mean, _ = integrate.quad(lambda p: density(p) * laws.expected_contrast(grpo(8), p), 0, 1)
    assert laws.beta_expected_contrast(grpo(8), 2.0, 3.5) == pytest.approx(mean, rel=1e-7)


@pytest.mark.parametrize("size", [2, 8, 512, 4096])
def test_error_against_sixty_digits(size):
    mp.mp.dps = 60
    signature = grpo(size)
    corners = [
        (1e-6, 1e-6),
        (1e-6, 5.0),
        (0.3, 0.42),
        (1.0, 1.0),
        (40.0, 3.0),
        (1e6, 1e6),
        (2.0, 1e6),
    ]
    for a, b in corners:
        weight, exact_a, exact_b = mp.mpf(1), mp.mpf(a), mp.mpf(b)
        for j in range(size):
            weight *= (exact_b + j) / (exact_a + exact_b + j)
        wrong, total = weight, mp.mpf(0)
        for k in range(size):
            weight *= mp.mpf(size - k) / (k + 1) * (exact_a + k) / (exact_b + size - k - 1)
            total += weight * mp.sqrt((k + 1) * (size - k - 1)) / size
        if wrong > 1e-290:
            assert abs(float(laws.beta_all_wrong_rate(a, b, size)) / wrong - 1) < 1e-12
            assert abs(float(laws.beta_all_correct_rate(b, a, size)) / wrong - 1) < 1e-12
        assert abs(float(laws.beta_expected_contrast(signature, a, b)) / total - 1) < 1e-13


def test_a_group_of_millions_of_rollouts():
    sizes = np.array([1, 2_000_000])
    # E[p^G] = 1/(G + 1) where p is uniform, and B(a, b + G)/B(a, b) = 2/((G + 1)(G + 2)) for a = 2.
    assert laws.beta_all_correct_rate(1, 1, sizes) == pytest.approx(1 / (sizes + 1), rel=1e-12)
    expected = 2 / ((sizes + 1.0) * (sizes + 2))
    assert laws.beta_all_wrong_rate(2, 1, sizes) == pytest.approx(expected, rel=1e-12)


def test_a_sharp_belief_is_a_known_rate():
    got = laws.beta_expected_contrast(dr_grpo(8), 3e9, 7e9)
    assert got == pytest.approx(0.3 * 0.7 * 7 / 8, rel=1e-8)
    assert laws.beta_unanimous_rate(3e9, 7e9, 8) == pytest.approx(0.3**8 + 0.7**8, rel=1e-7)


@pytest.mark.parametrize(
    ("a", "b"), [(0.3, 0.42), (1.0, 3.0), (8.0, 8.0), (0.05, 0.2), (60.0, 20.0)]
)
def test_fit_finds_the_distribution_behind_exact_frequencies(a, b):
    k = np.arange(9)
    fit = laws.fit_beta(k, 8, weights=stats.betabinom(8, a, b).pmf(k))
    assert fit == pytest.approx((a, b), rel=1e-4)
    assert fit.mean == pytest.approx(a / (a + b), rel=1e-6)
    assert not fit.is_boundary


def test_fit_climbs_higher_than_its_neighbours():
    rng = np.random.default_rng(7)
    size = rng.integers(1, 17, size=400)
    k = rng.binomial(size, rng.beta(0.4, 0.9, size=400))
    fit = laws.fit_beta(k, size)

    def likelihood(a, b):
        return stats.betabinom(size, a, b).logpmf(k).sum()

    for factor_a, factor_b in [(1.02, 1), (0.98, 1), (1, 1.02), (1, 0.98), (1.02, 1.02), (2, 2)]:
        assert likelihood(*fit) > likelihood(fit.a * factor_a, fit.b * factor_b)


def test_fit_does_not_depend_on_order_or_on_how_groups_are_counted():
    k, size = np.array([0, 3, 8, 8, 1]), np.array([8, 8, 8, 8, 4])
    reference = laws.fit_beta(k, size)
    assert laws.fit_beta(k[::-1], size[::-1]) == reference
    assert laws.fit_beta(np.repeat(k, 3), np.repeat(size, 3)) == pytest.approx(reference, rel=1e-5)
    mirrored = laws.fit_beta(size - k, size)
    assert (mirrored.b, mirrored.a) == pytest.approx(reference, rel=1e-4)


def test_fit_at_its_boundaries():
    both = laws.fit_beta([0, 8, 8, 8], 8)
    assert both.is_boundary
    assert both.concentration == pytest.approx(1e-6)
    assert both.mean == pytest.approx(0.75)
    assert laws.beta_unanimous_rate(*both, 8) == pytest.approx(1, abs=1e-5)
    never = laws.fit_beta([0, 0, 0], 8)
    assert never.is_boundary
    assert never.mean < 1e-10
    assert laws.beta_all_wrong_rate(*never, 8) == pytest.approx(1, abs=1e-5)
    always = laws.fit_beta([4], 4)
    assert always.is_boundary
    assert laws.beta_all_correct_rate(*always, 8) == pytest.approx(1, abs=1e-5)
    alike = laws.fit_beta([4, 4, 4, 4], 8)
    assert alike.is_boundary
    assert alike.mean == pytest.approx(0.5)
    assert laws.beta_unanimous_rate(*alike, 8) == pytest.approx(2 * 0.5**8, rel=1e-3)


def test_fit_of_prompts_that_are_all_alike_says_so():
    # Exact binomial frequencies: the likelihood rises for ever, by less than rounding at the end.
    k = np.arange(9)
    for p in (0.3, 0.5):
        fit = laws.fit_beta(k, 8, weights=stats.binom.pmf(k, 8, p))
        assert fit.is_boundary
        assert fit.mean == pytest.approx(p, rel=1e-6)


def test_fit_of_a_population_that_is_nearly_always_unanimous():
    k = np.concatenate([np.zeros(30_000), np.full(20_000, 8), np.arange(1, 8)])
    fit = laws.fit_beta(k, 8)
    measured = np.mean((k == 0) | (k == 8))
    assert not fit.is_boundary
    assert laws.beta_unanimous_rate(*fit, 8) == pytest.approx(measured, abs=1e-4)


def test_unanimity_of_a_real_run(shared_data):
    visits = json.loads((shared_data / "one_shot_rlvr_group_accuracy.json").read_text())
    first = np.rint([8 * v[0] for v in visits.values()])
    every = np.rint(8 * np.concatenate([np.array(v) for v in visits.values()]))

    def unanimous_percent(k):
        return round(100 * float(np.mean((k == 0) | (k == 8))), 1)

    assert unanimous_percent(first) == 43.9
    assert unanimous_percent(every) == 49.0
    assert len(every) == 64_000
    # The mean prompt is split far more often than the population.
    assert round(100 * float(laws.unanimous_rate(first.mean() / 8, 8)), 1) == pytest.approx(
        3.9, abs=0.1
    )
    assert laws.beta_unanimous_rate(*laws.fit_beta(first, 8), 8) == pytest.approx(0.439, abs=0.01)
    assert laws.beta_unanimous_rate(*laws.fit_beta(every, 8), 8) == pytest.approx(0.490, abs=0.005)


@pytest.mark.parametrize(
    "call",
    [
        lambda: laws.beta_unanimous_rate(0.0, 1.0, 8),
        lambda: laws.beta_unanimous_rate(1.0, float("inf"), 8),
        lambda: laws.beta_unanimous_rate(1.0, float("nan"), 8),
        lambda: laws.beta_unanimous_rate([1.0, 2.0], [1.0, 2.0, 3.0], 8),
        lambda: laws.beta_expected_contrast(grpo(8), -1.0, 1.0),
        lambda: laws.fit_beta([], 8),
        lambda: laws.fit_beta([9], 8),
        lambda: laws.fit_beta([1, 0], 1),
        lambda: laws.fit_beta([1, 0], 8, weights=[0, 0]),
        lambda: laws.fit_beta([1, 0], 8, weights=[-1, 1]),
        lambda: laws.fit_beta([0.5], 8),
    ],
)
def test_bad_input_is_one_line(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
