"""Run by test_trl_two_processes.py in two processes: every check that needs a second rank.

Usage: python -m torch.distributed.run --nproc-per-node 2 two_processes.py FOLDER
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tiny
import torch
from accelerate.utils import gather_object
from trl import GRPOTrainer

from dissensus import Recorder
from dissensus.core import allocation
from dissensus.core.allocation.base import Choice
from dissensus.errors import InputError, RunError, UnsupportedError
from dissensus.integrations.trl import (
    DisagreementGRPOTrainer,
    DisagreementMixin,
    RecordingCallback,
    open_recorder,
    recording,
    sampling,
    session,
)

warnings.simplefilter("ignore")
FOLDER = Path(sys.argv[1])
LOSS_TYPES = ["grpo", "bnpo", "dapo"]  # one of each kind of denominator


def weights(trainer):
    model = trainer.accelerator.unwrap_model(trainer.model)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def straddling_groups():
    """12 rows on two ranks in groups of four: the second group has two rows on each."""
    args = {
        "per_device_train_batch_size": 6,
        "max_steps": 3,
        "per_device_eval_batch_size": 2,
        "eval_strategy": "steps",
        "eval_steps": 2,
    }

    def trained(cls, name, *, recorder=None):
        functions = [tiny.even_digits, tiny.length_reward]
        trainer = tiny.build(
            cls,
            FOLDER / name,
            args=args,
            reward_funcs=[recorder.wrap_reward(fn) for fn in functions] if recorder else functions,
            eval_dataset=tiny.dataset(3),
            callbacks=[RecordingCallback(recorder)] if recorder else None,
        )
        trainer.train()
        return trainer

    tiny.config(FOLDER / "wrapped")  # the arguments say how the processes talk
    with open_recorder(FOLDER / "wrapped" / "run") as recorder:
        theirs = trained(GRPOTrainer, "wrapped", recorder=recorder)
    ours = trained(DisagreementGRPOTrainer, "straddling")
    assert torch.equal(weights(theirs), weights(ours)), "recording changed the training"
    rank = ours.accelerator.process_index
    shards = [ours.recorder.attempt, ours.recorder.rank]
    assert gather_object([shards]) == [[1, 0], [1, 1]]
    ours.recorder.close()
    return {"rank": rank}


def one_rank_without_a_recorder():
    """Rank 1 cannot write: both train on, evaluate, and train again, and rank 0 records."""
    trainer = tiny.build(
        DisagreementGRPOTrainer,
        FOLDER / "alone",
        args={"eval_strategy": "steps", "eval_steps": 1, "max_steps": 1},
        eval_dataset=tiny.dataset(2),
    )
    rank = trainer.accelerator.process_index
    broken = mock.Mock(side_effect=OSError("no space")) if rank else recording.Recorder
    with mock.patch.object(recording, "Recorder", broken):
        trainer.train()
        trainer.train()
    failures = gather_object([dict(trainer._dissensus.writer.guard.failures)])
    assert failures == [{}, {"open": 2}], failures
    if trainer.recorder is not None:
        trainer.recorder.close()


def one_rank_that_cannot_read_its_rows():
    """Both hear of it: recording goes on without, an estimator cannot."""
    rank = int(os.environ["RANK"])
    broken = mock.Mock(side_effect=KeyError("advantages")) if rank else sampling._own
    with mock.patch.object(sampling, "_own", broken):
        trainer = tiny.build(DisagreementGRPOTrainer, FOLDER / "unread")
        trainer.train()
        assert trainer._dissensus.writer.guard.failures == {"measure": 2}
        trainer = tiny.build(DisagreementGRPOTrainer, FOLDER / "unread", estimator="dr_grpo")
        with pytest.raises(RuntimeError, match="KeyError"):
            trainer.train()


class Kept(GRPOTrainer):
    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        noise = torch.Generator().manual_seed(self.accelerator.process_index)
        base = -3 + torch.randn(output["completion_ids"].shape, generator=noise)
        output["ref_per_token_logps"] = base * output["completion_mask"]
        self.untouched = dict(output)
        return output


class Masked(DisagreementMixin, Kept):
    pass


def rank_one_is_silent(completions, prompts, **_):
    """Unanimous for prompts that begin with 4 … 7, which are rank 1's; also for prompt 0."""
    return [
        1.0 if p[0] in "04567" else float(i % 4 == 0)
        for i, p in zip(range(len(completions)), prompts, strict=True)
    ]


