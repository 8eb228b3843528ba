"""`dissensus train` around a stand-in for the training itself, which the lab tests."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from views.synthetic import record_run

from dissensus.cli.app import run
from dissensus.lab.settings import TrainEvent, TrainResult
from dissensus.views.live import TrainProgress, TrainState


def fake_training(
    asked: list, *, interrupted: bool = False, heldout: float = 0.25, heldout_every: int = 3
):
    def train(settings, on_event=None, on_stage=None):
        asked.append(settings)
        print("a framework prints")
        record_run(Path(settings.run), generations=4, heldout_every=heldout_every)
        if on_event is not None:
            metrics = {"unanimous_frac": 0.5, "effective_rollout_frac": 0.5}
            on_event(TrainEvent(1, 4, 0.5, heldout, 0.01, True, metrics, 2.0, 6.0))
        return TrainResult(
            run=str(settings.run),
            steps=4,
            rollouts=1024,
            trained_rollouts=1024,
            seconds=3.0,
            heldout_before=heldout,
            heldout_after=0.5,
            heldout_before_standard_error=0.01,
            heldout_after_standard_error=0.01,
            unanimous={"total": 0.5, "all_wrong": 0.25, "all_correct": 0.25},
            interrupted=interrupted,
            heldout_rates_before=np.zeros(1),
            heldout_rates_after=np.zeros(1),
        )

    return train


@pytest.fixture
def asked(monkeypatch) -> list:
    found: list = []
    monkeypatch.setattr("dissensus.lab.training.train", fake_training(found))
    return found


def test_json_is_one_document_whatever_a_framework_prints(asked, tmp_path, capsys):
    assert run(["train", "--json", "--run", str(tmp_path / "r")]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    promised = {
        "run", "steps", "rollouts", "trained_rollouts", "seconds", "heldout_before",
        "heldout_after", "unanimous",
    }  # fmt: skip
    assert promised <= set(found)
    assert Path(found["report"]).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "a framework prints" in captured.err


def test_options_reach_the_settings(asked, tmp_path, capsys):
    options = "--steps 4 --group-size 6 --prompts 3 --train-prompts 9 --seed 5 --learning-rate 1e-4"
    chosen = ["--estimator", "grpo(ddof=1, eps=1e-4)", "--silent", "mask"]
    assert run(["train", *options.split(), *chosen, "--run", str(tmp_path / "r")]) == 0
    (settings,) = asked
    assert (settings.steps, settings.group_size, settings.seed) == (4, 6, 5)
    assert (settings.prompts_per_step, settings.train_prompts) == (3, 9)
    assert settings.learning_rate == 1e-4
    assert repr(settings.make_estimator()) == "grpo(ddof=1, eps=0.0001)"
    assert settings.silent == "mask"
    text = capsys.readouterr().out
    assert "Held-out solve rate 25 % before, 50 % after (+25.0 points)" in text
    assert str(tmp_path / "r" / "report.html") in text
    assert "a framework prints" not in text


def test_ctrl_c_prints_the_summary_and_leaves_with_130(tmp_path, capsys, monkeypatch):
    training = fake_training([], interrupted=True, heldout_every=10)
    monkeypatch.setattr("dissensus.lab.training.train", training)
    assert run(["train", "--run", str(tmp_path / "r")]) == 130
    text = capsys.readouterr().out
    assert "stopped by Ctrl-C" in text
    # Only the check at step 0 was made: no change may be claimed.
    assert "none was measured after it" in text
    assert "points" not in text.rpartition("Trained")[2]
    assert "Unanimous groups" in text


def test_an_unmeasured_heldout_rate_is_null(tmp_path, capsys, monkeypatch):
    training = fake_training([], heldout=float("nan"))
    monkeypatch.setattr("dissensus.lab.training.train", training)
    assert run(["train", "--json", "--run", str(tmp_path / "r")]) == 0
    assert json.loads(capsys.readouterr().out)["heldout_before"] is None


def test_a_heldout_rate_not_measured_after_training_is_null(tmp_path, capsys, monkeypatch):
    training = fake_training([], interrupted=True, heldout_every=10)
    monkeypatch.setattr("dissensus.lab.training.train", training)
    assert run(["train", "--json", "--run", str(tmp_path / "r")]) == 130
    found = json.loads(capsys.readouterr().out)
    assert found["heldout_before"] == 0.25
    assert found["heldout_after"] is None
    assert found["heldout_after_standard_error"] is None


def test_a_folder_with_a_run_is_refused(asked, tmp_path, capsys):
    record_run(tmp_path, generations=2)
    assert run(["train", "--run", str(tmp_path)]) == 2
    assert asked == []
    assert "holds a run already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--allocator", "nonsense"], "no allocation strategy of that name"),
        (["--rollouts", "100"], "needs an allocator"),
        (["--allocator", "dapo", "--silent", "resample"], "what replaces silent groups"),
    ],
)
def test_what_an_allocator_refuses_leaves_no_folder(asked, tmp_path, capsys, options, said):
    folder = tmp_path / "r"
    assert run(["train", *options, "--run", str(folder)]) == 2
    assert asked == []
    assert not folder.exists()
    captured = capsys.readouterr().err
    assert said in captured
    assert captured.count("\n") == 1


def draw(progress: TrainProgress, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(progress)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_live_view_fits_and_says_what_is_known(width):
    progress = TrainProgress("grpo\x1b[31m", 60)
    assert ", starting" in draw(progress, width)
    progress.begin("loading")
    assert ", loading" in draw(progress, width)
    for step in range(30):
        progress.add(
            TrainState(
                step=step,
                reward=None if step == 0 else step / 60,
                heldout=0.4 if step % 10 == 0 else None,
                heldout_standard_error=0.01,
                metrics={} if step == 0 else {"unanimous_frac": 0.5, "all_wrong_frac": 0.31},
                elapsed_s=2.0 * step,
                remaining_s=None if step == 0 else 60.0,
            )
        )
    text = draw(progress, width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert "31 %" in text
    assert "all-correct" not in text
    assert "29 of 60" in text
    assert "left" in text
    progress.begin("measuring")
    assert ", measuring" in draw(progress, width)
