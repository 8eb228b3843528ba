"""Per-prompt counts, among them the real files where they lie beside the checkout."""

from __future__ import annotations

import json

import pytest

from dissensus.errors import InputError
from dissensus.readers import open_log
from dissensus.readers.counts import group_size_of
from dissensus.views.summary import summarise_run


def test_a_real_run_of_accuracies(shared_data):
    log = open_log(shared_data / "one_shot_rlvr_group_accuracy.json")
    train = summarise_run(log).train
    assert train.groups == 64_000
    assert round(100 * train.unanimous, 1) == 49.0
    assert round(100 * train.all_wrong, 1) == 30.9
    assert round(100 * train.all_correct, 1) == 18.1
    assert log.grouping.size == 8


def test_a_real_histogram(shared_data):
    summary = summarise_run(open_log(shared_data / "big_math_solve_rates.csv"))
    assert summary.train.groups == summary.prompts == 215_608
    assert summary.group_size.min == summary.group_size.max == 64


@pytest.mark.parametrize("indent", [None, 2])
def test_accuracies_become_groups(tmp_path, indent):
    (tmp_path / "log").write_text(json.dumps({"ä": [0.25, 1.0], "b": [0, 0.5]}, indent=indent))
    found = open_log(tmp_path / "log").groups(["step", "prompt_id", "size", "correct", "std"])
    assert found.to_pylist() == [
        {"step": 0, "prompt_id": "ä", "size": 4, "correct": 1, "std": pytest.approx(0.4330127)},
        {"step": 0, "prompt_id": "b", "size": 4, "correct": 0, "std": 0.0},
        {"step": 1, "prompt_id": "ä", "size": 4, "correct": 4, "std": 0.0},
        {"step": 1, "prompt_id": "b", "size": 4, "correct": 2, "std": 0.5},
    ]


def test_accuracies_are_listed_where_they_are_none(tmp_path):
    (tmp_path / "log").write_text('{"a": [0.5, 1.0], "b": 3, "c": [0.5, 7], "d": [0.5')
    log = open_log(tmp_path / "log", format="accuracies")
    assert len(log.groups()) == 3
    assert [(bad.row, bad.kept) for bad in log.damage.bad] == [
        (2, "nothing"),
        (3, "its other visits"),
        (4, "the 3 prompts before"),
    ]


def test_a_long_document_is_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("dissensus.readers.jsonstream.READ_BYTES", 7)
    document = {f"prömpt {i}": [0.5] * (i % 5) for i in range(50)}
    (tmp_path / "log").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    log = open_log(tmp_path / "log")
    assert len(log.groups()) == sum(i % 5 for i in range(50))
    assert log.damage.bad_count == 0


def test_rows_of_k_of_n(tmp_path):
    (tmp_path / "log").write_text("problem,k,n\nx,1,8\ny,0,8\nz,4,4\n")
    log = open_log(tmp_path / "log")
    assert log.format == "counts"
    assert log.groups(["size", "correct", "unanimous"]).to_pylist() == [
        {"size": 8, "correct": 1, "unanimous": False},
        {"size": 8, "correct": 0, "unanimous": True},
        {"size": 4, "correct": 4, "unanimous": True},
    ]
    rewards = log.rollouts(columns=["group_id", "reward"])
    assert len(rewards) == 20
    assert sum(rewards["reward"].to_pylist()) == 5.0
    assert sorted(log.prompts()["prompt"].to_pylist()) == ["x", "y", "z"]


def test_counts_by_mapping(tmp_path):
    (tmp_path / "log").write_text('{"good": 3, "tried": 16}\n{"good": 16, "tried": 16}\n')
    log = open_log(tmp_path / "log", mapping={"correct_count": "good", "size": "tried"})
    assert log.groups(["size", "correct"])["correct"].to_pylist() == [3, 16]


def test_impossible_counts_are_listed(tmp_path):
    (tmp_path / "log").write_text("k,n\n1,8\n9,8\n-1,8\n3,\nx,8\n0,0\n2,8\n")
    log = open_log(tmp_path / "log")
    assert log.groups(["correct"])["correct"].to_pylist() == [1, 2]
    assert log.damage.bad_count == 5


@pytest.mark.parametrize(
    ("values", "size"),
    [([0.125, 0.5], 8), ([1 / 3, 0.5], 6), ([0, 1], 1), ([0.12345, 0.7771, 0.33219], None)],
)
def test_group_size_of(values, size):
    assert group_size_of(values) == size


@pytest.mark.parametrize("header", ["correct_of_8,problems", "k,visits,n"])
def test_visits_that_are_no_number_are_listed(tmp_path, header):
    end = "" if "of_8" in header else ",8"
    rows = "".join(f"{k},{visits}{end}\n" for k, visits in ((1, 2), (2, ""), (3, -1), (4, 0)))
    (tmp_path / "log").write_text(f"{header}\n{rows}")
    log = open_log(tmp_path / "log")
    assert log.groups(["correct"])["correct"].to_pylist() == [1, 1]
    name = header.split(",")[1]
    assert [(bad.row, bad.expected) for bad in log.damage.bad] == [
        (3, f"a value in {name}"),
        (4, f"no negative number in {name}"),
    ]


def test_every_accuracy_is_a_multiple_or_listed(tmp_path, monkeypatch):
    monkeypatch.setattr("dissensus.readers.sniff._MAX_DOCUMENT_BYTES", 64)
    document = {
        **{f"p{i}": [0.25, 0.5] for i in range(8000)},
        "late": [0.3, 0.75],
        "huge": [10**400],
    }
    (tmp_path / "log").write_text(json.dumps(document))
    log = open_log(tmp_path / "log")
    assert log.grouping.size == 4
    assert len(log.groups(["size"])) == 16_001
    assert [(bad.row, bad.expected) for bad in log.damage.bad] == [
        (8001, "a multiple of 1/4 at visit 1"),
        (8002, "an accuracy from 0 to 1 at visit 1"),
    ]


def test_each_file_of_accuracies_has_its_own_size(tmp_path):
    for name, value in (("a", 0.5), ("b", 0.25)):
        (tmp_path / name).write_text(json.dumps({name: [value, 1.0]}))
    found = open_log(tmp_path).groups(["prompt_id", "size", "correct"]).to_pylist()
    assert sorted((row["prompt_id"], row["size"], row["correct"]) for row in found) == [
        ("a", 2, 1),
        ("a", 2, 2),
        ("b", 4, 1),
        ("b", 4, 4),
    ]


def test_accuracies_of_no_size_are_refused(tmp_path):
    (tmp_path / "log").write_text('{"a": [0.51234, 0.7771], "b": [0.123]}')
    with pytest.raises(InputError, match="no multiples of 1/n for any n up to 1024"):
        open_log(tmp_path / "log").groups()


def test_accuracies_of_zero_and_one_say_that_their_size_is_unknown(tmp_path):
    (tmp_path / "log").write_text('{"a": [0, 1, 1.0]}')
    grouping = open_log(tmp_path / "log").grouping
    assert grouping.certainty == "guessed"
    assert "0 or 1" in grouping.text
