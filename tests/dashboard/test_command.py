"""`dissensus dashboard`: what is refused, and that it serves and ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from dissensus.cli.app import run

TOKEN = "a-token-of-enough-characters"  # noqa: S105
COMMAND = [sys.executable, "-m", "dissensus", "dashboard"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "needs a token"),  # noqa: S104 — it is refused
        (["--token", "short"], "a token is 16 to 200"),
        (["--host", "192.0.2.1", "--token", TOKEN], "cannot listen"),
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
