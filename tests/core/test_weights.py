"""Weights: mean one, the formula that each states, and what it makes a rule climb."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from dissensus import RewardGroups, advantages, laws
from dissensus.core.advantages import AdvantageEstimator, Context, EstimatorState, weights
from dissensus.core.advantages.weights import WEIGHTS, Weight
from dissensus.errors import InputError, MissingContextError

# u of k correct of G, written from the formulas and not from the package.
BY_HAND = {
    "power": (weights.power(0.5), lambda k, n: (math.sqrt(k * (n - k)) / n) ** 0.5),
    "power below 0": (weights.power(-1.0), lambda k, n: n / math.sqrt(k * (n - k))),
    "focal": (weights.focal(2.0), lambda k, n: (1 - k / n) ** 2),
    "arcsine": (weights.arcsine(0.5), lambda k, n: (n + 1) / math.sqrt((k + 0.5) * (n - k + 0.5))),
    "entropy": (
        weights.entropy(),
        lambda k, n: -(k * math.log(k / n) + (n - k) * math.log(1 - k / n)) / n,
    ),
    "target": (weights.target(0.25, 0.5), lambda k, n: math.exp(-2 * (k / n - 0.25) ** 2)),
    "unanimous_to": (weights.unanimous_to(0.1), lambda k, n: 1.0),
    "learned_bins": (weights.learned_bins(), lambda k, n: 1.0),
    "schedule": (
        weights.schedule(weights.power(1.0), weights.power(0.0), 0, 10),
        lambda k, n: math.sqrt(k * (n - k)) / n,
    ),
}
ALL = [weight for weight, _ in BY_HAND.values()]


def pushing(groups: RewardGroups, _: Context) -> np.ndarray:
    """2r − 1: it gives something to unanimous groups."""
    return 2 * np.nan_to_num(groups.rewards) - 1


SIGN = AdvantageEstimator("sign", pushing)


def context_of(groups: RewardGroups, **more: object) -> Context:
    return Context(state=EstimatorState(), step=0, lengths=np.ones(groups.n_rollouts), **more)


def ratio(weight: Weight, groups: RewardGroups, rule: AdvantageEstimator | str = "grpo"):
    """w of each rollout that the rule moves, NaN for the others."""
    rule = advantages.get(rule) if isinstance(rule, str) else rule
    context = context_of(groups)
    before, after = rule(groups, context), advantages.weighted(rule, weight)(groups, context)
    assert not after[before == 0].any()
    return np.divide(after, before, out=np.full(len(after), np.nan), where=before != 0)


def test_every_weight_is_covered_here():
    assert {type(weight).__name__ for weight in ALL} == set(WEIGHTS)
    assert not set(WEIGHTS) & set(advantages.names())


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("size", [4, 8])
def test_the_weight_of_each_k_is_that_of_the_formula(name, size):
    weight, formula = BY_HAND[name]
    k = np.arange(1, size)
    groups = RewardGroups.from_dense((np.arange(size) < k[:, None]).astype(float))
    expected = np.array([formula(int(each), size) for each in k])
    found = ratio(weight, groups).reshape(len(k), size)
    np.testing.assert_allclose(found, np.tile(expected / expected.mean(), (size, 1)).T, rtol=1e-12)


@st.composite
def batches(draw):
    size = draw(st.integers(2, 40))
    values = st.sampled_from([0.0, 1.0, 1.0, float("nan")])
    rewards = np.array(draw(st.lists(values, min_size=size, max_size=size)))
    ids = np.array(draw(st.lists(st.integers(0, 5), min_size=size, max_size=size)))
    return RewardGroups.from_flat(rewards, ids)


@pytest.mark.parametrize("weight", ALL, ids=repr)
@settings(max_examples=40)
@given(groups=batches())
def test_weights_have_mean_one_where_they_act_and_make_no_push(weight, groups):
    found = ratio(weight, groups)
    if (np.nan_to_num(found) > 0).any():
        assert np.nanmean(found) == pytest.approx(1.0)
    after = advantages.weighted("grpo", weight)(groups, context_of(groups))
    np.testing.assert_allclose(groups.sum_by_group(after), 0, atol=1e-9)


@pytest.mark.parametrize("weight", ALL, ids=repr)
def test_the_order_of_rows_does_not_matter(weight):
    rng = np.random.default_rng(0)
    rewards, ids = rng.integers(0, 2, 60).astype(float), rng.integers(0, 9, 60)
    order = rng.permutation(60)
    rule = advantages.weighted(SIGN, weight)
    groups = RewardGroups.from_flat(rewards, ids)
    shuffled = RewardGroups.from_flat(rewards[order], ids[order])
    np.testing.assert_allclose(
        rule(shuffled, context_of(shuffled)), rule(groups, context_of(groups))[order], atol=1e-12
    )


@pytest.mark.parametrize("weight", ALL, ids=repr)
def test_the_mean_is_over_the_reference_population_where_one_is_given(weight):
    groups = RewardGroups.from_dense([[1, 0, 0, 0]])
    population = RewardGroups.from_dense([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    rule = advantages.weighted("grpo", weight)
    alone = rule(groups, context_of(groups, reference=population))
    together = rule(population, context_of(population))
    np.testing.assert_allclose(alone, together[:4], rtol=1e-12)


@pytest.mark.parametrize("weight", ALL, ids=repr)
def test_weights_are_values(weight):
    assert pickle.loads(pickle.dumps(weight)) == weight
    rule = advantages.weighted("grpo(ddof=1)", weight)
    assert advantages.get(repr(rule)) == rule
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert type(weight).__doc__
    assert weight.source


# ---- what it makes a rule climb ------------------------------------------------------------------

P = np.array([0.2, 0.35, 0.5, 0.65, 0.8])


def slope(rule: AdvantageEstimator, size: int = 512) -> np.ndarray:
    signature = advantages.signature(rule, size, context=advantages.neutral_context(rule))
    return laws.objective_slope(signature, P)


@pytest.mark.parametrize("weight", [w for w in ALL if w.at(P) is not None], ids=repr)
@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "maxrl"])
def test_large_groups_climb_what_the_rule_climbs_times_the_weight(name, weight):
    expected = advantages.profile(name).limit.slope(P) * weight.at(P)
    found = slope(advantages.weighted(name, weight)) / expected
    np.testing.assert_allclose(found / found[2], 1.0, rtol=0.02)


@pytest.mark.parametrize(
    "weight", [weights.focal(2.0), weights.entropy(), weights.target()], ids=repr
)
def test_so_do_rules_with_a_push(weight):
    found = slope(advantages.weighted(SIGN, weight)) / (2 * weight.at(P))
    np.testing.assert_allclose(found / found[2], 1.0, rtol=0.02)


def test_the_scale_is_that_of_the_mean_weight_of_the_population():
    # Solve rates spread evenly: the mean of (1−p)² is 1/3, that of 1/sqrt(p(1−p)) is π.
    found = slope(advantages.weighted("dr_grpo", weights.focal(2.0)))
    np.testing.assert_allclose(found, 3 * (1 - P) ** 2, rtol=0.02)
    found = slope(advantages.weighted("dr_grpo", weights.power(-1.0)))
    np.testing.assert_allclose(found, 1 / np.sqrt(P * (1 - P)) / np.pi, rtol=0.05)


STATED = {
    "grpo, power .5": ("grpo", weights.power(0.5), lambda p: special.betainc(0.75, 0.75, p)),
    "grpo, power 1": ("grpo", weights.power(1.0), lambda p: p),
    "grpo, power −1": ("grpo", weights.power(-1.0), lambda p: np.log(p / (1 - p))),
    "grpo, focal": ("grpo", weights.focal(2.0), lambda p: special.betainc(0.5, 2.5, p)),
    "dr_grpo, focal": ("dr_grpo", weights.focal(2.0), lambda p: -((1 - p) ** 3)),
    "dr_grpo, arcsine": ("dr_grpo", weights.arcsine(), lambda p: np.arcsin(np.sqrt(p))),
    "grpo, arcsine": ("grpo", weights.arcsine(), lambda p: np.log(p / (1 - p))),
    "dr_grpo, target": (
        "dr_grpo",
        weights.target(0.4, 0.3),
        lambda p: special.ndtr((p - 0.4) / 0.3),
    ),
    "dr_grpo, entropy": (
        "dr_grpo",
        weights.entropy(),
        lambda p: p**2 * (1 - 2 * np.log(p)) - (1 - p) ** 2 * (1 - 2 * np.log(1 - p)),
    ),
}


@pytest.mark.parametrize("name", STATED)
def test_the_objective_that_is_stated_is_climbed(name):
    rule, weight, objective = STATED[name]
    rise = (objective(P + 1e-5) - objective(P - 1e-5)) / 2e-5
    found = slope(advantages.weighted(rule, weight)) / rise
    np.testing.assert_allclose(found / found[2], 1.0, rtol=0.02)


# ---- unanimous groups, graded rewards, tokens ----------------------------------------------------


def test_unanimous_groups_are_damped_and_the_rest_makes_up_for_it():
    groups = RewardGroups.from_dense([[1, 0], [1, 1], [0, 0]])
    found = ratio(weights.unanimous_to(0.25), groups, SIGN)
    assert found == pytest.approx(np.repeat([2.0, 0.5, 0.5], 2))
    assert ratio(weights.unanimous_to(0.25), groups)[:2] == pytest.approx(1.0)  # silent already


def test_a_weight_that_is_not_finite_leaves_the_group_as_it_is():
    groups = RewardGroups.from_dense([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
    found = ratio(weights.power(-2.0), groups, SIGN).reshape(3, 4)[:, 0]
    # σ² = 3/16 and 1/4: u = 16/3 and 4, their mean 14/3.
    assert found == pytest.approx([8 / 7, 6 / 7, 1.0])


def test_weights_that_are_all_zero_give_zeros():
    groups = RewardGroups.from_dense([[1, 1], [1, 1]])
    rule = advantages.weighted(SIGN, weights.focal(1.0))
    assert rule(groups).tolist() == [0, 0, 0, 0]


def test_power_needs_no_solve_rate_and_no_unit():
    rewards = np.array([[0.0, 1.0, 2.0], [3.0, 5.0, 9.0], [4.0, 4.0, 4.0]])
    rule = advantages.weighted("grpo", weights.power(1.0))
    plain, scaled = (rule(RewardGroups.from_dense(c * rewards)) for c in (1.0, 7.0))
    np.testing.assert_allclose(plain, scaled, rtol=1e-12)
    std = rewards[:2].std(axis=1)
    assert ratio(weights.power(1.0), RewardGroups.from_dense(rewards))[[0, 3]] == pytest.approx(
        std / std.mean()
    )


def test_graded_rewards_within_0_and_1_have_their_mean_as_solve_rate():
    groups = RewardGroups.from_dense([[0.2, 0.4, 0.9], [0.1, 0.3, 0.5]])
    assert groups.correct is None
    expected = np.array([0.5, 0.7]) / 0.6
    assert ratio(weights.focal(1.0), groups)[[0, 4]] == pytest.approx(
        [expected[0], np.nan], nan_ok=True
    )
    declared = RewardGroups.from_dense([[0.2, 0.4, 0.9], [0.1, 0.6, 0.5]], correct=0.5)
    found = ratio(weights.focal(1.0), declared)
    assert found[0] == pytest.approx((2 / 3) / 0.5)  # one of three is right, and two of three


@pytest.mark.parametrize(
    "weight", [weights.focal(), weights.arcsine(), weights.entropy(), weights.target(),
               weights.learned_bins()], ids=repr,
)  # fmt: skip
def test_rewards_without_a_solve_rate_are_one_clear_error(weight):
    groups = RewardGroups.from_dense([[0.0, 1.0, 2.0]])
    with pytest.raises(InputError, match=r"needs a solve rate.*0\.0, 2\.0.*correct="):
        advantages.weighted("grpo", weight)(groups, context_of(groups))


def test_tokens_get_the_weight_of_their_group():
    def per_token(groups, context):
        return np.repeat(groups.centered, np.diff(context.token_offsets))

    rule = AdvantageEstimator("tokens", per_token, needs=("token_offsets",))
    groups = RewardGroups.from_dense([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    # As many tokens as rollouts, but not one each.
    lengths = np.array([0, 2, 1, 1, 1, 2, 0, 1, 1, 1, 1, 1])
    context = Context(token_offsets=np.concatenate([[0], np.cumsum(lengths)]))
    before = rule(groups, context)
    after = advantages.weighted(rule, weights.power(2.0))(groups, context)
    w = np.array([3 / 16, 4 / 16]) / (3.5 / 16)
    np.testing.assert_allclose(after[:8], before[:8] * np.repeat(w, 4), rtol=1e-12)
    assert not after[8:].any()


# ---- memory and schedules ------------------------------------------------------------------------


def test_bins_learn_the_pull_of_the_rule_and_the_next_batch_is_weighted_by_it():
    weight = weights.learned_bins(bins=2, decay=0.5, largest=10.0)
    rule, state = advantages.weighted("dr_grpo", weight), EstimatorState()
    groups = RewardGroups.from_dense([[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]])
    first = rule(groups, Context(state=state))
    np.testing.assert_allclose(first, groups.centered)
    # mean|A| is 3/8 in each group: the lower bin pulls 2 · 3/8 · 4/12, the upper one half of it.
    np.testing.assert_allclose(state[repr(weight)], [0.125, 0.0625])
    second = rule(groups, Context(state=state)) / groups.centered
    # u = mean/pull = (3/32)/(1/8) = 3/4 and 3/2; their mean over the rollouts is 1.
    np.testing.assert_allclose(second[[0, 4, 8]], [0.75, 0.75, 1.5])
    np.testing.assert_allclose(state[repr(weight)], [0.1875, 0.09375])
    again = EstimatorState.from_state_dict(json.loads(json.dumps(state.state_dict())))
    np.testing.assert_array_equal(
        rule(groups, Context(state=again)), rule(groups, Context(state=state))
    )


def test_in_the_long_run_bins_pull_equally():
    rng = np.random.default_rng(0)
    weight = weights.learned_bins(bins=4, decay=0.98, largest=100.0)
    rule, state = advantages.weighted("grpo", weight), EstimatorState()
    pull = np.zeros(4)
    for batch in range(400):
        p = rng.beta(0.7, 1.5, 64)
        groups = RewardGroups.from_dense((rng.random((64, 8)) < p[:, None]).astype(float))
        values = groups.mean_by_group(np.abs(rule(groups, Context(state=state))))
        if batch >= 200:
            of = np.minimum((groups.mean * 4).astype(int), 3)
            pull += np.bincount(of, weights=values, minlength=4)
    np.testing.assert_allclose(pull / pull.mean(), 1.0, atol=0.06)


def test_unseen_bins_and_a_single_bin_change_nothing():
    groups = RewardGroups.from_dense([[1, 0, 0, 0], [1, 1, 0, 0]])
    rule, state = advantages.weighted("grpo", weights.learned_bins(bins=1)), EstimatorState()
    for _ in range(3):
        np.testing.assert_allclose(
            rule(groups, Context(state=state)), advantages.get("grpo")(groups)
        )
    with pytest.raises(MissingContextError, match="state"):
        rule(groups)


def test_a_reference_teaches_nothing():
    weight = weights.learned_bins(bins=2)
    rule, state = advantages.weighted("grpo", weight), EstimatorState()
    groups = RewardGroups.from_dense([[1, 0, 0, 0]])
    rule(groups, Context(state=state, reference=RewardGroups.from_dense([[1, 1, 1, 0]])))
    assert state[repr(weight)].tolist()[1] == 0
    assert state[repr(weight)].tolist()[0] > 0


def test_a_schedule_goes_in_a_straight_line_from_one_weight_to_the_other():
    groups = RewardGroups.from_dense([[1, 0, 0, 0], [1, 1, 0, 0]])
    plan = weights.schedule(weights.power(0.0), weights.power(2.0), start=10, stop=20)
    rule, base = advantages.weighted("grpo", plan), advantages.get("grpo")(groups)
    full = np.array([3 / 16, 4 / 16]) / (3.5 / 16)
    for step, t in ((0, 0.0), (10, 0.0), (15, 0.5), (20, 1.0), (99, 1.0)):
        found = (rule(groups, Context(step=step)) / base)[[0, 4]]
        np.testing.assert_allclose(found, 1 - t + t * full, rtol=1e-12)
    with pytest.raises(MissingContextError, match="step"):
        rule(groups)


def test_a_schedule_of_a_weight_that_diverges():
    groups = RewardGroups.from_dense([[1, 0], [1, 1]])
    plan = weights.schedule(weights.power(-1.0), weights.unanimous_to(0.0), start=0, stop=2)
    found = advantages.weighted(SIGN, plan)(groups, Context(step=1)) / SIGN(groups)
    # power(−1) acts on the split group alone (w = 1, 1); unanimous_to(0) gives 2 and 0.
    np.testing.assert_allclose(found, [1.5, 1.5, 0.5, 0.5])


def test_a_schedule_of_estimators_keeps_two_memories():
    def counting(groups, context, *, by):
        context.state["sum"] = context.state.get("sum", 0) + by
        return np.full(groups.n_rollouts, float(context.state["sum"]))

    def make(by):
        return AdvantageEstimator("counting", counting, {"by": by}, "", "history", ("state",))

    rule = advantages.schedule(make(1), make(10), start=0, stop=4)
    state, groups = EstimatorState(), RewardGroups.from_dense([[1, 0]])
    assert rule.scope == "history"
    assert set(rule.needs) == {"step", "state"}
    found = [rule(groups, Context(step=s, state=state))[0] for s in (0, 1, 2, 3, 4)]
    assert found == [1.0, 0.75 * 2 + 0.25 * 20, 0.5 * 3 + 0.5 * 30, 0.25 * 4 + 0.75 * 40, 50.0]
    assert {name: int(value) for name, value in state.items()} == {"first/sum": 5, "second/sum": 50}


def test_a_schedule_of_estimators_by_token_and_by_rollout():
    def per_token(groups, context):
        return np.repeat(groups.centered, np.diff(context.token_offsets))

    tokens = AdvantageEstimator("tokens", per_token, needs=("token_offsets",))
    rule = advantages.schedule(tokens, "grpo", start=0, stop=2)
    groups, offsets = RewardGroups.from_dense([[1, 0]]), np.array([0, 1, 4])
    context = Context(step=1, token_offsets=offsets)
    assert rule(groups, context).tolist() == [0.75, -0.75, -0.75, -0.75]


# ---- as they are written -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("weighted(grpo(ddof=1), power(0.5))",
         "weighted(grpo(ddof=1, eps=0.0), power(alpha=0.5))"),
        (" weighted( dr_grpo, focal ) ", "weighted(dr_grpo(), focal(gamma=1.0))"),
        ("weighted(grpo, power(-1), focal(gamma=2))",
         "weighted(weighted(grpo(ddof=0, eps=0.0), power(alpha=-1)), focal(gamma=2))"),
        ("weighted(dr_grpo, schedule(power(0), power(1), stop=9))",
         "weighted(dr_grpo(), "  # noqa: ISC004
         "schedule(first=power(alpha=0), second=power(alpha=1), start=0, stop=9))"),
        ("schedule(rloo, weighted(dr_grpo, entropy()), start=5, stop=9)",
         "schedule(first=rloo(), second=weighted(dr_grpo(), entropy()), start=5, stop=9)"),
        ("dr_grpo | clip(-0.5, 0.5) | power(1)",
         "weighted(dr_grpo() | clip(-0.5, 0.5), power(alpha=1))"),
        ("reinforce_pp_baseline | whiten(ddof=1, eps=1e-8, by='token')",
         "reinforce_pp_baseline() | whiten(ddof=1, eps=1e-08, by='token')"),
    ],
)  # fmt: skip
def test_what_is_written_is_read_and_written_again(text, written):
    rule = advantages.get(text)
    assert repr(rule) == written
    assert advantages.get(written) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("power(0.5)", "a weight is not an estimator"),
        ("weighted(grpo)", "at least one weight"),
        ("weighted(grpo, dr_grpo)", "no weight of that name"),
        ("weighted(power(1), power(1))", "takes an estimator"),
        ("weighted(grpo, power(alfa=1))", "cannot be called so"),
        ("weighted(grpo, power('x'))", "must be a finite number"),
        ("weighted(grpo, power(True))", "must be a finite number"),
        ("weighted(grpo, focal(-1))", "from 0 to"),
        ("weighted(grpo, arcsine(0))", "'prior' parameter"),
        ("weighted(grpo, target(2))", "'rate' parameter"),
        ("weighted(grpo, learned_bins(bins=0))", "'bins' parameter"),
        ("weighted(grpo, nope(1))", "an estimator is a name"),
        ("grpo | dr_grpo", "an estimator is a name"),
        ("schedule(grpo, power)", "two weights, or two estimators"),
        ("schedule(grpo, dr_grpo, start=3, stop=3)", "start < stop"),
        ("weighted(grpo, power(__import__('os').getpid()))", "an estimator is a name"),
        ("weighted(*[1])", "an estimator is a name"),
        ("weighted(**{})", "an estimator is a name"),
        ("(lambda: grpo)()", "an estimator is a name"),
        ("'grpo'", "an estimator is a name"),
        ("weighted(" * 300 + "grpo" + ", power)" * 300, "an estimator is a name"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(text, message):
    with pytest.raises(InputError, match=message) as caught:
        advantages.get(text)
    assert "\n" not in str(caught.value)


def test_parameters_beside_a_text_go_to_its_rule_alone():
    assert advantages.get("grpo(ddof=1)", eps=0.5).parameters["eps"] == 0.5
    with pytest.raises(InputError, match="cannot be called so"):
        advantages.get("weighted(grpo, power)", ddof=1)


def test_a_weight_may_be_a_value_or_text():
    one = advantages.weighted("grpo", weights.power(0.5))
    assert one == advantages.weighted(advantages.get("grpo"), "power(0.5)")
    assert one.scope == "batch"
    assert advantages.weighted("grpo", "learned_bins").needs == ("state",)
    stepped = advantages.weighted("grpo", "schedule(power(0), learned_bins)")
    assert set(stepped.needs) == {"step", "state"}
    assert replace(one, transforms=()) == replace(advantages.get("grpo"), scope="batch")
