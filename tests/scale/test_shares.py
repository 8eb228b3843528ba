"""A summary from shares: the same to the last digit whatever the files, the order, the threads."""

from __future__ import annotations

import math
import random

import pytest

from dissensus import Recorder, Run
from dissensus.errors import RunError
from dissensus.runs import compact
from dissensus.runs.compaction import compact_range
from dissensus.runs.database import connect
from dissensus.runs.follow import totals_of
from dissensus.runs.shares import add_up, add_up_here, plan_shares
from dissensus.views.snapshot import Snapshot
from dissensus.views.summary import summarise_run

from .runs import GENERATIONS, STATES, copied, numbers, record, record_attempts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return record(tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture(scope="module")
def expected(folder):
    return numbers(Run(folder))


@pytest.mark.parametrize("state", STATES)
def test_how_the_files_are_cut_changes_no_digit(folder, tmp_path, expected, state):
    run = copied(folder, tmp_path / "run", state)
    assert numbers(run) == expected


@pytest.fixture(scope="module")
def resumed(tmp_path_factory):
    return record_attempts(tmp_path_factory.mktemp("runs") / "resumed")


@pytest.mark.parametrize("state", STATES)
def test_nor_do_several_attempts(resumed, tmp_path, state):
    said = numbers(copied(resumed, tmp_path / "run", state))
    assert said == numbers(Run(resumed))
    assert said["generations"] == GENERATIONS - 2  # without two evaluations


def test_neither_order_nor_threads_change_a_digit(folder, tmp_path, expected):
    run = copied(folder, tmp_path / "run", "parts of 4 some rolled up")
    for seed, threads in ((0, 1), (1, 3), (2, 8)):
        shares = plan_shares(run)
        random.Random(seed).shuffle(shares)
        connection = connect(threads=threads)
        assert numbers(run, lambda _, s=shares, c=connection: (add_up(x, c) for x in s)) == expected


def test_a_snapshot_says_the_same(folder, expected):
    said = summarise_run(Snapshot(Run(folder))).to_json()
    assert said | {"source": None, "timeline": expected["timeline"]} == expected | {"source": None}


def test_the_numbers_are_those_of_the_groups(folder, expected):
    groups = [g for g in Run(folder).groups(split="train").to_pylist() if g["size"]]
    every = Run(folder).groups(split="train").to_pylist()
    scored = sum(g["size"] for g in groups)
    total = sum(g["rollouts"] for g in every)
    close = {
        "std_mean": math.fsum(g["std"] for g in groups) / len(groups),
        "reward_mean": math.fsum(g["mean"] * g["size"] for g in groups) / scored,
        "length_mean": math.fsum(g["length_mean"] * g["rollouts"] for g in every) / total,
        "contrast_per_1000_rollouts": 1000 * math.fsum(g["contrast"] for g in groups) / total,
    }
    assert {name: expected[name] for name in close} == pytest.approx(close, rel=1e-13)
    assert expected["solve_rate"] == sum(g["correct"] for g in groups) / scored
    assert expected["prompts"] == len({g["prompt_id"] for g in every})
    sizes = sorted(g["size"] for g in every)
    middle = (sizes[(len(sizes) - 1) // 2] + sizes[len(sizes) // 2]) / 2
    assert expected["group_size"] == {"min": 0, "median": middle, "max": 6}
    heldout = Run(folder).groups(split="eval").to_pylist()
    assert expected["heldout"]["prompts"] == len({g["prompt_id"] for g in heldout})


@pytest.mark.parametrize("state", ["parts of 5", "parts of 5 without roll-ups"])
def test_a_resumed_run_counts_what_is_left(folder, tmp_path, state):
    run = copied(folder, tmp_path / "run", state)
    other = copied(folder, tmp_path / "other", "segments")
    for each in (run, other):
        with Recorder(each.path, start_step=9, correct=0.5) as recorder:  # amid a part
            recorder.record(step=9, group_ids=[1, 1], prompt_ids=[5, 5], rewards=[1.0, 0.0])
    said = numbers(run)
    assert said == numbers(other)
    assert said["last_step"] == 9
    assert said["generations"] == 9  # steps 0 to 9 without the evaluation of step 5


def test_every_generation_is_in_one_share_and_no_share_depends_on_who_adds_up(folder, tmp_path):
    run = copied(folder, tmp_path / "run", "parts of 4 some rolled up")
    shares = plan_shares(run)
    assert shares == plan_shares(run)
    found = [t["generations"]["generation"] for t in add_up_here(shares) if "generations" in t]
    assert sorted(n for each in found for n in each.to_pylist()) == list(range(GENERATIONS))


def test_compaction_at_the_very_moment_counts_nothing_twice(folder, tmp_path, monkeypatch):
    run = copied(folder, tmp_path / "run", "segments")
    newest = sorted(run.path.glob("groups/*/*/*.parquet"))[-4:]
    files = [(path, path.rename(tmp_path / path.name)) for path in newest]
    compact(run.path, generations_per_part=4, grace_s=0)
    for path, aside in files:  # so that these are not compacted yet
        aside.rename(path)
    before = len(plan_shares(run))

    def and_then_compact(*given):
        found = totals_of(*given)
        compact_range(run.path, 1, 0, 8, 11)  # the files stay where they are for a while
        return found

    def add_up(shares):
        monkeypatch.setattr("dissensus.runs.shares.totals_of", and_then_compact)
        return add_up_here(sorted(shares, key=lambda share: len(share.tables)))  # totals first

    found = numbers(run, add_up)
    assert found == numbers(Run(folder))
    assert len(plan_shares(run)) < before


def test_an_empty_run_has_no_shares_and_says_so(tmp_path):
    Recorder(tmp_path).close()
    assert plan_shares(Run(tmp_path)) == []
    assert numbers(Run(tmp_path))["groups"] == 0


def test_a_part_that_cannot_be_read_is_named(folder, tmp_path):
    run = copied(folder, tmp_path / "run", "parts of 5 without roll-ups")
    broken = sorted(run.path.glob("groups/*/*/part-*"))[1]
    broken.write_bytes(b"PAR1" + bytes(200))
    with pytest.raises(RunError, match=broken.name):
        numbers(run)
    rest = numbers(Run(run.path, on_unreadable="skip"))
    assert rest["generations"] == 6  # of 10, without those of 5 to 9
