"""The rules that reshape GRPO, against published values, the authors' outputs and hand results."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dissensus import RewardGroups, advantages, laws
from dissensus.core.advantages import Context, EstimatorState
from dissensus.core.advantages.tables import RolloutTable, equal_counts, net_wins
from dissensus.errors import InputError, MissingContextError

P = np.linspace(0.05, 0.95, 7)


def signature(name: str, **parameters: object) -> advantages.Signature:
    return advantages.signature(advantages.get(name, **parameters), group_size=8)


def likelihoods(values: list[float], length: int = 2) -> Context:
    """Context of completions of `length` tokens whose mean token probabilities are `values`."""
    return Context(log_likelihoods=length * np.log(values), lengths=np.full(len(values), length))


# ---- right or wrong, by counts -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("pass_at_k", [0, 0.1250, 0.1306, 0.1040, 0.0602, 0, 0, 0, 0]),
        ("pkpo", [0, 0.1250, 0.1224, 0.0765, 0.0327, 0.0077, 0, 0, 0]),
    ],
)
def test_contrast_at_eight_rollouts_as_in_the_published_formulas(name, contrast):
    found = signature(name, attempts=4)
    np.testing.assert_allclose(found.contrast, contrast, atol=5e-5)
    np.testing.assert_allclose(found.push, 0, atol=1e-12)


def test_pass_at_k_gives_what_the_authors_function_gives():
    # calc_adv of code/passk_adv.py in RUCAIBox/Passk_Training at c3ba575, 8 rollouts, K = 4.
    found = signature("pass_at_k", attempts=4, eps=1e-6)
    plus = [0.999998000004, 0.5222316951429226, 0.2773490211937191, 0.12038483860156443, 0, 0, 0, 0]
    minus = [0, -0.1428568571434285, -0.17407723171430745, -0.16640941271623166]
    minus += [-0.12038483860156528, 0, 0, 0]
    np.testing.assert_allclose(found.positive[1:], plus, atol=1e-12)
    np.testing.assert_allclose(found.negative[:-1], minus, atol=1e-12)


def test_one_attempt_is_the_plain_rule():
    groups = RewardGroups.from_dense([[1, 0, 0, 1, 1], [0, 0, 0, 0, 1]])
    for name, plain in (("pass_at_k", "grpo"), ("pkpo", "rloo")):
        found = advantages.get(name, attempts=1)(groups)
        np.testing.assert_allclose(found, advantages.get(plain)(groups), atol=1e-12)


def test_pass_at_k_of_groups_smaller_than_k_is_silent():
    groups = RewardGroups.from_flat([1, 0, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1])
    for name in ("pass_at_k", "pkpo"):
        assert not advantages.get(name, attempts=3)(groups)[:2].any()
        assert advantages.get(name, attempts=3)(groups)[2] > 0


@pytest.mark.parametrize("name", ["pass_at_k", "pkpo"])
@pytest.mark.parametrize("attempts", [0, 1.5])
def test_attempts_must_be_a_number_of_answers(name, attempts):
    with pytest.raises(InputError, match="attempts"):
        advantages.get(name, attempts=attempts)(RewardGroups.from_dense([[1, 0]]))


def test_pkpo_without_baseline_climbs_pass_at_k_exactly_and_with_it_does_not():
    exact = (1 - P) ** 2  # the slope of pass@3, over 3
    bare = signature("pkpo", attempts=3, baseline="none")
    np.testing.assert_allclose(laws.objective_slope(bare, P), exact, rtol=1e-12)
    centred = signature("pkpo", attempts=3)
    assert (laws.objective_slope(centred, P) > exact + 1e-3).any()
    with pytest.raises(InputError, match="baseline"):
        signature("pkpo", baseline="mean")


@pytest.mark.parametrize(
    ("objective", "rule"),
    [("arcsin", "grpo"), ("identity", "dr_grpo"), ("log", "maxrl"), ("logit", "disco")],
)
def test_the_plug_in_form_of_each_objective_is_a_known_rule(objective, rule):
    groups = RewardGroups.from_flat(
        [1, 0, 0, 1, 1, 0, 1, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1, 2, 2, 3], correct=0.5
    )
    found = advantages.get("surrogate", objective=objective)(groups)
    np.testing.assert_allclose(found, advantages.get(rule)(groups), atol=1e-12)


@pytest.mark.parametrize(
    ("objective", "slope"),
    [
        ("identity", lambda p, n: np.ones_like(p)),
        ("log", lambda p, n: sum((1 - p) ** i for i in range(n))),
        ("logit", lambda p, n: sum((1 - p) ** i + p**i for i in range(n))),
        ("pass_at_k(3)", lambda p, n: 3 * (1 - p) ** 2),
        ("pass_at_k(8)", lambda p, n: 8 * (1 - p) ** 7),
    ],
)
def test_the_unbiased_form_climbs_its_objective_exactly(objective, slope):
    found = signature("surrogate", objective=objective, form="unbiased")
    np.testing.assert_allclose(laws.objective_slope(found, P), slope(P, 8), rtol=1e-12)
    assert found.is_silent.tolist()[::8] == [True, True]


def test_an_objective_can_be_a_function_of_the_solve_rate():
    groups = RewardGroups.from_dense([[1, 0, 0, 0]])
    found = advantages.get("surrogate", objective=lambda p: p**2)(groups)
    np.testing.assert_allclose(found, [0.75 / 16, -0.25 / 16, -0.25 / 16, -0.25 / 16])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"objective": "cube"}, "objective"),
        ({"objective": "pass_at_k(0)"}, "objective"),
        ({"form": "other"}, "form"),
        ({"objective": "arcsin", "form": "unbiased"}, "unbiased"),
        ({"objective": np.ones_like, "form": "unbiased"}, "unbiased"),
    ],
)
def test_what_surrogate_cannot_do_is_said(parameters, message):
    with pytest.raises(InputError, match=message):
        advantages.get("surrogate", **parameters)(RewardGroups.from_dense([[1, 0]]))


def test_surrogate_is_written_and_read_with_its_objective():
    rule = advantages.get("surrogate", objective="pass_at_k(4)", form="unbiased")
    assert advantages.get(repr(rule)) == rule


def test_vcrl_keeps_groups_by_their_variance():
    # k(16−k)/64 ≥ 0.3 from k = 2 on (28/64); ≥ 0.8 from k = 5 on (55/64; 48/64 at 4).
    for least, first in ((0.3, 2), (0.8, 5)):
        rule = advantages.get("vcrl", least=least)
        silent = advantages.signature(rule, group_size=16).is_silent
        assert np.flatnonzero(~silent).tolist() == list(range(first, 17 - first))
    odd = advantages.get("vcrl", least=1.0)  # the largest variance of 5 is at k = 2 and 3
    assert advantages.signature(odd, group_size=5).is_silent.tolist() == [1, 1, 0, 0, 1, 1]


def test_avspo_puts_virtual_rewards_into_unanimous_groups():
    groups = RewardGroups.from_dense([[0] * 4, [1] * 4, [1, 1, 0, 0]])
    # Two of three groups are unanimous: ⌈4 · 2/3⌉ = 3 opposite rewards beside 4.
    expected = [-math.sqrt(3 / 4)] * 4 + [math.sqrt(3 / 4)] * 4 + [1, 1, -1, -1]
    np.testing.assert_allclose(advantages.get("avspo")(groups), expected, rtol=1e-12)
    sample = np.array([0, 0, 0, 0, 1, 1, 1])
    found = advantages.get("avspo", ddof=1, eps=0.1)(groups)
    assert found[0] == pytest.approx(-sample.mean() / (sample.std(ddof=1) + 0.1), rel=1e-12)
    assert not advantages.get("avspo", threshold=0.7)(groups)[:8].any()
    quiet = Context(reference=RewardGroups.from_dense([[1, 0, 1, 1]]))
    assert not advantages.get("avspo")(groups, quiet)[:8].any()


def test_daro_learns_weights_that_level_the_bins():
    groups = RewardGroups.from_dense([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    rule, context = advantages.get("daro", bins=4), Context(state=EstimatorState())
    first = rule(groups, context)
    np.testing.assert_allclose(first, advantages.get("grpo")(groups), atol=1e-12)
    for _ in range(300):
        last = rule(groups, context)
    # Σ|A| of k = 1 or 3 of 4 is 2√3; over 12 split rollouts the loads are √3/3 and √3/6.
    weights = np.array([math.sqrt(3), math.sqrt(3), 2 * math.sqrt(3), 0])
    np.testing.assert_allclose(last, first * np.repeat(weights, 4), rtol=1e-6)
    with pytest.raises(InputError, match="weights"):
        advantages.get("daro", bins=5)(groups, context)
    for parameters in ({"bins": 0}, {"learning_rate": 0.0}):
        with pytest.raises(InputError, match="daro needs"):
            advantages.get("daro", **parameters)(groups, context)


# ---- order of rewards ----------------------------------------------------------------------------

REAL = RewardGroups.from_flat(
    [0.2, 3.0, np.nan, 0.7, 0.2, -1.0, 5.0, 5.0, 0.4, 0.1, 2.0],
    [0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 2],
)


def rows_of(groups: RewardGroups) -> list[np.ndarray]:
    return [np.flatnonzero((groups.index == i) & groups.is_scored) for i in range(len(groups))]


def test_rank_gives_centred_mean_ranks():
    found = advantages.get("rank")(REAL)
    for rows in rows_of(REAL)[:2]:
        ranks = stats.rankdata(REAL.rewards[rows])
        expected = (2 * ranks - (len(rows) + 1)) / (len(rows) - 1)
        np.testing.assert_allclose(found[rows], expected, atol=1e-12)
    assert found[2] == found[10] == 0


@pytest.mark.parametrize("level", [0.2, 0.4, 0.5, 0.9])
def test_quantile_replaces_the_mean(level):
    found = advantages.get("quantile", level=level, ddof=1, eps=1e-6)(REAL)
    for rows in rows_of(REAL)[:2]:
        rewards = REAL.rewards[rows]
        expected = (rewards - np.quantile(rewards, level)) / (rewards.std(ddof=1) + 1e-6)
        np.testing.assert_allclose(found[rows], expected, atol=1e-12)
    assert found[2] == found[10] == 0
    with pytest.raises(InputError, match="level"):
        advantages.get("quantile", level=1.0)(REAL)


def test_quantile_is_a_gate_on_right_or_wrong_rewards():
    found = signature("quantile", level=0.4)
    assert not found.negative[1:5].any()  # hard: only correct rollouts
    assert not found.positive[6:].any()  # easy: only wrong ones
    assert found.positive[1] > 0 > found.negative[7]


def test_grpo_passk_gives_what_verl_gives():
    # compute_grpo_passk_outcome_advantage of verl at 1dda039b9.
    rewards = [[0.2, 0.9, 0.4, 0.9], [0.1, 0.7, 0.3, 0], [0, 1, 0, 0], [1, 1, 0, 0]]
    found = advantages.get("grpo_passk")(RewardGroups.from_dense(rewards))
    expected = np.zeros(16)
    expected[[5, 9]] = 1.2921124, 1.999996
    np.testing.assert_allclose(found, expected, atol=1e-7)


def test_krpo_gives_what_the_authors_function_gives():
    # group_advantages of train.py in billhhh/KRPO_LLMs_RL at df1ae2b, whose state is float32.
    rewards = [1.0, 0, 0, 1, 0.5, 0, 1, 1]
    expected = [0.0995026, -7.0481392, -5.7513783, 10.0148101]
    expected += [0.0177309, -10.1368011, 13.1566767, 12.2503907]
    found = advantages.get("krpo")(RewardGroups.from_dense([rewards]))
    np.testing.assert_allclose(found, expected, atol=5e-5)


def test_krpo_walks_through_the_rows_of_each_group():
    rewards, ids = np.array([1, 0, np.nan, 0, 1, 1.0]), [0, 1, 0, 0, 1, 0]
    found = advantages.get("krpo")(RewardGroups.from_flat(rewards, ids))
    for group in ([0, 3, 5], [1, 4]):
        alone = advantages.get("krpo")(RewardGroups.from_dense([rewards[group]]))
        np.testing.assert_array_equal(found[group], alone)
    with pytest.raises(InputError, match="reward_var"):
        advantages.get("krpo", reward_var=0)(RewardGroups.from_dense([[1, 0]]))


# ---- what else is known of a rollout -------------------------------------------------------------


def test_seed_grpo_learns_less_where_meanings_differ():
    groups = RewardGroups.from_flat(
        [1, 0, 0, 0, np.nan, 1, 0, 1, 0], [0, 0, 0, 0, 0, 1, 1, 2, 2], correct=0.5
    )
    big = 2**62
    clusters = np.array([big, big, big + 1, big + 2, big + 3, 5, 5, 0, 7])
    found = advantages.get("seed_grpo")(groups, Context(clusters=clusters))
    # Clusters of 2, 1, 1: SE = (ln 2 + 2 ln 4)/3, 5/6 of ln 4. Then all alike, and all different.
    factor = np.array([1 - 0.5 * 5 / 6, 1.0, 0.5])
    expected = groups.centered * np.repeat(factor, [5, 2, 2])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    smooth = advantages.get("seed_grpo", shape="exponential", alpha=1.0)
    found = smooth(groups, Context(clusters=clusters))
    assert found[7] == pytest.approx(0.5 * math.exp(-1), rel=1e-12)
    for parameters in ({"alpha": 2.0}, {"shape": "step"}):
        with pytest.raises(InputError, match=next(iter(parameters))):
            advantages.get("seed_grpo", **parameters)(groups, Context(clusters=clusters))


def test_pvpo_measures_against_a_frozen_reference():
    groups = RewardGroups.from_flat([1, 0, 0, 0, 1], ["a", "b", "a", "b", "c"])
    context = Context(reference_means=np.array([0.25, 0.5, 1.0]))
    found = advantages.get("pvpo")(groups, context)
    assert found.tolist() == [0.75, -0.5, -0.25, -0.5, 0.0]


def test_unlikeliness_gives_what_the_authors_function_gives():
    # _compute_advantages of ray_lean_trainer.py in AndreHe02/rewarding-unlikely-release at ca1cff0.
    groups = RewardGroups.from_dense([[1, 0, 1, 0], [1, 1, 1, 1]])
    scores = np.array([-0.5, -0.1, -0.2, -0.9, -0.4, -0.3, -0.2, -0.1])
    lengths = np.array([3, 9, 1, 4, 7, 2, 5, 6])
    context = Context(log_likelihoods=scores * lengths, lengths=lengths)
    found = advantages.get("unlikeliness", beta=0.25, ddof=1, eps=1e-6)(groups, context)
    expected = [0.924651, -0.864996, 0.805341, -0.864996, 1.161881, 0.387294, -0.387294, -1.161881]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(InputError, match="beta"):
        advantages.get("unlikeliness", beta=2.0)(groups, context)


def test_xrpo_adds_a_capped_bonus_to_unlikely_correct_answers():
    # NoveltySharpeningAdvantageFunction(2.5, 0.5) of Wodlfvllf/grpo-composer at 2c98d7e, for the
    # correct rollouts (it also raises unlikely wrong ones, which the paper does not).
    groups = RewardGroups.from_dense([[1, 0, 1, 0]])
    context = likelihoods(np.exp([-0.5, -0.1, -0.2, -0.9]).tolist())
    found = advantages.get("xrpo", ddof=1)(groups, context)
    np.testing.assert_allclose(found[[0, 2]], [1.0466667, 0.8660254], atol=1e-6)
    np.testing.assert_allclose(found[[1, 3]], -math.sqrt(0.75), rtol=1e-12)
    capped = advantages.get("xrpo", ddof=1, most=0.1)(groups, context)
    assert capped[0] == pytest.approx(1.1 * math.sqrt(0.75), rel=1e-12)


def test_lens_penalises_confident_mistakes():
    groups = RewardGroups.from_dense([[1, 0, 0], [0, 0, 0], [1, 1, 1]])
    context = likelihoods([0.5, 0.25, 0.125, 0.5, 0.25, 0.25, 0.9, 0.1, 0.2])
    found = advantages.get("lens")(groups, context)
    # Split: D = max(3/(1/0.5), 2 · 0.5) = 1.5. All wrong: D = 1, rewards −1/3, −1/9, −1/9.
    rewards = np.array([1, -0.25 / 1.25 / 3, -0.125 / 1.375 / 3])
    np.testing.assert_allclose(found[:3], (rewards - rewards.mean()) / rewards.std(), rtol=1e-12)
    np.testing.assert_allclose(found[3:6], 0.25 * np.array([-4, 2, 2]) / 27, rtol=1e-12)
    assert not found[6:].any()
    assert not advantages.get("lens", alpha=0.0)(groups, context)[3:].any()
    with pytest.raises(InputError, match="alpha"):
        advantages.get("lens", alpha=-1.0)(groups, context)


def test_lens_takes_likelihoods_beyond_the_range_of_floats():
    groups = RewardGroups.from_dense([[1, 0, 0], [0, 0, 0]])
    scores = np.array([-2000.0, -1.0, -3000.0, -1000.0, -1001.0, -5000.0])
    found = advantages.get("lens")(groups, Context(log_likelihoods=scores, lengths=np.ones(6)))
    # All wrong: q/(2 max q − q) is 1, 1/(2e − 1) and 0, and their third is taken.
    rewards = -np.array([1, 1 / (2 * math.e - 1), 0]) / 3
    np.testing.assert_allclose(found[3:], 0.25 * (rewards - rewards.mean()), rtol=1e-12)
    assert found[0] > 0 > found[1]


def test_rl_zvp_shapes_unanimous_groups_by_entropy():
    groups = RewardGroups.from_dense([[1, 1], [0, 0], [1, 0]])
    context = Context(
        token_offsets=np.array([0, 2, 3, 5, 6, 8, 8]),
        token_entropies=np.array([1.0, 2, 3, 1, 3, 2, 4, 5]),
    )
    found = advantages.get("rl_zvp", alpha=0.5)(groups, context)
    np.testing.assert_allclose(found, [0.5, 1, 1.5, -1, 0, 0, 1, 1], atol=1e-12)


LIKELIHOOD_RULES = ["lens", "unlikeliness", "xrpo"]


@pytest.mark.parametrize("name", [*LIKELIHOOD_RULES, "seed_grpo"])
def test_each_group_is_read_with_its_own_rollouts(name):
    rng = np.random.default_rng(3)
    ids = rng.permutation(np.repeat(np.arange(9), [1, 2, 3, 4, 5, 6, 6, 7, 8]))
    rewards = rng.integers(0, 2, len(ids)).astype(float)
    rewards[[4, 11]] = np.nan
    everything = Context(
        log_likelihoods=-rng.random(len(ids)) * 40,
        lengths=rng.integers(1, 30, len(ids)),
        clusters=rng.integers(0, 3, len(ids)),
    )
    rule = advantages.get(name)
    groups = RewardGroups.from_flat(rewards, ids, correct=0.5)
    together = rule(groups, everything)
    for group in range(9):
        rows = np.flatnonzero(ids == group)
        taken = {
            field: getattr(everything, field)[rows]
            for field in ("log_likelihoods", "lengths", "clusters")
        }
        alone = RewardGroups.from_flat(rewards[rows], ids[rows], correct=0.5)
        np.testing.assert_allclose(rule(alone, Context(**taken)), together[rows], atol=1e-12)
    assert not together[np.isnan(rewards)].any()


@pytest.mark.parametrize("name", LIKELIHOOD_RULES)
def test_a_log_likelihood_that_is_no_number_is_refused(name):
    groups = RewardGroups.from_flat([1, 0, np.nan], [0, 0, 0])
    context = likelihoods([0.5, 0.5, 0.5])
    unknown = replace(context, log_likelihoods=np.array([-1.0, -1.0, np.nan]))
    assert np.isfinite(advantages.get(name)(groups, unknown)).all()  # of an unscored rollout
    broken = replace(context, log_likelihoods=np.array([-1.0, np.nan, -1.0]))
    with pytest.raises(InputError, match=r"log_likelihoods.*row 1"):
        advantages.get(name)(groups, broken)
    with pytest.raises(MissingContextError, match="lengths"):
        advantages.get(name)(groups, replace(context, lengths=None))


@pytest.mark.parametrize(
    ("offsets", "entropies"),
    [([0, 1], [1.0]), ([0, 2, 1], [1.0]), ([1, 2, 3], [1.0] * 3), ([0, 1, 3], [1.0] * 2)],
)
def test_tokens_that_do_not_fit_the_rollouts_are_refused(offsets, entropies):
    context = Context(token_offsets=np.array(offsets), token_entropies=np.array(entropies))
    with pytest.raises(InputError, match="token_"):
        advantages.get("rl_zvp")(RewardGroups.from_dense([[1, 0]]), context)


# ---- tables --------------------------------------------------------------------------------------


def test_a_table_holds_the_scored_rollouts_in_order_and_gives_them_back():
    groups = RewardGroups.from_flat([5, 1, np.nan, 2, 6, 3.0], [7, 4, 4, 4, 7, 4])
    table = RolloutTable(groups)
    np.testing.assert_array_equal(table.of(groups.rewards), [[5, 6, np.nan], [1, 2, 3]])
    assert table.back(table.of(groups.rewards)).tolist() == [5, 1, 0, 2, 6, 3]
    full = RolloutTable(RewardGroups.from_dense([[1, 2], [3, 4]]))
    assert full.of(np.arange(4)).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("size", [127, 128, 300])
def test_many_pairs_are_counted_without_overflow(size):
    groups = RewardGroups.from_dense([np.arange(size, dtype=float)])
    np.testing.assert_allclose(advantages.get("rank")(groups)[[0, -1]], [-1, 1], rtol=1e-12)
    context = Context(clusters=np.zeros(size, dtype=int))
    np.testing.assert_allclose(advantages.get("seed_grpo")(groups, context), groups.centered)


def test_an_unscored_rollout_likelier_than_all_others_does_not_touch_lens():
    rewards, likely = [1, 0, 0, np.nan], np.array([-1.0, -2, -3, 900])
    rule, lengths = advantages.get("lens"), np.ones(4, dtype=int)
    groups = RewardGroups.from_dense([rewards])
    values = rule(groups, Context(log_likelihoods=likely, lengths=lengths))
    three = RewardGroups.from_dense([rewards[:3]])
    alone = rule(three, Context(log_likelihoods=likely[:3], lengths=lengths[:3]))
    np.testing.assert_allclose(values, [*alone, 0], rtol=1e-12)


def test_pairs_are_compared_within_rows_across_blocks():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 9, (700, 200)).astype(float)  # several blocks of rows
    wins, equal = net_wins(values, 0.5), equal_counts(values, None)
    for row in (0, 326, 328, 699):
        difference = values[row][:, None] - values[row]
        assert wins[row].tolist() == np.sign(difference).sum(axis=1).tolist()
        assert equal[row].tolist() == (difference == 0).sum(axis=1).tolist()
    np.testing.assert_array_equal(
        net_wins(np.array([[1.0, 1.4, np.nan, 2.0]]), 0.5), [[-1, -1, 0, 2]]
    )
