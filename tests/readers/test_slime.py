"""slime's torch files: plain values only, rewards of any form, evaluation told by the name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dissensus.errors import InputError
from dissensus.readers import open_log

from .framework_logs import FIXTURES

torch = pytest.importorskip("torch")


def samples() -> list[dict]:
    return torch.load(FIXTURES / "slime" / "0.pt", weights_only=True)["samples"]


def save(file: Path, records: list) -> Path:
    torch.save({"rollout_id": 5, "samples": records}, file)
    return file


def test_lengths_limits_and_masked_samples(tmp_path: Path):
    records = samples()
    records[0]["remove_sample"] = True
    with open_log(save(tmp_path / "5.pt", records)) as log:
        groups = log.groups(columns=["step", "length_mean", "truncated", "trained"]).to_pylist()
    assert groups[0] == {"step": 5, "length_mean": 3.0, "truncated": 1, "trained": 3}


def test_evaluation_files_are_another_split(tmp_path: Path):
    shutil.copy(FIXTURES / "slime" / "0.pt", tmp_path / "0.pt")
    shutil.copy(FIXTURES / "slime" / "0.pt", tmp_path / "eval_0.pt")
    with open_log(tmp_path) as log:
        assert sorted(log.groups(columns=["split"]).column(0).to_pylist()) == (
            ["eval", "eval", "train", "train"]
        )


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        ({"score": 1.0, "format": 0.5}, 1.0),
        ({"accuracy": 0.5}, 0.5),
        ({"a": 1.0, "b": 0.0}, None),
        (torch.tensor(0.25), 0.25),
        (None, None),
    ],
)
def test_rewards_of_any_form(reward, expected, tmp_path: Path):
    records = samples()[:1]
    records[0]["reward"] = reward
    with open_log(save(tmp_path / "x.pt", records)) as log:
        assert log.rollouts(columns=["reward"]).column(0).to_pylist() == [expected]


def test_samples_without_group_or_reward_are_listed(tmp_path: Path):
    records = samples()
    records[0]["group_index"] = None
    del records[1]["reward"]
    records[2]["reward"] = "good"
    with open_log(save(tmp_path / "x.pt", records)) as log:
        assert [(bad.row, bad.kept) for bad in log.damage.bad] == [
            (1, "nothing"),
            (2, "nothing"),
            (3, "the row without it"),
        ]
        assert log.groups(columns=["rollouts", "size"]).to_pylist()[0] == {"rollouts": 2, "size": 1}


class Bomb:
    def __reduce__(self):
        return os.system, ("touch never-made",)


def test_code_in_the_file_is_not_run(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(InputError, match="plain values only"),
        open_log(save(tmp_path / "x.pt", [Bomb()])) as log,
    ):
        log.groups()
    assert not (tmp_path / "never-made").exists()


@pytest.mark.parametrize(
    "reward", [{"a": 1.0, "b": 0.0}, {"text": "good"}, {}, 10**400, torch.zeros(2)]
)
def test_a_reward_that_is_no_number_is_listed(reward, tmp_path: Path):
    records = samples()
    records[0]["reward"] = reward
    with open_log(save(tmp_path / "x.pt", records)) as log:
        assert [(bad.row, bad.kept) for bad in log.damage.bad] == [(1, "the row without it")]
        assert log.groups(columns=["rollouts", "size"]).to_pylist()[0] == {"rollouts": 4, "size": 3}


def test_samples_without_a_prompt_have_no_id_of_one(tmp_path: Path):
    records = samples()[:1]
    records[0] |= {"prompt": None, "label": None, "response_length": 1 << 70}
    with open_log(save(tmp_path / "x.pt", records)) as log:
        assert log.groups(columns=["prompt_id", "length_mean"]).to_pylist() == [
            {"prompt_id": None, "length_mean": None}
        ]
