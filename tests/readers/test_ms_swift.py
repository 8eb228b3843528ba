"""ms-swift's tables of lists: rewards between completion and advantages, repeated tables."""

from __future__ import annotations

import json
from pathlib import Path

from dissensus.readers import open_log

from .framework_logs import FIXTURES

FILE = FIXTURES / "ms_swift" / "hf" / "completions.jsonl"


def tables() -> list[dict]:
    return [json.loads(line) for line in FILE.read_text().splitlines()]


def write(file: Path, records: list[dict]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in records))
    return file


def test_a_function_that_gave_nothing_does_not_unscore_the_others():
    with open_log(FILE) as log:
        rows = log.rollouts(columns=["reward", "rewards_by_function"]).to_pylist()
        assert log.damage.bad_count == 0
    assert dict(rows[3]["rewards_by_function"]) == {"Accuracy": 0.0, "Format": None}
    assert rows[3]["reward"] == 0.0


def test_equal_advantages_show_that_weights_are_one():
    with open_log(FILE) as log:
        assert not [note for note in log.notes if "weights" in note]


def test_weights_that_hide_in_the_advantages_are_said(tmp_path: Path):
    records = tables()
    for table in records:
        table["Format"] = [float(i % 2) for i in range(8)]
    with open_log(write(tmp_path / "completions.jsonl", records)) as log:
        assert any("do not fit this sum" in note for note in log.notes)


def test_a_table_that_was_logged_twice_is_said(tmp_path: Path):
    first = tables()[0]
    twice = [first, {**first, "step": ["2"] * 8}]
    with open_log(write(tmp_path / "completions.jsonl", twice)) as log:
        assert any("stands at several steps" in note for note in log.notes)


def test_numbers_that_stand_behind_the_advantages_are_no_reward(tmp_path: Path):
    records = [{**table, "entropy": [0.5] * 8, "num_turns": [2] * 8} for table in tables()]
    with open_log(write(tmp_path / "completions.jsonl", records)) as log:
        assert log.groups(columns=["mean"]).column(0).to_pylist() == [0.25, 1.0, 0.5, 0.0]


def test_lists_of_unequal_length_are_listed(tmp_path: Path):
    first, second = tables()
    second["Accuracy"] = second["Accuracy"][:-1]
    with open_log(write(tmp_path / "completions.jsonl", [first, second])) as log:
        assert log.groups(columns=["step"]).column(0).to_pylist() == [1, 1]
        assert [(bad.row, bad.kept) for bad in log.damage.bad] == [(2, "nothing")]
