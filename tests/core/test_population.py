"""The distribution of solve rates behind counts, and everything that counts allow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from dissensus import advantages, laws
from dissensus.core.population.beta_mixture import fit_beta_mixture
from dissensus.core.population.compatible import compatible_with
from dissensus.core.population.counts import HANDS, Counts
from dissensus.core.population.estimate import fit_population
from dissensus.core.population.interior import largest_values
from dissensus.core.population.npmle import fit_npmle
from dissensus.core.population.population import Population
from dissensus.core.population.rates import likelihood, solve_rates
from dissensus.errors import InputError
from dissensus.lab.paper.data import big_math

SIZES = np.array([2, 4, 8])


def uniform_counts(size: int = 8, each: int = 500) -> Counts:
    """Counts of p ~ U(0, 1): every k equally often."""
    return Counts.from_groups(np.arange(size + 1), size, weights=np.full(size + 1, each))


# ---- counts ----------------------------------------------------------------------------------


def test_counts_are_summed_by_cell_and_prompt():
    counts = Counts.from_groups([0, 0, 2, 1], [2, 2, 2, 1], prompts=[5, 5, 5, 9])
    cells = dict(zip(zip(counts.correct, counts.size, strict=True), counts.groups, strict=True))
    assert cells == {(0, 2): 2, (2, 2): 1, (1, 1): 1}
    assert counts.table.shape[1] == 2
    assert (counts.usual_size(), counts.largest_size) == (2, 2)
    assert counts.unanimous_shares(2) == (pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_many_prompts_share_hands_and_none_is_split():
    rng = np.random.default_rng(3)
    prompts = np.repeat(np.arange(5000), 3)
    counts = Counts.from_groups(rng.integers(0, 5, 15000), 4, prompts=prompts, rng=rng)
    assert counts.table.shape[1] <= HANDS
    assert counts.total == 15000
    # Whole prompts of three groups each.
    assert (counts.table.sum(axis=0) % 3 == 0).all()


def test_large_groups_keep_their_mean_and_their_pairs():
    counts = Counts.from_groups([300, 10], [400, 400]).thinned()
    assert counts.size.tolist() == [128.0] * len(counts.size)
    share = counts.groups / counts.total
    k, n = counts.correct, counts.size
    assert share @ (k / n) == pytest.approx((300 + 10) / 800)
    pairs = share @ (k * (k - 1) / (n * (n - 1)))
    assert pairs == pytest.approx((300 * 299 + 10 * 9) / (400 * 399) / 2)


def test_large_groups_are_reported_as_they_were_recorded():
    counts = Counts.from_groups([0, 256, 256, 40], 256)
    assert (counts.usual_size(), counts.largest_size) == (256, 256)
    assert counts.unanimous_shares(256) == (0.25, 0.5)
    # And fitted all the same: half of the groups must be unanimous at any size.
    assert 0.5 < fit_population(counts).population.unanimous_rate(128) < 1.0


def test_prompts_of_another_length_are_refused():
    with pytest.raises(InputError, match="prompts"):
        Counts.from_groups([0, 1, 2], 2, prompts=[1, 2])


@pytest.mark.parametrize(
    ("correct", "size", "said"), [([3], [2], "exceed"), ([0], [0], "scored"), ([0.5], [2], "whole")]
)
def test_impossible_counts_are_refused(correct, size, said):
    with pytest.raises(InputError, match=said):
        Counts.from_groups(correct, size)


# ---- the fits --------------------------------------------------------------------------------


def test_npmle_gives_the_unbiased_rates_within_the_recorded_size():
    # p ~ U(0, 1): P(unanimous at G) = 2/(G+1), and counts of 8 determine it for every G ≤ 8.
    fitted = Population(solve_rates(), fit_npmle(uniform_counts()))
    np.testing.assert_allclose(fitted.unanimous_rate(SIZES), 2 / (SIZES + 1), atol=2e-4)
    np.testing.assert_allclose(fitted.all_wrong_rate(SIZES), 1 / (SIZES + 1), atol=2e-4)


def test_npmle_is_at_least_as_likely_as_the_truth():
    rng = np.random.default_rng(0)
    p = rng.choice([0.1, 0.6], 4000)
    counts = Counts.from_groups(rng.binomial(8, p), 8)
    k = np.arange(9)
    truth = stats.binom.pmf(k[:, None], 8, [0.1, 0.6]).mean(axis=1)[counts.correct.astype(int)]
    chance = likelihood(counts.correct, counts.size, solve_rates()) @ fit_npmle(counts)
    assert counts.groups @ np.log(chance) >= counts.groups @ np.log(truth) - 0.5


def test_npmle_of_one_rollout_groups_and_ragged_ones():
    counts = Counts.from_groups([0, 1, 0, 3, 4, 5], [1, 1, 3, 3, 5, 5], weights=[20] * 6)
    weights = fit_npmle(counts)
    assert weights.sum() == pytest.approx(1.0)
    assert (weights > 0).all()


def test_a_mixture_of_two_is_found():
    rng = np.random.default_rng(1)
    p = np.concatenate([rng.beta(2, 20, 30000), rng.beta(20, 2, 30000)])
    counts = Counts.from_groups(rng.binomial(8, p), 8)
    found = fit_beta_mixture(counts, 2, fit_npmle(counts))
    np.testing.assert_allclose(found.a / (found.a + found.b), [2 / 22, 20 / 22], atol=0.01)
    np.testing.assert_allclose(found.weights, [0.5, 0.5], atol=0.02)
    grid = Population(solve_rates(), found.on_rates(solve_rates()))
    exact = found.weights @ np.array(
        [laws.beta_unanimous_rate(a, b, 16) for a, b in zip(found.a, found.b, strict=True)]
    )
    assert grid.unanimous_rate(16) == pytest.approx(exact, abs=1e-4)


def test_few_groups_get_a_smooth_fit_and_many_the_one_that_predicts_held_out_prompts():
    rng = np.random.default_rng(2)
    few = fit_population(Counts.from_groups(rng.binomial(8, rng.beta(1, 1, 40)), 8))
    assert few.population.kind.startswith("beta mixture")
    lumps = rng.choice([0.02, 0.35, 0.95], 20000)
    many = fit_population(Counts.from_groups(rng.binomial(8, lumps), 8))
    scores = {each.name: each.heldout for each in many.candidates}
    assert scores["npmle"] > scores["beta mixture of 1"]
    assert many.allowed.holds(many.population.weights)


def test_single_rollouts_say_nothing():
    with pytest.raises(InputError, match="two or more"):
        fit_population(Counts.from_groups([0, 1, 1], 1))


@pytest.mark.parametrize("k", [0, 8])
def test_everything_unanimous_is_no_error(k):
    found = fit_population(Counts.from_groups([k] * 30, 8))
    assert found.population.unanimous_rate(8) > 0.9
    low, high = found.allowed.range_of(laws.unanimous_rate(solve_rates(), 8))
    assert low[0] < found.population.unanimous_rate(8) <= high[0] + 1e-9


# ---- what counts allow -----------------------------------------------------------------------


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_a_bound_is_never_below_what_can_be_reached(seed):
    rng = np.random.default_rng(seed)
    m, d = 12, 3
    R, start = rng.normal(size=(d, m)), rng.dirichlet(np.ones(m))
    b = R @ start
    theta = rng.normal(size=(4, m))
    bounds = largest_values(theta, R, b, start)
    points = rng.dirichlet(np.full(m, 0.3), size=400)
    near = 0.5 * points + 0.5 * start
    reached = [p for p in np.concatenate([points, near]) if np.linalg.norm(R @ p - b) <= 1]
    for p in reached:
        assert (theta @ p <= bounds + 1e-9).all()


@pytest.mark.parametrize("seed", range(5))
def test_bounds_agree_with_a_linear_programme(seed):
    # With one row the ball is an interval, and the problem a linear programme.
    rng = np.random.default_rng(seed)
    m = 30
    R, start = 5 * rng.normal(size=(1, m)), rng.dirichlet(np.ones(m))
    theta = rng.normal(size=m)
    b = R @ start
    found = optimize.linprog(
        -theta, A_ub=np.vstack([R, -R]), b_ub=[b[0] + 1, 1 - b[0]], A_eq=np.ones((1, m)), b_eq=[1]
    )
    (bound,) = largest_values(theta[None, :], R, b, start)
    assert bound == pytest.approx(-found.fun, abs=3e-4 * np.ptp(theta))
    assert bound >= -found.fun - 1e-9


def test_what_groups_of_8_can_tell_of_groups_of_32_on_big_math():
    # theory: even with infinite data the rate at G = 32 is only known to lie in [18.3, 21.7] %.
    data = big_math()
    eight = stats.hypergeom.pmf(np.arange(9)[:, None], 64, data.correct_of_64, 8) @ data.problems
    counts = Counts.from_groups(np.arange(9), 8, weights=np.round(eight * 1e4))
    allowed = compatible_with(counts, Population(solve_rates(), fit_npmle(counts)))
    low, high = allowed.range_of(laws.unanimous_rate(solve_rates(), 32))
    assert low[0] == pytest.approx(0.183, abs=0.003)
    assert high[0] == pytest.approx(0.217, abs=0.003)


def test_within_the_recorded_size_the_interval_is_the_usual_one():
    counts = uniform_counts(each=2000)
    allowed = compatible_with(counts, Population(solve_rates(), fit_npmle(counts)))
    low, high = allowed.range_of(laws.unanimous_rate(solve_rates(), 8))
    share, groups = 2 / 9, 18000
    usual = 1.96 * np.sqrt(share * (1 - share) / groups)
    assert (low[0], high[0]) == pytest.approx((share - usual, share + usual), abs=usual / 5)


def test_repeated_visits_widen_it_as_far_as_prompts_differ():
    rng = np.random.default_rng(4)
    p = np.repeat(rng.choice([0.0, 1.0], 400), 25)  # each prompt right or wrong for good
    prompts = np.repeat(np.arange(400), 25)
    k = rng.binomial(8, p)

    def width(prompts):
        counts = Counts.from_groups(k, 8, prompts=prompts)
        allowed = compatible_with(counts, Population(solve_rates(), fit_npmle(counts)))
        low, high = allowed.range_of(laws.all_correct_rate(solve_rates(), 8))
        return high[0] - low[0], allowed.clustering

    (clustered, factor), (independent, one) = width(prompts), width(None)
    assert clustered / independent == pytest.approx(5.0, rel=0.15)  # sqrt(25 visits)
    assert one < factor


def test_correct_and_wrong_are_alike():
    rng = np.random.default_rng(5)
    k, prompts = rng.binomial(6, rng.beta(0.5, 1.5, 900)), np.repeat(np.arange(300), 3)
    ends = []
    for correct in (k, 6 - k):
        counts = Counts.from_groups(correct, 6, prompts=prompts)
        allowed = compatible_with(counts, Population(solve_rates(), fit_npmle(counts)))
        ends.append(allowed.range_of(laws.unanimous_rate(solve_rates(), 16)))
    np.testing.assert_allclose(np.concatenate(ends[0]), np.concatenate(ends[1]), atol=1e-3)


def test_a_ratio_lies_between_its_ends():
    counts = uniform_counts()
    fitted = Population(solve_rates(), fit_npmle(counts))
    allowed = compatible_with(counts, fitted)
    mass = laws.expected_contrast(advantages.signature(advantages.get("dr_grpo"), 8), fitted.rates)
    hard = np.where(fitted.rates < 0.3, mass, 0.0)
    low, high = allowed.range_of_ratio(hard, mass)
    # Of ∫ p(1−p) dp = 1/6 the part below .3 is .3²/2 − .3³/3 = .036.
    assert 0 <= low[0] < 0.036 * 6 < high[0] < 1
    whole = allowed.range_of_ratio(mass, mass)
    assert (whole.low[0], whole.high[0]) == pytest.approx((1.0, 1.0), abs=5e-3)
