"""Two steps of the legacy trainer's own `fit`, made as verl's launch script would with us loaded.

Real are the configuration, data sets, tokenizer, agent-loop and reward workers in Ray processes,
DataProto, advantages, metrics and verl's tracker. Stand-ins: the inference server (`Answers`), the
actor's worker group (log-probabilities of 0, an update that changes nothing), the checkpoint
engine, and `init_workers`, which would ask for GPUs.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("verl.protocol", reason="verl has its own environment: make test-verl")

import cloudpickle
import ray
import standins
import torch
from tensordict import TensorDict
from verl import DataProto
from verl.experimental.agent_loop import AgentLoopManager
from verl.experimental.reward_loop import RewardLoopManager
from verl.trainer import main_ppo_v0
from verl.trainer.ppo.ray_trainer import RayPPOTrainer
from verl.trainer.ppo.utils import Role, create_rl_dataset, create_rl_sampler
from verl.utils import hf_tokenizer
from verl.utils import tensordict_utils as tu
from verl.utils.dataset.rl_dataset import collate_fn

from dissensus import Run
from dissensus.integrations.verl import legacy
from dissensus.integrations.verl.legacy_trainer import LegacyMixin, read_data_proto

pytestmark = pytest.mark.timeout(600)


class Actor:
    def __init__(self):
        self._dispatch_info = {"actor": [0, 1]}
        self.seen = []

    def compute_log_prob(self, batch):
        flat = [torch.zeros(len(row)) for row in batch["input_ids"].unbind()]
        nested = torch.nested.as_nested_tensor(flat, layout=torch.jagged)
        output = TensorDict({"log_probs": nested, "entropy": nested.clone()}, batch_size=len(batch))
        tu.assign_non_tensor(output, metrics={"mfu": 0.0})
        return output

    def update_actor(self, batch):
        self.seen.append([row.abs().max().item() for row in batch["advantages"].unbind()])
        output = TensorDict({}, batch_size=len(batch))
        tu.assign_non_tensor(
            output, metrics={"mfu": [0.0], "pg_loss": [0.5, 1.0], "grad_norm": [1]}
        )
        return output


def make(base, config):
    """What `main_ppo_v0` makes, and `init_workers` with stand-ins."""
    tokenizer = hf_tokenizer(config.actor_rollout_ref.model.path)
    data = [
        create_rl_dataset(files, config.data, tokenizer, None, is_train=is_train)
        for files, is_train in ((config.data.train_files, True), (config.data.val_files, False))
    ]
    trainer = base(
        config,
        tokenizer=tokenizer,
        role_worker_mapping={Role.ActorRollout: None},
        resource_pool_manager=SimpleNamespace(get_n_gpus=lambda: 1),
        train_dataset=data[0],
        val_dataset=data[1],
        collate_fn=collate_fn,
        train_sampler=create_rl_sampler(config.data, data[0]),
    )
    trainer.actor_rollout_wg = Actor()
    trainer.reward_loop_manager = RewardLoopManager(config=config)
    trainer.checkpoint_manager = SimpleNamespace(
        update_weights=lambda step: None, sleep_replicas=lambda: None
    )
    trainer.async_rollout_manager = AgentLoopManager.create(
        config=config,
        llm_client=standins.Answers(),
        teacher_client=None,
        reward_loop_worker_handles=trainer.reward_loop_manager.reward_loop_workers,
    )
    return trainer


@pytest.fixture(scope="module")
def launched():
    """The class that verl's launch script takes once our module is loaded."""
    before = main_ppo_v0.RayPPOTrainer
    legacy.install()
    yield main_ppo_v0.RayPPOTrainer
    main_ppo_v0.RayPPOTrainer = before


@pytest.fixture(scope="module")
def trained(cluster, launched, tmp_path_factory):
    folder = tmp_path_factory.mktemp("legacy")
    config = standins.make_config(
        folder,
        "algorithm.adv_estimator=dissensus_grpo",
        f"+algorithm.dissensus.run_dir={folder / 'run'}",
        "+algorithm.dissensus.correct=acc",
        "trainer.use_v1=false",
        "transfer_queue.enable=false",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERL_FILE_LOGGER_PATH", str(folder / "log.jsonl"))
        trainer = make(launched, config)
        trainer.fit()
    workers = trainer.reward_loop_manager.reward_loop_workers
    for worker in (*trainer.async_rollout_manager.agent_loop_workers, *workers):
        ray.kill(worker)
    return trainer, Run(folder / "run"), standins.logged(folder / "log.jsonl")


def test_batches_are_recorded(trained):
    trainer, run, _ = trained
    assert not trainer._dissensus.guard.failures
    groups = run.groups().to_pandas()
    assert groups["step"].tolist() == [1] * 4 + [2] * 4
    assert groups["rollouts"].tolist() == [4] * 8
    assert groups["policy_version"].tolist() == [0] * 4 + [1] * 4
    rollouts, prompts = run.rollouts().to_pandas(), run.prompts().to_pandas()
    answer = dict(zip(prompts["prompt_id"], prompts["reference"], strict=True))
    right = [
        text.split()[:1] == [answer[prompt]]
        for text, prompt in zip(rollouts["completion"], rollouts["prompt_id"], strict=True)
    ]
    assert rollouts["correct"].tolist() == right
    for step, seen in enumerate(trainer.actor_rollout_wg.seen, 1):
        used = rollouts.loc[rollouts["step"] == step, "advantage_used"].abs()
        np.testing.assert_allclose(sorted(used), sorted(seen), rtol=1e-6)


def test_the_metrics_stand_in_verls_own_tracker(trained):
    _, run, lines = trained
    groups = run.groups().to_pandas()
    for line in lines:
        solved = groups.loc[groups["step"] == line["step"], "correct"].to_numpy()
        assert line["data"]["dissensus/all_wrong_frac"] == pytest.approx((solved == 0).mean())
        assert line["data"]["actor/pg_loss"] == 0.75
    scalars = run.scalars().to_pandas()
    assert set(scalars.loc[scalars["name"] == "actor/pg_loss", "value"]) == {0.75}


def test_a_batch_without_uid_is_grouped_by_prompt_and_says_so(trained, caplog):
    """verl's own launch script gives uids; a trainer derived from this one may not."""
    trainer, *_ = trained
    data = DataProto.from_dict(
        tensors={
            "prompts": torch.tensor([[0, 5, 6], [0, 0, 7], [0, 5, 6]]),
            "responses": torch.full((3, 2), 4),
            "attention_mask": torch.tensor([[0, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1]]),
            "response_mask": torch.ones(3, 2),
            "token_level_scores": torch.eye(3, 2),
            "advantages": torch.zeros(3, 2),
        },
        meta_info={},
    )
    found = read_data_proto(data, max_length=2, end=1, say=trainer._dissensus.guard.say)
    assert found.group_ids == ["0", "1", "0"]
    assert "no uid; rollouts are grouped by equal prompts" in caplog.text


def test_verls_launch_script_takes_a_class_that_ray_can_send(launched):
    assert issubclass(launched, RayPPOTrainer)
    assert issubclass(launched, LegacyMixin)
    assert cloudpickle.loads(cloudpickle.dumps(launched)) is launched


def test_another_version_is_left_alone(monkeypatch, caplog):
    monkeypatch.setattr(main_ppo_v0, "RayPPOTrainer", RayPPOTrainer)
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.8.0")
    legacy._replace()
    assert main_ppo_v0.RayPPOTrainer is RayPPOTrainer
    assert "0.8.0" in caplog.text
