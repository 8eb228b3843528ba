"""NeMo-RL's training data: lists of one, no step in the rows, groups by prompt tokens."""

from __future__ import annotations

import json
from pathlib import Path

from dissensus.readers import open_log

from .framework_logs import FIXTURES


def rows() -> list[dict]:
    file = FIXTURES / "nemo_rl" / "train_data_step1.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def write(file: Path, records: list[dict]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in records))
    return file


def test_lengths_and_masked_samples():
    with open_log(FIXTURES / "nemo_rl") as log:
        groups = log.groups(columns=["step", "mean", "length_mean", "trained", "push"]).to_pylist()
    by_mean = {group["mean"]: group for group in groups}
    assert {group["length_mean"] for group in groups} == {3.5}  # 2, 3, 4, 5 trained tokens
    assert by_mean[1.0]["trained"] == 3  # one sample has loss mask 0
    # leave-one-out advantages do not sum to 0: (1 - 3 * 0.57735) / 4
    assert abs(by_mean[0.25]["push"] - (1 - 3 * 0.57735) / 4) < 1e-9


def test_later_turns_do_not_split_a_group(tmp_path: Path):
    records = rows()[:4]
    for i, row in enumerate(records):  # another turn of the environment, then of the assistant
        row["token_ids"][0] += [300 + i, 400 + i]
        row["token_loss_mask"][0] += [0, 1]
    with open_log(write(tmp_path / "train_data_step7.jsonl", records)) as log:
        assert log.groups(columns=["step", "size"]).to_pylist() == [{"step": 7, "size": 4}]


def test_under_dynamic_sampling_the_rewards_of_what_was_kept_are_read(tmp_path: Path):
    records = [{**row, "filtered_rewards": row["rewards"], "rewards": [9.0]} for row in rows()]
    with open_log(write(tmp_path / "train_data_step1.jsonl", records)) as log:
        assert sorted(log.groups(columns=["mean"]).column(0).to_pylist()) == [0.25, 1.0]
        assert any("discarded" in note for note in log.notes)


def test_without_token_ids_prompts_are_told_by_their_text(tmp_path: Path):
    records = [{k: v for k, v in row.items() if k != "token_ids"} for row in rows()]
    with open_log(write(tmp_path / "train_data_step1.jsonl", records)) as log:
        assert sorted(log.groups(columns=["mean"]).column(0).to_pylist()) == [0.25, 1.0]
