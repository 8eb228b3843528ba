"""The legacy trainer's own batch type and its update of the actor; only the base class is ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("verl.protocol", reason="verl has its own environment: make test-verl")

import cloudpickle
import standins
from test_estimators import batch
from verl import DataProto
from verl.trainer.ppo.ray_trainer import RayPPOTrainer, compute_advantage
from verl.utils.metric import reduce_metrics

from dissensus import Run
from dissensus.integrations.verl.legacy_trainer import LegacyMixin


class Updating:
    """Stands in for RayPPOTrainer where it would talk to workers."""

    def __init__(self, config):
        self.config, self.tokenizer, self.global_steps = config, None, 1

    def fit(self):
        for self.global_steps in (1, 2):
            data = compute_advantage(
                legacy_batch(self.global_steps), adv_estimator="grpo", config=self.config.algorithm
            )
            self.metrics = reduce_metrics(self._update_actor(data).meta_info["metrics"])

    def _update_actor(self, data):
        metrics = {"actor/pg_loss": [0.5, 1.0]}
        return DataProto.from_single_dict(data={}, meta_info={"metrics": metrics})


class Recording(LegacyMixin, Updating):
    pass


def legacy_batch(seed):
    """As the trainer holds it: prompts padded on the left, responses on the right, extras."""
    data = batch(seed=seed, sizes=(4, 4, 4))
    rewards, count = data.batch["token_level_rewards"], len(data)
    data.batch["token_level_scores"] = rewards
    data.batch["prompts"] = torch.tensor([[0, 5, 6]] * count)
    data.batch["responses"] = torch.full(rewards.shape, 7)
    lengths = (rewards.shape[1] - data.batch["response_mask"].flip(1).argmax(1)).tolist()
    inside = torch.tensor([[0, 1, 1] + [1] * n + [0] * (6 - n) for n in lengths])
    data.batch["attention_mask"] = inside
    data.non_tensor_batch["acc"] = (rewards.sum(1) > 0.5).numpy()
    data.non_tensor_batch["raw_prompt"] = np.array(
        [[{"role": "user", "content": str(u)}] for u in data.non_tensor_batch["uid"]] + [None],
        dtype=object,
    )[:-1]
    data.meta_info["reward_extra_keys"] = ["acc"]
    return data


def test_batches_are_recorded_and_measured(tmp_path):
    config = standins.make_config(
        tmp_path,
        "algorithm.adv_estimator=grpo",
        f"+algorithm.dissensus.run_dir={tmp_path / 'run'}",
        "+algorithm.dissensus.correct=acc",
    )
    trainer = Recording(config)
    trainer.fit()
    assert not trainer._dissensus.failures
    groups = Run(tmp_path / "run").groups().to_pandas()
    assert groups["step"].tolist() == [1] * 3 + [2] * 3
    data = legacy_batch(2)
    acc, uid = data.non_tensor_batch["acc"], data.non_tensor_batch["uid"]
    solved = np.array([acc[uid == f"prompt-{i}"].sum() for i in range(3)])
    assert sorted(groups["correct"][3:]) == sorted(solved)
    wrong = trainer.metrics["dissensus/all_wrong_frac"]
    assert wrong == pytest.approx((solved == 0).mean())
    assert trainer.metrics["actor/pg_loss"] == 0.75
    assert groups["policy_version"].tolist() == [0] * 3 + [1] * 3


def test_verls_launch_script_takes_the_subclass(monkeypatch):
    from dissensus.integrations.verl import legacy

    legacy.install()
    from verl.trainer import main_ppo_v0

    made = main_ppo_v0.RayPPOTrainer
    assert issubclass(made, RayPPOTrainer)
    assert issubclass(made, LegacyMixin)
    assert cloudpickle.loads(cloudpickle.dumps(made)) is made
    for name in ("_update_actor", "_compute_old_log_prob", "fit"):
        assert callable(getattr(RayPPOTrainer, name))


def test_another_version_is_left_alone(monkeypatch, caplog):
    from verl.trainer import main_ppo_v0

    from dissensus.integrations.verl import legacy

    monkeypatch.setattr(main_ppo_v0, "RayPPOTrainer", RayPPOTrainer)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1.7.0")
    legacy._replace()
    assert main_ppo_v0.RayPPOTrainer is RayPPOTrainer
    assert "1.7.0" in caplog.text
