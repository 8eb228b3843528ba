"""Weighted and scheduled estimators in the trainer: used, recorded, resumed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny

from dissensus import RewardGroups, Run, advantages
from dissensus.core.advantages import Context, EstimatorState
from dissensus.errors import InputError
from dissensus.integrations.trl import DisagreementGRPOTrainer

pytestmark = pytest.mark.filterwarnings("ignore")

LEARNT = "weighted(dr_grpo, learned_bins(bins=2, decay=0.5))"
SCHEDULED = "weighted(grpo, schedule(power(0), power(2), start=0, stop=3))"


def train(tmp_path, estimator, *, resume=None, **args):
    settings = {"per_device_train_batch_size": 16, "max_steps": 3, **args}
    trainer = tiny.build(DisagreementGRPOTrainer, tmp_path, args=settings, estimator=estimator)
    trainer.train(resume_from_checkpoint=resume)
    trainer.recorder.close()
    return trainer, Run(tmp_path / "dissensus")


def generations(run):
    """Rewards, advantages and step of each generation, in order."""
    rows = run.rollouts().to_pandas().sort_values(["generation", "row"])
    for _, mine in rows.groupby("generation"):
        groups = RewardGroups.from_dense(mine.reward.to_numpy().reshape(-1, 4), correct=1.0)
        yield groups, mine.advantage_used.to_numpy(), int(mine.step.iloc[0])


def test_a_schedule_follows_the_optimisers_step_and_the_run_names_it(tmp_path):
    _, run = train(tmp_path, SCHEDULED)
    rule, seen = advantages.get(SCHEDULED), []
    for groups, used, step in generations(run):
        assert used == pytest.approx(rule(groups, Context(step=step)), abs=1e-6)
        seen.append(step)
    assert seen == [0, 1, 2]
    assert run.info["metadata"]["estimator"] == repr(rule)
    assert advantages.get(run.info["metadata"]["estimator"]) == rule


def test_learnt_weights_go_on_where_the_checkpoint_stopped(tmp_path):
    first, run = train(tmp_path / "a", LEARNT, save_strategy="steps", save_steps=2)
    state, rule = EstimatorState(), advantages.get(LEARNT)
    for groups, used, _ in generations(run):
        assert used == pytest.approx(rule(groups, Context(state=state)), abs=1e-6)
    [key] = state
    assert first._dissensus.state[key] == pytest.approx(state[key])
    assert state[key].any()

    checkpoint = tmp_path / "a" / "checkpoint-2"
    saved = json.loads((checkpoint / "dissensus_state.json").read_text())["estimator"]
    assert list(saved) == [key]
    again, _ = train(tmp_path / "b", LEARNT, resume=str(checkpoint))
    assert again._dissensus.state[key] == pytest.approx(first._dissensus.state[key])
    # It matters: a trainer that forgets would end elsewhere.
    assert not np.allclose(saved[key], first._dissensus.state[key])


def test_a_weight_that_is_written_wrong_is_refused_before_training(tmp_path):
    with pytest.raises(InputError, match="no weight of that name"):
        tiny.build(DisagreementGRPOTrainer, tmp_path, estimator="weighted(grpo, dr_grpo)")
