"""Runs with next to nothing in them, odd values, and files that are broken: a view says so."""

from __future__ import annotations

import json
import math
import shutil

import pytest
from pandas.testing import assert_frame_equal

from dissensus import Recorder, Run
from dissensus.errors import DissensusError
from dissensus.runs import compact, rollups
from dissensus.runs.follow import totals_of
from dissensus.views.live_views import VIEWS, LiveSource

from .synthetic import record_run

NAN, INF = math.nan, math.inf
RUNS = {
    "no groups": [],
    "evaluation alone": [{"rewards": [0.0, 1.0], "split": "eval"}],
    "one group": [{"rewards": [0.0, 1.0], "advantages_used": [-1.0, 1.0]}],
    "one rollout": [{"rewards": [1.0], "advantages_used": [0.0]}],
    "all unanimous": [{"rewards": [1.0, 1.0]}, {"rewards": [0.0, 0.0], "lengths": [0, 0]}] * 3,
    "all wrong": [{"rewards": [0.0, 0.0], "advantages_used": [0.0, 0.0]}] * 3,
    "unscored": [{"rewards": [NAN, NAN]}] * 3,
    "partly unscored": [{"rewards": [NAN, 1.0]}, {"rewards": [0.0, NAN]}, {"rewards": [NAN, NAN]}],
    "infinite": [{"rewards": [INF, 0.0]}, {"rewards": [-INF, INF]}, {"rewards": [1.0, 0.0]}],
    "huge": [{"rewards": [1e308, -1e308]}, {"rewards": [1.0, 0.0], "advantages_used": [1e308, 0]}],
    "odd advantages": [{"rewards": [1.0, 0.0], "advantages_used": [INF, NAN]}] * 2,
    "not trained": [{"rewards": [1.0, 0.0], "trained": [False, False]}] * 2,
}

pytestmark = pytest.mark.slow  # a minute and more: every view of a dozen odd runs


def record(folder, batches):
    with Recorder(folder) as recorder:
        for step, batch in enumerate(batches):
            n = len(batch["rewards"])
            recorder.record(step=step, group_ids=[f"g{step}"] * n, prompt_ids=["p"] * n, **batch)
    return Run(folder)


@pytest.mark.parametrize("is_compacted", [False, True])
@pytest.mark.parametrize("kind", RUNS)
def test_every_view_shows_something_or_says_why_not(tmp_path, kind, is_compacted):
    run = record(tmp_path, RUNS[kind])
    if is_compacted:
        compact(tmp_path, generations_per_part=2, grace_s=0)
    source = LiveSource(run)
    for name, view in VIEWS.items():
        about = {"history": {"prompt_id": "p"}, "group": {"group_id": "g0"}}.get(name, {})
        over = [("a", source), ("b", source)] if view.scope == "several" else source
        shown = view.make(over, "light", **about)
        json.dumps([shown.figure, shown.table, dict(shown.more), shown.note], allow_nan=False)
        is_empty = shown.figure is None and (shown.table is None or not shown.table.total)
        assert shown.note or not is_empty, name
        assert "nan" not in shown.note.split(), name
    shown = [VIEWS[name].make(source, "light") for name in ("reward", "rollouts", "unanimous")]
    if kind in ("no groups", "evaluation alone"):
        assert shown[1].figure is None
        assert "no training group" in shown[1].note


@pytest.mark.parametrize("estimator", VIEWS["mass"].parameters[0].choices)
def test_any_estimator_can_be_asked_of_any_run(tmp_path, estimator):
    """One that needs what a run does not have says so."""
    batches = [{"rewards": [0.0, 1.0, 1.0]}, {"rewards": [0.0, 0.0]}, {"rewards": [1.0]}]
    shown = VIEWS["mass"].make(LiveSource(record(tmp_path, batches)), "light", estimator=estimator)
    assert shown.figure is not None
    assert estimator in shown.csv.column_names or estimator in shown.note
    json.dumps(shown.figure, allow_nan=False)


@pytest.fixture
def parts(tmp_path):
    record_run(tmp_path, generations=12, n_prompts=30)
    compact(tmp_path, generations_per_part=4, grace_s=0)
    return tmp_path


def numbers(folder, **given):
    source = LiveSource(Run(folder, **given))
    names = ("reward", "unanimous", "outcomes", "mass", "prompts", "scatter")
    found = {name: VIEWS[name].make(source, "light").csv for name in names}
    found["history"] = VIEWS["history"].make(source, "light", prompt_id="7").csv
    return {name: table.to_pandas() for name, table in found.items()}


def same(mine, expected):
    for name in expected:
        order = [column for column in ("prompt_id", "step") if column in expected[name]]
        tables = [each[name].sort_values(order, ignore_index=True) for each in (mine, expected)]
        assert_frame_equal(*tables, check_dtype=False, rtol=1e-9)


@pytest.mark.parametrize("harm", ["gone", "cut", "empty", "another version", "no totals", "noise"])
def test_roll_ups_are_only_a_cache(parts, harm):
    expected = numbers(parts)
    files = sorted((parts / "rollups").rglob("*.parquet"))
    if harm == "gone":
        shutil.rmtree(parts / "rollups")
    for path in files if harm not in ("gone", "no totals") else []:
        data = path.read_bytes()
        if harm == "another version":
            path.rename(path.with_name(path.name.replace(".v", ".v9")))
        else:
            path.write_bytes({"cut": data[: len(data) // 2], "empty": b""}.get(harm, b"PAR1" * 99))
    if harm == "no totals":
        shutil.rmtree(parts / "rollups/totals")
    same(numbers(parts), expected)
    rollups.update(parts)
    same(numbers(parts), expected)


def test_a_roll_up_whose_pages_are_broken_is_left_alone(parts):
    expected = numbers(parts)
    for path in (parts / "rollups").rglob("*.parquet"):
        data = bytearray(path.read_bytes())
        data[4:200] = bytes(196)  # its footer is whole
        path.write_bytes(data)
    same(numbers(parts), expected)


@pytest.mark.parametrize("on_unreadable", ["raise", "skip"])
def test_a_broken_part_is_named_or_passed_over(parts, on_unreadable):
    shutil.rmtree(parts / "rollups")
    path = sorted((parts / "groups").rglob("part-*.parquet"))[1]
    path.write_bytes(path.read_bytes()[:500])
    if on_unreadable == "skip":
        assert numbers(parts, on_unreadable="skip")["reward"]["step"].max() == 11
        return
    with pytest.raises(DissensusError, match=path.name):
        numbers(parts)


def test_a_total_that_grows_while_it_is_read_counts_no_part_twice(parts, monkeypatch):
    expected = numbers(parts)
    (total,) = (parts / "rollups/totals").rglob("*.parquet")
    whole = total.read_bytes()
    total.unlink()
    *_, last = sorted((parts / "groups").rglob("part-*.parquet"))
    last.rename(parts / last.name)
    rollups.update(parts)  # a total of all parts but the last
    (parts / last.name).rename(last)

    def replaced(*given):
        found = totals_of(*given)
        total.write_bytes(whole)  # as compaction does, before it has been read
        return found

    monkeypatch.setattr("dissensus.views.live_views.source.totals_of", replaced)
    same(numbers(parts), expected)
