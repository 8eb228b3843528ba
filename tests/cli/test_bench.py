"""`dissensus bench` as a person and as a program see it; nothing is trained here but once."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from dissensus.cli.app import run
from dissensus.lab.bench import runner
from dissensus.lab.bench.plan import load_plan
from dissensus.lab.bench.records import (
    Arm,
    Evaluations,
    Steps,
    TrainingRecord,
    read_records,
    write_record,
)

# Instead of training it fails, in two ways.
FAILING = """
import json, sys
for line in sys.stdin:
    if json.loads(line)["training"]["seed"] == 0:
        print(json.dumps({"failed": "InputError: no good."}), flush=True)
    else:
        sys.exit("out of luck")
"""
ARMS = (Arm("grpo", "uniform"), Arm("grpo", "contrast"))


def call(capsys, *arguments):
    code = run([str(each) for each in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def trained(tmp_path):
    """The quick plan as if it had been run."""
    plan = load_plan("quick")
    generated = np.linspace(0, plan.setting.budget, 5).astype(int)
    for arm in ARMS:
        for seed in plan.report_seeds:
            rng = np.random.default_rng([seed, ARMS.index(arm)])
            write_record(
                tmp_path / "out",
                TrainingRecord(
                    plan=plan.name,
                    purpose="report",
                    arm=arm,
                    learning_rate=2e-4,
                    seed=seed,
                    budget=plan.setting.budget,
                    evaluations=Evaluations(
                        **dict.fromkeys(("generated", "trained", "tokens"), generated),
                        **dict.fromkeys(("seconds", "processor_seconds"), generated / 10),
                        **dict.fromkeys(("steps", "extra"), np.arange(5)),
                        samples=np.full(5, 2),
                        correct=rng.binomial(2, 0.5, size=(5, plan.setting.heldout_prompts)),
                    ),
                    steps=Steps(
                        **dict.fromkeys(("generated", "trained"), np.full(4, 64)),
                        **dict.fromkeys(("all_wrong", "all_correct", "groups"), np.full(4, 8)),
                        contrast=np.ones(4),
                    ),
                    settings=plan.setting.to_json(),
                ),
            )
    return tmp_path / "out"


def test_what_is_there_is_shown_and_nothing_is_trained_again(trained, capsys, monkeypatch):
    monkeypatch.setattr(runner, "_COMMAND", ["false"])
    code, out, err = call(capsys, "bench", trained)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert "256 rollouts each" in out


def test_one_file_holds_all_and_is_a_source(trained, capsys, tmp_path):
    file, page = tmp_path / "all.jsonl.gz", tmp_path / "bench.html"
    code, from_folder, _ = call(
        capsys, "bench", trained, "--no-run", "--json", "--save", file, "--html", page
    )
    assert code == 0
    assert page.read_text().startswith("<!")
    code, from_file, _ = call(capsys, "bench", file, "--json")
    first, second = json.loads(from_folder), json.loads(from_file)
    assert set(second["arms"]) == {str(arm) for arm in ARMS}
    assert first["families"] == second["families"]
    assert len(read_records(file)) == 4


def test_some_arms_only_and_another_baseline(trained, capsys):
    code, out, _ = call(capsys, "bench", trained, "--no-run", "--json", "--arms", "grpo x contrast")
    document = json.loads(out)
    assert (code, document["baseline"]) == (0, "grpo × contrast")
    assert list(document["arms"]) == ["grpo × contrast"]


def test_a_training_that_fails_is_one_line_and_the_next_one_goes_on(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "_COMMAND", [sys.executable, "-c", FAILING])
    code, out, err = call(capsys, "bench", tmp_path / "new", "--arms", "grpo x uniform")
    *failed, third = err.splitlines()
    first, second = sorted(failed)  # two are trained at a time, and either can end first
    assert "grpo × uniform, learning rate 0.0002, seed 0: InputError: no good." in first
    assert "seed 1: its process ended with code 1: out of luck" in second
    assert third.startswith("dissensus: ")
    assert (code, out) == (2, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("out", "--plan", "qick"), "no such plan"),
        (("out", "--arms", "grpo"), "an arm is"),
        (("out", "--arms", "grpo x nobody"), "nobody"),
        (("nowhere", "--no-run"), "nowhere"),
    ],
)
def test_what_cannot_be_is_one_line(capsys, tmp_path, arguments, message):
    source, *rest = arguments
    code, out, err = call(capsys, "bench", tmp_path / source, *rest)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert message in err
    assert not (tmp_path / source).exists()


@pytest.mark.slow
def test_the_quick_plan_runs_and_compares_its_arms(capsys, tmp_path):
    code, out, err = call(capsys, "bench", tmp_path / "out", "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert list(document["arms"]) == [str(arm) for arm in sorted(ARMS)]
    assert document["budget"] == 256
