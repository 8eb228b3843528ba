"""What of verl's V1 trainer cannot run without a GPU, replaced; everything else is verl's own.

Replaced: the inference server (random answers), the actor's worker group (its log-probabilities are
0, its update changes nothing), the checkpoint engine between the two, the pool of GPUs.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import ray
import torch
import transfer_queue as tq
import verl.trainer
from hydra import compose, initialize_config_dir
from tensordict import TensorDict
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, PreTrainedTokenizerFast
from verl.experimental.reward_loop import RewardLoopManager
from verl.trainer.ppo.v1 import AgentLoopManagerTQ, get_trainer_cls
from verl.workers.rollout.replica import TokenOutput

WORDS = ["<pad>", "<eos>", "<unk>", *(str(i) for i in range(10)), "+", "=", "user", "assistant"]
UNKNOWN = {"unk_token": "<unk>"}
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)
REWARD = '''
def score(data_source, solution_str, ground_truth, extra_info=None, **_):
    """Right when the answer begins with the digit that was asked for."""
    right = solution_str.split()[:1] == [ground_truth]
    extras = {"score": 1.0 if right else -1.0, "acc": right, "first": solution_str[:1]}
    if right:
        extras["bonus"] = 0.5
    return extras
'''


def write_model(folder: Path) -> Path:
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, **UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    marks = {"pad_token": "<pad>", "eos_token": "<eos>", **UNKNOWN}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **marks)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, pad_token_id=0, eos_token_id=1,
        bos_token_id=None, architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    config.save_pretrained(folder)
    return folder


def write_data(path: Path, n: int = 12) -> Path:
    rows = [
        {
            "data_source": "digits",
            "prompt": [{"role": "user", "content": f"{i % 10} + {i // 10} ="}],
            "reward_model": {"style": "rule", "ground_truth": str(i % 3)},
            "extra_info": {"index": i},
        }
        for i in range(n)
    ]
    pd.DataFrame(rows).to_parquet(path)
    return path


def make_config(folder: Path, *overrides: str):
    """verl's own default configuration, with what a launch script would override."""
    model, data = write_model(folder / "model"), write_data(folder / "train.parquet")
    (folder / "reward.py").write_text(REWARD)
    settings = [
        f"actor_rollout_ref.model.path={model}",
        f"data.train_files={data}",
        f"data.val_files={data}",
        "data.train_batch_size=4",
        "data.max_prompt_length=16",
        "data.max_response_length=4",
        "data.dataloader_num_workers=0",
        "actor_rollout_ref.rollout.n=4",
        "actor_rollout_ref.rollout.name=vllm",
        "actor_rollout_ref.rollout.agent.num_workers=1",
        "actor_rollout_ref.actor.ppo_mini_batch_size=4",
        "actor_rollout_ref.actor.use_kl_loss=false",
        f"reward.custom_reward_function.path={folder / 'reward.py'}",
        "reward.custom_reward_function.name=score",
        "reward.num_workers=1",
        "trainer.logger=[file]",
        "trainer.device=cpu",
        "trainer.val_before_train=false",
        "trainer.test_freq=-1",
        "trainer.save_freq=-1",
        "trainer.total_training_steps=2",
        f"trainer.default_local_dir={folder / 'checkpoints'}",
        "trainer.project_name=tests",
        "trainer.experiment_name=standins",
        "transfer_queue.enable=true",
        "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
        "transfer_queue.backend.SimpleStorage.total_storage_size=1000",
        *overrides,
    ]
    folder_of_verl = str(Path(verl.trainer.__file__).parent / "config")
    with initialize_config_dir(folder_of_verl, version_base=None):
        return compose("ppo_trainer", overrides=settings)


class Answers:
    """Stands in for the client of the inference servers: an answer of one or more digits."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)

    async def generate(self, request_id, *, prompt_ids, sampling_params, **_):
        digits = [WORDS.index(str(self.random.randint(0, 2))) for _ in range(3)]
        length = self.random.randint(1, 4)
        tokens = [*digits[: min(length, 3)], *([1] if length < 4 else [digits[0]])]
        version = {"min_global_steps": 0, "max_global_steps": 0}
        return TokenOutput(
            token_ids=tokens,
            log_probs=[0.0] * len(tokens),
            stop_reason="stop",
            extra_fields=version,
        )


class Actor:
    """Stands in for the worker group: two ranks, so that verl balances and pads for two."""

    def __init__(self) -> None:
        self._dispatch_info = {"actor": [0, 1]}
        self.seen: list[dict] = []

    def compute_log_prob(self, batch):
        data = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=["input_ids"]
        )
        flat = [torch.zeros(len(row)) for row in data["input_ids"].unbind()]
        nested = torch.nested.as_nested_tensor(flat, layout=torch.jagged)
        fields = TensorDict({"log_probs": nested, "entropy": nested.clone()}, batch_size=len(batch))
        tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)
        return batch

    def update_actor(self, batch):
        data = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=["advantages"]
        )
        rows = [row.tolist() for row in data["advantages"].unbind()]
        self.seen.append(dict(zip(batch.keys, rows, strict=True)))
        return {"metrics": {"mfu": [0.0], "pg_loss": [0.25], "grad_norm": [1.0]}}


def stand_in(base):
    """The trainer `base` with everything that needs a GPU replaced."""

    class StandIn(base):
        def _setup(self):
            self._init_tokenizer()
            self._init_dataloader()
            self._init_dump_executor()
            self.global_steps = 0
            self.actor_rollout_wg = Actor()
            self.resource_pool_manager = SimpleNamespace(get_n_gpus=lambda: 1)
            self.checkpoint_manager = SimpleNamespace(
                update_weights=lambda step: None, sleep_replicas=lambda: None
            )

    return StandIn


def train(config):
    """verl's `TaskRunnerV1.run`, in this process and with stand-ins; returns the trainer."""
    tq.init(config.transfer_queue)
    try:
        trainer = stand_in(get_trainer_cls(config.trainer.v1.trainer_mode))(config)
        trainer.init()
        trainer.reward_loop_manager = RewardLoopManager(config=config)
        manager = AgentLoopManagerTQ.create(
            config=config,
            llm_client=Answers(),
            teacher_client=None,
            reward_loop_worker_handles=trainer.get_reward_handles(),
        )
        trainer.fit(manager)
        for worker in (*manager.agent_loop_workers, *trainer.get_reward_handles()):
            ray.kill(worker)
        return trainer
    finally:
        tq.close()


def logged(path: Path) -> list[dict]:
    """What verl's file tracker wrote, step by step."""
    return [json.loads(line) for line in path.read_text().splitlines()]
