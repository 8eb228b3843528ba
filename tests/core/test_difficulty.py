"""Beliefs about solve rates: against Bayes' rule written out, and against simulated policies."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats

from dissensus.core import advantages
from dissensus.core.difficulty import (
    DEFAULT_MODEL,
    SolveRateModel,
    SolveRatePosterior,
    neutral_model,
)
from dissensus.core.difficulty.drift import PooledDrift
from dissensus.core.difficulty.newcomers import Newcomers
from dissensus.errors import InputError

RATES = DEFAULT_MODEL.rates


def frozen_model(prior):
    """Solve rates that never move."""
    return SolveRateModel(np.array(prior), np.zeros(len(prior) - 1), np.zeros(len(prior) - 1))


def simulated_rates(rng, model, prompts, visits, speed=1.0):
    """(N, T) states of prompts whose rates move by the model, written without the package."""
    step = linalg.expm(model.generator * speed).cumsum(axis=1)
    states = np.empty((prompts, visits), dtype=int)
    states[:, 0] = rng.choice(model.states, size=prompts, p=model.prior)
    for t in range(1, visits):
        draw = rng.random((prompts, 1))
        states[:, t] = np.minimum((draw > step[states[:, t - 1]]).sum(axis=1), model.states - 1)
    return model.rates[states]


def follow(posterior, rng, rates):
    """Update on groups of 8 sampled from (N, T) rates; returns forecasts of unanimity."""
    prompts = np.arange(len(rates))
    chances, outcomes = [], []
    for column in rates.T:
        correct = rng.binomial(8, column)
        chances.append(posterior.forecast(8).unanimous.mean)
        outcomes.append((correct == 0) | (correct == 8))
        posterior.update(prompts, correct, 8)
    return np.array(chances).T, np.array(outcomes).T


def mean_log_loss(chances, outcomes):
    return -np.log(np.where(outcomes, chances, 1 - chances)).mean()


# ── Bayes' rule ──


def test_three_states_by_hand():
    """Of rates 0, ½, 1, one of two correct leaves only ½; two of two are 4 times as likely at 1."""
    posterior = SolveRatePosterior(3, model=frozen_model([0.25, 0.5, 0.25]))
    posterior.update([0, 1], correct=[1, 2], size=2)
    # A jump anywhere has chance 1e-3 between visits, less the share of "standing still".
    half, solved = posterior.beliefs([0, 1])
    assert half == pytest.approx([0, 1, 0], abs=1e-3)
    assert solved == pytest.approx([0, 1 / 3, 2 / 3], abs=1e-3)
    # All ways are alike here: 0.25 · 50 + (0 and 2/3) and so on, then once more for the stratum.
    seen = np.array([0.0, 4 / 3, 2 / 3])
    everyone = (50 * np.array([0.25, 0.5, 0.25]) + seen) / 52
    assert posterior.beliefs([2])[0] == pytest.approx((50 * everyone + seen) / 52)


def test_two_visits_against_the_formula():
    k, n = np.array([3, 0, 8]), np.array([8, 4, 9])
    posterior = SolveRatePosterior(3)
    posterior.update([0, 1, 2], k, n)
    belief = DEFAULT_MODEL.prior * stats.binom.pmf(k[:, None], n[:, None], RATES)
    belief /= belief.sum(axis=1, keepdims=True)
    Q = DEFAULT_MODEL.generator
    mirror = Q[::-1, ::-1]
    ways = [np.eye(21)]
    for generator, speeds in (
        (Q, (1 / 16, 1 / 4, 1, 4, 16)),
        (mirror, (1 / 4, 1, 4, 16)),
        ((Q + mirror) / 2, (1 / 2, 2, 8, 32)),
    ):
        ways += [0.999 * linalg.expm(s * generator) + 0.001 / 21 for s in speeds]
    ways[0] = 0.999 * np.eye(21) + 0.001 / 21
    weights = np.full(14, 0.2 / 13)
    weights[3] = 0.8
    moved = np.einsum("s,nj,sjk->nk", weights, belief, np.array(ways))
    # Beliefs are kept in float32.
    assert posterior.beliefs() == pytest.approx(moved, abs=1e-6)
    forecast = posterior.forecast(5)
    assert forecast.all_correct.mean == pytest.approx(moved @ RATES**5, abs=1e-6)
    assert forecast.all_wrong.mean == pytest.approx(moved @ (1 - RATES) ** 5, abs=1e-6)

    posterior.update([1], [2], 2)
    chance = RATES**2
    weights = weights * np.einsum("j,sjk,k->s", belief[1], np.array(ways), chance)
    assert posterior.drift.weights == pytest.approx(weights / weights.sum(), rel=2e-3)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 8)), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_groups_of_one_moment_add_up_in_any_order(groups, random):
    shuffled = list(groups)
    random.shuffle(shuffled)
    one, two, three = (SolveRatePosterior(5) for _ in range(3))
    for posterior in (one, two, three):
        posterior.update(np.arange(5), [1, 0, 8, 3, 4], 8)
    one.update(*zip(*groups, strict=True), 8)
    two.update(*zip(*shuffled, strict=True), 8)
    prompts = sorted({prompt for prompt, _ in groups})
    total = [sum(k for prompt, k in groups if prompt == p) for p in prompts]
    size = [8 * sum(prompt == p for prompt, _ in groups) for p in prompts]
    three.update(prompts, total, size)
    assert one.beliefs() == pytest.approx(two.beliefs(), abs=1e-12)
    assert one.beliefs() == pytest.approx(three.beliefs(), abs=1e-12)


def test_correct_and_wrong_are_treated_alike():
    model = DEFAULT_MODEL
    mirrored = SolveRateModel(model.prior[::-1], model.down[::-1], model.up[::-1])
    one, two = SolveRatePosterior(2, model=model), SolveRatePosterior(2, model=mirrored)
    for k in ([3, 8], [0, 7], [5, 8]):
        one.update([0, 1], k, 8)
        two.update([0, 1], 8 - np.array(k), 8)
    assert one.mean() == pytest.approx(1 - two.mean(), abs=1e-6)


def test_one_rollout_says_little_and_an_empty_group_nothing():
    posterior = SolveRatePosterior(3)
    before = posterior.mean()
    posterior.update([0, 1, 2], correct=[0, 1, 0], size=[0, 1, 1])
    assert posterior.visited.tolist() == [1, 2]
    posterior.update([], [], 8)
    wrong, right = posterior.mean()[2], posterior.mean()[1]
    assert wrong < before[0] < right
    alone = posterior.forecast(1)
    assert alone.unanimous.mean == pytest.approx([1, 1, 1])
    assert alone.contrast.mean.tolist() == [0, 0, 0]


def test_what_the_model_excludes_is_survived():
    posterior = SolveRatePosterior(1, model=frozen_model([0.3, 0.3, 0.4]))
    for k in (0, 4096, 0, 4096):
        posterior.update([0], [k], 4096)
        assert posterior.beliefs().sum() == pytest.approx(1)
        assert posterior.mean()[0] == pytest.approx(k / 4096, abs=2e-3)


def test_groups_of_one_moment_may_contradict_each_other():
    posterior = SolveRatePosterior(1)
    posterior.update([0], [0], 4096, now=3)
    posterior.update([0], [4096], 4096, now=3)
    assert posterior.beliefs(now=3).sum() == pytest.approx(1)


# ── a policy that moves ──


@pytest.mark.parametrize(("speed", "flip"), [(16.0, False), (4.0, False), (1.0, True)])
def test_pooled_drift_finds_how_the_policy_moves(speed, flip):
    rng = np.random.default_rng(1)
    start = SolveRateModel(np.ones(21), DEFAULT_MODEL.up, DEFAULT_MODEL.down)
    rates = simulated_rates(rng, start, prompts=600, visits=8, speed=speed)
    rates = 1 - rates if flip else rates
    posterior = SolveRatePosterior(600, model=start)
    deaf = SolveRatePosterior(600, model=start)
    deaf.drift.learn = lambda chances: None
    chances, outcomes = follow(posterior, np.random.default_rng(2), rates)
    without, _ = follow(deaf, np.random.default_rng(2), rates)
    assert mean_log_loss(chances[:, 1:], outcomes[:, 1:]) < mean_log_loss(
        without[:, 1:], outcomes[:, 1:]
    )
    ways = ["still", *[("up", s) for s in (1 / 16, 1 / 4, 1, 4, 16)]]
    ways += [("down", s) for s in (1 / 4, 1, 4, 16)] + ["both"] * 4
    found = ways[int(np.argmax(posterior.drift.weights))]
    assert found == ("down" if flip else "up", speed)


def test_a_policy_that_stands_still_is_told_from_a_fast_one():
    start = SolveRateModel(np.ones(21), DEFAULT_MODEL.up, DEFAULT_MODEL.down)
    rates = simulated_rates(np.random.default_rng(1), start, prompts=300, visits=1)
    posterior = SolveRatePosterior(300, model=start)
    follow(posterior, np.random.default_rng(2), np.repeat(rates, 12, axis=1))
    weights = posterior.drift.weights
    assert weights[[4, 5, 8, 9, 12, 13]].sum() < 1e-3  # speeds 4 and above
    assert weights[[0, 1, 2]].sum() > 0.2 / 13 * 3 * 2


def test_forecasts_of_the_model_itself_are_calibrated_and_intervals_hold():
    rng = np.random.default_rng(3)
    model = SolveRateModel(np.ones(21), np.full(20, 0.15), np.full(20, 0.05))
    rates = simulated_rates(rng, model, prompts=1500, visits=6)
    posterior = SolveRatePosterior(1500, model=model)
    chances, outcomes = follow(posterior, rng, rates)
    chances, outcomes = chances[:, 1:].ravel(), outcomes[:, 1:].ravel()
    for part in np.array_split(np.argsort(chances), 10):
        expected = chances[part]
        error = np.sqrt((expected * (1 - expected)).sum())
        assert abs((outcomes[part] - expected).sum()) < 4 * error
    # One move further, where the forecast is made for.
    step = linalg.expm(model.generator).cumsum(axis=1)
    state = np.searchsorted(model.rates, rates[:, -1])
    ahead = model.rates[np.minimum((rng.random((1500, 1)) > step[state]).sum(axis=1), 20)]
    unanimous = posterior.forecast(8, coverage=0.8).unanimous
    held = (unanimous.low <= ahead**8 + (1 - ahead) ** 8 + 1e-12) & (
        ahead**8 + (1 - ahead) ** 8 <= unanimous.high + 1e-12
    )
    assert held.mean() > 0.8 - 4 * np.sqrt(0.16 / 1500)


def test_what_was_learnt_of_the_population_fades_by_half():
    drift = PooledDrift(DEFAULT_MODEL, half_life=4.0)
    usual = drift.log_weights.copy()
    chances = np.ones((1, 14))
    chances[0, 7] = np.e**2
    drift.learn(chances)
    odds = drift.log_weights - usual
    assert odds[7] - odds[0] == pytest.approx(2)
    drift.learn(np.ones((4, 14)))
    odds = drift.log_weights - usual
    assert odds[7] - odds[0] == pytest.approx(1)

    newcomers = Newcomers(np.array([0.25, 0.5, 0.25]), strata=2, half_life=10.0)
    newcomers.learn(np.tile([1.0, 0.0, 0.0], (10, 1)), np.zeros(10, dtype=int))
    newcomers.learn(np.tile([0.0, 0.0, 1.0], (10, 1)), np.ones(10, dtype=int))
    assert newcomers.seen == pytest.approx(np.array([[5, 0, 0], [0, 0, 10]]))


def test_time_spreads_beliefs_and_no_time_does_not():
    posterior = SolveRatePosterior(1, model=neutral_model())
    posterior.update([0], [4], 8, now=10)
    spread = [np.ptp([posterior.quantile(q, now=now)[0] for q in (0.1, 0.9)]) for now in (10, 200)]
    assert spread[1] > 1.2 * spread[0]
    # At the same moment a second group adds to the first, and so does one that comes late.
    late, both = SolveRatePosterior(1), SolveRatePosterior(1)
    late.update([0], [4], 8, now=10)
    late.update([0], [8], 8, now=7)
    both.update([0], [12], 16, now=10)
    assert late.beliefs(now=10) == pytest.approx(both.beliefs(now=10), abs=1e-6)
    assert late.state_dict()["when"].tolist() == [10]


# ── what is asked of it ──


def test_quantiles_and_samples_are_of_the_same_distribution():
    posterior = SolveRatePosterior(2, model=frozen_model([0.25, 0.5, 0.25]))
    # The middle state stands for sin² of 22.5° to 67.5°; 0 and 1 for themselves.
    assert posterior.quantile([0.1, 0.9]).tolist() == [0, 1]
    assert posterior.quantile(0.375)[0] == pytest.approx(np.sin(np.deg2rad(33.75)) ** 2)
    assert posterior.quantile(0.25 + 1e-12)[0] == pytest.approx(np.sin(np.deg2rad(22.5)) ** 2)
    posterior.update([0], [3], 8)
    draws = posterior.sample(np.random.default_rng(0), np.zeros(20000, dtype=int))
    assert np.median(draws) == pytest.approx(posterior.quantile(0.5, [0])[0], abs=0.02)
    assert draws.mean() == pytest.approx(posterior.mean([0])[0], abs=0.02)
    again = posterior.sample(np.random.default_rng(0), np.zeros(20000, dtype=int))
    assert (draws == again).all()


def test_forecast_parts_agree():
    posterior = SolveRatePosterior(40)
    rng = np.random.default_rng(0)
    posterior.update(np.arange(30), rng.integers(0, 9, 30), 8)
    rule = advantages.signature(advantages.get("dr_grpo"), 6)
    forecast = posterior.forecast(6, signature=rule)
    assert forecast.unanimous.mean == pytest.approx(
        forecast.all_wrong.mean + forecast.all_correct.mean
    )
    # Dr. GRPO: E[W] = E[p(1−p)] (1 − 1/G).
    assert forecast.contrast.mean == pytest.approx(
        posterior.average(RATES * (1 - RATES)) * (1 - 1 / 6)
    )
    for each in forecast:
        assert (each.low <= each.high).all()
    assert (forecast.unanimous.low[:30] < forecast.unanimous.mean[:30]).all()
    some = posterior.forecast(6, [31, 4, 4], signature=rule)
    assert some.contrast.mean == pytest.approx(forecast.contrast.mean[[31, 4, 4]])
    assert posterior.forecast(6, np.empty(0, dtype=int)).unanimous.mean.shape == (0,)
    table = np.stack([RATES, RATES**2], axis=1)
    assert posterior.average(table)[:, 0] == pytest.approx(posterior.mean())


def test_newcomers_expect_what_their_stratum_showed():
    strata = np.repeat([0, 1, 2], [300, 300, 3])
    posterior = SolveRatePosterior(603, strata=strata)
    posterior.update(np.arange(290), np.zeros(290), 8)
    posterior.update(np.arange(300, 590), np.full(290, 8), 8)
    hard, easy, unknown = posterior.mean([295, 595, 602])
    assert hard < 0.15
    assert 0.3 < unknown < 0.7
    assert easy > 0.85
    posterior.grow(605, strata=[1, 3])
    assert posterior.mean([603])[0] == pytest.approx(easy)
    assert posterior.mean([604])[0] == pytest.approx(unknown)


def test_growing_keeps_what_was_known():
    posterior = SolveRatePosterior(2)
    posterior.update([1], [8], 8)
    before = posterior.beliefs()
    posterior.grow(5)
    assert (posterior.beliefs([0, 1]) == before).all()
    posterior.update([4], [0], 8)
    assert posterior.visited.tolist() == [1, 4]
    assert len(SolveRatePosterior(0).mean()) == 0


@pytest.mark.parametrize("strata", [None, np.arange(50) % 3])
def test_state_goes_through_a_file_and_goes_on_alike(strata):
    rng = np.random.default_rng(0)
    posterior = SolveRatePosterior(50, strata=strata, half_life=100.0)
    for step in range(6):
        prompts = rng.integers(0, 40, 16)
        posterior.update(prompts, rng.integers(0, 9, 16), 8, now=step)
    file = io.BytesIO()
    np.savez(file, **posterior.state_dict())
    file.seek(0)
    with np.load(file, allow_pickle=False) as saved:
        restored = SolveRatePosterior.from_state_dict(saved)
    for each in (posterior, restored):
        each.update([3, 45, 3], [8, 0, 7], 8, now=9)
    assert (posterior.beliefs(now=11) == restored.beliefs(now=11)).all()
    assert (posterior.drift.weights == restored.drift.weights).all()


def test_memory_is_for_visited_prompts():
    posterior = SolveRatePosterior(2_000_000)
    posterior.update(np.arange(0, 1_000_000, 1000), np.zeros(1000), 8)
    state = posterior.state_dict()
    assert sum(np.asarray(each).nbytes for each in state.values()) < 1000 * (4 * 21 + 16) + 2000
    assert posterior.mean(now=None).shape == (2_000_000,)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda p: p.update([3], [1], 8), "update: prompts must be ≥ 0 and below 3. Got 3. Hint:"),
        (lambda p: p.update([-1], [1], 8), "prompts must be ≥ 0"),
        (lambda p: p.update([0.5], [1], 8), "must be a list of whole numbers"),
        (lambda p: p.update([0], [9], 8), "update: correct must not exceed size. Got 9.0."),
        (lambda p: p.update([0, 1], [1, 1, 1], 8), "one count per prompt"),
        (lambda p: p.update([0], [1.5], 8), "'correct' parameter must be a whole number"),
        (lambda p: p.grow(2), "grow: prompts must be ≥ 3"),
        (lambda p: p.grow(4, strata=[1, 2]), "one stratum per added prompt"),
        (lambda p: p.quantile(1.5), "quantile: level must lie in [0, 1]. Got 1.5."),
        (lambda p: p.forecast(8, coverage=1), "coverage lie in (0, 1)"),
        (lambda p: p.forecast(0), "'group_size' parameter must be a whole number ≥ 1"),
        (lambda p: p.average(np.ones(3)), "one row per state, 21"),
        (lambda p: p.mean([7]), "below 3. Got 7"),
        (
            lambda p: p.forecast(8, signature=advantages.signature(advantages.get("grpo"), 4)),
            "the signature is of another group size",
        ),
        (lambda p: SolveRatePosterior(1, half_life=0), "half_life must be > 0"),
        (lambda p: SolveRatePosterior.from_state_dict({"version": 2}), "unknown version"),
        (lambda p: SolveRatePosterior.from_state_dict({"version": 1}), "a part is missing"),
        (lambda p: SolveRateModel(np.ones(3), np.ones(3), np.ones(2)), "3 to 201 states"),
        (lambda p: SolveRateModel(np.zeros(3), np.ones(2), np.ones(2)), "finite numbers > 0"),
    ],
)
def test_errors_say_what_is_wrong(call, text):
    with pytest.raises(InputError) as caught:
        call(SolveRatePosterior(3))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seen", [False, True])
def test_a_time_must_be_a_time(seen):
    posterior = SolveRatePosterior(1)
    if seen:
        posterior.update([0], [1], 8, now=1)
    with pytest.raises(InputError, match="now must be finite"):
        posterior.update([0], [1], 8, now=float("nan"))
    with pytest.raises(InputError, match="now must be finite"):
        posterior.mean(now=float("inf"))


def test_a_refused_growth_changes_nothing():
    posterior = SolveRatePosterior(2, strata=[0, 1])
    with pytest.raises(InputError):
        posterior.grow(4, strata=[1])
    posterior.grow(3, strata=[1])
    assert len(posterior) == 3
    assert posterior.mean().shape == (3,)


def test_a_state_that_names_a_prompt_twice_is_refused():
    posterior = SolveRatePosterior(3)
    posterior.update([0, 2], [1, 2], 8)
    state = posterior.state_dict() | {"visited": np.array([2, 2])}
    with pytest.raises(InputError, match="from_state_dict: visited prompts must ascend"):
        SolveRatePosterior.from_state_dict(state)
