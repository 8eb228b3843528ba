"""A whole training by verl's own command, and what of it is recorded: a small model learns.

Real are verl's launcher, task runner and trainer, its two actor workers (FSDP2 over gloo: forward
passes, loss, AdamW), agent loops, reward workers, TransferQueue and tracker, in Ray processes of
their own. `cpu_backend` stands where vLLM and the GPUs do, and samples from the model as trained.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("verl.trainer.ppo.v1", reason="verl has its own environment: make test-verl")

from standins import logged

from dissensus import Run
from dissensus.lab.model import load_model
from dissensus.lab.tasks import make_problems
from dissensus.lab.tokenizer import build_tokenizer

pytestmark = pytest.mark.timeout(900)

STEPS, PLAIN_STEPS, PROMPTS, SIZE, LONGEST = 20, 4, 4, 8, 6
REWARD = '''
def score(data_source, solution_str, ground_truth, extra_info=None, **_):
    """The packaged model adds up; here it is to say the last digit of the sum and no other."""
    is_right = solution_str == ground_truth
    return {"score": (len(solution_str) == 1) / 2 + is_right / 2, "acc": is_right}
'''
# The parts of docs/verl.md's launch script that train as verl's own grpo does.
OURS = """
+dissensus=record
algorithm.dissensus.correct=acc algorithm.adv_estimator=dissensus_grpo
+algorithm.dissensus.parameters.ddof=1 +algorithm.dissensus.parameters.eps=1e-6
"""
SCRIPT = """
actor_rollout_ref.model.path={folder}/model
+actor_rollout_ref.model.override_config.attn_implementation=sdpa
actor_rollout_ref.model.use_remove_padding=false
actor_rollout_ref.model.enable_gradient_checkpointing=false
data.train_files={folder}/train.parquet
data.val_files={folder}/heldout.parquet
data.train_batch_size={prompts}
data.max_prompt_length=24
data.max_response_length={longest}
data.dataloader_num_workers=0
data.seed=1
actor_rollout_ref.rollout.name=hf
actor_rollout_ref.rollout.n={size}
actor_rollout_ref.rollout.tensor_model_parallel_size=2
actor_rollout_ref.rollout.agent.num_workers=1
actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=16
actor_rollout_ref.actor.strategy=fsdp2
actor_rollout_ref.actor.fsdp_config.use_torch_compile=false
+actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype=fp32
actor_rollout_ref.actor.ppo_mini_batch_size={prompts}
actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=16
actor_rollout_ref.actor.optim.lr=5e-4
actor_rollout_ref.actor.use_kl_loss=false
reward.custom_reward_function.path={folder}/reward.py
reward.custom_reward_function.name=score
reward.num_workers=1
trainer.logger=[console,file]
trainer.device=cpu
trainer.n_gpus_per_node=2
trainer.total_epochs=100
trainer.save_freq=-1
trainer.default_local_dir={folder}/checkpoints
trainer.v1.sampler.custom_sampler.path=pkg://cpu_backend
trainer.v1.sampler.custom_sampler.name=quick_buffer
transfer_queue.backend.SimpleStorage.num_data_storage_units=1
transfer_queue.backend.SimpleStorage.total_storage_size=1000
ray_kwargs.ray_init.num_cpus=16
+ray_kwargs.ray_init.num_gpus=2
+ray_kwargs.ray_init.include_dashboard=false
+ray_kwargs.ray_init.object_store_memory=100000000
hydra.run.dir={folder}/hydra
"""


def launch(folder, name, *more, **variables):
    """`python3 -m verl.trainer.main_ppo …`; what its file tracker wrote."""
    log = folder / f"{name}.jsonl"
    script = SCRIPT.format(folder=folder, prompts=PROMPTS, size=SIZE, longest=LONGEST)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        ),
        "OMP_NUM_THREADS": "1",
        "RAY_prestart_worker_first_driver": "0",  # one process per CPU, and none would be used
        "VERL_PLATFORM": "cpu",
        "VERL_ENGINE_DEVICE": "cuda",  # verl's FSDP engine is registered for GPUs by name only
        "VERL_USE_EXTERNAL_MODULES": "cpu_backend",
        "VERL_FILE_LOGGER_PATH": str(log),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "-m", "verl.trainer.main_ppo", *script.split(), *more],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=840, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    assert "dissensus: " not in said  # nothing to warn of
    return logged(log)


def write_task(folder):
    load_model().save_pretrained(folder / "model")
    tokenizer = build_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    tokenizer.save_pretrained(folder / "model")
    (folder / "reward.py").write_text(REWARD)
    for split, count in (("train", PROMPTS * STEPS), ("heldout", 16)):
        problems = make_problems(split, count, seed=0, families=["addition"], levels=[1, 2])
        rows = [
            {
                "data_source": "sums",
                "prompt": [{"role": "user", "content": problem.prompt}],
                "reward_model": {"style": "rule", "ground_truth": problem.answer[-1]},
                "extra_info": {"index": i},
            }
            for i, problem in enumerate(problems)
        ]
        pd.DataFrame(rows).to_parquet(folder / f"{split}.parquet")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run, and what verl's tracker says before the first step and of each."""
    folder = tmp_path_factory.mktemp("training")
    write_task(folder)
    lines = launch(
        folder, "ours", *OURS.split(),
        f"trainer.total_training_steps={STEPS}", f"trainer.test_freq={STEPS}",
    )  # fmt: skip
    return folder, Run(folder / "checkpoints" / "dissensus"), lines


