"""Folders whose files do not look alike: columns, types and formats."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dissensus.errors import InputError
from dissensus.readers import open_log

from .framework_logs import FIXTURES
from .logs import write


def test_trl_folders_with_other_columns_are_read_by_their_own_layouts():
    with open_log(FIXTURES / "trl") as log:
        groups = log.groups().to_pylist()
        assert log.damage.bad_count == 0
        # decoded, equal_prompts, messages, strings: 4 groups each; repeated: 4; skipped: 2;
        # two_functions: 4.
        assert len(groups) == 26
        assert {g["silent"] for g in groups} == {True, False}
        note = next(note for note in log.notes if "exact_match + style" in note)
        assert note.startswith("in 2 of 13 files: ")
        assert log.rollouts(columns=["completion"]).column(0).null_count == 0


def test_parquet_files_with_another_type_of_a_text_are_read_together(tmp_path: Path):
    for name in ("strings", "messages"):
        for file in (FIXTURES / "trl" / name).iterdir():
            (tmp_path / f"{name}-{file.name}").write_bytes(file.read_bytes())
    with open_log(tmp_path) as log:
        said = log.rollouts(columns=["completion"]).column(0).to_pylist()
        assert log.damage.bad_count == 0
    with open_log(FIXTURES / "trl" / "strings") as log:
        plain = log.rollouts(columns=["completion"]).column(0).to_pylist()
    assert sorted(said) == sorted(2 * plain)


@pytest.mark.parametrize("container", ["jsonl", "json", "csv", "parquet"])
def test_a_reward_of_another_name_in_one_file(tmp_path: Path, container: str):
    ours = [{"step": 0, "group_id": "a", "reward": float(i), "length": 3} for i in (0, 1)]
    theirs = [{"step": 1, "group_id": "b", "score": 1.0, "acc": 1.0, "x": i} for i in (0, 1)]
    write(tmp_path / "1", ours, container)
    write(tmp_path / "2", theirs, container)
    with open_log(tmp_path) as log:
        groups = log.groups(["step", "size", "mean", "correct", "length_mean"]).to_pylist()
        assert log.damage.bad_count == 0
    assert groups == [
        {"step": 0, "size": 2, "mean": 0.5, "correct": None, "length_mean": 3.0},
        {"step": 1, "size": 2, "mean": 1.0, "correct": 2, "length_mean": None},
    ]


def test_a_column_that_is_missing_in_the_first_rows_only_is_read(tmp_path: Path):
    rows = [{"step": 0, "group_id": "a", "reward": 1.0} for _ in range(20)]
    write(tmp_path / "1", [{**row, "length": 7} for row in rows], "jsonl")
    write(tmp_path / "2", [*rows, {**rows[0], "step": 1, "length": 9}], "jsonl")
    with open_log(tmp_path) as log:
        assert log.groups(["length_mean"]).column(0).to_pylist() == [7.0, 9.0]


def test_a_damaged_row_is_repaired_by_the_layout_of_its_file(tmp_path: Path):
    write(tmp_path / "1", [{"step": 0, "group_id": "a", "reward": 1.0}], "jsonl")
    (tmp_path / "2").write_text('{"step": 1, "group_id": "b", "score": 0.5}\n{"step": 1, "gro\n')
    with open_log(tmp_path) as log:
        assert log.groups(["group_id", "mean"]).to_pylist() == [
            {"group_id": "a", "mean": 1.0},
            {"group_id": "b", "mean": 0.5},
        ]
        assert [(bad.file, bad.row) for bad in log.damage.bad] == [("2", 2)]


def test_files_whose_groups_are_known_in_another_way_are_left_out_and_said(tmp_path: Path):
    rows = [{"step": 0, "prompt": "p", "reward": 1.0}]
    write(tmp_path / "1", rows, "jsonl")
    write(tmp_path / "2", rows, "jsonl")
    write(tmp_path / "3", [{**rows[0], "group_id": "a"}], "jsonl")
    with open_log(tmp_path) as log:
        assert log.groups(["rollouts"]).column(0).to_pylist() == [2]
        assert log.notes[0] == (
            "1 of 3 files were not read: their groups are rows with equal group_id; "
            "give them by themselves"
        )


def test_a_folder_of_two_formats_says_which_files_are_which():
    with pytest.raises(InputError) as error:
        open_log(FIXTURES / "verl")
    assert "verl (v1/1.jsonl and 1 more), verl-legacy (legacy/1.jsonl and 1 more)" in str(
        error.value
    )
    with open_log(FIXTURES / "verl", format="verl") as log:
        assert len(log.groups()) == 4
        assert any("2 of 4 files are of another kind" in note for note in log.notes)


def test_a_mapped_column_that_one_file_lacks(tmp_path: Path):
    pq.write_table(pa.table({"uid": ["a"], "reward": [1.0], "n": [4]}), tmp_path / "1")
    pq.write_table(pa.table({"uid": ["a"], "reward": [0.0]}), tmp_path / "2")
    with open_log(tmp_path, mapping={"length": "n"}) as log:
        groups = log.groups(["size", "length_mean"]).to_pylist()
    assert groups == [{"size": 1, "length_mean": 4.0}, {"size": 1, "length_mean": None}]


def test_optional_keys_of_json_rows_make_no_other_layout(tmp_path: Path):
    row = {"step": 0, "group_id": "a", "reward": 1.0}
    for i in range(3):
        (tmp_path / f"{i}").write_text(json.dumps({**row, f"extra{i}": 1}) + "\n")
    with open_log(tmp_path) as log:
        assert log.groups(["rollouts"]).column(0).to_pylist() == [3]
        assert not log._source.others
