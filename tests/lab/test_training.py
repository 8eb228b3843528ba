"""A short training run, end to end."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from dissensus.errors import InputError
from dissensus.lab import training
from dissensus.lab.model import load_model
from dissensus.lab.training import TrainSettings, make_run_dir, train
from dissensus.runs import Run

TINY = {
    "steps": 2,
    "prompts_per_step": 6,
    "group_size": 4,
    "train_prompts": 20,
    "heldout_prompts": 20,
    "heldout_samples": 2,
    "eval_every": 1,
    "families": ("modulo", "chain"),
    "levels": (1, 2),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The result, what was told in order (events and stages), and the run's folder."""
    told = []
    run = tmp_path_factory.mktemp("lab") / "run"
    settings = TrainSettings(run=run, snapshot_steps=(0, 2), **TINY)
    return train(settings, told.append, told.append), told, run


def test_the_result_counts_what_was_done(trained):
    result, _, run = trained
    document = json.loads(json.dumps(result.to_json()))
    assert {"run", "steps", "rollouts", "trained_rollouts", "seconds"} <= document.keys()
    assert document["run"] == str(run)
    assert (document["steps"], document["rollouts"]) == (2, 2 * 6 * 4)
    assert document["trained_rollouts"] == 48
    assert document["unanimous"].keys() == {"total", "all_wrong", "all_correct"}
    parts = document["unanimous"]
    assert parts["total"] == pytest.approx(parts["all_wrong"] + parts["all_correct"])
    assert 0 <= document["heldout_before"] <= 1
    assert document["interrupted"] is False


def test_training_and_heldout_rollouts_are_recorded_apart(trained):
    _, _, run = trained
    rows = Run(run)
    assert rows.state == "finished"
    groups = rows.groups(split="train").to_pandas()
    assert (groups["rollouts"] == 4).all()
    assert len(groups) == 2 * 6
    # Before (2 samples), after step 1 (1 sample), after training (2 samples).
    heldout = rows.groups(split="eval").to_pandas()
    assert heldout.groupby("step")["rollouts"].max().to_dict() == {0: 2, 1: 1, 2: 2}
    assert len(heldout) == 3 * 20
    assert not set(groups["prompt_id"]) & set(heldout["prompt_id"])


def test_recorded_heldout_rates_are_the_reported_ones(trained):
    result, _, run = trained
    heldout = Run(run).groups(split="eval").to_pandas()
    after = heldout[heldout["step"] == 2]
    assert (after["correct"] / after["size"]).mean() == pytest.approx(result.heldout_after)
    assert result.heldout_rates_after.mean() == pytest.approx(result.heldout_after)


def test_events_tell_every_step(trained):
    _, told, _ = trained
    events = [each for each in told if not isinstance(each, str)]
    assert [(e.step, e.total) for e in events] == [(0, 2), (1, 2), (2, 2)]
    assert events[0].reward is None
    assert events[0].heldout_is_new
    assert events[1].heldout_is_new
    assert 0 <= events[1].reward <= 1
    assert {"unanimous_frac", "all_wrong_frac", "effective_rollout_frac"} <= set(events[1].metrics)
    assert events[2].remaining_s < events[1].remaining_s
    assert np.all(np.diff([e.elapsed_s for e in events]) >= 0)


def test_stages_tell_what_is_no_step(trained):
    _, told, _ = trained
    measuring = "measuring held-out prompts"
    before = ["loading", measuring, "building the trainer"]
    assert [each if isinstance(each, str) else each.step for each in told] == [
        *before, 0, 1, 2, measuring
    ]  # fmt: skip


def test_seconds_count_from_the_call(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=5.0, monotonic=lambda: clock.now, strftime=time.strftime)
    quiet = training.quiet_frameworks

    @contextlib.contextmanager
    def slow_imports():
        clock.now += 30.0
        with quiet():
            yield

    monkeypatch.setattr(training, "time", clock)
    monkeypatch.setattr(training, "quiet_frameworks", slow_imports)
    result = train(TrainSettings(run=tmp_path / "run", **{**TINY, "steps": 1}))
    assert result.seconds == 30.0


def test_the_run_names_its_estimator_with_parameters_and_knows_nothing_of_no_group(tmp_path):
    def interrupt(event):
        raise KeyboardInterrupt

    settings = TrainSettings(run=tmp_path / "run", estimator="grpo(ddof=1)", **TINY)
    result = train(settings, interrupt)
    assert Run(tmp_path / "run").info["metadata"]["estimator"] == "grpo(ddof=1, eps=0.0)"
    assert result.unanimous == {"total": None, "all_wrong": None, "all_correct": None}


@pytest.mark.parametrize("wrong", [{"train_prompts": 20_000}, {"estimator": "nope"}])
def test_a_refused_training_leaves_no_folder(tmp_path, wrong):
    with pytest.raises(InputError):
        train(TrainSettings(run=tmp_path / "run", **{**TINY, **wrong}))
    assert not (tmp_path / "run").exists()


def test_trainings_of_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda _: "20260101-000000")
    names = [make_run_dir(7).name for _ in range(3)]
    first = "lab-20260101-000000-seed7"
    assert names == [first, f"{first}-2", f"{first}-3"]
    assert all((tmp_path / "runs" / name).is_dir() for name in names)


def test_snapshots_hold_the_weights_of_their_step(trained):
    import torch

    _, _, run = trained
    before = load_model(run / "weights" / "step-000000.safetensors").state_dict()
    after = load_model(run / "weights" / "step-000002.safetensors").state_dict()
    packaged = load_model().state_dict()
    assert all(torch.equal(before[name], packaged[name]) for name in before)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_nothing_is_printed(tmp_path, capfd):
    train(TrainSettings(run=tmp_path / "run", **{**TINY, "steps": 1}))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_hub_is_never_asked():
    code = (
        "from dissensus.lab.quiet import quiet_frameworks\n"
        "with quiet_frameworks():\n"
        "    import datasets, huggingface_hub\n"
        "assert huggingface_hub.constants.HF_HUB_OFFLINE\n"
        "assert datasets.config.HF_HUB_OFFLINE\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)


def test_ctrl_c_ends_with_a_whole_run(tmp_path):
    def interrupt(event):
        if event.step == 1:
            raise KeyboardInterrupt

    settings = TrainSettings(run=tmp_path / "run", **{**TINY, "steps": 50})
    result = train(settings, interrupt)
    assert result.interrupted
    assert result.steps == 1
    assert result.rollouts == 24
    run = Run(tmp_path / "run")
    assert run.state == "finished"
    assert len(run.groups(split="train")) == 6
    assert 0 <= result.heldout_after <= 1


def test_an_estimator_and_resampling_are_passed_on(tmp_path):
    settings = TrainSettings(
        run=tmp_path / "run", estimator="dr_grpo", silent="resample", **{**TINY, "steps": 1}
    )
    result = train(settings)
    rollouts = Run(tmp_path / "run").rollouts(split="train").to_pandas()
    assert result.rollouts == len(rollouts)
    assert result.trained_rollouts == rollouts["trained"].sum()
    split = rollouts[rollouts["trained"]]
    centred = split["reward"] - split.groupby("group_id")["reward"].transform("mean")
    assert split["advantage_used"].to_numpy() == pytest.approx(centred.to_numpy(), abs=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"group_size": 1}, {"train_prompts": 3}, {"eval_every": -1}],
)
def test_settings_that_cannot_run_are_refused(wrong):
    with pytest.raises(InputError):
        TrainSettings(**{**TINY, **wrong})
