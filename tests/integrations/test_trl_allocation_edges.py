"""`allocator=` where a budget ends, and where a checkpoint does not fit what goes on from it."""

from __future__ import annotations

import pytest
import tiny
import torch
from test_trl_allocation import ROWS, NoPrompt, by_prompt, train

from dissensus.errors import RunError

pytestmark = pytest.mark.filterwarnings("ignore")

LONG = {"max_steps": 99, "save_strategy": "steps", "save_steps": 1}


def sampled(trainer):
    """Rollouts that TRL has sampled, whoever asked for them."""
    return sum(len(made["prompt_ids"]) for made in trainer.__dict__.get("made", []))


def test_a_resumed_training_spends_a_larger_budget(tmp_path):
    train(tmp_path / "first", "uniform", args=LONG, rollout_budget=2 * ROWS)
    last = str(tmp_path / "first" / "checkpoint-2")
    more, run = train(
        tmp_path / "second", "uniform", args=LONG, rollout_budget=5 * ROWS, resume=last
    )
    assert more.ledger.generated == 5 * ROWS
    assert sampled(more) == 3 * ROWS == run.groups()["rollouts"].to_pandas().sum()


@pytest.mark.parametrize("budget", [2 * ROWS, ROWS])
def test_a_spent_budget_samples_nothing_more(tmp_path, budget):
    first, _ = train(tmp_path / "first", "uniform", args=LONG, rollout_budget=2 * ROWS)
    before = sampled(first)
    with pytest.raises(RunError, match="draws nothing that the rollout budget still pays for"):
        first.train()
    last = str(tmp_path / "first" / "checkpoint-2")
    with pytest.raises(RunError, match="still pays for"):
        first.train(resume_from_checkpoint=last)
    assert sampled(first) == before == 2 * ROWS
    with pytest.raises(RunError, match=f"rollout_budget={budget}"):
        train(tmp_path / "second", "uniform", args=LONG, rollout_budget=budget, resume=last)


def test_a_draw_that_waits_for_more_than_a_smaller_budget_is_not_sampled(tmp_path):
    train(tmp_path / "first", "uniform", args={**LONG, "max_steps": 2}, rollout_budget=8 * ROWS)
    last = str(tmp_path / "first" / "checkpoint-2")
    with pytest.raises(RunError, match="still pays for"):
        train(tmp_path / "second", "uniform", args=LONG, rollout_budget=2 * ROWS + 4, resume=last)


def test_a_budget_below_one_group_is_refused_before_anything_is_sampled(tmp_path):
    with pytest.raises(RunError, match="rollout_budget=3, 0 generated"):
        train(tmp_path, "uniform", args=LONG, rollout_budget=3)


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dapo"])
def test_a_budget_may_end_inside_an_optimiser_step(tmp_path, loss_type):
    """Four generations a step, and rollouts for six: two are trained on in the second step."""
    args = {
        "max_steps": 99,
        "steps_per_generation": 1,
        "gradient_accumulation_steps": 4,
        "loss_type": loss_type,
    }
    trainer, run = train(tmp_path, "uniform", args=args, rollout_budget=6 * ROWS)
    assert trainer.state.global_step == 2
    assert sampled(trainer) == trainer.ledger.generated == 6 * ROWS
    assert run.groups()["trained"].to_pandas().sum() == 6 * ROWS
    for idle in trainer.used[6:]:
        assert not (idle["completion_mask"] * idle["tool_mask"]).any()
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_what_trl_samples_instead_is_paid_from_the_budget(tmp_path):
    budget = 17 * ROWS + 3  # more than one step may cost
    nobody = NoPrompt(24, batch=4, group_size=4)
    trainer, _ = train(tmp_path, nobody, args={"max_steps": 99}, rollout_budget=budget)
    assert sampled(trainer) == trainer.ledger.generated
    assert budget - 16 * ROWS <= trainer.ledger.generated <= budget


def test_what_the_rewards_said_of_correctness_is_in_the_checkpoint(tmp_path):
    """Three values before the checkpoint: nobody knows then which of two is the right one."""

    def graded(completions, prompts, trainer_state, **_):
        best = 1.0 if trainer_state.global_step < 2 else 0.5
        return [best * min(1, r + i % 2 / 2) for i, r in enumerate(by_prompt(completions, prompts))]

    args = {**LONG, "max_steps": 4}
    _, run = train(tmp_path / "whole", "contrast", args=args, reward_funcs=graded)
    columns = ["step", "prompt_id", "rollouts", "trained", "correct"]
    rows = run.groups().to_pandas()
    expected = rows[rows.step >= 2][columns].reset_index(drop=True)
    _, run = train(
        tmp_path / "resumed", "contrast", args=args, reward_funcs=graded,
        resume=str(tmp_path / "whole" / "checkpoint-2"),
    )  # fmt: skip
    got = run.groups().to_pandas()[columns].reset_index(drop=True)
    assert got.to_json() == expected.to_json()


def test_a_checkpoint_of_another_training_set_is_refused(tmp_path):
    args = {**LONG, "max_steps": 2}
    train(tmp_path / "whole", "uniform", args=args)
    with pytest.raises(RunError, match="rows of the training set"):
        train(
            tmp_path / "other", "uniform", args=args, train_dataset=tiny.dataset(12),
            resume=str(tmp_path / "whole" / "checkpoint-1"),
        )  # fmt: skip


def test_rollouts_that_wait_and_cannot_be_read_stop_with_their_file(tmp_path):
    args = {**LONG, "max_steps": 2}
    train(tmp_path, "dots", args=args)
    path = tmp_path / "checkpoint-1" / "dissensus_held_0.safetensors"
    path.write_bytes(b"cut off")
    with pytest.raises(RunError, match=r"held_0.*rollouts that wait cannot be read"):
        train(tmp_path / "again", "dots", args=args, resume=str(tmp_path / "checkpoint-1"))
    path.unlink()
    resumed, _ = train(tmp_path / "again", "dots", args=args, resume=str(tmp_path / "checkpoint-1"))
    assert resumed.state.global_step == 2
