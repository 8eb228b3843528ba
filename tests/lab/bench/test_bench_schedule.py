"""What is done next."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dissensus.errors import InputError
from dissensus.lab.bench.plan import ArmPlan
from dissensus.lab.bench.records import Arm
from dissensus.lab.bench.schedule import Schedule

UNIFORM, MAXRL, DAPO = Arm("grpo", "uniform"), Arm("maxrl", "uniform"), Arm("grpo", "dapo")


def drain(schedule):
    """All that can be taken now."""
    return list(iter(schedule.take, None))


def test_tuning_comes_first_and_opens_the_reported_seeds(make_plan, make_record):
    schedule = Schedule(make_plan(), [], where=Path("out"))
    assert schedule.total == 2 * 2 * 2 + 2 * 2
    tuning = drain(schedule)
    assert [t.purpose for t in tuning] == ["tune"] * 8
    assert {t.seed for t in tuning} == {1000, 1001}
    for training in tuning:
        is_best = training.learning_rate == (2e-4 if training.arm == MAXRL else 1e-4)
        schedule.add(make_record(training, right=6 if is_best else 5))
    reports = drain(schedule)
    assert [(t.seed, t.arm, t.learning_rate) for t in reports] == [
        (0, UNIFORM, 1e-4),
        (0, MAXRL, 2e-4),
        (1, UNIFORM, 1e-4),
        (1, MAXRL, 2e-4),
    ]
    assert {t.purpose for t in reports} == {"report"}
    assert (schedule.done, schedule.is_waiting) == (8, True)
    for training in reports:
        schedule.add(make_record(training))
    assert (schedule.done, schedule.is_waiting) == (schedule.total, False)


def test_an_arm_is_not_reported_before_all_its_tuning_is_there(make_plan, make_record):
    schedule = Schedule(make_plan(), [], where=Path("out"))
    tuning = drain(schedule)
    for training in tuning:
        if training.arm == UNIFORM:
            schedule.add(make_record(training))
    assert {t.arm for t in drain(schedule)} == {UNIFORM}
    failed, *others = [t for t in tuning if t.arm == MAXRL]
    schedule.fail(failed)
    for training in others:
        schedule.add(make_record(training))
    assert drain(schedule) == []


def test_an_arm_tuned_by_another_takes_its_rate(make_plan, make_record):
    rates = (1e-4, 2e-4)
    arms = (ArmPlan(UNIFORM, rates), ArmPlan(DAPO, rates, "of:grpo x uniform"))
    schedule = Schedule(make_plan(arms=arms), [], where=Path("out"))
    tuning = drain(schedule)
    assert {t.arm for t in tuning} == {UNIFORM}
    for training in tuning:
        schedule.add(make_record(training, right=9 if training.learning_rate == 2e-4 else 1))
    assert {(t.arm, t.learning_rate) for t in drain(schedule)} == {(UNIFORM, 2e-4), (DAPO, 2e-4)}


@pytest.mark.parametrize(
    ("right", "tried", "chosen"),
    [
        ({1e-4: 5, 2e-4: 4, 5e-5: 3}, [5e-5, 1e-4, 2e-4], 1e-4),
        ({1e-4: 4, 2e-4: 5, 4e-4: 6, 8e-4: 7}, [1e-4, 2e-4, 4e-4, 8e-4], 8e-4),
        ({1e-4: 4, 2e-4: 4, 5e-5: 6, 2.5e-5: 1}, [2.5e-5, 5e-5, 1e-4, 2e-4], 5e-5),
    ],
)
def test_a_grid_is_widened_while_its_end_is_best(make_plan, make_record, right, tried, chosen):
    plan = make_plan(arms=(ArmPlan(UNIFORM, (1e-4, 2e-4)),), widen=2)
    schedule = Schedule(plan, [], where=Path("out"))
    found = []
    while (training := schedule.take()) is not None and training.purpose == "tune":
        found.append(training.learning_rate)
        schedule.add(make_record(training, right=right[training.learning_rate]))
    assert sorted(found) == sorted([*tried, *tried])
    assert training.learning_rate == chosen
    assert schedule.total == 2 * len(tried) + 2


def test_what_is_done_is_not_done_again(make_plan, make_record):
    plan = make_plan(arms=(ArmPlan(UNIFORM, (1e-4,)),))
    first = Schedule(plan, [], where=Path("out")).take()
    assert first is not None
    again = Schedule(plan, [make_record(first)], where=Path("out"))
    assert [t.seed for t in drain(again)] == [1]
    assert again.total == 2


def test_records_of_other_settings_are_refused(make_plan, make_record):
    plan = make_plan(arms=(ArmPlan(UNIFORM, (1e-4,)),))
    record = make_record(Schedule(plan, [], where=Path("out")).take())
    other = make_plan(setting=dataclasses.replace(plan.setting, budget=128))
    with pytest.raises(InputError, match="budget is 96 there and 128 in small"):
        Schedule(other, [record], where=Path("out"))
