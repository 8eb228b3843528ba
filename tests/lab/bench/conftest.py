"""Small plans, and records as a training would leave them."""

from __future__ import annotations

import numpy as np
import pytest

from dissensus.lab.bench.plan import ArmPlan, Plan, Setting
from dissensus.lab.bench.records import Arm, Evaluations, Steps, TrainingRecord

UNIFORM = Arm("grpo", "uniform")
SETTING = Setting(
    budget=96,
    train_prompts=20,
    prompts_per_step=4,
    group_size=4,
    families=("modulo",),
    levels=(1, 2),
    warmup_steps=1,
    evaluations=3,
    heldout_prompts=10,
    final_samples=2,
)


@pytest.fixture
def make_plan():
    """Two arms, two rates, two tuning seeds, two reported ones, unless told otherwise."""

    def make(**changes):
        rates = (1e-4, 2e-4)
        arms = (ArmPlan(UNIFORM, rates), ArmPlan(Arm("maxrl", "uniform"), rates))
        given = {"name": "small", "arms": arms, "setting": SETTING, "report_seeds": (0, 1)}
        return Plan(**(given | changes))

    return make


@pytest.fixture
def make_record():
    """The record of a training that ended with `right` of 10 held-out prompts right."""

    def make(training, right=5):
        zeros, ends = np.zeros(1, dtype=np.int64), np.array([0, training.setting.budget])
        correct = np.zeros((2, 10), dtype=np.int64)
        correct[1, :right] = 1
        return TrainingRecord(
            plan=training.plan,
            purpose=training.purpose,
            arm=training.arm,
            learning_rate=training.learning_rate,
            seed=training.seed,
            budget=training.setting.budget,
            evaluations=Evaluations(
                **dict.fromkeys(("generated", "trained", "tokens"), ends),
                **dict.fromkeys(("seconds", "processor_seconds"), ends / 10),
                steps=np.array([0, 1]),
                extra=np.array([0, 0]),
                samples=np.array([1, 1]),
                correct=correct,
            ),
            steps=Steps(
                **dict.fromkeys(("generated", "trained"), ends[1:]),
                **dict.fromkeys(("all_wrong", "all_correct", "groups"), zeros),
                contrast=np.zeros(1),
            ),
            settings=training.setting.to_json(),
        )

    return make
