"""Whatever a function does, the audit says so in one line and goes on."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from dissensus.audit.blackbox import identify
from dissensus.audit.blackbox.report import answer_of


def centred(table):
    return table - table.mean(axis=1, keepdims=True)


def codes(function, **options):
    found = identify(function, **options)
    return {finding.code for finding in answer_of(found, target="f").findings}


def test_a_function_that_always_raises_gives_one_line():
    found = identify(lambda rewards: 1 / 0)
    assert found.failures == ("the function raised ZeroDivisionError: division by zero",)
    assert found.behaviour is None
    answer = answer_of(found, target="f")
    assert [f.code for f in answer.findings] == ["LOG630"]
    assert answer.estimator.numerator is None
    assert len(answer.unknown) == 2


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda rewards: "no", "not numbers"),
        (lambda rewards: None, "returned None"),
        (lambda rewards: rewards[:, :1], "another shape"),
        (lambda rewards: {"a": 1}, "not numbers"),
        (lambda rewards: sys.exit(3), "SystemExit"),
        (lambda rewards: rewards * np.nan, "NaN or infinite"),
    ],
    ids=["text", "None", "too few", "dict", "exit", "NaN"],
)
def test_unusable_results(function, said):
    found = identify(function)
    assert found.behaviour is None
    assert any(said in line for line in found.failures)
    assert all("\n" not in line for line in found.failures)


def test_a_function_that_does_not_come_back():
    begun = time.monotonic()
    found = identify(lambda rewards: time.sleep(1.5), call_limit_s=0.1)
    assert time.monotonic() - begun < 1.4
    assert "did not return within 0.1 s" in found.failures[0]


def test_a_slow_function_ends_with_its_budget():
    def slow(rewards):
        time.sleep(0.02)
        return centred(rewards)

    found = identify(slow, budget_s=0.3)
    assert found.fit.candidate.denominator == "none"
    assert any("time for this function is used up" in line for line in found.failures)


def test_output_of_the_function_stays_out_of_the_terminal(capsys):
    def loud(rewards):
        print("hello")
        print("error", file=sys.stderr)
        return centred(rewards)

    found = identify(loud)
    assert capsys.readouterr() == ("", "")
    assert found.printed == found.calls


def test_randomness_and_memory_are_told_apart():
    def noisy(rewards):
        return centred(rewards) + 0.1 * np.random.randn(*rewards.shape)  # noqa: NPY002

    memory = [0.0]

    def running(rewards):
        memory[0] = 0.9 * memory[0] + 0.1 * rewards.mean()
        return rewards - memory[0]

    found = identify(noisy)
    assert found.chance.is_random
    assert not found.chance.is_stateful
    found = identify(running)
    assert found.chance.is_stateful
    assert found.running
    answer = answer_of(found, target="f")
    assert answer.estimator.numerator == "running"
    assert "LOG632" in {f.code for f in answer.findings}


def generator_of_its_own():
    rng = np.random.default_rng(3)
    return lambda rewards: centred(rewards) + 0.1 * rng.normal(size=rewards.shape)


def fresh_entropy(rewards):
    return centred(rewards) + 0.1 * np.random.default_rng().normal(size=rewards.shape)


def toggling():
    state = [1.0]

    def rule(rewards):
        state[0] = -state[0]
        return centred(rewards) + 0.1 * state[0]

    return rule


def counting():
    calls = [0]

    def rule(rewards):
        calls[0] += 1
        return centred(rewards) / calls[0]

    return rule


@pytest.mark.parametrize("function", [generator_of_its_own(), fresh_entropy])
def test_random_numbers_that_nothing_seeds_are_no_memory(function):
    luck = identify(function).chance
    assert (luck.is_random, luck.is_stateful) == (True, False)


@pytest.mark.parametrize("function", [toggling(), counting()])
def test_memory_is_no_randomness(function):
    luck = identify(function).chance
    assert (luck.is_random, luck.is_stateful) == (False, True)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_leak_into_any_group_is_seen(place):
    def leaks(rewards):
        out = centred(rewards)
        if len(rewards) > place:
            out[place] += rewards.mean()
        return out

    assert identify(leaks).behaviour.leaks > 0.1
    assert "LOG607" in codes(leaks)


def test_silent_groups_that_are_left_out_of_the_result():
    def drops(rewards):
        return centred(rewards)[np.ptp(rewards, axis=1) > 0]

    answer = answer_of(identify(drops), target="f")
    assert answer.silent == "drop"
    assert answer.estimator.denominator == "none"


def test_rounding_noise_of_constant_rewards():
    def small_eps(rewards):
        table = rewards.astype(np.float32)
        # Added one after the other, as a loop or a reduction on a device does.
        mean = np.cumsum(table, axis=1, dtype=np.float32)[:, -1:] / np.float32(table.shape[1])
        variance = ((table - mean) ** 2).sum(axis=1, keepdims=True) / (table.shape[1] - 1)
        return (table - mean) / (np.sqrt(variance) + np.float32(1e-9))

    def tested(rewards):
        return np.where(np.ptp(rewards, axis=1, keepdims=True) > 1e-6, small_eps(rewards), 0.0)

    assert "LOG610" in codes(small_eps)
    assert "LOG610" not in codes(tested)


def test_rounding_noise_is_looked_for_at_several_group_sizes():
    def single(rewards):
        table = rewards.astype(np.float32)
        return centred(table) / (table.std(axis=1, keepdims=True) + np.float32(1e-9))

    assert single(np.full((2, 8), 0.7)).max() == 0
    assert np.abs(single(np.full((2, 7), 0.7))).min() > 0.9
    (finding,) = (f for f in answer_of(identify(single), target="f").findings if f.code == "LOG610")
    assert finding.evidence.startswith(("7 rewards", "12 rewards"))


def test_numpy_functions_get_constant_rewards_in_float32():
    # numpy adds up to 8 float32 numbers one after the other: 7 times 0.7 is not 7 · 0.7.
    assert np.full(7, 0.7, dtype=np.float32).std() > 0
    assert np.full(7, np.float32(0.7), dtype=np.float64).std() == 0
    assert "LOG610" in codes(lambda r: centred(r) / (r.std(axis=1, keepdims=True) + 1e-9))


def test_a_group_of_one_that_gets_its_reward():
    def grouped(rewards, groups, single):
        out = np.zeros(len(rewards))
        for group in np.unique(groups):
            at = groups == group
            out[at] = rewards[at] - (rewards[at].mean() if at.sum() > 1 or not single else 0.0)
        return out

    assert "LOG608" in codes(lambda rewards, ids: grouped(rewards, ids, single=True))
    assert "LOG608" not in codes(lambda rewards, ids: grouped(rewards, ids, single=False))


def test_groups_told_by_position():
    def by_position(rewards, group_ids):
        size = int(np.bincount(group_ids)[0])
        return centred(rewards.reshape(-1, size)).reshape(-1)

    assert "LOG633" in codes(by_position)


def test_whitening_that_pushes_silent_groups():
    def white(rewards):
        return (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-8)

    assert "SIL205" in codes(white)
    assert "SIL205" not in codes(centred)


def test_the_answer_is_plain_json():
    import json

    answer = answer_of(identify(centred), target="f")
    document = json.loads(json.dumps(answer.to_json(), allow_nan=False))
    assert document["kind"] == "function"
    assert document["estimator"]["numerator"] == "mean"
    assert document["signature"]["contrast"][4] == pytest.approx(0.25)


def test_nan_on_equal_rewards_is_an_error():
    def bare(rewards):
        with np.errstate(invalid="ignore"):
            return centred(rewards) / rewards.std(axis=1, keepdims=True)

    assert "LOG609" in codes(bare)
    assert not {"LOG601", "LOG610"} & codes(bare)


def test_ddof_of_a_batch_std_says_nothing_of_a_lone_answer():
    found = identify(lambda rewards: centred(rewards) / (rewards.std() + 1e-4))
    (finding,) = (f for f in answer_of(found, target="f").findings if f.code == "EST104")
    assert "lone correct" not in finding.consequence
    assert "batch of N" in finding.consequence


def test_a_function_of_the_wrong_shape_drops_nothing():
    answer = answer_of(identify(lambda rewards: centred(rewards).T), target="f")
    assert answer.silent is None


def test_unknown_of_a_function_that_never_returned():
    answer = answer_of(identify(lambda rewards: 1 / 0), target="f")
    assert answer.unknown[0] == "estimator: the function never returned advantages"


def test_nan_for_equal_rewards_at_one_group_size_is_found():
    def empty_for_three(rewards):
        out = centred(rewards) / (rewards.std(axis=1, keepdims=True) + 1e-4)
        is_silent = np.ptp(rewards, axis=1, keepdims=True) == 0
        return np.where(is_silent & (rewards.shape[1] == 3), np.nan, out)

    answer = answer_of(identify(empty_for_three), target="f")
    (finding,) = (f for f in answer.findings if f.code == "LOG609")
    assert finding.evidence.startswith("3 equal rewards")
