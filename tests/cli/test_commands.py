"""The command line: exit codes, one line per error, JSON and nothing else, a fast start."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from views.hostile import hostile_run
from views.synthetic import record_run

import dissensus
from dissensus import Recorder
from dissensus.cli.app import run
from dissensus.errors import InputError

COMMAND = [sys.executable, "-c", "from dissensus.cli import main; main()"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "a run"
    record_run(path, generations=8, metadata={"estimator": "grpo"})
    return path


def call(*arguments, **environment):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"dissensus {dissensus.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command(arguments, capsys):
    assert run(arguments) == 0
    text = capsys.readouterr().out
    for name in ("train", "report", "audit", "import", "compact", "estimators"):
        assert re.search(rf"^  {name} ", text, re.MULTILINE)


def test_help_loads_nothing_heavy():
    heavy = ("torch", "plotly", "duckdb", "pyarrow", "scipy", "numpy", "rich", "transformers")
    code = (
        "import sys; from dissensus.cli.app import run; run(['--help']); "
        f"sys.exit(' '.join(name for name in {heavy!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    assert "Commands:" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["reprot"], "No such command 'reprot'"),
        (["report"], "Missing argument"),
        (["report", "no-such-folder"], "there is no such folder"),
        (["report", "--nope", "x"], "No such option"),
        (["compact", "no-such-folder"], "no-such-folder"),
        (["train", "--steps", "0"], "--steps"),
        (["train", "--estimator", "nope"], "no advantage rule of that name"),
        (["train", "--estimator", "grpo(nope=1)"], "nope"),
        (["train", "--estimator", "grpo(1)"], "an estimator is a name"),
        (["train", "--estimator", "weighted(grpo, nope)"], "no advantage rule of that name"),
        (["estimators", "nope"], "no advantage rule of that name"),
        (["estimators", "grpo", "--against", "power(x)"], "a parameter"),
        (["estimators", "grpo", "--group-size", "1"], "group size"),
        (["estimators", "--html", "x.html"], "need the NAME"),
        (["train", "--estimator", "__import__('os')"], "an estimator is a name"),
        (["train", "--silent", "loudly"], "loudly"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("dissensus: ")


def test_report_for_a_person_is_plain_in_a_pipe(folder):
    done = call("report", folder)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "Unanimous groups" in done.stdout
    assert "What stands out" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("columns", [80, 120])
def test_report_fits_the_terminal(folder, capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(["report", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns


def test_report_json_is_one_document_and_nothing_else(folder, tmp_path, capsys):
    page = tmp_path / "out" / "page.html"
    assert run(["report", str(folder), "--json", "--html", str(page)]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert captured.err == ""
    assert found["groups"] == 8 * 32
    assert found["html"] == str(page)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_report_of_hostile_text_cannot_steer_a_terminal(tmp_path, capsys):
    hostile_run(tmp_path)
    assert run(["report", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", text
    )
    assert max(map(len, text.splitlines())) <= 80


def test_a_page_that_cannot_be_written_is_one_line(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for target in (str(tmp_path), "."):
        assert run(["report", str(folder), "--html", target]) == 2
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1
        assert f"{target}: cannot write the page" in captured.err


def test_a_reader_that_closes_the_pipe_is_no_error(folder):
    child = subprocess.Popen(
        [*COMMAND, "report", str(folder), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(timeout=120) == 0


def test_a_terminal_without_utf8_is_no_error(folder):
    done = call("report", folder, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "Unanimous groups" in done.stdout


def test_ctrl_c_is_exit_code_130(folder, capsys, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("dissensus.views.summary.summarise_run", stop)
    assert run(["report", str(folder)]) == 130
    assert capsys.readouterr().out == ""


def test_a_defect_is_one_line_that_says_how_to_see_more(folder, capsys, monkeypatch):
    def fail(*_):
        raise KeyError("x")

    monkeypatch.setattr("dissensus.views.summary.summarise_run", fail)
    assert run(["report", str(folder)]) == 2
    assert "DISSENSUS_DEBUG=1" in capsys.readouterr().err
    monkeypatch.setenv("DISSENSUS_DEBUG", "1")
    assert run(["report", str(folder)]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_error_text_cannot_steer_a_terminal(folder, capsys, monkeypatch):
    def fail(*_):
        raise InputError("bad", where="a\x1b[31m\nb")

    monkeypatch.setattr("dissensus.views.summary.summarise_run", fail)
    assert run(["report", str(folder)]) == 2
    assert capsys.readouterr().err == "dissensus: a ⏎ b: bad\n"


def test_compact_keeps_what_the_report_says(tmp_path, capsys):
    record_run(tmp_path, generations=6, heldout_every=0)
    assert run(["report", str(tmp_path), "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert run(["compact", str(tmp_path), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["segments"] >= 6
    assert run(["report", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == before
    assert run(["compact", str(tmp_path)]) == 0
    assert "0 files" in capsys.readouterr().out


def test_estimators(capsys):
    assert run(["estimators", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["grpo"]["parameters"] == {"ddof": 0, "eps": 0.0}
    assert found["power"]["kind"] == "weight"
    assert run(["estimators"]) == 0
    assert "dr_grpo" in capsys.readouterr().out


def test_one_estimator_and_a_second_one(tmp_path, capsys):
    page = tmp_path / "page.html"
    written = "weighted(grpo(ddof=1), power(0.5))"
    arguments = ["estimators", written, "--group-size", "4", "--against", "dr_grpo"]
    assert run([*arguments, "--json", "--html", str(page)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["written"] == "weighted(grpo(ddof=1, eps=0.0), power(alpha=0.5))"
    assert len(document["signature"]) == 5
    assert document["signature"][0]["positive"] is None
    assert document["against"]["name"] == "dr_grpo"
    assert 0 < document["against"]["comparison"]["cosine"] <= 1
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert run(arguments) == 0
    assert "At equal total pull" in capsys.readouterr().out
    assert run(["estimators", "power"]) == 0
    assert "GRPO × power" in capsys.readouterr().out


def test_a_file_is_not_called_an_absent_folder(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run(["compact", str(tmp_path / "file")]) == 2
    assert "not a file" in capsys.readouterr().err


def test_report_of_a_run_without_rewards_says_so(tmp_path, capsys):
    with Recorder(tmp_path) as recorder:
        recorder.record(step=0, group_ids=[0, 0], prompt_ids=[0, 0], rewards=[math.nan] * 2)
    assert run(["report", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "No rollout has a reward" in text
    assert "more than two values" not in text


def test_report_of_an_empty_run(tmp_path, capsys):
    Recorder(tmp_path).close()
    assert run(["report", str(tmp_path)]) == 0
    assert "No training group has been recorded yet." in capsys.readouterr().out
