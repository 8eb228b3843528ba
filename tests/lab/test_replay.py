"""The replay: worlds that obey their record, and numbers that add up."""

import json

import numpy as np
import pytest

from dissensus.cli.app import run
from dissensus.core.allocation import Draw, Selection
from dissensus.core.laws import BetaFit
from dissensus.errors import InputError
from dissensus.lab.replay import Oracle, Record, ReplaySettings, World, big_math_record, race
from dissensus.lab.replay.race import _Tally, interval

RECORD = Record(np.array([0, 4, 8, 3, 16]), np.array([8, 8, 8, 8, 16]))


def ask(prompts, counts):
    return Draw(np.array(prompts), np.array(counts))


def test_a_prompt_gives_back_exactly_what_was_recorded():
    world = World(RECORD, seed=3)
    seen = np.zeros(5)
    for counts in ([3, 2, 1, 5, 9], [5, 6, 7, 3, 7]):
        groups = world.sample(ask(range(5), counts))
        seen += groups.correct
    assert seen.tolist() == [0, 4, 8, 3, 16]
    assert world.beyond == 0
    world.sample(ask([1, 4], [2, 3]))
    assert world.beyond == 5


def test_recorded_rollouts_come_in_random_order():
    # The first 2 of 4 correct in 8: hypergeometric with mean 1; 1,000 worlds
    record, prior = Record(np.array([4]), np.array([8])), BetaFit(1.0, 1.0)
    worlds = [World(record, seed, prior=prior) for seed in range(1000)]
    firsts = [world.sample(ask([0], [2])).correct[0] for world in worlds]
    expected = {0: 6 / 28, 1: 16 / 28, 2: 6 / 28}
    for k, chance in expected.items():
        assert np.mean(np.array(firsts) == k) == pytest.approx(chance, abs=4 * np.sqrt(0.25 / 1000))


def test_luck_does_not_depend_on_what_else_was_asked():
    first, second = World(RECORD, 1), World(RECORD, 1)
    second.sample(ask([0, 2, 4], [3, 30, 2]))
    second.sample(ask([1], [5]))
    a = first.sample(ask([1, 3], [12, 6])).rewards
    assert a[5:12].tolist() == second.sample(ask([1], [7])).rewards.tolist()


def test_beyond_the_record_rates_follow_the_posterior():
    # Beta(a + k, b + n − k) has mean (a + k)/(a + b + n)
    record = Record(np.full(4000, 6), np.full(4000, 8))
    world = World(record, 0, prior=BetaFit(1.0, 1.0))
    mean, variance = 7 / 10, 7 * 3 / (10**2 * 11)
    assert world.rates.mean() == pytest.approx(mean, abs=4 * np.sqrt(variance / 4000))
    world.sample(ask(range(4000), [8] * 4000))
    groups = world.sample(ask(range(4000), [4] * 4000))
    assert groups.rewards.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / 4000))


@pytest.fixture(scope="module")
def result():
    settings = ReplaySettings(budget=4096, batch=8, group_size=8, seeds=2)
    return race(big_math_record(200), settings, ["dapo", "contrast", "pods"])


def test_numbers_add_up(result):
    for scores in result.scores.values():
        for score in scores:
            assert score.all_wrong_frac + score.all_correct_frac == pytest.approx(
                score.unanimous_rollout_frac
            )
            assert score.by_difficulty.sum() == pytest.approx(1.0)
            assert 0.9 < score.generated_frac <= 1.0
            assert score.contrast_per_1000_rollouts <= 1000 * 0.5 * score.split_groups / 4096
            assert 0 < score.coverage <= 1


def test_uniform_shows_the_rates_of_the_record():
    # k of 64 recorded, groups of 8 without replacement: P(unanimous) by counting
    record = big_math_record(400, seed=2)
    settings = ReplaySettings(budget=8 * 400 * 8, batch=50, group_size=8, seeds=1)
    found = race(record, settings, ["uniform"])
    k = record.correct
    chance = np.ones(400), np.ones(400)
    for j in range(8):
        chance[0][:] *= np.maximum(k - j, 0) / (64 - j)
        chance[1][:] *= np.maximum(64 - k - j, 0) / (64 - j)
    # every prompt eight times: 3,200 groups
    (score,) = found.scores["uniform"]
    assert score.all_correct_frac == pytest.approx(chance[0].mean(), abs=0.02)
    assert score.all_wrong_frac == pytest.approx(chance[1].mean(), abs=0.02)
    assert score.beyond_frac == 0


def test_contrast_beats_uniform_and_stays_below_the_oracle(result):
    assert (result.versus("contrast") > 0).all()
    assert (result.of_oracle("contrast") < 1).all()
    assert result.of_oracle("oracle").tolist() == [1, 1]


def test_the_oracle_expects_what_the_sums_say():
    # Two rollouts of GRPO: W = ½ with chance 2p(1−p)
    rates = np.array([0.5, 0.11, 0.97])
    oracle = Oracle(rates, batch=2, group_size=4)
    values = oracle._expected(np.arange(3), np.arange(0))
    assert values[:, 2] == pytest.approx(rates * (1 - rates), abs=1e-4)
    assert (values[:, :2] == 0).all()


def test_a_stored_group_counts_once():
    tally = _Tally()
    tally.generated(np.array([5, 5, 6, 6]), np.array([1.0, 0.0, 1.0, 1.0]))
    one = selection([0, 1, 2, 3], [0, 0, 1, 1])
    tally.selected(one)
    assert (tally.contrast, tally.split, tally.trained) == (0.5, 1, 4)
    assert (tally.all_wrong, tally.all_correct) == (0, 2)
    tally.selected(one)
    assert (tally.contrast, tally.split, tally.trained) == (0.5, 1, 8)


def selection(rollouts, groups):
    n = max(groups) + 1
    arrays = np.arange(n), np.array(rollouts), np.array(groups), np.ones(n), np.full(n, np.nan)
    return Selection(*arrays, first=0)


def test_interval_by_hand():
    # t(.975, 2) = 4.3027, s = 1, n = 3
    assert interval(np.array([1.0, 2.0, 3.0])) == pytest.approx([2 - 2.4842, 2 + 2.4842], abs=1e-3)
    assert np.isnan(interval(np.array([1.0]))).all()


def test_command(capsys):
    arguments = ["replay", "big-math", "--prompts", "100", "--budget", "1000", "--seeds", "2"]
    arguments += ["--allocators", "dapo,contrast", "--batch", "8"]
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["budget"] == 1000
    assert set(document["allocators"]) == {"uniform", "dapo", "contrast", "oracle"}
    wanted = {"split_groups", "unanimous_rollout_frac", "contrast_per_1000_rollouts", "of_oracle"}
    for row in document["allocators"].values():
        assert wanted | {"ci95"} <= set(row)
        assert set(row["ci95"]) >= wanted
    assert run(arguments) == 0
    text = capsys.readouterr().out
    assert "does not train" in text
    assert max(map(len, text.splitlines())) <= 100


def test_what_cannot_be_raced_is_refused(capsys):
    with pytest.raises(InputError, match="no allocation strategy"):
        race(RECORD, ReplaySettings(budget=10), ["dapp"])
    with pytest.raises(InputError, match="--budget"):
        race(RECORD, ReplaySettings(budget=0))
    assert run(["replay", "no/such/folder"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
