"""TRL's completions: what its Parquet loses, and what is found out in spite of that."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dissensus.readers import open_log

from .framework_logs import FIXTURES

TRL = FIXTURES / "trl"


def with_column(folder: Path, name: str, values) -> Path:
    """A copy of the plain log with one more column before the advantage, as log_extra adds it."""
    for file in sorted((TRL / "strings").iterdir()):
        table = pq.read_table(file)
        table = table.add_column(table.num_columns - 1, name, pa.array(values(table.num_rows)))
        pq.write_table(table, folder / file.name)
    return folder


def test_files_that_repeat_the_one_before_are_left_out_and_said():
    with open_log(TRL / "repeated") as log:
        assert log.groups(columns=["step"]).column("step").to_pylist() == [1, 1, 3, 3]
        assert any("2 of 4 files were not read: they repeat" in note for note in log.notes)


def test_a_log_of_the_last_generation_only_says_that_it_loses_the_others():
    with open_log(TRL / "skipped") as log:
        assert log.groups(columns=["step"]).column("step").to_pylist() == [2, 2]
        assert any("only the last generation batch" in note for note in log.notes)


def test_two_groups_of_one_prompt_are_taken_apart_with_one_note():
    with open_log(TRL / "equal_prompts") as log:
        groups = log.groups().to_pylist()
        notes = [note for note in log.notes if "more than once" in note]
    assert [(g["size"], g["correct"]) for g in groups] == [(4, 1), (4, 4), (4, 2), (4, 0)]
    assert len(notes) == 1


def test_the_advantages_show_which_columns_are_the_reward():
    with open_log(TRL / "two_functions") as log:
        groups = log.groups().to_pylist()
        first = log.rollouts(columns=["reward", "rewards_by_function"]).to_pylist()[:2]
        assert any("exact_match + style" in note and "difficulty" in note for note in log.notes)
    # rewards of the first group: nothing, 0 + .5, 0 + 0, 0 + .5
    assert (groups[0]["rollouts"], groups[0]["size"]) == (4, 3)
    assert groups[0]["mean"] == pytest.approx(1 / 3)
    assert groups[1]["mean"] == 1.25  # four times 1, and 0, .5, 0, .5
    assert first[0]["reward"] is None
    assert dict(first[1]["rewards_by_function"]) == {"exact_match": 0.0, "style": 0.5}


def test_a_sum_that_the_advantages_contradict_is_said(tmp_path: Path):
    folder = tmp_path / "log"
    shutil.copytree(TRL / "two_functions", folder)
    for file in folder.iterdir():
        table = pq.read_table(file)
        other = pa.array([float(i % 3) for i in range(8)])
        pq.write_table(table.set_column(3, "exact_match", other), file)
    with open_log(folder) as log:
        assert any("do not fit this sum" in note for note in log.notes)


def test_a_logged_group_id_makes_the_groups_exact(tmp_path: Path):
    with open_log(with_column(tmp_path, "group_id", lambda n: [i % 2 for i in range(n)])) as log:
        assert (log.grouping.kind, log.grouping.certainty) == ("key", "exact")
        assert sorted(set(log.groups(columns=["group_id"]).column(0).to_pylist())) == ["0", "1"]


def test_text_that_was_logged_beside_the_rewards_is_no_reward(tmp_path: Path):
    with open_log(with_column(tmp_path, "extracted", lambda n: ["4"] * n)) as log:
        assert log.rollouts(columns=["rewards_by_function"]).column(0).null_count == 16
        assert log.groups(columns=["mean"]).column(0).to_pylist() == [0.25, 1.0, 0.5, 0.0]


def test_messages_are_read_as_text_and_prompts_keep_their_roles():
    with open_log(TRL / "messages") as log, open_log(TRL / "strings") as plain:
        said = log.rollouts(columns=["completion"]).column(0).to_pylist()
        assert said == plain.rollouts(columns=["completion"]).column(0).to_pylist()
        prompts = {row["prompt"] for row in log.prompts().to_pylist()}
    assert '[{"role":"user","content":"2 + 2 ="}]' in prompts