def masked_gradients():
    """The mean over ranks of the masked gradient equals TRL's on all split rows in one batch."""
    errors = {}
    for loss_type in LOSS_TYPES:
        trainer = tiny.build(
            Masked,
            FOLDER / f"mask-{loss_type}",
            args={"per_device_train_batch_size": 16, "loss_type": loss_type, "beta": 0.2},
            reward_funcs=[rank_one_is_silent],
            silent="mask",
            run_dir=False,
        )
        trainer.current_gradient_accumulation_steps = 1
        trainer.model.train()
        rank = trainer.accelerator.process_index
        rows = [dict(trainer.train_dataset[4 * rank + i]) for i in range(4) for _ in range(4)]
        output = trainer._generate_and_score_completions(rows)
        trainer._buffered_inputs = [output]
        got = gradient(trainer, trainer.compute_loss(trainer.model, output))
        mean = trainer.accelerator.reduce(got, reduction="mean")
        if rank == 1:
            assert got.abs().max() == 0, "rank 1 is all silent"
        # Rank 0 has every split row. TRL divides token sums by the number of processes.
        keep = torch.tensor([i >= 4 for i in range(16)])
        alone = {k: v if v.dim() == 0 else v[keep] for k, v in trainer.untouched.items()}
        alone["num_items_in_batch"] = alone["completion_mask"].sum()
        share = 2 if loss_type == "dapo" else 1
        # Both ranks run it, because TRL's metrics are collective; rank 0's is the expected one.
        loss = GRPOTrainer.compute_loss(trainer, trainer.model, alone) / share
        expected = gradient(trainer, loss)
        if rank == 0:
            errors[loss_type] = float((mean - expected).abs().max() / expected.abs().max())
    return errors


def gradient(trainer, loss):
    trainer.model.zero_grad()
    loss.backward()
    grads = [p.grad for p in trainer.model.parameters()]
    return torch.cat([g.flatten().clone() for g in grads])


def unequal_lengths():
    """Train with masking; ranks have completions and prompts of other widths."""
    trainer = tiny.build(
        DisagreementGRPOTrainer,
        FOLDER / "mask",
        args={"num_generations": 2, "per_device_train_batch_size": 4, "max_steps": 3,
              "loss_type": "bnpo", "steps_per_generation": 2},
        silent="mask",
    )  # fmt: skip
    trainer.train()
    assert torch.isfinite(weights(trainer)).all()
    trainer.recorder.close()


def resampling(resume=None):
    """Refills on both ranks, and a second attempt from a checkpoint that rank 1 does not see."""
    own = session._content if os.environ["RANK"] == "0" else lambda _: None
    trainer = tiny.build(
        DisagreementGRPOTrainer,
        FOLDER / "resample",
        args={"num_generations": 2, "per_device_train_batch_size": 4, "max_steps": 4,
              "save_strategy": "steps", "save_steps": 2},
        train_dataset=tiny.dataset(40),
        silent="resample",
    )  # fmt: skip
    with mock.patch.object(session, "_content", own):
        trainer.train(resume_from_checkpoint=resume)
    everyone = gather_object([weights(trainer).sum().item()])
    assert everyone[0] == everyone[1], "the ranks have other weights"
    trainer.recorder.close()


def refusal():
    try:
        tiny.build(
            DisagreementGRPOTrainer,
            FOLDER / "refused",
            args={"per_device_train_batch_size": 6},
            silent="resample",
        )
    except UnsupportedError as error:
        return str(error)
    raise AssertionError("straddling groups were not refused")


def allocating():
    """Groups of several sizes on both ranks: one plan, each rollout trained on where it was made.

    Odd draws leave one process a row short, so a rollout is sampled and told to nobody.
    """
    found = {}
    for written in ("uniform(batch=3, group_size=3)", "contrast(explore=0.3)", "dapo", "dots"):
        args = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
        folder = FOLDER / "allocating" / written.partition("(")[0]

        def train(resume, written=written, args=args, folder=folder):
            trainer = tiny.build(
                DisagreementGRPOTrainer, folder, args=args, allocator=written,
                train_dataset=tiny.dataset(24), silent="mask",
            )  # fmt: skip
            trainer.train(resume_from_checkpoint=resume)
            trainer.recorder.close()
            everyone = gather_object([(weights(trainer), trainer._dissensus.allocation.ledger)])
            assert torch.equal(everyone[0][0], everyone[1][0]), "the ranks have other weights"
            ledgers = [each.state_dict() for _, each in everyone]
            assert ledgers[0] == ledgers[1]
            return everyone[0][0], ledgers[0]

        once, ledger = train(None)
        again, _ = train(str(folder / "checkpoint-2"))
        assert torch.equal(once, again), "a resumed training went another way"
        found[written] = ledger
    return found


class Spy(GRPOTrainer):
    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        self.__dict__.setdefault("made", []).append(output)
        return output


class Spied(DisagreementMixin, Spy):
    def _generate_and_score_completions(self, inputs):
        self.used = super()._generate_and_score_completions(inputs)
        return self.used


