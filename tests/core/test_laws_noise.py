"""Signal to noise of a batch update: closed forms, a simulation, and where two sizes are even."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws_cases import dr_grpo, grpo, random_rule, rule

from dissensus import laws
from dissensus.errors import InputError

SIZES = (2, 4, 8, 32)


def simulate(rule, rates, *, groups, prompts, noise, own, rng):
    """Signal to noise of simulated batches of as many groups: scores (r − p)·δ + noise."""
    size, dims = rule.group_size, 6
    plus, minus = np.nan_to_num(rule.positive), np.nan_to_num(rule.negative)
    common = np.eye(dims)[0]
    p = rates[rng.integers(len(rates), size=prompts)]
    delta = common + rng.normal(size=(prompts, dims)) * np.sqrt(own / dims)
    correct = rng.random((prompts, size)) < p[:, None]
    scores = (correct - p[:, None])[:, :, None] * delta[:, None, :]
    scores += rng.normal(size=scores.shape) * np.sqrt(noise / dims)
    k = correct.sum(axis=1)
    advantage = np.where(correct, plus[k][:, None], minus[k][:, None])
    update = (advantage[:, :, None] * scores).mean(axis=1)
    mean = update.mean(axis=0)
    return np.linalg.norm(mean) / np.sqrt(update.var(axis=0).sum() / groups)


@pytest.mark.parametrize("make", [grpo, dr_grpo, lambda size: random_rule(size, 3)])
@pytest.mark.parametrize(("noise", "own"), [(20.0, 0.0), (0.5, 2.0)])
def test_simulated_batches_have_the_predicted_signal_to_noise(make, noise, own):
    rates = np.array([0.05, 0.4, 0.9])
    for size in (2, 8):
        prompts = 60_000 if make is not grpo else 40_000
        found = simulate(
            make(size), rates, groups=1000 / size, prompts=prompts, noise=noise, own=own,
            rng=np.random.default_rng(size),
        )  # fmt: skip
        said = laws.signal_to_noise(
            make(size), rates, score_noise=noise / (1 + own), common=1 / (1 + own)
        )
        assert abs(said) == pytest.approx(found, rel=0.06)


@pytest.mark.parametrize("size", SIZES)
def test_where_score_noise_dominates_two_rules_by_hand(size):
    p = np.array([0.1, 0.5, 0.7])
    variance = float(np.mean(p * (1 - p))) * (1 - 1 / size)
    assert laws.signal_to_noise(dr_grpo(size), p) == pytest.approx(np.sqrt(1000 * variance))
    std = laws.fidelity(p, size) * np.sqrt(p * (1 - p))
    split = np.mean(1 - p**size - (1 - p) ** size)
    expected = np.sqrt(1000) * std.mean() / np.sqrt(split)
    assert laws.signal_to_noise(grpo(size), p) == pytest.approx(expected)


def test_pairs_by_hand():
    # k = 1 of 2 at p = ½ in half of the groups: W = ½, A = ±1, mean A² = 1.
    found = laws.update_moments(grpo(2), [0.0, 0.5, 1.0])
    np.testing.assert_allclose(found[1:], [[0, 0.25, 0], [0, 0.125, 0], [0, 0.25, 0]], atol=1e-15)
    # 2r − 1 moves unanimous groups too: c = m(1−p) + (1−m)p = ½ at p = ½, and mean A² = 1.
    sign = rule(np.ones(3), -np.ones(3))
    # W = ¼·2 in the half that is split.
    moments = laws.update_moments(sign, 0.5)
    np.testing.assert_allclose(moments, [0.25, 0.5, 0.25, 0.5], atol=1e-15)
    # SNR² = (1000/2)·ρ¼ / (¼ − ρ¼ + 4·½), ρ = ½
    said = laws.signal_to_noise(sign, 0.5, score_noise=4.0, common=0.5)
    assert said == pytest.approx(np.sqrt(500 * 0.125 / 2.125))


@settings(max_examples=40)
@given(
    p=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4),
    size=st.integers(2, 24),
    seed=st.integers(0, 99),
    scale=st.floats(0.1, 10.0),
    noise=st.floats(0.01, 1e4),
)
def test_scale_rollouts_and_the_limit(p, size, seed, scale, noise):
    own = random_rule(size, seed)
    scaled = rule(np.nan_to_num(own.positive) * scale, np.nan_to_num(own.negative) * scale)
    for options in ({}, {"score_noise": noise, "common": 0.7}):
        value = laws.signal_to_noise(own, p, **options)
        assert laws.signal_to_noise(scaled, p, **options) == pytest.approx(value, rel=1e-6)
        four = laws.signal_to_noise(own, p, rollouts=4000, **options)
        assert four == pytest.approx(2 * value, rel=1e-6)
    high = 1e12
    limit = laws.signal_to_noise(own, p, score_noise=high, common=0.7) / np.sqrt(0.7 / high)
    assert limit == pytest.approx(laws.signal_to_noise(own, p), rel=1e-5, abs=1e-9)
    signal = laws.update_moments(own, p).signal
    slope = laws.objective_slope(own, p) * np.array(p) * (1 - np.array(p))
    np.testing.assert_allclose(signal, slope, atol=1e-10)


@given(p=st.lists(st.floats(0.001, 0.999), min_size=1, max_size=5), size=st.integers(2, 40))
def test_larger_groups_are_never_noisier_under_dr_grpo(p, size):
    small, large = (laws.signal_to_noise(dr_grpo(G), p) for G in (size, size + 1))
    assert large > small


def test_under_grpo_larger_groups_can_be_noisier():
    """Every split group adds the same noise, and large groups of hard prompts are just split."""
    p = [0.5, 0.03]
    at = [laws.signal_to_noise(grpo(size), p) for size in (2, 16, 32)]
    assert at[0] < at[2] < at[1]


@pytest.mark.parametrize("make", [grpo, dr_grpo])
@pytest.mark.parametrize("common", [0.3, 1.0])
def test_at_the_even_noise_two_sizes_are_even_and_beyond_it_the_second_leads(make, common):
    p, weights = [0.0, 0.1, 0.6], [2, 1, 1]
    even = laws.even_noise(make(4), make(8), p, weights, common=common)
    assert 0 < even < np.inf

    def ratio(noise):
        four, eight = (
            laws.signal_to_noise(make(size), p, weights, score_noise=noise, common=common)
            for size in (4, 8)
        )
        return eight / four

    assert ratio(even) == pytest.approx(1.0)
    assert ratio(even / 2) < 1 < ratio(2 * even)


def test_no_update_has_no_ratio():
    assert np.isnan(laws.signal_to_noise(grpo(8), [0.0, 1.0]))
    assert np.isnan(laws.even_noise(grpo(4), grpo(8), [0.0, 1.0]))
    assert laws.even_noise(grpo(4), grpo(4), 0.3) == np.inf


@pytest.mark.parametrize(
    "options",
    [
        {"score_noise": 0.0},
        {"score_noise": 1.0, "common": 0.0},
        {"rollouts": -1.0},
        {"weights": [-1.0]},
        {"weights": [0.0]},
    ],
)
def test_bad_arguments_are_refused(options):
    with pytest.raises(InputError):
        laws.signal_to_noise(grpo(4), 0.5, **options)
