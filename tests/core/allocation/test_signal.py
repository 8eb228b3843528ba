import functools
import itertools

import numpy as np
import pytest

from dissensus import RewardGroups
from dissensus.core import allocation
from dissensus.core.allocation.contrast import contrast_by_size
from dissensus.core.allocation.signal import reliability, reliability_by_size
from dissensus.core.allocation.spreading import concave_envelope, spread
from dissensus.errors import InputError


class Known:
    """Solve rates that are certain, and can be changed from outside."""

    rates = np.array([0.0, 0.1, 0.3, 0.5, 1.0])

    def __init__(self, at):
        self.at = np.array(at)

    def grow(self, prompts):
        self.at = np.append(self.at, np.zeros(prompts - len(self.at), dtype=int))

    def update(self, prompts, correct, size):
        pass

    def average(self, values, prompts):
        return np.asarray(values)[self.at[prompts]]


@functools.cache
def by_enumeration(p, n, noise, before=()):
    """E of signal/(signal + noise) of Δs, all outcomes of n rollouts after those of before."""
    total = 0.0
    for outcome in itertools.product([0, 1], repeat=n):
        rewards = [*before, *outcome]
        right, wrong = sum(rewards), len(rewards) - sum(rewards)
        if right and wrong:
            chance = np.prod([p if r else 1 - p for r in outcome])
            total += chance / (1.0 + noise / right + noise / wrong)
    return total


def test_reliability_is_the_share_of_a_difference_of_means_that_is_signal():
    # one correct, three wrong, V = 2: 2/1 + 2/3 = 8/3 of noise beside 1 of signal
    assert reliability(np.array(1), np.array(4), 2.0) == pytest.approx(3 / 11)
    assert reliability(np.array([0, 4, 0]), np.array([4, 4, 0]), 2.0).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("noise", [0.3, 4.0])
def test_expected_reliability_is_that_of_all_outcomes(noise):
    table = reliability_by_size(Known.rates, noise, 3, 6)
    assert (table[:, :3] == 0).all()
    for row, p in zip(table, Known.rates, strict=True):
        assert row[3:] == pytest.approx([by_enumeration(p, n, noise) for n in (3, 4, 5, 6)])


def test_gain_of_more_rollouts_counts_what_is_there_already():
    made = allocation.get("signal", 2, group_size=4, most=7, score_noise=1.5, beliefs=Known([2, 2]))
    groups = RewardGroups.from_dense([[1, 1, 0, 0], [0, 0, 0, 0]], correct=0.5)
    seen = allocation.step.Step(rows_of(groups), 1, 1e-9).outcomes
    found = made._gains(seen)
    for gains, before in zip(found, [(1, 1, 0, 0), (0, 0, 0, 0)], strict=True):
        now = by_enumeration(0.3, 0, 1.5, before)
        then = [by_enumeration(0.3, m, 1.5, before) for m in (1, 2, 3)]
        assert gains[1:4] == pytest.approx(np.array(then) - now)
        assert (gains[4:] == gains[3]).all()  # no group grows beyond `most`


def rows_of(groups):
    rows = np.zeros(groups.n_rollouts, dtype=allocation.step.ROW)
    rows["prompt"], rows["reward"], rows["credit"] = groups.index, groups.rewards, groups.rewards
    return rows


def test_hard_prompts_get_large_groups_and_solved_ones_none():
    made = allocation.get(
        "signal", 12, batch=6, score_noise=4.0, explore=0.0, beliefs=Known([1, 3, 4] * 4)
    )
    ask = made.ask(48, np.random.default_rng(0))
    counts = dict(zip(ask.prompts.tolist(), ask.counts.tolist(), strict=True))
    assert not {2, 5, 8, 11} & set(counts)
    even = [counts[i] for i in (1, 4, 7, 10)]
    assert min(even) >= 4
    best = {p: max(range(2, 33), key=lambda n, p=p: by_binomial(p, n, 4.0) / n) for p in (0.1, 0.5)}
    assert best[0.5] <= min(even)
    assert all(counts[i] >= best[0.1] > best[0.5] for i in (0, 3, 6, 9) if i in counts)


