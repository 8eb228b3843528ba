"""`dissensus dashboard`: what is refused, and that it serves and ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from cli.test_train import fake_training

from dissensus.cli.app import run
from dissensus.dashboard import beside

TOKEN = "a-token-of-enough-characters"  # noqa: S105
COMMAND = [sys.executable, "-m", "dissensus", "dashboard"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "needs a token"),  # noqa: S104 — it is refused
        (["--token", "short"], "a token is 16 to 200"),
        (["--host", "192.0.2.1", "--token", TOKEN], "cannot listen"),
        (["--host", "a" * 70, "--token", TOKEN], "cannot listen"),
    ],
)
def test_what_is_not_safe_is_refused_in_one_line(tmp_path, capsys, arguments, said):
    assert run(["dashboard", str(tmp_path), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_a_folder_that_is_not_there_is_refused(tmp_path, capsys):
    assert run(["dashboard", str(tmp_path / "absent")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_it_prints_where_it_is_and_ctrl_c_ends_it(tmp_path):
    environment = {**os.environ, "DISSENSUS_TOKEN": TOKEN}
    process = subprocess.Popen(
        [*COMMAND, str(tmp_path), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        text = ""
        while not text.endswith("}\n"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            text += line
        said = json.loads(text)
        assert said["runs"] == 0
        assert said["url"].endswith(f"/?token={TOKEN}")
        with urllib.request.urlopen(said["url"], timeout=60) as answer:  # noqa: S310
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert out == errors == ""
    assert process.returncode in (0, 130)


# ---- beside a training -----------------------------------------------------------------------


def training_that(look):
    """A stand-in for the training that looks around while it trains."""

    def train(settings, on_event=None, on_stage=None):
        look()
        return fake_training([])(settings, on_event, on_stage)

    return train


def test_a_dashboard_stands_beside_a_training_and_ends_with_it(tmp_path, capsys, monkeypatch):
    said = []

    def look():
        said.append(capsys.readouterr().err)
        with urllib.request.urlopen(said[0].split()[-1], timeout=60) as answer:  # noqa: S310
            assert answer.status == 200

    monkeypatch.setattr("dissensus.lab.training.train", training_that(look))
    assert run(["train", "--dashboard", "--json", "--run", str(tmp_path / "r")]) == 0
    captured = capsys.readouterr()
    assert said[0].startswith("Dashboard: http://127.0.0.1:")
    assert "Dashboard" not in captured.err
    assert json.loads(captured.out)["steps"] == 4
    with pytest.raises(urllib.error.URLError, match="refused"):
        urllib.request.urlopen(said[0].split()[-1], timeout=60)  # noqa: S310


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("exit 1", "the dashboard does not start"),
        ("exec sleep 600", "the dashboard does not start"),
        ("echo nonsense; exec sleep 600", "no dashboard beside this training"),
        ("""echo '{"error": "cannot listen"}'""", "cannot listen"),
        ("""echo '{"url": "http://127.0.0.1:1/"}'""", "Dashboard: http://127.0.0.1:1/"),  # and dies
    ],
)
def test_no_dashboard_stops_or_stalls_a_training(tmp_path, capsys, monkeypatch, program, said):
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{program}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(beside, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(beside, "_END_S", 0.2)
    monkeypatch.setattr("dissensus.lab.training.train", fake_training([]))
    assert run(["train", "--dashboard", "--json", "--run", str(tmp_path / "r")]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["steps"] == 4
    assert said in captured.err
    assert len([line for line in captured.err.splitlines() if "ashboard" in line]) == 1


def test_a_training_does_without_the_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.setattr("dissensus.lab.training.train", fake_training([]))
    assert run(["train", "--dashboard", "--run", str(tmp_path / "r")]) == 0
    assert "pip install 'dissensus[dashboard]'" in capsys.readouterr().err
    assert run(["dashboard", str(tmp_path)]) == 2  # here it is what was asked for
    assert "pip install 'dissensus[dashboard]'" in capsys.readouterr().err


def test_a_process_that_cannot_serve_says_why(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    beside.main(Path(file))
    assert "not a file" in json.loads(capsys.readouterr().out)["error"]
