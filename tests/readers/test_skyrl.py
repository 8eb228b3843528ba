"""SkyRL's pickle: refused, then read without running anything of it; advantages only."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import pytest

from dissensus.errors import InputError, UnsupportedError
from dissensus.readers import open_log, skyrl

from .framework_logs import FIXTURES, SKYRL


def test_a_pickle_is_refused_and_the_message_says_what_it_risks():
    with pytest.raises(UnsupportedError) as caught:
        open_log(FIXTURES / "skyrl")
    text = str(caught.value)
    assert "can run any program" in text
    assert "--trust-pickle" in text
    assert "\n" not in text


def test_advantages_and_groups_are_read_and_rewards_are_unknown():
    with open_log(FIXTURES / "skyrl", trust_pickle=True) as log:
        groups = log.groups().to_pylist()
        rows = log.rollouts().to_pylist()
        assert (log.grouping.kind, log.grouping.certainty) == ("key", "exact")
        assert any("removes rewards" in note for note in log.notes)
    assert [(g["step"], g["rollouts"], g["size"]) for g in groups] == [
        (1, 4, 0),
        (1, 4, 0),
        (2, 4, 0),
        (2, 4, 0),
    ]
    assert [g["silent"] for g in groups] == [False, True, False, True]
    assert [g["trained"] for g in groups] == [4, 3, 4, 4]  # one row's loss mask is 0
    assert groups[0]["prompt_id"] == groups[2]["prompt_id"] != groups[1]["prompt_id"]
    assert {row["reward"] for row in rows} == {None}
    (lone, wrong), (half, other) = SKYRL
    expected = [lone, wrong, wrong, wrong, 0, 0, 0, 0, half, half, other, other, 0, 0, 0, 0]
    assert [row["advantage_used"] for row in rows] == pytest.approx(expected, abs=1e-4)
    assert [row["length"] for row in rows[:4]] == [2, 3, 4, 5]


class TrainingInputBatch:
    """Has the name by which the format is known, and does what no log should."""

    def __reduce__(self):
        return os.system, ("touch never-made",)


def test_code_in_the_file_is_not_run_even_when_it_is_trusted(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "global_step_1_training_input.pkl"
    file.write_bytes(pickle.dumps(["TrainingInputBatch", TrainingInputBatch()]))
    with (
        pytest.raises(InputError, match=r"it asks for posix\.system"),
        open_log(file, trust_pickle=True) as log,
    ):
        log.groups()
    assert not (tmp_path / "never-made").exists()


def test_a_broken_dump_is_listed_and_the_other_read(tmp_path: Path):
    shutil.copytree(FIXTURES / "skyrl", tmp_path / "log")
    file = tmp_path / "log" / "global_step_2_training_input.pkl"
    file.write_bytes(file.read_bytes()[:-100])
    with open_log(tmp_path / "log", trust_pickle=True) as log:
        assert log.groups(columns=["step"]).column(0).to_pylist() == [1, 1]
        assert [bad.row for bad in log.damage.bad] == [0]


@pytest.mark.parametrize("boundaries", [[(1, 4), (4, 9)], [(0, 3), (4, 8)], [(0, 5), (4, 8)]])
def test_boundaries_that_do_not_cover_the_rows_are_listed(tmp_path: Path, monkeypatch, boundaries):
    groups = skyrl._groups
    monkeypatch.setattr(
        skyrl, "_groups", lambda _, prompts, report: groups(boundaries, prompts, report)
    )
    with pytest.raises(InputError, match="boundaries"):
        open_log(FIXTURES / "skyrl", trust_pickle=True).groups()
