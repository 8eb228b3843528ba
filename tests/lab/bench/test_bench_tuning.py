"""Which learning rate is reported."""

from __future__ import annotations

import pytest

from dissensus.lab.bench.plan import Training
from dissensus.lab.bench.records import Arm
from dissensus.lab.bench.tuning import choose_rate, reported, tuning_table


@pytest.mark.parametrize(
    ("finals", "chosen"),
    [
        ({}, None),
        ({1e-4: [0.5]}, 1e-4),
        ({1e-4: [0.5, 0.7], 2e-4: [0.6, 0.6]}, 1e-4),
        ({1e-4: [0.5, 0.7], 2e-4: [0.9]}, 1e-4),
        ({1e-4: [0.1, 0.2], 2e-4: [0.3, 0.2], 4e-4: [0.0, 0.3]}, 2e-4),
    ],
)
def test_the_best_mean_wins_and_the_smaller_rate_a_tie(finals, chosen):
    assert choose_rate(finals) == chosen


def test_only_trainings_at_the_chosen_rate_count(make_plan, make_record):
    setting, arm, other = make_plan().setting, Arm("grpo", "uniform"), Arm("grpo", "dapo")

    def record(purpose, arm, rate, seed, right=5):
        return make_record(Training("small", setting, purpose, arm, rate, seed), right)

    records = [
        record("tune", arm, 1e-4, 1000, right=3),
        record("tune", arm, 2e-4, 1000, right=4),
        record("report", arm, 1e-4, 0),
        record("report", arm, 2e-4, 0),
        record("report", other, 1e-4, 0),
    ]
    assert tuning_table(records) == {arm: {1e-4: [0.3], 2e-4: [0.4]}}
    assert [(r.arm, r.learning_rate) for r in reported(records)] == [(arm, 2e-4), (other, 1e-4)]
