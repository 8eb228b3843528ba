"""What a rule implies, how two rules differ, and the limit of large groups by numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from laws_cases import dr_grpo, grpo, random_rule, rule

from dissensus import advantages, laws
from dissensus.errors import InputError


def sign(size):
    """2r − 1."""
    return rule(np.ones(size + 1), -np.ones(size + 1))


def test_a_rule_without_push_by_hand():
    found = laws.implications(dr_grpo(8), [0.1, 0.5], [3, 1])
    variance = np.array([0.09, 0.25])
    assert found.prompts.tolist() == [0.75, 0.25]
    assert found.contrast == pytest.approx(variance * 7 / 8)
    assert found.slope == pytest.approx([7 / 8, 7 / 8])
    assert found.objective == pytest.approx([0.7 / 8, 3.5 / 8])
    assert found.weight == pytest.approx([7 / 8, 7 / 8])
    assert found.silent_rate == pytest.approx([0.1**8 + 0.9**8, 2 * 0.5**8])
    assert found.mass == pytest.approx([0.27 / 0.52, 0.25 / 0.52])
    assert found.push == pytest.approx([0, 0], abs=1e-15)
    assert not found.has_push
    assert laws.silent_set(found.silent) == "k = 0 and k = 8"


def test_push_stands_beside_the_contrast():
    p = np.array([0.1, 0.5, 0.75])
    found = laws.implications(sign(4), p)
    contrast = 2 * p * (1 - p) * 3 / 4
    assert found.push == pytest.approx(2 * p - 1)
    assert found.contrast == pytest.approx(contrast)
    assert found.push_ratio == pytest.approx(np.abs(2 * p - 1).sum() / contrast.sum())
    assert found.has_push
    assert found.silent_rate.tolist() == [0, 0, 0]
    # One more correct rollout is worth 2 wherever it falls; E[W]/(p(1−p)) is 3/4 of that.
    assert found.slope == pytest.approx([2, 2, 2])
    assert found.weight == pytest.approx([1.5, 1.5, 1.5])


def test_slope_is_the_update_of_a_bernoulli_prompt_with_its_push():
    size, p = 4, 0.3
    drawn, total = random_rule(size, 7), 0.0
    for rewards in itertools.product([0, 1], repeat=size):
        k = sum(rewards)
        a = [drawn.positive[k] if r else drawn.negative[k] for r in rewards]
        total += (
            p**k * (1 - p) ** (size - k)
            * np.mean([x * (r - p) for x, r in zip(a, rewards, strict=True)])
        )  # fmt: skip
    assert laws.implications(drawn, p).slope == pytest.approx([total / (p * (1 - p))])


def test_mass_by_bin_sums_to_one_and_puts_p_1_into_the_last():
    found = laws.implications(grpo(8), [0.0, 0.05, 0.5, 0.95, 1.0])
    bins = found.mass_by_bin(10)
    assert bins.sum() == pytest.approx(1)
    assert bins[0] == pytest.approx(bins[9])
    assert bins[5] > bins[0]
    silent = laws.implications(rule(np.zeros(5), np.zeros(5)))
    assert np.isnan(silent.mass).all()
    assert silent.push_ratio == 0
    assert np.isinf(laws.implications(rule(np.ones(5), np.ones(5))).push_ratio)


@pytest.mark.parametrize(
    ("silent", "words"),
    [
        ([0, 4], "k = 0 and k = 4"),
        ([0, 2, 3, 4], "k = 0 and k ≥ 2"),
        ([0, 1, 4], "k ≤ 1 and k = 4"),
        ([1, 2, 4], "1 ≤ k ≤ 2 and k = 4"),
        ([0, 2, 4], "k = 0, k = 2 and k = 4"),
        ([0], "k = 0"),
        ([], "no k"),
        ([0, 1, 2, 3, 4], "every k"),
    ],
)
def test_silent_sets_in_words(silent, words):
    assert laws.silent_set(np.isin(np.arange(5), silent)) == words


def test_rules_are_compared_at_equal_pull():
    # At G = 3, W = 1 on k = 1 alone, or on k = 2 alone: E[W] = 3p(1−p)² and 3p²(1−p).
    hard = rule([0, 4.5, 0, 0], np.zeros(4))
    easy = rule([0, 0, 9.0, 0], np.zeros(4))
    found = laws.compare(hard, easy)
    assert found.first_leads == (pytest.approx((0.0, 0.5), abs=1e-12),)
    assert laws.compare(easy, hard).first_leads == (pytest.approx((0.5, 1.0), abs=1e-12),)
    # ∫p³(1−p)³ / ∫p²(1−p)⁴ = (3!3!/7!)/(2!4!/7!)
    assert found.cosine == pytest.approx(0.75, abs=1e-4)
    assert found.factor == pytest.approx(0.5)
    assert found.ratio == pytest.approx((1 - found.p) / found.p)
    # Each is 9 or 4.5 times m of a correct one: E[B] = E[W]·m·9/(m(1−m)·9) on its k.
    assert found.push_ratios == pytest.approx((1.5, 3.0))


def test_the_same_rule_at_another_scale_leads_nowhere():
    base = grpo(8)
    scaled = rule(3 * np.nan_to_num(base.positive), 3 * np.nan_to_num(base.negative))
    found = laws.compare(base, scaled)
    assert found.first_leads == ()
    assert found.factor == pytest.approx(1 / 3)
    assert found.cosine == pytest.approx(1)
    with pytest.raises(InputError, match="no emphasis"):
        laws.compare(base, rule(np.zeros(5), np.zeros(5)))


@pytest.mark.parametrize(
    "call",
    [
        lambda: laws.implications(grpo(4), 1.5),
        lambda: laws.implications(grpo(4), [0.5], [-1]),
        lambda: laws.implications(grpo(4), [0.5], [0]),
        lambda: laws.implications(grpo(4), [0.5, 0.2], [1, 2, 3]),
        lambda: laws.implications(grpo(4), [[0.5]]),
        lambda: laws.implications("grpo"),
    ],
)
def test_bad_input_is_refused(call):
    with pytest.raises(InputError):
        call()


def has_limit(name):
    profile = advantages.profile(name)
    return profile.limit is not None and not profile.is_ordered


# A limit that jumps, at p = .08 and .92 and at p = .6, is smeared around the jump by any finite G.
AWAY_FROM_JUMPS = {"vcrl": [0.3, 0.5, 0.7], "quantile": [0.1, 0.3, 0.9]}


@pytest.mark.parametrize("name", [n for n in advantages.names() if has_limit(n)])
def test_the_limit_by_numbers_is_the_declared_one_within_its_error(name):
    estimator, p = advantages.get(name), np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    context = advantages.neutral_context(estimator)
    found = laws.large_groups(
        lambda size: advantages.signature(estimator, size, context=context), p
    )
    expected = advantages.profile(name).limit.slope(p)
    factor = found.slope[2] / expected[2] if estimator.scope != "group" else 1.0
    wrong = np.abs(found.slope - factor * expected)
    assert (wrong <= found.slope_error + 1e-3 * np.abs(factor * expected)).all()
    is_smooth = np.isin(p, AWAY_FROM_JUMPS.get(name, p))
    assert (found.slope_error < 0.02 * np.abs(found.slope))[is_smooth].all()


def test_the_limit_of_objectives_is_counted_from_one_half():
    found = laws.large_groups(grpo, [0.2, 0.5, 0.9])
    expected = 2 * np.arcsin(np.sqrt([0.2, 0.5, 0.9])) - np.pi / 2
    assert (np.abs(found.objective - expected) <= found.objective_error + 1e-9).all()
    assert abs(found.objective[1]) < 1e-12
    assert found.objective_error.max() < 1e-3


def test_the_error_knows_when_groups_are_too_small_or_nothing_converges():
    near_zero = laws.large_groups(grpo, 1e-3)
    assert near_zero.slope_error > abs(near_zero.slope - 1 / np.sqrt(1e-3 * (1 - 1e-3))) > 1

    def kink(size):
        m = np.arange(size + 1) / size
        return rule(np.abs(m - 0.5), np.zeros(size + 1))

    found = laws.large_groups(kink, 0.5)  # converges as G^(−1/2), to 0
    assert abs(found.slope) <= 1.2 * found.slope_error < 0.05
    growing = laws.large_groups(
        lambda size: rule(np.full(size + 1, np.log(size)), np.zeros(size + 1)), 0.5
    )
    assert growing.slope_error > 1
