"""Rules against published values, hand computation and their declared properties."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from dissensus import RewardGroups, advantages
from dissensus.core.advantages import Clip, Context, EstimatorState, Whiten, chain
from dissensus.core.advantages.base import AdvantageEstimator
from dissensus.errors import InputError, MissingContextError

# Contrast W at G = 8 for k = 0 … 8, from the formulas as each method's own code has them.
GOLDEN_CONTRAST = {
    "grpo ddof 0": (
        advantages.get("grpo", ddof=0, eps=0.0),
        [0, 0.3307, 0.4330, 0.4841, 0.5000, 0.4841, 0.4330, 0.3307, 0],
    ),
    "grpo ddof 1": (
        advantages.get("grpo", ddof=1, eps=0.0),
        [0, 0.3094, 0.4050, 0.4529, 0.4677, 0.4529, 0.4050, 0.3094, 0],
    ),
    "dapo": (
        advantages.get("dapo"),
        [0, 0.3307, 0.4330, 0.4841, 0.5000, 0.4841, 0.4330, 0.3307, 0],
    ),
    "dr_grpo": (
        advantages.get("dr_grpo"),
        [0, 0.1094, 0.1875, 0.2344, 0.2500, 0.2344, 0.1875, 0.1094, 0],
    ),
    "rloo": (
        advantages.get("rloo"),
        [0, 0.1250, 0.2143, 0.2679, 0.2857, 0.2679, 0.2143, 0.1250, 0],
    ),
}
GROUP_RULES = ["grpo", "dr_grpo", "dapo", "rloo"]
REFERENCE = RewardGroups.from_dense(np.random.default_rng(0).integers(0, 2, (50, 8)))


@pytest.mark.parametrize("name", GOLDEN_CONTRAST)
def test_signature_has_the_published_contrast_and_no_push(name):
    estimator, contrast = GOLDEN_CONTRAST[name]
    signature = advantages.signature(estimator, group_size=8)
    np.testing.assert_allclose(signature.contrast, contrast, atol=5e-5)
    np.testing.assert_allclose(signature.push, 0, atol=1e-12)
    assert signature.is_silent.tolist() == [True] + [False] * 7 + [True]
    assert np.isnan(signature.positive[0])
    assert np.isnan(signature.negative[8])


def test_lone_correct_answer_of_eight_gets_what_the_frameworks_give():
    groups = RewardGroups.from_dense([[1, 0, 0, 0, 0, 0, 0, 0]])
    torch_std = advantages.get("grpo", ddof=1, eps=0.0)(groups)
    np.testing.assert_allclose(torch_std[:2], [2.4748737, -0.3535534], atol=1e-7)
    numpy_std = advantages.get("grpo", ddof=0, eps=0.0)(groups)
    np.testing.assert_allclose(numpy_std[:2], [2.6457513, -0.3779645], atol=1e-7)


def test_eps_is_added_to_the_std_outside_the_root():
    groups = RewardGroups.from_dense([[1, 0]])  # sample std 0.70710678
    with_eps = advantages.get("grpo", ddof=1, eps=0.1)(groups)
    np.testing.assert_allclose(with_eps, [0.5 / 0.80710678, -0.5 / 0.80710678], rtol=1e-7)


def test_two_rollouts_under_ddof_1_have_contrast_0354():
    signature = advantages.signature(advantages.get("grpo", ddof=1), group_size=2)
    np.testing.assert_allclose(signature.contrast[1], 0.35355339, atol=1e-8)


def test_lite_ppo_divides_by_the_std_of_raw_rewards_of_the_batch():
    groups = RewardGroups.from_flat([1, 0, 1, 1, 0, 0], [0, 0, 1, 1, 2, 2])
    # Raw rewards 1 0 1 1 0 0: mean 1/2, sample variance 6·(1/4)/5 = 0.3.
    expected = np.array([0.5, -0.5, 0, 0, 0, 0]) / (np.sqrt(0.3) + 1e-4)
    np.testing.assert_allclose(advantages.get("lite_ppo")(groups), expected, rtol=1e-12)


def test_lite_ppo_has_a_signature_only_given_a_reference():
    rule = advantages.get("lite_ppo", ddof=0, eps=0.0)
    with pytest.raises(MissingContextError, match="reference"):
        advantages.signature(rule, group_size=8)
    signature = advantages.signature(rule, group_size=8, context=Context(reference=REFERENCE))
    m = np.arange(9) / 8
    np.testing.assert_allclose(signature.contrast, m * (1 - m) / REFERENCE.rewards.std())


def test_reinforce_pp_baseline_whitens_by_token():
    groups = RewardGroups.from_flat([1, 0, 1, 1], [0, 0, 1, 1])
    lengths = np.array([1, 3, 2, 2])
    # The same table of tokens, padded away: centred reward once per token of its rollout.
    tokens = np.repeat([0.5, -0.5, 0.0, 0.0], lengths)
    expected = (np.array([0.5, -0.5, 0, 0]) - tokens.mean()) / np.sqrt(tokens.var(ddof=1) + 1e-8)
    got = advantages.get("reinforce_pp_baseline")(groups, Context(lengths=lengths))
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert got[2] != 0  # a unanimous group is not silent under this rule


VERL_REWARDS = [1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 1, 0]
VERL_LENGTHS = np.array([2, 5, 1, 3, 4, 4, 2, 6, 1, 3, 5, 2])


@pytest.mark.parametrize(
    ("estimator", "split_1", "silent", "split_2"),
    [
        (
            advantages.get("reinforce_pp_baseline"),
            [1.1409646, -1.3724646, -1.3724646, 1.1409646],
            [-0.11575] * 4,
            [-0.7441073, -0.7441073, 1.7693219, -0.7441073],
        ),
        (
            advantages.get("grpo", ddof=1, eps=1e-6),
            [0.8660239, -0.8660239, -0.8660239, 0.8660239],
            [0.0] * 4,
            [-0.499999, -0.499999, 1.499997, -0.499999],
        ),
        (
            advantages.get("rloo"),
            [0.6666667, -0.6666667, -0.6666667, 0.6666667],
            [0.0] * 4,
            [-0.3333333, -0.3333333, 1.0, -0.3333333],
        ),
    ],
)
def test_what_the_functions_of_verl_0_9_1_gave(estimator, split_1, silent, split_2):
    # Printed by verl's own compute_{reinforce_plus_plus_baseline,grpo,rloo}_outcome_advantage.
    groups = RewardGroups.from_flat(VERL_REWARDS, np.repeat([0, 1, 2], 4))
    ours = estimator(groups, Context(lengths=VERL_LENGTHS))
    np.testing.assert_allclose(ours, split_1 + silent + split_2, atol=1e-7)


def test_reinforce_pp_baseline_says_that_it_needs_lengths():
    with pytest.raises(MissingContextError, match="lengths"):
        advantages.get("reinforce_pp_baseline")(RewardGroups.from_dense([[1, 0]]))


def test_whiten_over_a_batch_without_spread_gives_zeros():
    silent = RewardGroups.from_dense([[1, 1], [0, 0]])
    rule = chain("dr_grpo", Whiten(ddof=1, eps=0.0, by="rollout"))
    assert rule(silent).tolist() == [0.0] * 4


def test_constant_float32_rewards_get_no_advantage():
    rewards = np.full(8, 0.1, dtype=np.float32)
    rewards[0] = np.nextafter(rewards[0], 1)
    for name in GROUP_RULES:
        values = advantages.get(name)(RewardGroups.from_flat(rewards, np.zeros(8, dtype=int)))
        assert not values.any(), name


def test_signature_works_for_any_callable_and_any_two_rewards():
    def bare(groups):
        return groups.rewards - groups.expand(groups.mean)

    signature = advantages.signature(bare, group_size=4, rewards=(-1.0, 1.0))
    np.testing.assert_allclose(signature.contrast, 2 * np.array([0, 3, 4, 3, 0]) / 16)


def test_signature_of_a_rule_with_push():
    def sign(groups):
        return 2.0 * groups.rewards - 1.0

    signature = advantages.signature(sign, group_size=8)
    np.testing.assert_allclose(signature.push, np.arange(9) / 4 - 1)  # B = 2m − 1
    np.testing.assert_allclose(signature.contrast[[1, 4]], [0.21875, 0.5])
    assert not signature.is_silent.any()


def test_signature_refuses_rules_that_have_none():
    def by_position(groups):
        return np.arange(groups.n_rollouts, dtype=float)

    def over_the_batch(groups):
        return groups.rewards - groups.rewards.mean()

    with pytest.raises((InputError, MissingContextError)):
        advantages.signature(by_position, group_size=4)
    with pytest.raises(MissingContextError, match="depends on the other groups"):
        advantages.signature(over_the_batch, group_size=4)
    for size in (1, 2.5):
        with pytest.raises(InputError, match="group_size"):
            advantages.signature(advantages.get("grpo"), group_size=size)
    with pytest.raises(InputError, match="different numbers"):
        advantages.signature(advantages.get("grpo"), group_size=4, rewards=(1.0, 1.0))


def running_baseline(groups, context, *, decay=0.9):
    """A rule with memory, as an example of the protocol: reward minus a running mean."""
    baseline = float(context.state["baseline"])
    context.state["baseline"] = decay * baseline + (1 - decay) * groups.rewards.mean()
    return groups.rewards - baseline


def test_a_rule_with_memory_keeps_it_in_the_state_and_a_signature_leaves_it_alone():
    estimator = AdvantageEstimator(
        "running", running_baseline, {"decay": 0.5}, scope="history", needs=("state",)
    )
    groups = RewardGroups.from_dense([[1.0, 0.0]])
    with pytest.raises(MissingContextError, match="state"):
        estimator(groups)
    state = EstimatorState(baseline=0.0)
    estimator(groups, Context(state=state))
    assert float(state["baseline"]) == 0.25
    resumed = EstimatorState.from_state_dict(state.state_dict())
    one, other = (estimator(groups, Context(state=s)) for s in (state, resumed))
    np.testing.assert_array_equal(one, other)
    before = state.state_dict()
    # One batch per call, each from the same state: so the table is a function of k alone.
    advantages.signature(estimator, group_size=2, context=Context(state=state))
    assert state.state_dict() == before


def test_chain_is_one_line_and_keeps_scope_and_needs():
    rule = chain("dr_grpo", Clip(-0.2, 0.2), Whiten(ddof=0, eps=0.0, by="rollout"))
    assert repr(rule) == ("dr_grpo() | clip(-0.2, 0.2) | whiten(ddof=0, eps=0.0, by='rollout')")
    assert rule.scope == "batch"
    values = rule(RewardGroups.from_dense([[1, 0, 0, 0]]))
    # Clipped: 0.2, −0.2 three times; mean −0.1, population std 0.3/√3.
    std = np.sqrt((0.3**2 + 3 * 0.1**2) / 4)
    np.testing.assert_allclose(values, np.array([0.3, -0.1, -0.1, -0.1]) / std)


def test_whiten_takes_its_statistics_from_the_reference():
    rule = chain("dr_grpo", Whiten(ddof=0, eps=0.0, by="rollout"))
    groups = RewardGroups.from_dense([[1, 0], [1, 1]])
    values = rule(groups, Context(reference=REFERENCE))
    std = REFERENCE.centered.std()
    np.testing.assert_allclose(values, np.array([0.5, -0.5, 0, 0]) / std, atol=1e-12)


def test_estimators_are_values():
    assert advantages.get("grpo", ddof=1) == advantages.get("grpo", ddof=1)
    assert advantages.get("grpo", ddof=1) != advantages.get("grpo", ddof=0)
    assert len({advantages.get("grpo"), advantages.get("grpo")}) == 1
    for name in advantages.names():
        estimator = advantages.get(name)
        assert pickle.loads(pickle.dumps(estimator)) == estimator
        assert estimator.summary
        assert estimator.source


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: advantages.get("grop"), "did you mean grpo"),
        (lambda: advantages.get("zz"), "one of"),
        (lambda: advantages.get("grpo", epsilon=1), "it has ddof, eps"),
        (lambda: advantages.get("dr_grpo", ddof=1), "it has none"),
        (lambda: advantages.get("grpo", eps=-1.0)(REFERENCE), "eps"),
        (lambda: Clip(1.0, 0.0), "low < high"),
        (
            lambda: advantages.get("grpo")(REFERENCE, Context(lengths=np.ones(3, dtype=int))),
            "one entry per rollout",
        ),
        (lambda: advantages.rule("grpo", source=""), "new name"),
        (lambda: advantages.rule("new", source="", needs=("nonsense",)), "nonsense"),
    ],
)
def test_bad_requests_are_one_clear_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_rule_that_gives_infinity_is_named():
    broken = AdvantageEstimator("broken", lambda groups, context: groups.rewards / 0.0)
    with np.errstate(all="ignore"), pytest.raises(InputError, match=r"broken\(\), row 0"):
        broken(REFERENCE)


@pytest.mark.parametrize(("rewards", "lengths"), [([np.nan, np.nan], [3, 4]), ([1.0, 0.0], [0, 0])])
def test_a_batch_without_tokens_or_scores_has_no_advantages(rewards, lengths):
    groups = RewardGroups.from_flat(rewards, [0, 0])
    context = Context(lengths=np.array(lengths))
    assert advantages.get("reinforce_pp_baseline")(groups, context).tolist() == [0.0, 0.0]


def test_lengths_below_zero_are_refused():
    context = Context(lengths=np.array([-1, 2]))
    with pytest.raises(InputError, match="tokens"):
        advantages.get("reinforce_pp_baseline")(RewardGroups.from_dense([[1, 0]]), context)


def test_too_few_rollouts_for_a_std_give_no_advantage():
    split = RewardGroups.from_dense([[1, 0]])
    assert not advantages.get("grpo", ddof=2)(split).any()
    lone = Context(reference=RewardGroups.from_flat([1.0], [0]))
    assert not advantages.get("lite_ppo", ddof=1, eps=1e-4)(split, lone).any()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dr_grpo", "dr_grpo()"),
        (" grpo() ", "grpo(ddof=0, eps=0.0)"),
        ("grpo(ddof=1, eps=1e-4)", "grpo(ddof=1, eps=0.0001)"),
    ],
)
def test_an_estimator_can_be_asked_for_as_it_is_written(text, expected):
    assert repr(advantages.get(text)) == expected
    assert repr(advantages.get(expected)) == expected


def test_parameters_go_before_what_is_written():
    assert repr(advantages.get("grpo(ddof=1)", ddof=0, eps=1.0)) == "grpo(ddof=0, eps=1.0)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("GRPO", "did you mean grpo?"),
        ("GRPO(ddof=1)", "did you mean grpo?"),
        ("Dr. GRPO", "did you mean dr_grpo?"),
        ("REINFORCE++", "did you mean reinforce_pp?"),
        ("grpo(eps=-1)", "grpo's eps must be a finite number ≥ 0. Got -1"),
        ("grpo(eps=1e400)", "grpo's eps must be a finite number ≥ 0. Got inf"),
        ("grpo(eps='a')", "grpo's eps must be a finite number ≥ 0. Got 'a'"),
        ("grpo(eps=abc)", "a parameter is a number, a text or another literal. Got 'abc'"),
        ("weighted(grpo, power(abc))", "another literal. Got 'abc'"),
    ],
)
def test_what_was_nearly_written_is_named(text, message):
    with pytest.raises(InputError) as caught:
        advantages.get(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", advantages.names())
def test_the_title_of_a_rule_leads_to_its_name(name):
    with pytest.raises(InputError, match=rf"did you mean .*\b{name}\b") as caught:
        advantages.get(f"{advantages.profile(name).title} ?")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "grpo(", "a.b", "grpo(ddof=open('x'))", "grpo(**{})", "1"])
def test_what_is_no_estimator_is_refused_and_never_run(text):
    with pytest.raises(InputError):
        advantages.get(text)
