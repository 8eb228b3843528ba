"""One real training of the benchmark, a very small one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dissensus.lab.bench.one_training import train_once
from dissensus.lab.bench.plan import Setting, Training
from dissensus.lab.bench.records import Arm

SETTING = Setting(
    budget=5 * 6 * 4 + 7,
    train_prompts=12,
    prompts_per_step=6,
    group_size=4,
    families=("modulo", "sorting"),
    levels=(1, 2),
    warmup_steps=1,
    evaluations=3,
    heldout_prompts=12,
    final_samples=3,
)
TRAINING = Training("small", SETTING, "report", Arm("grpo", "uniform"), 2e-4, 3)


def repeatable(record):
    """All of a record but its times."""
    document = record.to_json()
    for name in ("seconds", "processor_seconds"):
        del document["evaluations"][name]
    return document


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def record(told):
    return train_once(TRAINING, told.append)


def test_the_budget_is_spent_and_counted(record, told):
    steps = record.steps
    assert steps.generated.sum() == record.evaluations.generated[-1] <= SETTING.budget
    assert steps.generated.sum() > SETTING.budget - 6 * 4
    assert (steps.all_wrong + steps.all_correct <= steps.generated).all()
    assert (steps.trained <= steps.generated).all()
    assert (np.diff(told) > 0).all()
    assert record.evaluations.trained[-1] == steps.trained.sum()


def test_checks_come_first_when_another_share_is_spent(record):
    found = record.evaluations
    so_far = np.concatenate([[0], np.cumsum(record.steps.generated)])
    due = [so_far[so_far * 3 >= j * SETTING.budget][0] for j in range(3)]
    assert found.generated.tolist() == [*due, so_far[-1]]
    assert found.samples.tolist() == [1, 1, 1, 3]
    assert (found.correct <= found.samples[:, None]).all()
    assert found.correct.shape == (4, 12)
    assert (np.diff(found.seconds) > 0).all()
    assert (np.diff(found.tokens) >= np.diff(found.generated)).all()


def test_the_same_training_gives_the_same_record(record):
    assert repeatable(train_once(TRAINING)) == repeatable(record)


def test_another_arm_starts_at_the_same_place(record):
    other = train_once(TRAINING._replace(arm=Arm("maxrl", "uniform")))
    first = other.evaluations.correct[0], record.evaluations.correct[0]
    assert first[0].tolist() == first[1].tolist()
    # The same prompts and the same samples before the first update.
    for name in ("all_wrong", "all_correct"):
        assert getattr(other.steps, name)[0] == getattr(record.steps, name)[0]
    assert other.steps.contrast[0] != record.steps.contrast[0]


def test_another_seed_is_another_training(record):
    shorter = dataclasses.replace(SETTING, budget=24, evaluations=1)
    other = train_once(TRAINING._replace(seed=4, setting=shorter))
    assert other.evaluations.tokens[-1] != record.evaluations.tokens[1]
    # The same held-out prompts and weights, other luck.
    assert other.evaluations.correct[0].tolist() != record.evaluations.correct[0].tolist()
