"""open-instruct's traces: groups by number within a step, over shards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from dissensus.readers import open_log

from .framework_logs import FIXTURES

FILE = FIXTURES / "open_instruct" / "run_rollouts_000000.jsonl"


def test_a_group_number_is_another_group_in_another_step():
    with open_log(FILE) as log:
        groups = log.groups(columns=["step", "group_id", "truncated", "length_mean"]).to_pylist()
    assert [(g["step"], g["group_id"]) for g in groups] == [(1, "0"), (1, "1"), (2, "0"), (2, "1")]
    assert {(g["truncated"], g["length_mean"]) for g in groups} == {(1, 4.5)}


def test_shards_are_one_log_and_its_metadata_none_of_it(tmp_path: Path):
    lines = FILE.read_text().splitlines(keepends=True)
    (tmp_path / "run_rollouts_000000.jsonl").write_text("".join(lines[:6]))
    (tmp_path / "run_rollouts_000001.jsonl").write_text("".join(lines[6:]))
    about = {"run_name": "run", "git_commit": "0", "model_name": "m", "timestamp": "now"}
    (tmp_path / "run_metadata.jsonl").write_text(json.dumps(about) + "\n")
    with open_log(tmp_path) as log:
        assert log.groups(columns=["size"]).column(0).to_pylist() == [4, 4, 4, 4]
        assert any("1 of 3 files are of another kind" in note for note in log.notes)


def test_dropped_silent_groups_are_said(tmp_path: Path):
    shutil.copy(FILE, tmp_path / "x.jsonl")
    with open_log(tmp_path) as log:
        assert any("filter_zero_std_samples" in note for note in log.notes)
