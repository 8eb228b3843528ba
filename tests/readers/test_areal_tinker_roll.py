"""AReaL, tinker-cookbook and ROLL: what is particular to each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from dissensus.readers import open_log

from .framework_logs import FIXTURES


def test_areal_evaluation_is_another_split(tmp_path: Path):
    shutil.copytree(FIXTURES / "areal", tmp_path / "rollout")
    shutil.copytree(FIXTURES / "areal", tmp_path / "eval-rollout")
    with open_log(tmp_path) as log:
        splits = log.groups(columns=["split"]).column(0).to_pylist()
        lengths = set(log.groups(columns=["length_mean"]).column(0).to_pylist())
    assert sorted(splits) == ["eval"] * 4 + ["train"] * 4
    assert lengths == {3.0}


def test_areal_versions_of_a_group_are_those_of_its_weights(tmp_path: Path):
    file = FIXTURES / "areal" / "1" / "2.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    changed = [{**row, "head_version": 3, "tail_version": 5} for row in rows]
    (tmp_path / "2.jsonl").write_text("".join(json.dumps(row) + "\n" for row in changed))
    with open_log(tmp_path) as log:
        assert log.groups(columns=["step", "policy_version"]).to_pylist() == [
            {"step": 5, "policy_version": 3}
        ]


def test_tinker_splits_of_one_iteration_stay_apart(tmp_path: Path):
    source = FIXTURES / "tinker" / "iteration_000000" / "train_rollout_summaries.jsonl"
    shutil.copy(source, tmp_path / "train_rollout_summaries.jsonl")
    text = source.read_text().replace('"split": "train"', '"split": "eval/arithmetic"')
    (tmp_path / "eval_arithmetic_rollout_summaries.jsonl").write_text(text)
    with open_log(tmp_path) as log:
        groups = log.groups(columns=["split", "size", "length_mean"]).to_pylist()
    assert sorted(g["split"] for g in groups) == ["eval/arithmetic"] * 2 + ["train"] * 2
    assert {(g["size"], g["length_mean"]) for g in groups} == {(4, 3.5)}  # 2, 3, 4, 5 tokens


def test_roll_without_ids_groups_by_prompt(tmp_path: Path):
    for file in (FIXTURES / "roll").iterdir():
        table = json.loads(file.read_text())
        del table["id"]
        (tmp_path / file.name).write_text(json.dumps(table) + "\n")
    with open_log(tmp_path) as log:
        assert "equal prompt" in log.grouping.text
        assert sorted(log.groups(columns=["mean"]).column(0).to_pylist()) == [0, 0.25, 0.5, 1.0]


def test_roll_a_prompt_that_is_twice_in_a_step_is_one_note(tmp_path: Path):
    table = json.loads((FIXTURES / "roll" / "rollout_dump_data.step_1.jsonl").read_text())
    other = json.loads((FIXTURES / "roll" / "rollout_dump_data.step_2.jsonl").read_text())
    again = {name: values + values[:4] + other[name][4:] for name, values in table.items()}
    again["global_step"] = [1] * 16
    (tmp_path / "x.jsonl").write_text(json.dumps(again) + "\n")
    with open_log(tmp_path) as log:
        assert log.groups(columns=["size"]).column(0).to_pylist() == [4, 4, 4, 4]
        assert len([note for note in log.notes if "more than once" in note]) == 1
