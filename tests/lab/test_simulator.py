"""The simulator, against updates worked out by hand and the laws' expectations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dissensus.core import advantages
from dissensus.errors import InputError, MissingContextError
from dissensus.lab.simulator import Simulator, refill


def make(rates, rule="grpo", lr=1.0, seed=0):
    return Simulator(rates, rule, learning_rate=lr, rng=np.random.default_rng(seed))


@pytest.mark.parametrize(("rule", "power"), [("grpo", 1), ("dr_grpo", 2)])
def test_a_step_is_the_groups_disagreement(rule, power):
    simulator = make([0.5, 0.5, 0.5, 0.5], rule, lr=0.5)
    simulator.learn([0, 2, 4, 8], 8)
    steps = [0.5 * math.sqrt(k * (8 - k) / 64) ** power for k in (0, 2, 4, 8)]
    assert simulator.logits.tolist() == pytest.approx(steps, abs=1e-15)


def test_a_rule_with_push_moves_by_the_sum_over_rollouts():
    def sign(groups):
        return np.where(groups.rewards > 0.5, 1.0, -1.0)

    p, k, size = 0.2, 3, 4
    simulator = make([p], sign)
    before = simulator.logits[0]
    simulator.learn([k], size)
    by_hand = (k * (1 - p) - (size - k) * (0 - p)) / size  # (1/G) Σ A_i (y_i − p)
    assert simulator.logits[0] - before == pytest.approx(by_hand, rel=1e-12)


def test_ragged_groups_of_a_repeated_prompt_add_up():
    simulator = make([0.5, 0.3])
    start = simulator.logits.copy()
    simulator.learn([1, 2, 1], [2, 4, 1], [0, 0, 1])
    moved = simulator.logits - start
    assert moved.tolist() == pytest.approx([0.5 + 0.5, 0.0])  # σ of 1/2 and of 2/4; one rollout


def test_the_expected_step_is_the_mean_of_sampled_ones():
    rates = [0.05, 0.3, 0.8]
    expected = make(rates, "dr_grpo")
    expected.learn_expected(8)
    sampled = make(np.repeat(rates, 200_000), "dr_grpo", seed=3)
    start = sampled.logits.copy()
    sampled.learn(sampled.draw(8), 8)
    mean = (sampled.logits - start).reshape(3, -1).mean(axis=1)
    by_hand = [p * (1 - p) * (1 - 1 / 8) for p in rates]
    moved = expected.logits - make(rates).logits
    assert moved.tolist() == pytest.approx(by_hand, rel=1e-12)
    assert mean.tolist() == pytest.approx(by_hand, abs=8e-4)  # five standard errors


def test_refilling_stops_at_split_groups_and_counts_every_rollout():
    simulator = make([1e-12, 0.5, 0.5])
    kept = refill(simulator, [0, 3, 8], 8, tries=4)
    assert kept[0] == 0  # never solved: stays unanimous after its last try
    assert kept[1] == 3  # was split at once
    assert 0 < kept[2] < 8
    assert simulator.rollouts == 8 * (3 + 0 + 1)


def test_drawing_counts_rollouts_and_is_determined_by_the_seed():
    first, second = make([0.2, 0.7], seed=5), make([0.2, 0.7], seed=5)
    assert first.draw([4, 9]).tolist() == second.draw([4, 9]).tolist()
    assert first.rollouts == 13


def test_a_prompt_without_rollouts_stays_where_it_is():
    simulator = make([0.5, 0.5])
    assert simulator.draw([0, 0]).tolist() == [0, 0]
    simulator.learn([0, 2], [0, 4])
    assert simulator.logits.tolist() == pytest.approx([0.0, 0.5])
    assert simulator.rollouts == 0


def test_a_prompt_that_is_learned_for_good_stays_a_probability():
    simulator = make([0.5, 0.5])
    simulator.logits[:] = [-800.0, 800.0]
    assert simulator.solve_rates.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("correct", "sizes"), [([1, 2], [-1, 4]), ([-1, 2], 4), ([5, 2], 4), ([1, 2, 3], 4)]
)
def test_impossible_groups_are_refused(correct, sizes):
    simulator = make([0.5, 0.3])
    before = simulator.logits.copy()
    with pytest.raises(InputError, match="Simulator"):
        simulator.learn(correct, sizes)
    assert (simulator.logits == before).all()


def test_what_cannot_be_simulated_is_refused():
    with pytest.raises(InputError, match="clip"):
        make([0.0, 0.5])
    with pytest.raises(InputError, match="Simulator"):
        make([0.5, 0.3]).draw([-1, 4])
    with pytest.raises(MissingContextError):
        make([0.5], advantages.get("lite_ppo")).learn([1], 4)
