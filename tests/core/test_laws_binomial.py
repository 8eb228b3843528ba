"""Rates, contrast and push of one prompt, against enumeration and 60-digit arithmetic."""

from __future__ import annotations

import itertools
import tracemalloc

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws_cases import GRID, dr_grpo, grpo, random_rule, rule
from scipy import stats

from dissensus import laws
from dissensus.errors import InputError

probabilities = st.floats(0, 1)
sizes = st.integers(1, 6)


def enumerate_groups(size, p):
    """Every outcome of a group: (rewards, probability)."""
    for rewards in itertools.product([0, 1], repeat=size):
        right = sum(rewards)
        yield rewards, p**right * (1 - p) ** (size - right)


@given(probabilities, sizes)
def test_unanimous_rates_are_the_probabilities_of_the_outcomes(p, size):
    outcomes = list(enumerate_groups(size, p))
    wrong = sum(w for r, w in outcomes if not any(r))
    right = sum(w for r, w in outcomes if all(r))
    assert laws.all_wrong_rate(p, size) == pytest.approx(wrong, rel=1e-12, abs=0)
    assert laws.all_correct_rate(p, size) == pytest.approx(right, rel=1e-12, abs=0)
    assert laws.unanimous_rate(p, size) == pytest.approx(wrong + right, rel=1e-12, abs=0)


@given(probabilities, sizes, st.integers(0, 1000))
def test_expected_contrast_is_the_mean_of_the_covariance_of_advantage_and_reward(p, size, seed):
    drawn = random_rule(size, seed)
    contrast = push = 0.0
    for rewards, weight in enumerate_groups(size, p):
        k = sum(rewards)
        a = np.array([drawn.positive[k] if r else drawn.negative[k] for r in rewards])
        contrast += weight * np.mean((a - a.mean()) * (np.array(rewards) - np.mean(rewards)))
        push += weight * a.mean()
    assert laws.expected_contrast(drawn, p) == pytest.approx(contrast, abs=1e-12)
    assert laws.expected_push(drawn, p) == pytest.approx(push, abs=1e-12)


@given(probabilities, st.integers(1, 200))
def test_dr_grpo_has_a_closed_form(p, size):
    expected = p * (1 - p) * (1 - 1 / size)
    assert laws.expected_contrast(dr_grpo(size), p) == pytest.approx(
        expected, rel=1e-11, abs=1e-300
    )


@given(probabilities, st.integers(1, 60))
def test_mean_centred_rules_do_not_push(p, size):
    for centred in (grpo(size), dr_grpo(size)):
        assert abs(laws.expected_push(centred, p)) < 1e-12


def test_ddof_and_eps_are_the_signatures_business():
    # Contrast of TRL's own GRPO, σ²/(σ·sqrt(8/7) + 1e-4): 0.468 at k = 4 of 8.
    std = np.sqrt(np.arange(9) * np.arange(8, -1, -1)) / 8
    scale = std * np.sqrt(8 / 7) + 1e-4
    trl = rule((1 - np.arange(9) / 8) / scale, -np.arange(9) / 8 / scale)
    assert trl.contrast[4] == pytest.approx(0.468, abs=5e-4)
    weights = stats.binom.pmf(np.arange(9), 8, 0.3)
    assert laws.expected_contrast(trl, 0.3) == pytest.approx(
        weights @ (std**2 / scale), rel=1e-13, abs=0
    )


@pytest.mark.parametrize("size", [1, 2, 3, 8, 64, 3001, 4096])
def test_error_against_sixty_digits(size):
    mp.mp.dps = 60
    choose = [mp.binomial(size, k) for k in range(size + 1)]
    root = [mp.sqrt(k * (size - k)) / size for k in range(size + 1)]
    for p in GRID:
        exact_p, q = mp.mpf(p), 1 - mp.mpf(p)
        for got, exact in (
            (laws.all_wrong_rate(p, size), q**size),
            (laws.all_correct_rate(p, size), exact_p**size),
            (laws.unanimous_rate(p, size), q**size + exact_p**size),
        ):
            if exact > 1e-290:
                assert abs(mp.mpf(float(got)) / exact - 1) < 2e-13
        if size == 1:
            continue
        weights = powers(choose, exact_p, q)
        contrast = mp.fsum(w * r for w, r in zip(weights, root, strict=True))
        assert abs(float(laws.expected_contrast(grpo(size), p)) / contrast - 1) < 1e-14
        variance = exact_p * q * (1 - mp.mpf(1) / size)
        assert abs(float(laws.expected_contrast(dr_grpo(size), p)) / variance - 1) < 1e-14
        phi = contrast / mp.sqrt(exact_p * q)
        assert abs(float(laws.fidelity(p, size)) / phi - 1) < 1e-14


