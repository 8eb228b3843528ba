"""Rules that look at rewards only: published numbers, the authors' own functions, and corners."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from dissensus import RewardGroups, advantages
from dissensus.core import laws
from dissensus.core.advantages import Context, EstimatorState
from dissensus.errors import InputError

# Contrast W and push B at G = 8 for k = 0 … 8, to four digits (three for some B), from the formulas
# as each method's own code has them.
ZERO = [0.0] * 9
GOLDEN = {
    "maxrl": ([0, 0.8750, 0.75, 0.6250, 0.5, 0.3750, 0.25, 0.1250, 0], ZERO),
    "vr_cond": ([0, 0.8750, 0.75, 0.6250, 0.5, 0.3750, 0.25, 0.1250, 0], [-1] + [0] * 8),
    "ngrpo": (
        [0, 0.2480, 0.3750, 0.4447, 0.4743, 0.4687, 0.4252, 0.3281, 0],
        [-0.333, -0.220, -0.167, -0.132, -0.105, -0.083, -0.063, -0.042, 0],
    ),
    "sign": (
        [0, 0.2188, 0.3750, 0.4688, 0.5000, 0.4688, 0.3750, 0.2188, 0],
        [-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1],
    ),
    "mcpo": ([0, 0.3307, 0.4330, 0.4841, 0.5, 0.5, 0.5, 0.5, 0], ZERO),
    "grpo_lead": (
        [0, 0.4304, 0.5496, 0.6305, 0.6625, 0.6305, 0.5496, 0.4304, 0],
        [0, 0.264, 0.220, 0.099, 0, -0.099, -0.220, -0.264, 0],
    ),
    "f_grpo": ([0, 0.2707, 0.3038, 0.2830, 0.2339, 0.1698, 0.1013, 0.0387, 0], ZERO),
    "ha_dw": (
        [0, 0.6306, 0.7034, 0.7059, 0.7016, 0.7059, 0.7034, 0.6306, 0],
        [0, 0.356, 0.307, 0.170, 0, -0.170, -0.307, -0.356, 0],
    ),
    "disco": ([0, 1, 1, 1, 1, 1, 1, 1, 0], ZERO),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_contrast_and_push_at_eight_rollouts_are_as_published(name):
    contrast, push = GOLDEN[name]
    rule = advantages.get(name)
    found = advantages.signature(rule, 8, context=advantages.neutral_context(rule))
    np.testing.assert_allclose(found.contrast, contrast, atol=5.1e-5)
    np.testing.assert_allclose(found.push, push, atol=5.1e-4)


WITH_EPS = [name for name in advantages.names() if "eps" in advantages.get(name).parameters]

# What the authors' own functions gave for these rewards, run with torch on a CPU.
REWARDS = [[1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 1, 0]]
FORMAT = [[1, 1, 0, 0], [1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]]
LENGTHS = [[3, 1, 2, 4], [2, 5, 1, 1], [2, 2, 3, 3], [1, 2, 1, 2], [4, 1, 2, 3]]


def binary(one_of_four, three_of_four, none, all_four, two_of_four):
    """(5, 4) advantages of `REWARDS` from (A₊, A₋) of each group."""
    pairs = [one_of_four, three_of_four, (0.0, none), (all_four, 0.0), two_of_four]
    return [
        [plus if reward else minus for reward in row]
        for row, (plus, minus) in zip(REWARDS, pairs, strict=True)
    ]


AUTHORS = {
    # tajwarfahim/maxrl at c0698eb, verl/trainer/ppo/core_algos.py and maclaurin.py
    "maxrl(eps=1e-6)": binary(
        (2.999988, -0.999996), (0.333333, -0.999999), 0, 0, (0.999998, -0.999998)
    ),
    "one_sided_grpo(eps=1e-6)": binary(
        (1.499997, -0.499999), (0.288675, -0.866024), 0, 0, (0.707106, -0.707106)
    ),
    "vr_cond": 4 * np.array(binary((0.75, -0.25), (0.083333, -0.25), -0.25, 0, (0.25, -0.25))),
    "maclaurin(order=1)": 4 * np.array(binary((0.25, 0), (0.25, 0), 0, 0.25, (0.25, 0))),
    "maclaurin(order=2)": 4
    * np.array(binary((0.25, -0.166667), (0.25, 0), -0.25, 0.25, (0.25, -0.083333))),
    "maclaurin(order=3)": 4
    * np.array(binary((0.25, -0.25), (0.25, 0), -0.5, 0.25, (0.25, -0.083333))),
    "maclaurin(order=16)": 4
    * np.array(binary((0.25, -0.25), (0.25, 0), -0.75, 0.25, (0.25, -0.083333))),
    "maclaurin_baseline(order=1)": 4 * np.array(binary((0.25, 0), (0.25, 0), 0, 0.25, (0.25, 0))),
    "maclaurin_baseline(order=2)": 4
    * np.array(binary((0.4, -0.05), (0.25, 0), 0, 0.25, (0.3, -0.05))),
    "maclaurin_baseline(order=3)": 4
    * np.array(binary((0.483333, -0.077778), (0.25, 0), 0, 0.25, (0.3, -0.05))),
    "maclaurin_baseline(order=16)": 4
    * np.array(binary((0.483333, -0.077778), (0.25, 0), -0.25, 0.25, (0.3, -0.05))),
    # changyi7231/BNPO at a9c51b9, recipe/bnpo/src/bnpo_ray_trainer.py
    "bnpo": binary((0.728348, -0.242783), (0.242783, -0.728348), 0, 0, (0.471795, -0.471795)),
    # aeroplanepaper/GRPO-LEAD at 9344bef, verl/verl/trainer/ppo/core_algos.py
    "grpo_lead(eps=1e-6)": binary(
        (2.238952, -0.474999), (0.474999, -2.238952), 0, 0, (1.226771, -1.226771)
    ),
    # nangongrui-ngr/NGRPO at e7a3804, verl/trainer/ppo/core_algos.py
    "ngrpo(eps=1e-6)": binary(
        (1.095443, -0.730295), (0.447213, -1.788850), -0.447213, 0, (0.730295, -1.095443)
    ),
    "ngrpo(max_reward=3.0, virtual=2, eps=1e-6)": binary(
        (-0.113228, -0.792593), (-0.408248, -1.224744), -0.645497, -0.645497, (-0.243975, -0.975899)
    ),
    # verl 0.10.0.dev, verl/trainer/ppo/core_algos.py
    "opo": binary((0.7, -0.3), (0.111111, -0.888889), 0, 0, (0.4, -0.6)),
    "reinforce_pp": binary(
        (0.967091, -1.01105), (0.967091, -1.01105), -1.01105, 0.967091, (0.967091, -1.01105)
    ),
    # NeMo-RL 0.6.0, nemo_rl/algorithms/utils.py, divided as advantage_estimator.py does
    "nemo_rl_loo": binary((1.0, -0.577349), (0.577349, -1.0), 0, 0, (1.154699, -1.154699)),
    # NVlabs/GDPO at b080e63, verl-GDPO: the GRPO of each reward added, then masked_whiten
    "gdpo": [
        [2.228676, 0.396405, -1.190389, -1.190389],
        [0.977211, -0.855060, 0.977211, -0.855060],
        [-0.396992, 1.435279, -0.396992, -0.396992],
        [0.061076, 0.061076, 0.061076, 0.061076],
        [0.061076, -1.525718, 1.647869, 0.061076],
    ],
}


@pytest.mark.parametrize("written", AUTHORS)
def test_what_the_authors_own_function_gave(written):
    groups = RewardGroups.from_dense(REWARDS)
    functions = {"correct": groups.rewards, "format": np.ravel(FORMAT).astype(float)}
    context = Context(lengths=np.ravel(LENGTHS), rewards_by_function=functions)
    found = advantages.get(written)(groups, context).reshape(5, 4)
    np.testing.assert_allclose(found, AUTHORS[written], atol=5e-6)


def test_what_the_function_of_ha_dw_gave():
    # yangfengkai/HA-DW at 8b08794, with a history of 0.3, 0.35 and this batch's own mean, 0.5.
    state = EstimatorState(batch_means=[0.3, 0.35])
    groups = RewardGroups.from_dense(REWARDS)
    found = advantages.get("ha_dw", eps=1e-6)(groups, Context(state=state))
    expected = binary((2.570914, -0.656379), (0.519779, -3.246556), 0, 0, (1.155988, -1.459785))
    np.testing.assert_allclose(found.reshape(5, 4), expected, atol=5e-6)
    assert state["batch_means"].tolist() == [0.3, 0.35, 0.5]


SOLVE_RATES = np.array([0.01, 0.1, 0.3, 0.6, 0.95])


@pytest.mark.parametrize("size", [4, 8, 16])
@pytest.mark.parametrize(
    ("written", "terms"),
    [
        ("maxrl", lambda size: size - 1),
        ("vr_cond", lambda size: size),
        ("maclaurin", lambda size: size),
        ("maclaurin(order=3)", lambda size: 3),
        ("maclaurin(order=99)", lambda size: size),
    ],
)
def test_how_many_terms_of_log_p_the_relatives_of_maxrl_climb(written, terms, size):
    signature = advantages.signature(advantages.get(written), size)
    series = sum((1 - SOLVE_RATES) ** (j - 1) for j in range(1, terms(size) + 1))
    np.testing.assert_allclose(laws.objective_slope(signature, SOLVE_RATES), series, rtol=1e-10)
    objective = laws.implied_objective(signature, SOLVE_RATES)
    climbed = -sum((1 - SOLVE_RATES) ** j / j for j in range(1, terms(size) + 1))
    at_zero = -sum(1 / j for j in range(1, terms(size) + 1))
    np.testing.assert_allclose(objective, climbed - at_zero, rtol=1e-10)


def test_the_baseline_of_maclaurin_is_not_unbiased_at_eight_rollouts():
    slope = laws.objective_slope(
        advantages.signature(advantages.get("maclaurin_baseline"), 8), SOLVE_RATES
    )
    series = sum((1 - SOLVE_RATES) ** (j - 1) for j in range(1, 9))
    assert (slope < 0.99 * series).all()


def test_mcpo_has_the_weight_of_grpo_on_hard_prompts_and_a_constant_one_above():
    large = advantages.signature(advantages.get("mcpo"), 64)
    m = np.arange(1, 64) / 64
    np.testing.assert_allclose(
        large.contrast[1:-1], np.where(m <= 0.5, np.sqrt(m * (1 - m)), 0.5), rtol=1e-12
    )


def test_f_grpo_without_a_focus_is_grpo():
    groups = RewardGroups.from_dense(np.random.default_rng(0).random((6, 5)), correct=0.5)
    plain = advantages.get("grpo", ddof=1)(groups)
    np.testing.assert_array_equal(advantages.get("f_grpo", gamma=0.0)(groups), plain)


def test_gpg_makes_up_for_silent_rollouts_of_ragged_groups():
    groups = RewardGroups.from_flat([1, 0, 1, 1, 1, 0, np.nan], [0, 0, 1, 1, 1, 2, 2])
    # 6 scored rollouts, 2 of them in the only split group.
    expected = 3 * np.array([0.5, -0.5, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(advantages.get("gpg")(groups), expected)
    silent = RewardGroups.from_dense([[1, 1], [0, 0]])
    assert not advantages.get("gpg")(silent).any()


def test_scale_rl_has_unit_variance_over_split_groups():
    rng = np.random.default_rng(0)
    rewards = np.concatenate([rng.random((30, 4)), np.full((9, 4), 0.7)])
    values = advantages.get("scale_rl")(RewardGroups.from_dense(rewards, correct=0.5))
    assert np.var(values[:120], ddof=1) == pytest.approx(1)
    assert not values[120:].any()


def test_scale_rl_of_one_split_pair_is_finite_and_of_a_silent_batch_zero():
    values = advantages.get("scale_rl")(RewardGroups.from_dense([[1, 0], [1, 1]]))
    np.testing.assert_allclose(values, np.array([0.5, -0.5, 0, 0]) / math.sqrt(0.5))
    assert not advantages.get("scale_rl")(RewardGroups.from_dense([[1, 1]])).any()


def test_opo_pushes_everything_up_where_wrong_answers_are_longer():
    rule = advantages.get("opo")
    groups = RewardGroups.from_dense([[1, 1, 0, 0]])
    values = rule(groups, Context(lengths=np.array([10, 10, 30, 30])))
    np.testing.assert_allclose(values, [0.75, 0.75, -0.25, -0.25])
    without_tokens = rule(groups, Context(lengths=np.zeros(4, dtype=int)))
    np.testing.assert_allclose(without_tokens, [0.5, 0.5, -0.5, -0.5])
    with pytest.raises(InputError, match="lengths"):
        rule(groups, Context(lengths=np.array([1, -1, 1, 1])))


@pytest.mark.parametrize("reward", [0.35, 0.1, 1e3])
def test_nemo_rl_loo_does_not_divide_by_a_rounding_error(reward):
    rewards = np.full((1, 8), reward)
    rewards[0, 0] += 1.0  # what the others share has no binary form
    values = advantages.get("nemo_rl_loo")(RewardGroups.from_dense(rewards))
    assert values[0] == pytest.approx(1.0)
    np.testing.assert_allclose(values[1:], -1 / math.sqrt(7), rtol=1e-5)


def test_nemo_rl_loo_of_real_rewards_is_the_definition():
    rewards = np.random.default_rng(1).random((5, 6))
    expected = [
        (row[i] - np.delete(row, i).mean()) / (np.delete(row, i).std(ddof=1) + 1e-6)
        for row in rewards
        for i in range(6)
    ]
    found = advantages.get("nemo_rl_loo")(RewardGroups.from_dense(rewards, correct=0.5))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_nemo_rl_loo_of_two_rollouts_is_undivided():
    values = advantages.get("nemo_rl_loo")(RewardGroups.from_dense([[1, 0]]))
    assert values.tolist() == [1, -1]


def test_ngrpo_takes_float_noise_at_the_best_reward_for_the_best_reward():
    noisy = np.full((1, 8), 1.0) - 1e-9 * np.arange(8)
    assert not advantages.get("ngrpo")(RewardGroups.from_dense(noisy)).any()
    same = advantages.get("ngrpo", max_reward=0.1)(
        RewardGroups.from_dense(np.full((1, 8), np.float32(0.1)))
    )
    assert not same.any()


def test_ngrpo_without_a_virtual_rollout_is_grpo():
    groups = RewardGroups.from_dense(np.random.default_rng(0).random((6, 5)))
    np.testing.assert_allclose(
        advantages.get("ngrpo", virtual=0)(groups),
        advantages.get("grpo", ddof=1)(groups),
        rtol=1e-12,
    )


@pytest.mark.parametrize("scale", [(0, 10), (-1, 1)])
@pytest.mark.parametrize(
    "name", ["sign", "vr_cond", "maclaurin", "maclaurin_baseline", "bnpo", "disco"]
)
def test_rules_of_right_or_wrong_do_not_care_how_that_is_scored(name, scale):
    plain = np.array(REWARDS, dtype=float)
    low, high = scale
    other = low + (high - low) * plain
    rule = advantages.get(name)
    np.testing.assert_array_equal(
        rule(RewardGroups.from_dense(other)), rule(RewardGroups.from_dense(plain))
    )


def test_bnpo_of_a_batch_without_spread_is_only_centred():
    groups = RewardGroups.from_dense([[1, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(
        advantages.get("bnpo")(groups), advantages.get("dr_grpo")(groups), rtol=1e-12
    )


def test_bnpo_limits_its_weight():
    # Nearly all prompts at the ends, two sure groups apart: the density in between is tiny.
    groups = RewardGroups.from_dense(REWARDS)
    reference = RewardGroups.from_dense([[1, 0] * 50 + [1], [1, 0] * 50 + [0]])
    free, limited = (
        advantages.get("bnpo", max_weight=limit)(groups, Context(reference=reference))
        for limit in (1e6, 2.0)
    )
    assert np.abs(free).max() > 1e3
    np.testing.assert_allclose(limited[:4], [1.5, -0.5, -0.5, -0.5])


def test_gdpo_weighs_functions_and_leaves_out_what_one_did_not_score():
    groups = RewardGroups.from_dense([[1.0, 0, 1, 0], [0.0, 1, 1, 0]])
    right = groups.rewards
    style = np.array([5.0, 5, 7, 7, np.nan, 5, 7, np.nan])
    context = Context(
        rewards_by_function={"right": right, "style": style}, lengths=np.ones(8, dtype=int)
    )
    values = advantages.get("gdpo", weights={"style": 0.5}, eps=0.0)(groups, context)
    half = math.sqrt(3) / 2  # (1 − ½)/std of two of four with ddof 1
    pair = 1 / math.sqrt(2)  # the same of one of two
    by_style = np.array([-half, -half, half, half, 0, -pair, pair, 0])
    before = np.array([half, -half, half, -half, -half, half, half, -half]) + by_style / 2
    np.testing.assert_allclose(values, before / before.std(ddof=1), rtol=1e-6)
    reference = RewardGroups.from_dense([[1, 0, 1, 0], [0, 0, 0, 1]])
    against = advantages.get("gdpo", weights={"style": 0.5}, eps=0.0)(
        groups, Context(rewards_by_function=context.rewards_by_function, reference=reference)
    )
    std = np.std(advantages.get("grpo", ddof=1)(reference), ddof=1)
    np.testing.assert_allclose(against, before / std, rtol=1e-6)
    with pytest.raises(InputError, match="weights"):
        advantages.get("gdpo", weights={"stile": 0.5})(groups, context)
    with pytest.raises(InputError, match="one entry per rollout"):
        advantages.get("gdpo")(groups, Context(rewards_by_function={"right": right[:3]}))


def test_gdpo_takes_the_total_of_a_reference_batch_for_one_function_whatever_the_weights():
    groups = RewardGroups.from_dense([[1.0, 0, 0, 0]])
    context = Context(
        rewards_by_function={"right": groups.rewards, "style": 2 * groups.rewards},
        reference=RewardGroups.from_dense([[1.0, 0], [0.0, 1]]),
    )
    values = advantages.get("gdpo", weights={"right": 0.5}, eps=0.0)(groups, context)
    # One of four has std ½ with ddof 1, so ±{3/2, ½} of each function; of the reference ±1/√2.
    before = 1.5 * np.array([1.5, -0.5, -0.5, -0.5])
    np.testing.assert_allclose(values, before / math.sqrt(4 * 0.5 / 3), rtol=1e-6)


@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_maxrl_is_silent_where_the_mean_is_not_positive(eps):
    groups = RewardGroups.from_dense([[1.0, -1.0], [1.0, -3.0], [3.0, 1.0]])
    values = advantages.get("maxrl", eps=eps)(groups)
    np.testing.assert_allclose(values, [0, 0, 0, 0, 0.5, -0.5], rtol=1e-5)


def test_ha_dw_forgets_batches_outside_its_window():
    rule, state = advantages.get("ha_dw", window=2), EstimatorState()
    for mean in (0.0, 1.0, 0.5):
        rule(RewardGroups.from_dense([[mean, mean]]), Context(state=state))
    assert state["batch_means"].tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    "written",
    [
        "maclaurin(order=0)",
        "maclaurin_baseline(order=0)",
        "f_grpo(gamma=-1.0)",
        "ngrpo(virtual=-1)",
    ],
)
def test_parameters_without_meaning_are_refused(written):
    rule, groups = advantages.get(written), RewardGroups.from_dense([[1, 0]])
    with pytest.raises(InputError, match="parameter"):
        rule(groups, advantages.neutral_context(rule)(groups))


@pytest.mark.parametrize("name", WITH_EPS)
def test_an_eps_below_zero_is_refused_by_name_and_by_the_rule(name):
    with pytest.raises(InputError, match=f"{name}'s eps"):
        advantages.get(f"{name}(eps=-1e-3)")
    plain, groups = advantages.get(name), RewardGroups.from_dense([[1, 0]])
    rule = replace(plain, parameters={**plain.parameters, "eps": -1e-3})
    with pytest.raises(InputError, match=r"parameter|must be ≥ 0|eps ≥ 0"):
        rule(groups, advantages.neutral_context(rule)(groups))


def test_a_window_of_nothing_is_refused():
    with pytest.raises(InputError, match="window"):
        advantages.get("ha_dw", window=0)(
            RewardGroups.from_dense([[1, 0]]), Context(state=EstimatorState())
        )


def test_whitening_leaves_unanimous_groups_at_zero_when_the_mean_is_a_rounding_error():
    rewards = np.random.default_rng(0).random((50, 7))
    rewards[0] = 0.3
    groups = RewardGroups.from_dense(rewards, correct=0.5)
    context = Context(lengths=np.ones(350, dtype=int))
    assert not advantages.get("reinforce_pp_baseline")(groups, context)[:7].any()


def test_the_same_rollouts_under_other_rewards():
    groups = RewardGroups.from_flat([1, 0, 1], ["b", "a", "b"])
    other = groups.with_rewards([4.0, np.nan, 2.0])
    assert other.ids.tolist() == ["b", "a"]
    np.testing.assert_array_equal(other.mean, [3.0, np.nan])
    with pytest.raises(InputError, match="one entry per rollout"):
        groups.with_rewards([1.0])
