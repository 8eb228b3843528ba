"""Two steps of verl's own `fit` with the recording trainer; see standins.py for what is not real.

The actor's workers save and load nothing here.

Real are the configuration, data set, tokenizer, TransferQueue with its actors, agent-loop and
reward workers in Ray processes, replay buffer, padding, advantages, metrics, and verl's tracker.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("verl.protocol", reason="verl has its own environment: make test-verl")

import standins
import transfer_queue as tq
from omegaconf import OmegaConf
from verl.trainer.ppo.v1 import PPOTrainerSync, get_trainer_cls
from verl.trainer.ppo.v1.utils import MetricsAggregator

from dissensus import RewardGroups, Run, advantages
from dissensus.errors import RunError
from dissensus.integrations.verl.checkpoint import STATE_FILE
from dissensus.integrations.verl.estimators import VerlEstimator, load_memory, memory
from dissensus.integrations.verl.trainers import RecordingMixin

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def trained(cluster, tmp_path_factory):
    """Folder, trainer and what was logged."""
    folder = tmp_path_factory.mktemp("verl")
    config = standins.make_config(
        folder,
        "data.train_batch_size=3",
        "actor_rollout_ref.actor.ppo_mini_batch_size=2",  # 12 rollouts, padded by verl to 16
        "algorithm.adv_estimator=dissensus_grpo",
        "+algorithm.dissensus.parameters.ddof=1",
        f"+algorithm.dissensus.run_dir={folder / 'run'}",
        "+algorithm.dissensus.correct=acc",
        "trainer.v1.trainer_mode=dissensus_sync",
        "trainer.val_before_train=true",
        "trainer.test_freq=2",
        "actor_rollout_ref.rollout.val_kwargs.n=2",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERL_FILE_LOGGER_PATH", str(folder / "log.jsonl"))
        trainer = standins.train(config)
    return folder, trainer, standins.logged(folder / "log.jsonl")


def test_nothing_failed_and_the_run_is_complete(trained):
    folder, trainer, _ = trained
    assert not trainer._dissensus.guard.failures
    run = Run(folder / "run")
    groups = run.groups(split="train").to_pandas()
    assert groups["step"].tolist() == [1, 1, 1, 2, 2, 2]
    assert groups["rollouts"].tolist() == [4] * 6
    assert groups["group_id"].nunique() == 6
    assert groups["prompt_id"].nunique() == 6
    rollouts = training(run)
    assert len(rollouts) == 24
    assert rollouts["length"].between(1, 4).all()
    right = are_right(run, rollouts)
    assert rollouts["reward"].tolist() == [1.0 if each else -1.0 for each in right]
    assert rollouts["correct"].tolist() == right


def test_advantages_are_those_that_the_actor_was_given(trained):
    folder, trainer, _ = trained
    rollouts = training(Run(folder / "run"))
    for step, seen in enumerate(trainer.actor_rollout_wg.seen, start=1):
        assert len(seen) == 16
        given = sorted(
            max(row, key=abs, default=0.0) for key, row in seen.items() if key[:3] != "pad"
        )
        padding = [row for key, row in seen.items() if key.startswith("pad")]
        assert len(padding) == 4
        assert not np.any(padding)
        ours = rollouts[rollouts["step"] == step]
        np.testing.assert_allclose(sorted(ours["advantage_used"]), given, rtol=1e-6)
        groups = RewardGroups.from_flat(ours["reward"].tolist(), ours["group_id"].tolist())
        expected = advantages.get("grpo", ddof=1)(groups)
        np.testing.assert_allclose(ours["advantage_used"], expected, rtol=1e-6, atol=1e-9)


def test_the_metrics_stand_in_verls_own_tracker(trained):
    folder, _, lines = trained
    groups = Run(folder / "run").groups(split="train").to_pandas()
    for line in lines:
        if line["step"] == 0:
            continue  # the validation before training
        logged, mine = line["data"], groups[groups["step"] == line["step"]]
        solved = mine["correct"].to_numpy()
        assert logged["dissensus/all_wrong_frac"] == pytest.approx((solved == 0).mean())
        assert logged["dissensus/all_correct_frac"] == pytest.approx((solved == 4).mean())
        split = (solved > 0) & (solved < 4)
        assert logged["dissensus/unanimous_frac"] == pytest.approx(1 - split.mean())
        assert logged["dissensus/effective_rollout_frac"] == pytest.approx(split.mean())
        share = solved / 4
        std = 2 * np.sqrt(share * (1 - share))  # rewards are −1 and 1
        assert logged["dissensus/group_std_mean"] == pytest.approx(std.mean())
        assert logged["dissensus/rollouts_generated"] == 12
        assert logged["actor/pg_loss"] == 0.25
    scalars = Run(folder / "run").scalars().to_pandas()
    assert set(scalars.loc[scalars["name"] == "actor/pg_loss", "value"]) == {0.25}


def test_validations_are_recorded_at_the_step_that_trains_next(trained):
    """verl validates its 12 rows twice each before step 1 and after step 2."""
    folder, _, lines = trained
    run = Run(folder / "run")
    groups = run.groups(split="eval").to_pandas()
    assert groups["step"].tolist() == [1] * 12 + [3] * 12
    assert groups["rollouts"].tolist() == [2] * 24
    assert groups["silent"].isna().all()  # nothing is trained on, so there are no advantages
    rollouts = run.rollouts().to_pandas()
    validated = rollouts[rollouts["split"] == "eval"]
    assert validated["correct"].tolist() == are_right(run, validated)
    for line, step in ((lines[0], 1), (lines[-1], 3)):
        mean = validated.loc[validated["step"] == step, "correct"].mean()
        assert line["data"]["val-core/digits/acc/mean@2"] == pytest.approx(mean)


def test_memory_of_a_rule_is_in_verls_checkpoints(tmp_path, monkeypatch, cluster, caplog):
    """verl saves and loads itself; between the two, `fit` is only ours, as nothing is generated."""
    began = []
    monkeypatch.setattr(PPOTrainerSync, "fit", lambda *_: began.append(memory()))
    monkeypatch.setattr(standins.Actor, "save_checkpoint", lambda *_, **__: None, raising=False)
    monkeypatch.setattr(standins.Actor, "load_checkpoint", lambda *_, **__: None, raising=False)
    config = standins.make_config(
        tmp_path, "algorithm.adv_estimator=dissensus_ha_dw", "trainer.v1.trainer_mode=sync"
    )

    def make():
        config.trainer.v1.trainer_mode = "dissensus_sync"
        trainer = standins.stand_in(get_trainer_cls("dissensus_sync"))(config)
        trainer.init()
        trainer._load_checkpoint()
        return trainer

    load_memory({})
    tq.init(config.transfer_queue)
    try:
        trainer = make()
        rewards, mask = np.eye(4, 3, dtype=np.float32), np.ones((4, 3))
        rewards, mask = standins.torch.tensor(rewards), standins.torch.tensor(mask)
        VerlEstimator("dissensus_ha_dw")(rewards, mask, config.algorithm, list("aabb"))
        learnt = memory()
        trainer.global_steps = 2
        trainer._save_checkpoint()
        load_memory({})
        make().fit(None)
        assert began == [learnt]
        assert not said(caplog)

        state = tmp_path / "checkpoints" / "global_step_2" / STATE_FILE
        state.write_text("{")
        with pytest.raises(RunError, match=r"dissensus_state.json.*remove the file"):
            make().fit(None)
        state.unlink()
        load_memory({})
        make().fit(None)
    finally:
        tq.close()
        load_memory({})
    assert began == [learnt, {}]
    (line,) = said(caplog)
    assert "ha_dw" in line
    assert "begins without memory" in line


def test_generated_rollouts_of_a_step_of_several_updates():
    """verl's aggregator sums what it knows as a count, and averages what our samplers count."""
    config = OmegaConf.create({"actor_rollout_ref": {"rollout": {"n": 4}}})
    trainer = SimpleNamespace(config=config, parameter_sync_step=2)

    def generated(name, *values):
        aggregator = MetricsAggregator()
        for value in values:
            aggregator.add_step_metrics({name: value}, sample_count=8)
        return RecordingMixin._generated(trainer, 16, aggregator.get_aggregated_metrics())

    assert generated("training/dissensus/rollouts_generated", 24, 40) == 64
    assert generated("training/filter_groups/evicted_samples", 1, 2) == 16 + 3 * 4
    assert generated("training/other", 1, 2) == 16


def said(caplog):
    return [r.getMessage() for r in caplog.records if r.name == "dissensus.verl"]


def training(run):
    rollouts = run.rollouts().to_pandas()
    return rollouts[rollouts["split"] == "train"]


def are_right(run, rollouts):
    """As `score` in standins.py would say, from the texts and references that were recorded."""
    prompts = run.prompts().to_pandas()
    answer = dict(zip(prompts["prompt_id"], prompts["reference"], strict=True))
    return [
        text.split()[:1] == [answer[prompt]]
        for text, prompt in zip(rollouts["completion"], rollouts["prompt_id"], strict=True)
    ]
