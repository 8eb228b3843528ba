"""Records of the benchmark on disk."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from dissensus.errors import InputError
from dissensus.lab.bench.records import (
    Arm,
    Evaluations,
    Steps,
    TrainingRecord,
    combine_records,
    read_records,
    record_path,
    write_record,
)


def build_record(**changes):
    """Two evaluations of three held-out prompts, one step."""
    whole = {"generated": [0, 16], "trained": [0, 8], "steps": [0, 1], "tokens": [0, 99]}
    rest = {"extra": [0, 0], "samples": [2, 4], "correct": [[0, 1, 2], [4, 1, 4]]}
    seconds = {"seconds": [0.0, 1.5], "processor_seconds": [0.0, 1.25]}
    steps = {"generated": [16], "trained": [8], "all_wrong": [8], "all_correct": [0], "groups": [2]}
    given = {
        "plan": "quick",
        "purpose": "report",
        "arm": Arm("grpo", "contrast(least=4)"),
        "learning_rate": 2e-4,
        "seed": 3,
        "budget": 16,
        "evaluations": Evaluations(
            **{name: np.array(values) for name, values in (whole | rest | seconds).items()}
        ),
        "steps": Steps(
            contrast=np.array([0.25]),
            **{name: np.array(values) for name, values in steps.items()},
        ),
        "settings": {"group_size": 8},
        "versions": {"torch": "2"},
    }
    return TrainingRecord(**(given | changes))


def test_a_record_comes_back_as_it_was(tmp_path):
    record = build_record()
    path = write_record(tmp_path, record)
    assert path == record_path(tmp_path, record.arm, 2e-4, 3)
    [back] = read_records(tmp_path)
    assert back.to_json() == record.to_json()
    assert back.evaluations.correct.dtype == np.int64
    assert back.evaluations.means.tolist() == [0.5, 0.75]
    assert back.final == 0.75


@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.gz"])
def test_a_combined_file_holds_the_same_whatever_the_order(tmp_path, name):
    records = [build_record(seed=seed, purpose=p) for seed, p in [(1, "report"), (1000, "tune")]]
    combine_records(records, tmp_path / name)
    first = (tmp_path / name).read_bytes()
    combine_records(records[::-1], tmp_path / name)
    assert (tmp_path / name).read_bytes() == first
    assert {r.seed: r.purpose for r in read_records(tmp_path / name)} == {
        1: "report",
        1000: "tune",
    }


def test_arms_that_differ_never_share_a_folder():
    texts = ["f(0.5)", "f(-0.5)", "f-0.5", "f(0,5)", "f (0.5)"]
    slugs = {Arm(text, "uniform").slug for text in texts}
    assert len(slugs) == len(texts)
    assert Arm("a-x-b", "c").slug != Arm("a", "b-x-c").slug


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "another version"),
        ({"purpose": "show"}, "purpose"),
        ({"steps": None}, "not a record"),
        ({"seed": "x"}, "not a record"),
    ],
)
def test_what_is_no_record_is_refused_by_its_place(tmp_path, change, message):
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(build_record().to_json() | change))
    with pytest.raises(InputError, match=message) as caught:
        read_records(path)
    assert "line 1" in str(caught.value)


def test_lists_that_do_not_fit_together_are_refused(tmp_path):
    document = build_record().to_json()
    document["evaluations"]["tokens"] = [0]
    (tmp_path / "r.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="different lengths"):
        read_records(tmp_path / "r.json")


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe", gzip.compress(b"{}", mtime=0)[:-6]])
def test_a_broken_file_is_one_line(tmp_path, data):
    (tmp_path / "r.jsonl.gz").write_bytes(data)
    with pytest.raises(InputError):
        read_records(tmp_path / "r.jsonl.gz")
