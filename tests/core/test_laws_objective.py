"""What a rule climbs, against the expected update of a one-parameter prompt, and mass shares."""

from __future__ import annotations

import itertools
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws_cases import GRID, big_math, dr_grpo, grpo, random_rule
from scipy import integrate

from dissensus import advantages, laws
from dissensus.errors import InputError

interior = st.floats(1e-3, 1 - 1e-3)


def expected_update(rule, p):
    """E[(1/G) Σ A_i s_i] of a Bernoulli-logit prompt, whose score is s_i = y_i − p."""
    total = 0.0
    for rewards in itertools.product([0, 1], repeat=rule.group_size):
        k = sum(rewards)
        weight = p**k * (1 - p) ** (rule.group_size - k)
        a = [rule.positive[k] if y else rule.negative[k] for y in rewards]
        total += weight * np.mean([x * (y - p) for x, y in zip(a, rewards, strict=True)])
    return total


@given(interior, st.integers(1, 6), st.integers(0, 1000))
def test_slope_is_the_expected_update_over_its_variance(p, size, seed):
    drawn = random_rule(size, seed)
    expected = expected_update(drawn, p) / (p * (1 - p))
    assert laws.objective_slope(drawn, p) == pytest.approx(expected, abs=1e-10)


@given(interior, st.integers(2, 50))
def test_without_push_the_slope_is_contrast_over_variance(p, size):
    expected = laws.expected_contrast(grpo(size), p) / (p * (1 - p))
    assert laws.objective_slope(grpo(size), p) == pytest.approx(expected, rel=1e-11, abs=0)


@given(interior, st.integers(1, 12), st.integers(0, 1000))
def test_objective_is_the_integral_of_the_slope(p, size, seed):
    drawn = random_rule(size, seed)
    area, _ = integrate.quad(lambda x: laws.objective_slope(drawn, x), 0, p, epsabs=1e-12)
    assert laws.implied_objective(drawn, p) == pytest.approx(area, abs=1e-9)


def test_objective_has_a_known_form_for_dr_grpo_and_for_large_groups():
    p = np.linspace(0, 1, 21)
    assert laws.implied_objective(dr_grpo(8), p) == pytest.approx(p * 7 / 8, abs=1e-14)
    assert laws.implied_objective(grpo(4096), p) == pytest.approx(
        laws.large_group_objective(p, "grpo"), abs=0.05
    )
    assert laws.large_group_objective([0.25, 1.0]) == pytest.approx([np.pi / 3, np.pi])
    assert laws.large_group_objective(0.25, "maxrl") == pytest.approx(np.log(0.25))
    assert laws.large_group_objective(0.25, "disco") == pytest.approx(np.log(1 / 3))
    assert laws.large_group_objective(0.0, "disco") == -np.inf


@pytest.mark.parametrize("size", [2, 8, 1024, 4096])
def test_error_against_sixty_digits(size):
    mp.mp.dps = 60
    # A pushing rule with steps that are exact numbers: A₊ = k + 1, A₋ = k.
    pushing = dr_grpo(size)._replace(
        positive=np.arange(size + 1.0) + 1, negative=np.arange(size + 1.0)
    )
    for p in GRID:
        # Its step is A₊(j+1) − A₋(j) = 2 for every j, so that F′ = 2 and F = 2p.
        assert laws.objective_slope(pushing, p) == pytest.approx(2, rel=1e-14, abs=0)
        assert laws.implied_objective(pushing, p) == pytest.approx(2 * p, rel=1e-14, abs=0)
        exact_p = mp.mpf(p)
        quadratic = pushing._replace(positive=(np.arange(size + 1.0)) ** 2)
        # A₊(j+1) − A₋(j) = j² + j + 1: moments of Binomial(G−1, p) by hand.
        mean = (size - 1) * exact_p
        exact = mean * (1 - exact_p) + mean**2 + mean + 1
        assert abs(float(laws.objective_slope(quadratic, p)) / exact - 1) < 1e-13


