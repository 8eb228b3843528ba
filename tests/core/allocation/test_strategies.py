"""What each strategy is known for, by hand."""

import itertools

import numpy as np
import pytest
from allocator_worlds import World, play, tell

from dissensus import RewardGroups
from dissensus.core import allocation
from dissensus.core.allocation import BudgetLedger, Draw, Selection
from dissensus.errors import InputError, MissingContextError


def rng(seed=0):
    return np.random.default_rng(seed)


def answer(allocator, ask, correct, size=None):
    """Tell groups with given numbers of correct rollouts, by prompt id."""
    rows = []
    for prompt, count in zip(ask.prompts.tolist(), ask.counts.tolist(), strict=True):
        k = correct[prompt]
        rows += [(prompt, float(j < k)) for j in range(count)]
    tell(allocator, rows)


def visit(allocator, correct, budget=10_000, seed=0):
    """One step in which prompt i has correct[i] right answers in its first draw, then none."""
    source, draws = rng(seed), []
    while isinstance(ask := allocator.ask(budget, source), Draw):
        draws.append(dict(zip(ask.prompts.tolist(), ask.counts.tolist(), strict=True)))
        answer(allocator, ask, correct)
        correct = dict.fromkeys(correct, 0)
    return draws, ask


def test_dapo_fills_the_batch_with_split_groups_and_stops_at_its_cap():
    split = dict.fromkeys(range(100), 2)
    for i in range(0, 100, 2):
        split[i] = 0
    dapo, source = allocation.get("dapo", 100, batch=6, group_size=4, max_rounds=3), rng()
    rounds = 0
    while isinstance(ask := dapo.ask(999, source), Draw):
        assert ask.counts.tolist() == [4] * 6
        answer(dapo, ask, split)
        rounds += 1
    assert rounds <= 3
    assert all(prompt % 2 for prompt in ask.prompts.tolist())
    assert len(ask.prompts) <= 6
    barren = allocation.get("dapo", 100, batch=6, group_size=4, max_rounds=3)
    draws, ask = visit(barren, dict.fromkeys(range(100), 0))
    assert len(draws) == 3
    assert len(ask.rollouts) == 0


def test_online_difficulty_keeps_the_limits_themselves():
    correct = {0: 0, 1: 1, 2: 2, 3: 8, 4: 9, 5: 10}  # of 10: .2 and .8 belong to it
    made = allocation.get("online_difficulty", 6, batch=6, group_size=10, max_rounds=1)
    _, ask = visit(made, correct)
    assert sorted(ask.prompts.tolist()) == [2, 3]


def test_open_instruct_retires_what_is_solved():
    made = allocation.get("open_instruct", 4, batch=4, group_size=4, max_rounds=1)
    visit(made, {0: 4, 1: 4, 2: 1, 3: 0})
    draws, _ = visit(made, dict.fromkeys(range(4), 1))
    assert sorted(draws[0]) == [2, 3]


def test_greso_skips_more_the_longer_a_prompt_was_unanimous():
    made = allocation.get("greso", 4000, batch=2000, group_size=2, max_rounds=1, target=1.0)
    # half are all correct, more than a third: p_easy falls by .01 a step; p_hard rises
    correct = {i: 2 if i < 2000 else 1 for i in range(4000)}
    visit(made, correct, seed=1)
    visit(made, correct, seed=2)
    assert made._notes["chances"].tolist() == pytest.approx([0.48, 0.52])
    run = made._columns["run"][:2000]
    twice = np.flatnonzero(run == 2)
    chance = made._wanted(np.tile(twice, 20), rng()).mean()
    assert chance == pytest.approx(0.48**2, abs=4 * np.sqrt(0.25 / (20 * len(twice))))
    assert made._wanted(np.arange(2000, 4000), rng()).all()  # split ones always