def by_binomial(p, n, noise):
    from math import comb

    return sum(
        comb(n, k) * p**k * (1 - p) ** (n - k) / (1 + noise / k + noise / (n - k))
        for k in range(1, n)
    )


def test_the_second_round_adds_what_is_worth_most():
    rates = [0.1, 0.1, 0.5, 0.5]
    made = allocation.get(
        "signal",
        4,
        batch=2,
        rounds=2,
        first=0.5,
        explore=0.0,
        score_noise=2.0,
        beliefs=Known([1, 1, 3, 3]),
    )
    rng = np.random.default_rng(0)
    first = made.ask(16, rng)
    before = {
        prompt: [float(prompt == 2)] + [0.0] * (count - 1)
        for prompt, count in zip(first.prompts.tolist(), first.counts.tolist(), strict=True)
    }
    rewards = np.concatenate([before[prompt] for prompt in first.prompts.tolist()])
    made.tell(RewardGroups.from_flat(rewards, np.repeat(first.prompts, first.counts)))
    second = made.ask(16 - first.total, rng)
    assert first.total + second.total == 16

    def value(more):
        return sum(
            by_enumeration(p, m, 2.0, tuple(before.get(prompt, ())))
            for prompt, (p, m) in enumerate(zip(rates, more, strict=True))
        )

    found = np.zeros(4, dtype=int)
    found[second.prompts] = second.counts
    possible = itertools.product(range(second.total + 1), repeat=4)
    best = max(value(more) for more in possible if sum(more) == second.total)
    now = value([0, 0, 0, 0])
    assert value(found) - now > 0.95 * (best - now)


def test_beliefs_can_be_given_and_changed():
    beliefs = Known([3, 0, 0, 0])
    made = allocation.get("contrast", 4, batch=1, explore=0.0, most_often=1e6, beliefs=beliefs)
    rng = np.random.default_rng(0)
    for prompt in (0, 2):
        beliefs.at[:] = 0
        beliefs.at[prompt] = 3
        made.rescore()
        ask = made.ask(8, rng)
        assert ask.prompts.tolist() == [prompt]
        made.tell(RewardGroups.from_flat(np.zeros(8), np.repeat(ask.prompts, ask.counts)))
        made.ask(0, rng)
    made.add([4])
    assert len(beliefs.at) == 5
    with pytest.raises(InputError, match="beliefs"):
        allocation.get("signal", 4, beliefs=0.5)


def test_tables_of_values_are_made_once():
    first = contrast_by_size(np.array([0.2, 0.4]), "grpo", 2, 5)
    assert contrast_by_size(np.array([0.2, 0.4]), "grpo", 2, 5) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1.0


@pytest.mark.parametrize("budget", [3, 6, 7, 9])
def test_an_envelope_loses_at_most_one_block(budget):
    values = np.array([[0, 0, 0.2, 0.9, 1.0], [0, 0, 0.5, 0.6, 0.65], [0, 0, 0.1, 0.5, 0.8]])
    counts = spread(concave_envelope(values, least=2), budget, least=2)
    assert counts.sum() <= budget
    reached = values[np.arange(3), counts].sum()
    best = max(
        values[np.arange(3), list(tried)].sum()
        for tried in itertools.product([0, 2, 3, 4], repeat=3)
        if sum(tried) <= budget
    )
    assert best - 0.9 <= reached <= best
    if budget == 9:  # every block fits
        assert reached == pytest.approx(best)


@pytest.mark.parametrize("wrong", [{"rounds": 3}, {"score_noise": 0.0}, {"pilot": 1}, {"first": 2}])
def test_signal_refuses_what_cannot_be(wrong):
    with pytest.raises(InputError):
        allocation.get("signal", 3, **wrong)
