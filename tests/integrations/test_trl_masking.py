"""`silent="mask"`: the gradient is TRL's own on a batch that holds the split groups alone."""

from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from trl import GRPOTrainer
from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict

from dissensus.errors import UnsupportedError
from dissensus.integrations.trl import DisagreementGRPOTrainer, DisagreementMixin

pytestmark = pytest.mark.filterwarnings("ignore")

LOSS_TYPES = ["grpo", "sapo", "dr_grpo", "luspo", "bnpo", "dapo", "cispo", "vespo"]
ROWS = 16  # four groups of four


class Noisy(GRPOTrainer):
    """Old and reference log-probabilities away from the policy's, so that no term vanishes."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        noise = torch.Generator().manual_seed(1)
        ids = output["completion_ids"]
        base = -3 + torch.randn(ids.shape, generator=noise)
        output["old_per_token_logps"] = base * output["completion_mask"]
        if self.beta:
            ref = -3 + torch.randn(ids.shape, generator=noise)
            output["ref_per_token_logps"] = ref * output["completion_mask"]
        self.untouched = dict(output)
        return output


class Masked(DisagreementMixin, Noisy):
    pass


def rewards(silent_groups):
    def reward(completions, **_):
        return [
            1.0 if i // 4 in silent_groups else float(i % 4 == 0) for i in range(len(completions))
        ]

    return reward


def make(tmp_path, silent_groups=(1, 2), **args: Any):
    trainer = tiny.build(
        Masked,
        tmp_path,
        args={"per_device_train_batch_size": ROWS, "max_completion_length": 7, **args},
        reward_funcs=[rewards(silent_groups)],
        silent="mask",
        run_dir=False,
    )
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    trainer.model.train()
    rows = [dict(trainer.train_dataset[i]) for i in range(4) for _ in range(4)]
    return trainer, trainer._generate_and_score_completions(rows)


def gradient(trainer, losses):
    trainer.model.zero_grad()
    for loss in losses:
        loss.backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def split_rows(trainer, keep, rows=None):
    """TRL's own batch without the silent groups' rows."""
    batch = trainer.untouched if rows is None else rows
    alone = {k: v if v.dim() == 0 else v[keep] for k, v in batch.items()}
    alone["num_items_in_batch"] = alone["completion_mask"].sum()
    return alone


def trl_gradient(trainer, batches):
    """TRL's, each batch a generation of its own; the mean over them."""
    steps = trainer.args.steps_per_generation, trainer.current_gradient_accumulation_steps
    trainer.args.steps_per_generation = trainer.current_gradient_accumulation_steps = 1
    losses = [GRPOTrainer.compute_loss(trainer, trainer.model, b) / len(batches) for b in batches]
    found = gradient(trainer, losses)
    trainer.args.steps_per_generation, trainer.current_gradient_accumulation_steps = steps
    return found