def test_greso_lowers_the_chance_of_the_kind_there_is_too_much_of():
    made = allocation.get("greso", 9, batch=6, group_size=4, max_rounds=1)
    visit(made, dict.fromkeys(range(9), 4))  # all easy, none hard
    assert made._notes["chances"].tolist() == pytest.approx([0.49, 0.51])


def test_mopps_updates_as_its_paper_says_also_for_one_rollout():
    made = allocation.get("mopps", 1, batch=1, group_size=1, decay=0.5, prior=1.0)
    visit(made, {0: 1})
    visit(made, {0: 1})
    # a: .5·1 + .5 + 1 = 2, then .5·2 + .5 + 1 = 2.5; b: .5·1 + .5 = 1 twice
    assert made._columns["a"].tolist() == [2.5]
    assert made._columns["b"].tolist() == [1.0]


def test_mopps_prefers_prompts_near_its_target():
    made = allocation.get("mopps", 8, batch=2, group_size=100, candidates=4)
    for seed in range(8):
        visit(made, {i: 50 if i < 2 else 100 for i in range(8)}, seed=seed)
    draws, _ = visit(made, dict.fromkeys(range(8), 0))
    assert sorted(draws[0]) == [0, 1]


def test_speed_rl_goes_on_with_what_split_and_keeps_the_rest_for_later():
    correct = {i: 2 if i < 3 else 0 for i in range(8)}
    made = allocation.get("speed_rl", 8, batch=2, screen=4, more=6, candidates=4)
    draws, ask = visit(made, correct)
    assert draws[0] == dict.fromkeys(range(8), 4)
    assert set(draws[1].values()) == {6}
    assert len(draws[1]) == 2
    assert np.bincount(ask.groups).tolist() == [10, 10]
    assert len(made.held) == 4  # the screening of the third
    (third,) = {0, 1, 2} - set(ask.prompts.tolist())
    draws, ask = visit(made, dict.fromkeys(range(8), 0))
    assert draws[0][third] == 6
    assert ask.prompts.tolist() == [third]
    assert (ask.rollouts < ask.first).sum() == 4


def test_pilot_commit_skips_defers_and_commits():
    correct = {0: 16, 1: 1, 2: 8, 3: 13}  # 13/16 > .75, 1/16 < .125
    made = allocation.get("pilot_commit", 4, batch=2, candidates=2)
    draws, ask = visit(made, correct)
    assert draws[0] == dict.fromkeys(range(4), 16)
    assert draws[1] == {2: 48}
    assert ask.prompts.tolist() == [2]
    assert len(ask.rollouts) == 64
    draws, _ = visit(made, dict.fromkeys(range(4), 8))
    assert sorted(draws[0]) == [1, 2]  # 0 and 3 sit out the next epoch
    draws, _ = visit(made, dict.fromkeys(range(4), 8))
    assert sorted(draws[0]) == [0, 1, 2, 3]


def test_reinforce_ada_stops_when_both_sides_are_there():
    made = allocation.get("reinforce_ada", 3, batch=3, keep=4, per_round=8, max_rounds=4)
    source, draws = rng(), []
    for counts in ({0: 6, 1: 1, 2: 0}, {1: 1, 2: 0}, {2: 0}, {2: 1}):
        ask = made.ask(999, source)
        draws.append(sorted(ask.prompts.tolist()))
        answer(made, ask, counts)
    assert draws == [[0, 1, 2], [1, 2], [2], [2]]
    ask = made.ask(999, source)
    assert np.bincount(ask.groups).tolist() == [4, 4, 4]
    baselines = dict(zip(ask.prompts.tolist(), ask.baselines.tolist(), strict=True))
    assert baselines == {0: 6 / 8, 1: 2 / 16, 2: 1 / 32}


def test_reinforce_ada_positive_stops_at_the_first_correct_one():
    made = allocation.get("reinforce_ada_positive", 3, batch=3)
    draws, _ = visit(made, {0: 8, 1: 1, 2: 0})
    assert [sorted(draw) for draw in draws] == [[0, 1, 2], [2], [2], [2]]