class First(type(allocation.get("uniform", 2))):
    """Keeps the first half of each group, which one process has sampled."""

    def _choose(self, step, rng):
        place = np.arange(len(step)) % self.group_size
        return Choice(place < self.group_size // 2)


def rows_of(batch):
    """Token ids of each row that the loss takes."""
    mask = batch["completion_mask"] * batch.get("tool_mask", 1)
    return [
        tuple(
            tuple(batch[f"{part}_ids"][i][batch[f"{part}_mask"][i].bool()].tolist())
            for part in ("prompt", "completion")
        )
        for i in range(len(mask))
        if mask[i].any()
    ]


def one_process_has_what_is_selected():
    """It gives half of it away: no process takes more rows than its share."""
    trainer = tiny.build(
        Spied,
        FOLDER / "moved",
        args={"max_steps": 1, "beta": 0.1, "num_iterations": 2},
        allocator=First(16, batch=4, group_size=4),
    )
    trainer.train()
    rank = trainer.accelerator.process_index
    used, made = trainer.used, trainer.made[0]
    assert len(used["advantages"]) == 4
    assert used["num_items_in_batch"] == sum(
        len(row[1]) for each in gather_object([rows_of(used)]) for row in each
    )
    trained = sorted(row for each in gather_object([rows_of(used)]) for row in each)
    assert trained == sorted(gather_object([rows_of(made)])[0]), "rank 0 made what is selected"
    # The model that sampled them gives the same numbers to them wherever they are.
    mask = used["completion_mask"].bool()
    for name in ("old_per_token_logps", "ref_per_token_logps"):
        mine = sorted(gather_object(used[name][mask].tolist()))
        source = made[name][made["completion_mask"].bool()].tolist() if rank == 0 else []
        assert mine == sorted(gather_object(source))
    trainer.recorder.close()


def a_process_without_a_rollout():
    """A draw of one rollout, which leaves one process with a copy that is told to nobody."""
    one = allocation.get("uniform", 16, batch=1, group_size=1)
    trainer = tiny.build(Spied, FOLDER / "single", allocator=one, rollout_budget=3)
    trainer.train()
    assert sum(gather_object([len(rows_of(trainer.used))])) == 1
    trainer.recorder.close()


def rollouts_that_one_process_has_lost():
    """Both go on without those that wait; where a file is broken both stop."""
    args = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}

    def build():
        return tiny.build(DisagreementGRPOTrainer, FOLDER / "lost", args=args, allocator="dots")

    build().train()
    last = FOLDER / "lost" / "checkpoint-1"
    mine = last / f"dissensus_held_{os.environ['RANK']}.safetensors"
    assert mine.is_file()
    if os.environ["RANK"] == "1":
        mine.write_bytes(b"cut off")
    with pytest.raises(RunError, match=r"rollouts that wait|another process cannot go on"):
        build().train(resume_from_checkpoint=str(last))
    if os.environ["RANK"] == "1":
        mine.unlink()
    trainer = build()
    trainer.train(resume_from_checkpoint=str(last))
    everyone = gather_object([weights(trainer).sum().item()])
    assert everyone[0] == everyone[1], "the ranks have other weights"
    trainer.recorder.close()


def one_rank_hears_that_the_other_cannot_allocate():
    class Failing(type(allocation.get("uniform", 2))):
        def _next(self, step, budget, rng):
            raise ValueError("no idea")

    trainer = tiny.build(
        DisagreementGRPOTrainer, FOLDER / "failing", allocator=Failing(16, batch=2, group_size=4)
    )
    with pytest.raises(RunError, match="no idea"):
        trainer.train()


def refused_recorders():
    """A plain Recorder in every process would be two runs, or write the rows of the other rank."""
    tiny.config(FOLDER / "own")
    with Recorder(FOLDER / "own" / os.environ["RANK"]) as recorder:
        with pytest.raises(InputError, match="open_recorder"):
            tiny.build(GRPOTrainer, FOLDER, callbacks=[RecordingCallback(recorder)])
        with pytest.raises(InputError, match="open_recorder"):
            tiny.build(DisagreementGRPOTrainer, FOLDER, recorder=recorder)


def main():
    logging.getLogger("dissensus").setLevel(logging.ERROR)
    tiny.model()  # once there are two processes, only the first one saves
    report = {"straddling": straddling_groups(), "gradients": masked_gradients()}
    one_rank_without_a_recorder()
    one_rank_that_cannot_read_its_rows()
    unequal_lengths()
    resampling()
    resampling(resume=str(FOLDER / "resample" / "checkpoint-2"))
    report["allocating"] = allocating()
    one_process_has_what_is_selected()
    a_process_without_a_rollout()
    rollouts_that_one_process_has_lost()
    one_rank_hears_that_the_other_cannot_allocate()
    report["refusal"] = refusal()
    refused_recorders()
    if report["straddling"]["rank"] == 0:
        (FOLDER / "report.json").write_text(json.dumps(report))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