@pytest.mark.parametrize("beta", [pytest.param(0.0, marks=pytest.mark.slow), 0.2])
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_gradient_is_trls_on_the_split_groups_alone(tmp_path, loss_type, beta):
    trainer, output = make(tmp_path, loss_type=loss_type, beta=beta)
    trainer._buffered_inputs = [output]
    keep = torch.tensor([i // 4 in {0, 3} for i in range(ROWS)])
    expected = trl_gradient(trainer, [split_rows(trainer, keep)])
    got = gradient(trainer, [trainer.compute_loss(trainer.model, output)])
    assert expected.abs().max() > 1e-5
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-7)
    # Without the mask the gradient is another one, or the test would show nothing.
    unmasked = trl_gradient(trainer, [trainer.untouched])
    assert not torch.allclose(unmasked, expected, rtol=1e-2, atol=1e-6)


# One of each kind of denominator over several optimiser steps; the others take their time.
CASES = [
    pytest.param(
        loss_type,
        steps,
        id=f"{loss_type}, {steps // 2} optimiser steps",
        marks=[] if steps == 8 and loss_type in {"grpo", "bnpo", "dapo"} else pytest.mark.slow,
    )
    for loss_type in LOSS_TYPES
    for steps in (2, 8)
]


@pytest.mark.parametrize(("loss_type", "steps"), CASES)
def test_under_accumulation_the_mean_over_optimiser_steps_is_trls(tmp_path, loss_type, steps):
    trainer, output = make(
        tmp_path,
        loss_type=loss_type,
        beta=0.2,
        per_device_train_batch_size=ROWS // steps,
        gradient_accumulation_steps=2,
        steps_per_generation=steps,
    )
    torch.manual_seed(5)
    parts = split_tensor_dict(shuffle_sequence_dict(output), steps)
    torch.manual_seed(5)
    untouched = split_tensor_dict(shuffle_sequence_dict(trainer.untouched), steps)
    trainer._buffered_inputs = parts
    losses = [trainer.compute_loss(trainer.model, part) * 2 / steps for part in parts]
    got = gradient(trainer, losses)
    keep = torch.tensor([i // 4 in {0, 3} for i in range(ROWS)])
    if loss_type == "bnpo":  # TRL's mean over micro-batches, each of its own tokens
        kept = [part["tool_mask"].any(1) for part in parts]
        alone = zip(untouched, kept, strict=True)
        batches = [split_rows(trainer, k, rows) for rows, k in alone if k.any()]
        assert steps == 2 or len(batches) < steps, "one micro-batch should be empty"
    else:
        batches = [split_rows(trainer, keep)]
    torch.testing.assert_close(got, trl_gradient(trainer, batches), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "bnpo", "dapo"])
def test_all_groups_silent_gives_a_zero_gradient(tmp_path, loss_type):
    trainer, output = make(tmp_path, {0, 1, 2, 3}, loss_type=loss_type, beta=0.2)
    trainer._buffered_inputs = [output]
    loss = trainer.compute_loss(trainer.model, output)
    assert loss.item() == 0.0
    assert gradient(trainer, [loss]).abs().max() == 0.0


def test_high_entropy_tokens_are_chosen_among_the_split_groups(tmp_path):
    trainer, output = make(tmp_path, loss_type="dapo", top_entropy_quantile=0.3)
    keep = torch.tensor([i // 4 in {0, 3} for i in range(ROWS)])
    expected = trl_gradient(trainer, [split_rows(trainer, keep)])
    got = gradient(trainer, [trainer.compute_loss(trainer.model, output)])
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-7)


def test_truncated_completions_of_split_groups_still_count_as_rows(tmp_path):
    trainer, output = make(tmp_path, loss_type="grpo", mask_truncated_completions=True)
    keep = torch.tensor([i // 4 in {0, 3} for i in range(ROWS)])
    assert (output["completion_mask"][keep].sum(1) == 0).any()
    expected = trl_gradient(trainer, [split_rows(trainer, keep)])
    got = gradient(trainer, [trainer.compute_loss(trainer.model, output)])
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-7)


def test_silence_follows_the_estimator_in_use(tmp_path):
    from dissensus.core.advantages import AdvantageEstimator

    def first_group_only(groups, _context):
        return (groups.index == 0) * groups.centered

    rule = AdvantageEstimator("first_group_only", first_group_only)
    trainer = tiny.build(
        DisagreementGRPOTrainer, tmp_path, silent="mask", estimator=rule, run_dir=False
    )
    trainer.model.train()
    rows = [dict(trainer.train_dataset[i]) for i in range(2) for _ in range(4)]
    output = trainer._generate_and_score_completions(rows)
    assert (output["tool_mask"][4:] == 0).all()
    assert output["num_items_in_batch"] == output["completion_mask"][:4].sum().clamp(min=1)


@pytest.mark.parametrize("loss_type", ["bnpo", "grpo"])
def test_training_runs(tmp_path, loss_type):
    trainer = tiny.build(
        DisagreementGRPOTrainer,
        tmp_path,
        args={"loss_type": loss_type, "num_generations": 2, "beta": 0.1, "num_iterations": 2,
              "steps_per_generation": 4, "per_device_train_batch_size": 2, "max_steps": 9},
        silent="mask",
    )  # fmt: skip
    trainer.train()
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
    trainer.recorder.close()
    from dissensus import Run

    groups = Run(tmp_path / "dissensus").groups().to_pylist()
    assert any(g["silent"] for g in groups)
    assert all(g["trained"] == (0 if g["silent"] else 2) for g in groups)


@pytest.mark.parametrize("args", [{"entropy_coef": 0.1}, {"loss_type": "made_up"}])
def test_what_cannot_be_masked_is_refused(tmp_path, args):
    with pytest.raises(UnsupportedError, match="silent='mask'"):
        tiny.build(DisagreementGRPOTrainer, tmp_path, args=args, silent="mask")