def test_knapsack_finds_what_a_search_over_all_sizes_finds():
    made = allocation.get("knapsack", 3, batch=3, group_size=4, least=2, most=9)
    made._columns["rate"][:] = rates = np.array([0.5, 0.25, 0.125])

    def value(counts):
        n = np.array(counts)
        return ((1 - rates**n - (1 - rates) ** n) * rates * (1 - rates) ** 2).sum()

    best = max((c for c in itertools.product(range(2, 10), repeat=3) if sum(c) == 12), key=value)
    assert value(made._sizes(np.arange(3))) == pytest.approx(value(best))
    assert made._sizes(np.arange(3)).sum() == 12


def test_knapsack_gives_what_others_do_not_need_to_unsolved_prompts():
    # ln .1 / ln .5 = 3.3 → the prompt at ½ needs 3; the unsolved one has 2 and the other 16−4−3 = 9
    made = allocation.get("knapsack", 2, batch=2, group_size=8)
    made._columns["rate"][:] = [0.5, 0.0]
    assert made._sizes(np.arange(2)).tolist() == [5, 11]


@pytest.mark.parametrize(
    ("name", "divided", "expected"),
    [
        # by hand, N = 8: S = 2√(a(1−a)); a = 1/8: S = .6614 → 8(1 − .6614)/.6614 = 4.09;
        # a = 0 counts 1/16: S = .4841 → 8.52; a = 3/8: S = .9682 → .26
        ("dars_et", True, {0: 9, 1: 4, 3: 0, 4: 0, 8: 0}),
        # 8(2·7/8 − .6614)/.6614 = 13.17; 8(2·15/16 − .4841)/.4841 = 22.98; → 2.33
        ("dars_hw", True, {0: 23, 1: 13, 3: 2, 4: 0, 8: 0}),
        # S = 2a(1−a), largest ½; a = 1/8: .21875 → 10.29; 1/16: .1171875 → 26.1, at most 24;
        # 3/8: .46875 → .53
        ("dars_et", False, {0: 24, 1: 10, 3: 1, 4: 0, 8: 0}),
    ],
)
def test_dars_gives_hard_prompts_more(name, divided, expected):
    made = allocation.get(name, 5, batch=5, group_size=8, divided=divided)
    ks = dict(enumerate(expected))
    draws, ask = visit(made, ks)
    second = draws[1] if len(draws) > 1 else {}
    assert {k: second.get(i, 0) for i, k in ks.items()} == expected
    # what stays at 0 or is solved is not trained on
    assert sorted(ask.prompts.tolist()) == [1, 2, 3]


@pytest.mark.parametrize("rule", ["rloo", "dr_grpo"])
@pytest.mark.parametrize("size", [4, 5, 6, 7])
def test_vip_finds_the_least_variance(rule, size):
    rates = np.array([0.5, 0.11, 0.03])
    made = allocation.get("vip", 3, batch=3, group_size=size, most=12, rule=rule)
    made._columns["rate"][:] = rates

    def variance(counts):
        n = np.array(counts)
        return (rates * (1 - rates) * (1 / (n - 1) if rule == "rloo" else (n - 1) / n**2)).sum()

    every = itertools.product(range(3, 13), repeat=3)
    best = min((c for c in every if sum(c) == 3 * size), key=variance)
    ask = made.ask(999, rng())
    assert ask.counts[np.argsort(ask.prompts)].tolist() == list(best)


