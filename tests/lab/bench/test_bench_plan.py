"""Plans: what they refuse, and how they are read."""

from __future__ import annotations

import json

import pytest

from dissensus.errors import InputError
from dissensus.lab.bench.plan import ArmPlan, Plan, Setting, Training, load_plan, read_arms
from dissensus.lab.bench.records import Arm

UNIFORM, MAXRL = Arm("grpo", "uniform"), Arm("maxrl", "uniform")
TUNED = ArmPlan(UNIFORM, (1e-4, 2e-4))


@pytest.mark.parametrize("name", ["quick", "serious"])
def test_the_packaged_plans_can_be_read(name):
    plan = load_plan(name)
    assert plan.name == name
    assert plan.baseline == UNIFORM
    assert not set(plan.tuning_seeds) & set(plan.report_seeds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": ()}, "needs an arm"),
        ({"report_seeds": ()}, "seeds to report"),
        ({"report_seeds": (1000, 1)}, "cannot be reported"),
        ({"arms": (TUNED, TUNED)}, "twice"),
        ({"arms": (ArmPlan(UNIFORM, ()),)}, "learning rates"),
        ({"arms": (ArmPlan(UNIFORM, (2e-4, 1e-4)),)}, "ascending"),
        ({"arms": (ArmPlan(UNIFORM, (0.0,)),)}, "> 0"),
        ({"tuning_seeds": ()}, "tuning seeds"),
        ({"arms": (TUNED, ArmPlan(MAXRL, (1e-4,), "of:grpo x dapo"))}, "of: an arm of the plan"),
        ({"arms": (ArmPlan(UNIFORM, (1e-4,), "of:grpo x uniform"),)}, "of: an arm of the plan"),
        ({"arms": (ArmPlan(Arm("grpoo", "uniform"), (1e-4,)),)}, "grpoo"),
        ({"arms": (ArmPlan(Arm("grpo", "unifrom"), (1e-4,)),)}, "unifrom"),
    ],
)
def test_what_is_dishonest_or_cannot_run_is_refused(make_plan, change, message):
    with pytest.raises(InputError, match=message):
        make_plan(**change)


def test_a_budget_below_one_step_is_refused():
    with pytest.raises(InputError, match="one step"):
        Setting(budget=31, train_prompts=8, prompts_per_step=8, group_size=4)


def test_some_arms_keep_those_that_tune_them(make_plan):
    dapo = Arm("grpo", "dapo")
    plan = make_plan(arms=(TUNED, ArmPlan(dapo, (1e-4,), "of:grpo × uniform")))
    assert [each.arm for each in plan.of([dapo]).arms] == [UNIFORM, dapo]
    assert [each.arm for each in plan.of([UNIFORM]).arms] == [UNIFORM]
    new = plan.of([UNIFORM, MAXRL]).arms[1]
    assert (new.arm, new.learning_rates, new.tune) == (MAXRL, (1e-4, 2e-4), "own")


def test_arms_are_read_with_commas_and_crosses_inside():
    text = "weighted(grpo, power(0.5)) x uniform; grpo × contrast(least=4, most=8);"
    assert read_arms(text) == [
        Arm("weighted(grpo, power(0.5))", "uniform"),
        Arm("grpo", "contrast(least=4, most=8)"),
    ]
    with pytest.raises(InputError, match="an arm is"):
        read_arms("grpo")


def test_a_file_that_is_no_plan_says_so(tmp_path):
    path = tmp_path / "p.json"
    for text in ("{", "{}", "[]", '{"name": "x", "arms": [{"estimator": "grpo"}], "setting": {}}'):
        path.write_text(text)
        with pytest.raises(InputError, match=r"p\.json"):
            load_plan(str(path))
    with pytest.raises(InputError, match="quick"):
        load_plan("qick")


def test_a_plan_file_may_share_one_grid(tmp_path, make_plan):
    setting = make_plan().setting.to_json()
    arms = [
        {"estimator": "grpo", "allocator": "uniform"},
        {"estimator": "grpo", "allocator": "dapo", "learning_rates": [1e-3]},
    ]
    document = {"name": "mine", "arms": arms, "learning_rates": [1e-4], "setting": setting}
    path = tmp_path / "p.json"
    path.write_text(json.dumps(document))
    plan = load_plan(str(path))
    assert isinstance(plan, Plan)
    assert [each.learning_rates for each in plan.arms] == [(1e-4,), (1e-3,)]
    assert plan.setting == make_plan().setting


def test_a_training_comes_back_from_json(make_plan):
    training = Training("small", make_plan().setting, "tune", MAXRL, 2e-4, 1000)
    assert Training.from_json(json.loads(json.dumps(training.to_json()))) == training