def powers(choose, p, q):
    """C(G,k) p^k q^(G−k) for every k, by products."""
    size = len(choose) - 1
    up, down = [mp.mpf(1)], [mp.mpf(1)]
    for _ in range(size):
        up.append(up[-1] * p)
        down.append(down[-1] * q)
    return [c * up[k] * down[size - k] for k, c in enumerate(choose)]


@pytest.mark.parametrize("size", [2, 7, 1777, 3859, 4096])
def test_probabilities_sum_to_one(size):
    # A rule that gives 1 to everybody pushes by 1, and one that pays correct rollouts only by p.
    everybody, correct = np.ones(size + 1), rule(np.ones(size + 1), np.zeros(size + 1))
    assert laws.expected_push(rule(everybody, everybody), GRID) == pytest.approx(
        1, rel=2e-14, abs=0
    )
    assert laws.expected_push(correct, GRID) == pytest.approx(GRID, rel=2e-14, abs=0)


@pytest.mark.parametrize(("size", "p"), [(8, 1e-9), (64, 0.999), (1024, 0.3), (4096, 0.05)])
def test_single_counts_far_in_the_tail_keep_twelve_digits(size, p):
    mp.mp.dps = 60
    weights = powers([mp.binomial(size, k) for k in range(size + 1)], mp.mpf(p), 1 - mp.mpf(p))
    for k in {1, 2, size // 8, size // 2, size - 1} - {0}:
        if weights[k] > 1e-290:
            spike = np.zeros(size + 1)
            spike[k] = 1.0
            only_k = dr_grpo(size)._replace(contrast=spike)
            assert abs(float(laws.expected_contrast(only_k, p)) / weights[k] - 1) < 1e-12


def test_limits_and_shapes():
    assert laws.unanimous_rate([0.0, 1.0], [[1], [4096]]).tolist() == [[1, 1], [1, 1]]
    assert laws.all_wrong_rate([0.0, 1.0], 8).tolist() == [1, 0]
    assert laws.all_correct_rate([0.0, 1.0], 8).tolist() == [0, 1]
    pushing = random_rule(5, 3)
    assert laws.expected_contrast(pushing, [[0.0], [1.0]]).tolist() == [[0.0], [0.0]]
    assert laws.expected_push(pushing, 0.0) == pushing.negative[0]
    assert laws.expected_push(pushing, 1.0) == pushing.positive[5]
    assert np.ndim(laws.expected_contrast(pushing, 0.5)) == 0
    assert laws.expected_contrast(pushing, []).shape == (0,)
    assert laws.expected_contrast(grpo(1), 0.5) == 0


def test_many_solve_rates_at_large_groups_stay_in_small_memory():
    p = np.random.default_rng(0).random(3000)
    signature = dr_grpo(4096)
    tracemalloc.start()
    got = laws.expected_contrast(signature, p)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert got == pytest.approx(p * (1 - p) * (1 - 1 / 4096), rel=1e-13, abs=0)
    # The table of 3,000 × 4,097 numbers would alone hold 98 MB, and several are needed.
    assert peak < 100e6


@pytest.mark.parametrize(
    "call",
    [
        lambda: laws.unanimous_rate(1.1, 8),
        lambda: laws.unanimous_rate(-1e-12, 8),
        lambda: laws.unanimous_rate([0.5, float("nan")], 8),
        lambda: laws.unanimous_rate("many", 8),
        lambda: laws.unanimous_rate(None, 8),
        lambda: laws.unanimous_rate(0.5, 0),
        lambda: laws.unanimous_rate(0.5, 2.5),
        lambda: laws.unanimous_rate(0.5, float("inf")),
        lambda: laws.unanimous_rate([0.1, 0.2], [2, 4, 8]),
        lambda: laws.expected_contrast(grpo(8), 2.0),
        lambda: laws.expected_contrast(grpo(8)._replace(contrast=np.zeros(8)), 0.5),
        lambda: laws.expected_contrast(grpo(8)._replace(contrast=np.full(9, np.nan)), 0.5),
        lambda: laws.expected_push(grpo(8)._replace(positive=np.full(9, np.nan)), 0.5),
        lambda: laws.expected_contrast("grpo", 0.5),
    ],
)
def test_bad_input_is_one_line(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
