"""`report` and `import` of logs, as a person and as a program sees them."""

from __future__ import annotations

import json

import pytest

from dissensus.cli.app import run
from tests.readers.logs import rollouts, write


def call(capsys, *arguments):
    code = run([str(each) for each in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_report_of_a_log(tmp_path, capsys):
    path = write(tmp_path / "log", rollouts(), "jsonl")
    with path.open("a") as stream:
        stream.write('{"step": 1, "group')
    code, out, err = call(capsys, "report", path)
    assert (code, err) == (0, "")
    assert "Unanimous groups" in out
    assert "Groups: rows with equal group_id (exact)." in out
    assert "1 row could not be read as it is:" in out
    assert "row 61: expected a JSON object (the last line is cut off); kept nothing" in out


def test_report_json_of_a_log(tmp_path, capsys):
    path = write(tmp_path / "log", rollouts(), "parquet")
    code, out, _ = call(capsys, "report", path, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["format"] == "table"
    assert document["groups"] == 15
    assert document["grouping"]["certainty"] == "exact"
    assert (document["unreadable_rows"], document["unreadable"]) == (0, [])


def test_report_page_of_a_log(tmp_path, capsys):
    path = write(tmp_path / "log", rollouts(), "jsonl")
    code, _, _ = call(capsys, "report", path, "--html", tmp_path / "page.html")
    assert code == 0
    page = (tmp_path / "page.html").read_text()
    assert "text 0 0" in page
    assert "rows with equal group_id (exact)" in page


def test_import_then_report(tmp_path, capsys):
    path = write(tmp_path / "log", rollouts(), "csv")
    code, out, _ = call(capsys, "import", path, tmp_path / "run")
    assert code == 0
    assert "60 rollouts in 3 generations written" in out
    _, as_run, _ = call(capsys, "report", tmp_path / "run", "--json")
    _, as_log, _ = call(capsys, "report", path, "--json")
    names = ("groups", "rollouts", "std_mean", "silent", "solve_rate", "length_mean")
    assert [json.loads(as_run)[name] for name in names] == pytest.approx(
        [json.loads(as_log)[name] for name in names]
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--map", "reward"], "--map must be COLUMN=FIELD"),
        (["--map", "reward=a", "--map", "reward=b"], "twice"),
        (["--map", "rewrad=reward"], "does not exist"),
        (["--map", "reward=nope"], "does not have: nope"),
        (["--format", "nope"], "no such format"),
        (["--strict"], "row 61"),
    ],
)
def test_bad_options_are_one_line(tmp_path, capsys, arguments, said):
    path = write(tmp_path / "log", rollouts(), "jsonl")
    with path.open("a") as stream:
        stream.write("{")
    code, out, err = call(capsys, "report", path, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_hostile_names_cannot_steer_a_terminal(tmp_path, capsys):
    path = tmp_path / "evil\x1b[31m\nname"
    path.write_text('{"group_id": "\\u001b]0;x\\u0007", "reward": 1}\n{"\\u001b[1m": 2}\n')
    code, out, err = call(capsys, "report", path)
    assert code == 0
    assert "\x1b" not in out + err
    assert "\x07" not in out + err


@pytest.mark.parametrize("values", [(0.0,), (1.0,), (0.0, 1.0)])
def test_report_of_a_log_that_names_no_prompts(values, tmp_path, capsys):
    rows = [
        {key: row[key] for key in ("step", "group_id", "reward", "completion")}
        for row in rollouts(values=values)
    ]
    path, page = write(tmp_path / "log", rows, "jsonl"), tmp_path / "page.html"
    code, out, err = call(capsys, "report", path, "--html", page)
    assert (code, err) == (0, "")
    assert "0 prompts" in out
    text = page.read_text()
    assert "prompt None" not in text
    if len(values) == 2:  # without prompts every group is its own candidate for an example
        assert text.count("The log names no prompt.") > 1


@pytest.mark.parametrize("raised", [RuntimeError("Query interrupted"), KeyboardInterrupt()])
def test_ctrl_c_while_duckdb_works_is_no_error(raised, tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise raised

    monkeypatch.setattr("dissensus.readers.open_log", stop)
    path = write(tmp_path / "log", rollouts(), "jsonl")
    assert call(capsys, "report", path) == (130, "", "")
