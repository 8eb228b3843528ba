"""An allocator in verl's own trainer: loop, data loader, agent loops, TransferQueue, checkpoints.

What stands in for the inference server, the actor's workers and the GPUs is listed in `standins`;
here the actor's workers also save and load nothing.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("verl.trainer.ppo.v1", reason="verl has its own environment: make test-verl")

import torch
import transfer_queue as tq
from standins import Actor, logged, make_config, stand_in, train
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.utils.dataset.rl_dataset import get_dataset_class

from dissensus import Run
from dissensus.integrations.verl.sampling_plan import Plan

pytestmark = pytest.mark.timeout(600)

STEPS, ROWS, BATCH, SIZE = 2, 12, 4, 4


def settings(folder, *more):
    kwargs = "+trainer.v1.sampler.sampler_kwargs"
    return make_config(
        folder,
        "trainer.v1.sampler.custom_sampler.path=pkg://dissensus.integrations.verl.replay",
        "trainer.v1.sampler.custom_sampler.name=replay_buffer",
        f"{kwargs}.allocator='contrast(least=2)'",
        f"{kwargs}.group_size=${{actor_rollout_ref.rollout.n}}",
        f"{kwargs}.estimator=${{algorithm.adv_estimator}}",
        "data.custom_cls.path=pkg://dissensus.integrations.verl.replay_rows",
        "data.custom_cls.name=AllocatedRows",
        "algorithm.adv_estimator=dissensus_grpo",
        f"trainer.total_training_steps={STEPS}",
        "trainer.total_epochs=100",
        *more,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cluster):
    folder = tmp_path_factory.mktemp("allocated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERL_FILE_LOGGER_PATH", str(folder / "log.jsonl"))
        patch.setattr(Actor, "save_checkpoint", lambda *_, **__: None, raising=False)
        patch.setattr(Actor, "load_checkpoint", lambda *_, **__: None, raising=False)
        trainer = train(settings(folder, f"trainer.save_freq={STEPS}"))
        yield folder, trainer


def test_groups_have_the_sizes_that_were_drawn_and_count_once_each(trained):
    _, trainer = trained
    assert len(trainer.actor_rollout_wg.seen) == STEPS
    for seen in trainer.actor_rollout_wg.seen:
        real = {key: row for key, row in seen.items() if not key.startswith("pad")}
        sizes = Counter(key.split("_")[0] for key in real)
        assert sum(sizes.values()) == BATCH * SIZE
        assert min(sizes.values()) >= 2
        mean = sum(sizes.values()) / len(sizes)
        for uid, size in sizes.items():
            given = np.array([row[0] for key, row in real.items() if key.startswith(uid)])
            # grpo of this package gives a group the standard deviation 1; the factor is n̄/n.
            assert not given.any() or np.isclose(given.std(), mean / size, rtol=1e-4)


def test_every_rollout_is_counted_in_verls_own_metrics(trained):
    folder, trainer = trained
    ledger = trainer.replay_buffer._plan.ledger
    lines = [line["data"] for line in logged(folder / "log.jsonl")]
    generated = [line["training/dissensus/rollouts_generated"] for line in lines]
    used = [line["training/dissensus/rollouts_trained"] for line in lines]
    assert generated == used == [BATCH * SIZE] * STEPS
    assert (ledger.generated, ledger.trained, ledger.steps) == (sum(generated), sum(used), STEPS)


def test_verls_checkpoint_holds_the_allocator_and_gives_it_back(trained):
    folder, trainer = trained
    saved = folder / "checkpoints" / f"global_step_{STEPS}" / "data.pt"
    assert saved.is_file()
    before = trainer.replay_buffer._plan
    config = settings(folder)
    tq.init(config.transfer_queue)
    try:
        resumed = stand_in(get_trainer_cls("sync"))(config)
        resumed.init()
        resumed._load_checkpoint()
        assert resumed.global_steps == STEPS
        fetched = resumed._next_train_batch()
    finally:
        tq.close()
    after = resumed.replay_buffer._plan
    assert isinstance(after, Plan)
    assert after is not before
    expected = [before.next_row(offered) for offered in range(BATCH)]
    rows = [getattr(each, "data", each) for each in fetched["dissensus_row"]]
    sizes = [getattr(each, "data", each) for each in fetched["__rollout_n__"]]
    assert list(zip(rows, sizes, strict=True)) == expected
    mine, theirs = after.state_dict()["allocator"], before.state_dict()["allocator"]
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)
    assert after.ledger == before.ledger
    assert torch.load(saved, weights_only=False)


def test_the_lines_of_the_page_configure_what_they_say(tmp_path, cluster):
    page = (Path(__file__).parents[2] / "docs" / "verl_sampling.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)
    replacing, allocating = (
        make_config(tmp_path, *shlex.split(block.replace("\\\n", " "))) for block in blocks
    )
    buffers = [stand_in(get_trainer_cls("sync"))(c).replay_buffer for c in (replacing, allocating)]
    assert [isinstance(buffer, ReplayBuffer) for buffer in buffers] == [True, True]
    assert buffers[0].filter_groups_metric == "reward"
    options = buffers[1]._plan.options
    assert (str(options.allocator), options.group_size) == ("contrast(least=4)", SIZE)
    assert get_dataset_class(allocating.data).__name__ == "AllocatedRows"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, cluster):
    """`pilot_commit` draws one prompt again within a step, and drops the others."""
    folder = tmp_path_factory.mktemp("recorded")
    config = make_config(
        folder,
        "+dissensus=[record,allocate]",
        "trainer.v1.sampler.sampler_kwargs.allocator=pilot_commit",
        "algorithm.adv_estimator=dissensus_grpo",
        "algorithm.dissensus.correct=acc",
        "trainer.total_epochs=100",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VERL_FILE_LOGGER_PATH", str(folder / "log.jsonl"))
        trainer = train(config)
    run = Run(folder / "checkpoints" / "dissensus")
    return trainer, run, [line["data"] for line in logged(folder / "log.jsonl")]


def test_a_prompt_that_was_drawn_twice_is_one_group_of_the_run(recorded):
    trainer, run, lines = recorded
    assert not trainer._dissensus.guard.failures
    rollouts = run.rollouts().to_pandas()
    joined = 0
    for step, (seen, line) in enumerate(zip(trainer.actor_rollout_wg.seen, lines, strict=True), 1):
        mine = rollouts[rollouts["step"] == step]
        assert len(mine) == line["training/dissensus/rollouts_trained"]
        assert mine["group_id"].nunique() == line["training/dissensus/groups_trained"]
        assert (mine.groupby("group_id")["prompt_id"].nunique() == 1).all()
        uids = {key.split("_")[0] for key in seen if not key.startswith("pad")}
        joined += len(uids) - mine["group_id"].nunique()
    assert joined > 0


def test_what_the_sampler_generated_counts_in_the_recorders_metrics(recorded):
    trainer, run, lines = recorded
    groups = run.groups().to_pandas()
    for step, line in enumerate(lines, 1):
        generated = line["training/dissensus/rollouts_generated"]
        assert generated > line["training/dissensus/rollouts_trained"]
        assert line["dissensus/rollouts_generated"] == generated
        live = groups[(groups["step"] == step) & ~groups["silent"]]
        assert line["dissensus/effective_rollout_frac"] == live["rollouts"].sum() / generated
    total = sum(line["training/dissensus/rollouts_generated"] for line in lines)
    assert total == trainer.replay_buffer._plan.ledger.generated


def test_rows_fetched_in_other_processes_are_refused(trained, tmp_path):
    from dissensus.errors import UnsupportedError

    trainer = stand_in(get_trainer_cls("sync"))(
        settings(tmp_path, "data.dataloader_num_workers=2")
    )  # fmt: skip
    with pytest.raises(UnsupportedError, match=r"dataloader_num_workers.*Got 2.*set it to 0"):
        trainer.init()
