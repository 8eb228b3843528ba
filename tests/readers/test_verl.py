"""verl's dumps: groups by uid where there is one, by input where not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dissensus.readers import open_log

from .framework_logs import FIXTURES

LEGACY = FIXTURES / "verl" / "legacy"


def rows(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def write(folder: Path, records: list[dict]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in records))
    return folder


def test_a_prompt_that_is_twice_in_a_step_is_one_note(tmp_path: Path):
    first, second = rows(LEGACY / "1.jsonl"), rows(LEGACY / "2.jsonl")
    again = [{**row, "step": 1, "output": "again"} for row in first if "2 + 2" in row["input"]]
    other = [{**row, "step": 1} for row in second if "9 - 9" in row["input"]]
    with open_log(write(tmp_path, [*first, *other, *again])) as log:
        sizes = log.groups(columns=["size"]).column(0).to_pylist()
        notes = [note for note in log.notes if "more than once" in note]
    assert sizes == [4, 4, 4, 4]
    assert len(notes) == 1
    assert "in one step" in notes[0]


def test_accuracy_beside_a_shaped_score_is_what_correct_means(tmp_path: Path):
    shaped = [
        {**row, "score": row["score"] + 0.1 * i} for i, row in enumerate(rows(LEGACY / "1.jsonl"))
    ]
    with open_log(write(tmp_path, shaped)) as log:
        assert sorted(log.groups(columns=["correct"]).column(0).to_pylist()) == [1, 4]


def test_outputs_of_one_session_are_said_to_count_each(tmp_path: Path):
    records = rows(FIXTURES / "verl" / "v1" / "1.jsonl")
    extra = {**records[0], "uid": records[0]["uid"].removesuffix("_0") + "_1"}
    with open_log(write(tmp_path, [records[0], extra, *records[1:]])) as log:
        assert any("several outputs" in note for note in log.notes)
        assert sorted(log.groups(columns=["size"]).column(0).to_pylist()) == [4, 5]


def test_dumps_without_ground_truth_are_read(tmp_path: Path):
    old = [{k: v for k, v in row.items() if k != "gts"} for row in rows(LEGACY / "1.jsonl")]
    with open_log(write(tmp_path, old)) as log:
        assert log.format == "verl-legacy"
        assert log.groups(columns=["mean"]).column(0).to_pylist() == pytest.approx([0.25, 1.0])
