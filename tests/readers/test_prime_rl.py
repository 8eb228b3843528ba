"""prime-rl's traces: every episode, or the shipped ones with advantages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dissensus.readers import open_log

from .framework_logs import FIXTURES

STEP = FIXTURES / "prime_rl" / "rollouts" / "step_1" / "train"


def episodes(subset: str) -> list[dict]:
    file = STEP / subset / "traces.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def write(file: Path, records: list[dict]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in records))
    return file


def test_what_was_shipped_lacks_silent_groups_and_has_advantages():
    with open_log(STEP / "effective") as log:
        groups = log.groups(columns=["mean", "silent", "contrast"]).to_pylist()
        rows = log.rollouts(columns=["reward", "advantage_framework"]).to_pylist()
        assert any("pruned" in note for note in log.notes)
    assert groups == [{"mean": 0.25, "silent": False, "contrast": pytest.approx(3 / 16)}]
    assert {(r["reward"], r["advantage_framework"]) for r in rows} == {(1.0, 0.75), (0.0, -0.25)}


def test_every_episode_is_preferred_to_the_shipped_ones():
    with open_log(FIXTURES / "prime_rl") as log:
        assert log.groups().num_rows == 4
        assert any("2 of 4 files were not read" in note for note in log.notes)


def test_a_group_keeps_its_first_step(tmp_path: Path):
    records = episodes("all")
    records[-1]["run"]["work"]["step"] = 2
    with open_log(write(tmp_path / "traces.jsonl", records)) as log:
        assert log.groups(columns=["step", "size"]).to_pylist() == [{"step": 1, "size": 4}] * 2


def test_weighted_rewards_and_failed_traces(tmp_path: Path):
    records = [each for each in episodes("all") if each["group"]["id"] == "group-1"]
    records[0]["traces"][0]["rewards"]["style"]["weight"] = 2.0  # 1 + 2 * 0.5
    records[1]["traces"][0]["ok"] = False
    records[2]["traces"][0]["rewards"] = {}
    with open_log(write(tmp_path / "traces.jsonl", records)) as log:
        assert log.rollouts(columns=["reward"]).column(0).to_pylist() == [2.0, None, 0.0, 1.0]
        assert log.groups(columns=["rollouts", "size"]).to_pylist() == [{"rollouts": 4, "size": 3}]


def test_several_agents_of_an_episode_are_several_rollouts(tmp_path: Path):
    records = [{**each, "traces": each["traces"] * 2} for each in episodes("all")]
    with open_log(write(tmp_path / "traces.jsonl", records)) as log:
        assert log.groups(columns=["size"]).column(0).to_pylist() == [8, 8]