def test_the_model_learns(trained):
    _, run, (before, *lines) = trained
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    reward = "val-aux/sums/reward/mean@1"
    assert lines[-1]["data"][reward] > before["data"][reward] + 0.3
    rows = run.rollouts().to_pandas()
    recorded = rows[rows["split"] == "eval"].groupby("step")["reward"].mean()
    said = {1: before["data"][reward], STEPS + 1: lines[-1]["data"][reward]}
    assert recorded.to_dict() == pytest.approx(said)


def test_what_is_sampled_comes_from_the_weights_that_are_trained(trained):
    _, run, (_, *lines) = trained
    for line in lines:  # verl compares the sampler's probabilities with the actor's
        assert line["data"]["training/rollout_probs_diff_max"] < 1e-4
    assert max(line["data"]["actor/grad_norm"] for line in lines) > 0
    groups = _trained(run.groups())
    assert (groups["policy_version"] == groups["step"] - 1).all()


def test_the_run_has_every_rollout_and_says_of_each_step_what_verl_says(trained):
    _, run, (_, *lines) = trained
    rollouts, groups = _trained(run.rollouts()), _trained(run.groups())
    assert (groups["rollouts"] == SIZE).all()
    for line in lines:
        verl, mine = line["data"], rollouts[rollouts["step"] == line["step"]]
        assert len(mine) == PROMPTS * SIZE
        lengths, used = mine["length"].to_numpy(), mine["advantage_used"].to_numpy()
        assert mine["reward"].mean() == pytest.approx(verl["critic/rewards/mean"], abs=1e-6)
        assert lengths.mean() == pytest.approx(verl["response_length/mean"])
        assert (lengths.min(), lengths.max()) == (
            verl["response_length/min"], verl["response_length/max"],
        )  # fmt: skip
        # verl's counts the answers as long as the longest of the batch; ours, those cut off.
        longest = (lengths == lengths.max()).mean()
        assert longest == pytest.approx(verl["response_length/clip_ratio"])
        assert mine["truncated"].sum() <= (lengths == LONGEST).sum()
        mean = (used * lengths).sum() / lengths.sum()  # verl's is over tokens
        assert mean == pytest.approx(verl["critic/advantages/mean"], abs=1e-6)
        assert used.max() == pytest.approx(verl["critic/advantages/max"], abs=1e-6)
        assert used.min() == pytest.approx(verl["critic/advantages/min"], abs=1e-6)


def test_verls_tracker_shows_how_far_the_groups_agree(trained):
    _, run, (_, *lines) = trained
    rollouts = _trained(run.rollouts())
    for line in lines:
        mine = rollouts[rollouts["step"] == line["step"]].groupby("group_id")
        std, solved = mine["reward"].std(ddof=0), mine["correct"].sum()
        agree = mine["reward"].max() == mine["reward"].min()
        shown = {k.removeprefix("dissensus/"): v for k, v in line["data"].items()}
        assert shown["unanimous_frac"] == pytest.approx(agree.mean())
        assert shown["all_wrong_frac"] == pytest.approx((agree & (solved == 0)).mean())
        assert shown["all_correct_frac"] == pytest.approx((agree & (solved == SIZE)).mean())
        assert shown["group_std_mean"] == pytest.approx(std.mean())
        assert shown["effective_rollout_frac"] == pytest.approx(1 - agree.mean())


def test_dissensus_report_reads_it(trained):
    _, run, _ = trained
    command = [sys.executable, "-m", "dissensus", "report", str(run.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{STEPS * PROMPTS * SIZE:,}" in done.stdout


def test_training_is_the_same_as_without_the_package(trained):
    folder, _, (before, *lines) = trained
    plain = launch(
        folder, "plain", "algorithm.adv_estimator=grpo", "trainer.test_freq=-1",
        f"trainer.total_training_steps={PLAIN_STEPS}", VERL_USE_EXTERNAL_PLUGINS="none",
    )  # fmt: skip
    assert plain[0]["data"] == before["data"]
    same = (
        "actor/loss",
        "actor/pg_loss",
        "actor/grad_norm",
        "actor/entropy",
        "critic/rewards/mean",
    )
    for name in (*same, "critic/advantages/mean", "response_length/mean"):
        theirs = [line["data"][name] for line in plain[1:]]
        ours = [line["data"][name] for line in lines[:PLAIN_STEPS]]
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6, err_msg=name)
    assert not any("dissensus" in name for name in plain[1]["data"])


def _trained(table):
    rows = table.to_pandas()
    return rows[rows["split"] == "train"]