@pytest.mark.parametrize("name", ["vip", "dots"])
def test_predictors_learn_from_features(name):
    source = rng(4)
    features = np.eye(2)[np.arange(200) % 2] * 12 + source.normal(size=(200, 2)) * 0.1
    rates = np.where(np.arange(200) % 2, 0.5, 0.02)
    extra = {"reference": 60} if name == "dots" else {}
    made = allocation.get(name, 200, batch=16, group_size=8, features=features, **extra)
    trace = play(made, World(rates), 5, 2000, source)
    last = dict(trace[-1][0][-1])
    middle = [count for prompt, count in last.items() if prompt % 2]
    if name == "dots":  # draws what is predicted near ½
        assert len(middle) == len(last)
    else:  # gives it more
        assert np.mean(middle) > np.mean([n for prompt, n in last.items() if not prompt % 2])
    with pytest.raises(InputError, match="features"):
        allocation.get(name, 3, features=features)


@pytest.mark.parametrize(
    ("rewards", "keep"),
    [
        ([0, 0, 0, 0, 0, 0, 1, 1], {0.0: 2, 1.0: 2}),
        ([0, 1, 1, 1, 1, 1, 1, 1], {0.0: 1, 1.0: 3}),
        ([0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 1], {0.0: 1, 0.5: 1, 0.6: 1, 1.0: 1}),
    ],
)
def test_pods_keeps_the_most_varied_subset(rewards, keep):
    best = max(itertools.combinations(rewards, 4), key=np.var)
    made = allocation.get("pods", 1, batch=1, group_size=8, keep=4)
    made.ask(999, rng())
    made.tell(RewardGroups.from_dense([rewards]))
    ask = made.ask(0, rng())
    kept = np.array(rewards, dtype=float)[ask.rollouts]
    assert kept.var() == pytest.approx(np.var(best))
    values, counts = np.unique(kept, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == keep


def test_gfpo_keeps_the_shortest_and_needs_lengths():
    made = allocation.get("gfpo", 1, batch=1, group_size=4, keep=2)
    made.ask(999, rng())
    groups = RewardGroups.from_dense([[1, 0, 1, 0]])
    with pytest.raises(MissingContextError, match="lengths"):
        made.tell(groups)
    with pytest.raises(InputError, match="one number per rollout"):
        made.tell(groups, lengths=[9, 3])
    made.tell(groups, lengths=[9, 3, 7, 5])
    assert made.ask(0, rng()).rollouts.tolist() == [1, 3]


def test_prime_rl_draws_by_pool():
    made = allocation.get("prime_rl", 3, batch=1, group_size=4, max_rounds=1)
    made._learn(outcomes([0, 1, 2], [1, 3, 4], 4))  # .25 is hard, .75 normal, 1 easy
    first = [made._next(made._step, 4, rng(seed)).prompts[0] for seed in range(3000)]
    shares = np.bincount(first, minlength=3) / 3000
    assert np.abs(shares - np.array([0.2, 1.0, 0.2]) / 1.4).max() < 4 * np.sqrt(0.25 / 3000)


def test_cures_sizes_follow_the_spread():
    made = allocation.get("cures", 2, batch=2, group_size=6)
    made._learn(outcomes([0, 1], [49, 0], 98))  # spread .5 and .0995: 4 to 8, 12 in all
    ask = made.ask(999, rng())
    assert dict(zip(ask.prompts.tolist(), ask.counts.tolist(), strict=True)) == {0: 8, 1: 4}


def test_dots_replays_stored_split_groups():
    made = allocation.get("dots", 40, batch=4, group_size=4, buffer=8)
    _, ask = visit(made, dict.fromkeys(range(40), 2))
    assert len(ask.prompts) == 4  # nothing stored yet
    assert len(made.held) == 8
    draws, ask = visit(made, dict.fromkeys(range(40), 2), seed=5)
    assert sum(draws[0].values()) == 8  # half of the batch is new
    assert len(ask.prompts) == 4
    assert (ask.rollouts < ask.first).sum() == 8


def test_adarft_moves_its_target_and_repeats_no_prompt():
    difficulty = np.linspace(0, 100, 10)
    made = allocation.get("adarft", 10, batch=2, group_size=4, difficulty=difficulty, eta=20.0)
    draws, _ = visit(made, dict.fromkeys(range(10), 2))  # rate ½: T stays at 0
    assert sorted(draws[0]) == [0, 1]
    assert float(made._notes["target"]) == pytest.approx(0.0)
    draws, _ = visit(made, dict.fromkeys(range(10), 4))
    assert sorted(draws[0]) == [2, 3]
    # T = 20 tanh(2 · .5) = 15.2; the nearest of those not yet drawn
    assert float(made._notes["target"]) == pytest.approx(20 * np.tanh(1.0))
    draws, _ = visit(made, dict.fromkeys(range(10), 4))
    assert sorted(draws[0]) == [4, 5]


def test_group_size_law_gives_every_prompt_the_same_fidelity():
    made = allocation.get("group_size_law", 2, batch=2, group_size=17, most=64)
    # p = (k + ½)/(n + 1): 49.5/99 = .5 and 9.5/99: 1/(p(1−p)) = 4 and 11.53; 34 = 8.76 + 25.24
    made._learn(outcomes([0, 1], [49, 9], 98))
    ask = made.ask(999, rng())
    assert dict(zip(ask.prompts.tolist(), ask.counts.tolist(), strict=True)) == {0: 9, 1: 25}
    answer(made, ask, {0: 3, 1: 3})
    ask = made.ask(0, rng())
    weights = dict(zip(ask.prompts.tolist(), ask.weights.tolist(), strict=True))
    assert weights == pytest.approx({0: 17 / 9, 1: 17 / 25})  # n̄/n_i


def test_contrast_prefers_what_splits_and_rests_what_it_used():
    rates = np.where(np.arange(60) < 20, 0.5, np.where(np.arange(60) < 40, 0.0, 1.0))
    made = allocation.get("contrast", 60, batch=6, group_size=8, least=4)
    trace = play(made, World(rates), 90, 48, rng())
    drawn = np.zeros(60)
    for draws, _ in trace[30:]:
        for prompt, count in draws[0]:
            drawn[prompt] += count
    assert drawn[:20].sum() > 0.5 * drawn.sum()  # a third of the pool; at most twice its share
    # uniform gives 60 · 48/60 = 48 rollouts to each prompt, and most_often is 2
    assert drawn.max() <= 2 * 48 + made.most
    assert (drawn > 0).mean() > 0.9  # exploration comes round


def test_contrast_refuses_a_rule_it_cannot_optimise():
    with pytest.raises(InputError, match="not concave"):
        allocation.get("contrast", 3, estimator="pass_at_k")


def test_ledger_counts_four_currencies():
    ledger, made = BudgetLedger(limit=16), allocation.get("uniform", 4, batch=2, group_size=4)
    world, source = World(np.full(4, 0.5)), rng()

    def sample(draw):
        prompts, rewards = zip(*world.sample(draw), strict=True)
        return RewardGroups.from_flat(rewards, prompts)

    for _ in range(2):
        ledger.select(allocation.play_step(made, ledger.left, source, sample, on_draw=ledger.draw))
    ledger.spend(extra=3, seconds=1.5)
    assert (ledger.generated, ledger.trained, ledger.extra) == (16, 16, 3)
    assert (ledger.seconds, ledger.steps, ledger.left) == (1.5, 2, 0)
    assert BudgetLedger.from_state_dict(ledger.state_dict()) == ledger
    with pytest.raises(InputError, match="more rollouts than the budget"):
        ledger.spend(generated=1)
    with pytest.raises(InputError, match="less than nothing"):
        ledger.spend(extra=-1)
    assert isinstance(allocation.play_step(made, 0, source, sample), Selection)


def outcomes(prompts, correct, size):
    from dissensus.core.allocation.step import Outcomes

    k = np.array(correct, dtype=float)
    n = np.full(len(k), size)
    return Outcomes(np.array(prompts), n, k, k / n, (k > 0) & (k < n))
