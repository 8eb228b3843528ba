"""When a run is opened, and as which attempt."""

from __future__ import annotations

from fnmatch import fnmatch
from types import SimpleNamespace

import pytest
import tiny
from trl import GRPOTrainer

from dissensus import Recorder, Run
from dissensus.errors import UnsupportedError
from dissensus.integrations.trl import (
    DisagreementGRPOTrainer,
    DisagreementMixin,
    RecordingCallback,
)
from dissensus.integrations.trl.session import _run_dir
from dissensus.integrations.trl.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore")

SAVING = {"save_strategy": "steps", "save_steps": 2, "max_steps": 3}


def build(folder, **more):
    return tiny.build(
        DisagreementGRPOTrainer, folder, args=SAVING, eval_dataset=tiny.dataset(2), **more
    )


def test_an_evaluation_before_training_belongs_to_the_run(tmp_path):
    trainer = build(tmp_path)
    trainer.evaluate()
    trainer.train()
    trainer.recorder.close()
    run = Run(tmp_path / "dissensus")
    assert [a.attempt for a in run.attempts] == [1]
    assert run.groups(split="eval")["step"].to_pylist() == [0, 0]
    assert set(run.groups(split="train")["step"].to_pylist()) == {0, 1, 2}


def test_an_evaluation_before_a_resume_supersedes_nothing(tmp_path):
    first = build(tmp_path)
    first.train()
    first.recorder.close()
    second = build(tmp_path)
    second.evaluate()
    assert second.recorder is None, "an attempt at step 0 would supersede the whole run"
    second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    second.recorder.close()
    run = Run(tmp_path / "dissensus")
    assert [(a.attempt, a.start_step) for a in run.attempts] == [(1, 0), (2, 2)]
    groups = run.groups(split="train").to_pandas()
    assert groups.groupby("step").size().to_dict() == {0: 2, 1: 2, 2: 2}
    assert groups.attempt.tolist() == [1] * 4 + [2] * 2
    assert run.groups(split="eval").num_rows == 2


def test_a_resumed_run_keeps_the_evaluation_and_the_log_of_its_checkpoint(tmp_path, caplog):
    args = {**SAVING, "eval_strategy": "steps", "eval_steps": 2, "max_steps": 4}

    def trained(folder, *, recorder=None, resume=None):
        data = {"args": args, "eval_dataset": tiny.dataset(2)}
        if recorder is None:
            trainer = tiny.build(DisagreementGRPOTrainer, folder, **data)
        else:
            reward = recorder.wrap_reward(tiny.even_digits)
            trainer = tiny.build(GRPOTrainer, folder, reward_funcs=[reward],
                                 callbacks=[RecordingCallback(recorder)], **data)  # fmt: skip
        trainer.train(resume_from_checkpoint=resume)
        (recorder or trainer.recorder).close()

    trained(tmp_path)
    trained(tmp_path, resume=str(tmp_path / "checkpoint-2"))
    assert "start_step" not in caplog.text
    trained(tmp_path, recorder=Recorder(tmp_path / "wrapped"))
    trained(
        tmp_path,
        recorder=Recorder(tmp_path / "wrapped", start_step=2),
        resume=str(tmp_path / "checkpoint-2"),
    )
    for folder in ("dissensus", "wrapped"):
        run = Run(tmp_path / folder)
        groups = run.groups().to_pandas().groupby(["split", "step"]).attempt.unique()
        assert {key: list(found) for key, found in groups.items()} == {
            ("eval", 2): [1], ("eval", 4): [2],
            ("train", 0): [1], ("train", 1): [1], ("train", 2): [2], ("train", 3): [2],
        }  # fmt: skip
        assert run.scalars(name="loss", split="train")["step"].to_pylist() == [0, 1, 2, 3]
        assert run.scalars(name="loss", split="eval")["step"].to_pylist() == [2, 4]


def test_a_second_training_is_a_new_attempt(tmp_path):
    trainer = build(tmp_path)
    trainer.train()
    trainer.train()
    trainer.recorder.close()
    run = Run(tmp_path / "dissensus")
    assert [(a.attempt, a.start_step) for a in run.attempts] == [(1, 0), (2, 0)]
    assert set(run.groups()["attempt"].to_pylist()) == {2}


def test_a_recorder_of_ones_own_stays_open(tmp_path):
    with Recorder(tmp_path / "mine", strict=True) as recorder:
        trainer = build(tmp_path, recorder=recorder)
        trainer.train()
        assert trainer.recorder is recorder
        recorder.record(step=3, group_ids=[0], prompt_ids=[0], rewards=[1.0], split="held-out")
    assert Run(tmp_path / "mine").groups(split="held-out").num_rows == 1


def test_a_run_is_not_uploaded_with_the_model(tmp_path):
    def folder(*, push_to_hub):
        args = SimpleNamespace(output_dir=tmp_path, push_to_hub=push_to_hub)
        return _run_dir(SimpleNamespace(args=args), Settings())

    assert folder(push_to_hub=False) == tmp_path / "dissensus"
    uploaded = folder(push_to_hub=True).relative_to(tmp_path) / "run.json"
    assert fnmatch(str(uploaded), "_*")  # what Trainer's push leaves out


@pytest.mark.parametrize("by", ["callback", "subclass"])
def test_a_recorder_that_starts_elsewhere_is_reported(tmp_path, caplog, by):
    build(tmp_path, run_dir=False).train()
    checkpoint = str(tmp_path / "checkpoint-2")
    for start_step, n_said in [(2, 0), (0, 1)]:
        with Recorder(tmp_path / "mine", start_step=start_step) as recorder:
            if by == "callback":
                more = {"callbacks": [RecordingCallback(recorder)]}
                trainer = tiny.build(GRPOTrainer, tmp_path, args=SAVING, **more)
            else:
                trainer = build(tmp_path, recorder=recorder)
            trainer.train(resume_from_checkpoint=checkpoint)
        assert sum("open it with start_step=2" in r.message for r in caplog.records) == n_said


def test_a_trainer_without_the_wrapped_method_is_refused(tmp_path):
    class Other:
        def __init__(self, **_):
            self.model = None

    class Mine(DisagreementMixin, Other):
        pass

    with pytest.raises(UnsupportedError, match="wrap_reward"):
        Mine()
