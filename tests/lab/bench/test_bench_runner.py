"""Running a plan in other processes, here with one that only pretends to train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from dissensus.lab.bench import runner
from dissensus.lab.bench.plan import ArmPlan, Training
from dissensus.lab.bench.records import Arm, read_records
from dissensus.lab.bench.runner import describe, run_plan

# Leaves a record at once, except where the seed stands for something else.
PRETENDER = """
import json, os, pathlib, signal, sys, time
from dissensus.lab.bench.records import TrainingRecord, write_record
for line in sys.stdin:
    order = json.loads(line)
    training, folder = order["training"], pathlib.Path(order["folder"])
    around = folder.parent
    with open(around / "log", "a") as log:
        log.write(f"{os.getpid()} {training['seed']}\\n")
    is_mended = (around / "mended").exists()
    if training["seed"] == 2 and not is_mended:
        print(json.dumps({"failed": "InputError: no good"}), flush=True)
        continue
    if training["seed"] == 3 and not is_mended:
        print("last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if training["seed"] == 4 and not is_mended:
        time.sleep(60)
    print(json.dumps({"share": 0.5}), flush=True)
    document = json.loads((around / "record.json").read_text())
    estimator, allocator = training["arm"]
    document["arm"] = {"estimator": estimator, "allocator": allocator}
    for name in ("purpose", "learning_rate", "seed"):
        document[name] = training[name]
    write_record(folder, TrainingRecord.from_json(document, where="pretended"))
    print(json.dumps({"done": True}), flush=True)
"""
UNIFORM = Arm("grpo", "uniform")


@pytest.fixture
def around(tmp_path, monkeypatch, make_plan, make_record):
    """The folder around the benchmark's own; the processes are pretenders."""
    monkeypatch.setattr(runner, "_COMMAND", [sys.executable, "-c", PRETENDER])
    training = Training("small", make_plan().setting, "tune", UNIFORM, 1e-4, 0)
    (tmp_path / "record.json").write_text(json.dumps(make_record(training).to_json()))
    return tmp_path


def seeds_in(folder):
    return sorted(record.seed for record in read_records(folder))


def test_a_plan_is_run_to_its_end_and_not_again(around, make_plan):
    outcome = run_plan(make_plan(), around / "out", jobs=2)
    assert (outcome.ran, outcome.missing, outcome.failures) == (12, 0, [])
    assert len(read_records(around / "out")) == 12
    log = (around / "log").read_text().splitlines()
    assert len(log) == 12
    assert len({line.split()[0] for line in log}) <= 2
    assert run_plan(make_plan(), around / "out", jobs=2).ran == 0
    assert len((around / "log").read_text().splitlines()) == 12


def test_one_that_fails_or_dies_loses_no_other_and_is_tried_again(around, make_plan):
    plan = make_plan(arms=(ArmPlan(UNIFORM, (1e-4,)),), report_seeds=(0, 2, 3, 5))
    outcome = run_plan(plan, around / "out", jobs=1)
    assert seeds_in(around / "out") == [0, 5]
    assert (outcome.ran, outcome.missing, outcome.interrupted) == (2, 2, False)
    reasons = {failure.training.seed: failure.reason for failure in outcome.failures}
    assert reasons == {
        2: "InputError: no good",
        3: "its process ended by SIGKILL: last words",
    }
    (around / "mended").touch()
    assert run_plan(plan, around / "out", jobs=1).ran == 2
    assert seeds_in(around / "out") == [0, 2, 3, 5]


def test_a_stop_ends_the_processes_and_keeps_what_is_done(around, make_plan):
    plan = make_plan(arms=(ArmPlan(UNIFORM, (1e-4,)),), report_seeds=(0, 4, 5))
    told = []

    def tell(progress):
        told.append(progress)
        if progress.done == 1 and progress.running:
            raise KeyboardInterrupt

    outcome = run_plan(plan, around / "out", jobs=1, tell=tell)
    assert outcome.interrupted
    assert (outcome.ran, outcome.missing) == (1, 2)
    assert seeds_in(around / "out") == [0]
    assert told[-1].total == 3
    [process] = {int(line.split()[0]) for line in (around / "log").read_text().splitlines()}
    deadline = time.monotonic() + 10
    while is_alive(process) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(process)


def test_a_process_ends_with_the_one_that_gave_the_orders():
    command = [sys.executable, "-m", "dissensus.lab.bench.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.close()
        assert process.wait(timeout=30) == 0


def test_what_a_process_cannot_train_is_said_in_one_line():
    command = [sys.executable, "-m", "dissensus.lab.bench.worker"]
    order = json.dumps({"folder": "nowhere", "training": {"setting": {}, "arm": ["a", "b"]}})
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        process.stdin.write(order + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["failed"].startswith("TypeError")
        process.stdin.close()


def test_a_training_in_words():
    training = Training("small", None, "tune", UNIFORM, 2e-4, 3)
    assert describe(training) == "grpo × uniform, learning rate 0.0002, seed 3"


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