def test_weights_by_difficulty():
    p = np.array([0.02, 0.5, 0.9])
    assert laws.difficulty_weight(p, "grpo") == pytest.approx(1 / np.sqrt(p * (1 - p)))
    assert laws.difficulty_weight(p, "dr_grpo").tolist() == [1, 1, 1]
    assert laws.difficulty_weight(0.0, "grpo") == np.inf
    assert laws.difficulty_weight(p, grpo(8)) == pytest.approx(
        laws.expected_contrast(grpo(8), p) / (p * (1 - p)), rel=1e-12, abs=0
    )
    # At p → 0 only k = 1 counts: E[W] → G p sqrt(G−1)/G.
    assert laws.difficulty_weight(0.0, grpo(8)) == pytest.approx(np.sqrt(7))
    assert laws.difficulty_weight(p, dr_grpo(1)).tolist() == [0, 0, 0]
    assert laws.difficulty_weight(p, lambda x: 3 * x) == pytest.approx(3 * p)


def test_mass_shares_of_big_math(shared_data):
    k, problems = big_math(shared_data)
    p = k / 64
    extreme = ((p > 0) & (p < 0.1)) | ((p > 0.9) & (p < 1))
    medium = (p >= 0.4) & (p <= 0.6)

    def percent(mask, rule, **more):
        return round(100 * laws.mass_share(p, mask, problems, rule=rule, **more), 1)

    assert percent(extreme, "dr_grpo") == 13.9
    assert percent(extreme, "grpo") == 24.7
    assert percent(extreme, grpo(8)) == 16.5
    assert percent(extreme, "grpo", group_size=8) == 16.5
    assert percent(extreme, advantages.get("grpo"), group_size=8) == 16.5
    assert percent(medium, "dr_grpo") == 22.8
    assert percent(medium, "grpo") == 17.5


@pytest.mark.parametrize("name", ["grpo", "dapo", "dr_grpo", "rloo"])
def test_limits_of_registered_rules_are_those_of_large_groups(name):
    p = np.array([0.2, 0.5, 0.7])
    signature = advantages.signature(advantages.get(name), 512)
    assert laws.difficulty_weight(p, signature) == pytest.approx(
        laws.difficulty_weight(p, name), rel=3e-3
    )
    assert laws.gradient_mass(p, name, 512) == pytest.approx(laws.gradient_mass(p, name), rel=3e-3)


def test_mass_share_counts_prompts_and_ignores_unanimous_ones():
    p, mask = [0.1, 0.1, 0.5], [True, True, False]
    assert laws.mass_share(p, mask, rule="dr_grpo") == pytest.approx(0.18 / 0.43)
    assert laws.mass_share([0.1, 0.5], [True, False], [2, 1], rule="dr_grpo") == pytest.approx(
        0.18 / 0.43
    )
    assert laws.mass_share([0.0, 0.5], [True, False], rule="disco") == 0
    assert np.isnan(laws.mass_share([0.0, 1.0], [True, False]))
    assert laws.mass_share([0.5, 0.1], [True, False], rule=lambda p: p) == pytest.approx(
        0.125 / (0.125 + 0.009)
    )
    assert laws.gradient_mass([0.0, 0.5]).tolist() == [0.0, 0.5]


@pytest.mark.parametrize("name", ["lite_ppo", "ha_dw", "rl_zvp", "weighted(grpo, power(0.5))"])
@pytest.mark.parametrize("is_text", [True, False])
def test_mass_of_a_rule_that_needs_a_context_is_that_in_the_neutral_one(name, is_text):
    rule = advantages.get(name)
    expected = advantages.signature(rule, 8, context=advantages.neutral_context(rule)).contrast
    p = 0.3
    binomial = [math.comb(8, k) * p**k * (1 - p) ** (8 - k) for k in range(9)]
    found = laws.gradient_mass(p, name if is_text else rule, 8)
    assert found == pytest.approx(np.dot(binomial, expected))
    assert laws.mass_share([p, 0.5], [True, False], rule=name, group_size=8) > 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: laws.mass_share([0.5], [1.0]),
        lambda: laws.mass_share([0.5], [True], [-1.0]),
        lambda: laws.mass_share([0.5, 0.1], [True, False, True]),
        lambda: laws.mass_share([0.5], [True], rule="unheard of"),
        lambda: laws.mass_share([0.5], [True], rule=grpo(8), group_size=4),
        lambda: laws.mass_share([0.5], [True], rule=lambda p: p, group_size=4),
        lambda: laws.mass_share([0.5], [True], rule=advantages.get("grpo")),
        lambda: laws.difficulty_weight(0.5, 7),
        lambda: laws.large_group_objective(0.5, "unheard of"),
        lambda: laws.objective_slope(grpo(8), float("nan")),
    ],
)
def test_bad_input_is_one_line(call):
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
