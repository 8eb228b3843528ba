"""Sums of a run: what the report says of its groups, whatever was compacted, cut or added since."""

from __future__ import annotations

import shutil

import pytest

from dissensus import Recorder, Run
from dissensus.runs import compact
from dissensus.views.correctness import why_unknown
from dissensus.views.distributions import heldout_curve, outcomes_over_time
from dissensus.views.forecast import forecast_unanimous
from dissensus.views.live_views import VIEWS, LiveSource, rolled
from dissensus.views.live_views.causes import _bins, _cells
from dissensus.views.mass import mass_by_difficulty, mass_from_bins
from dissensus.views.snapshot import Snapshot
from dissensus.views.summary import summarise_run

from .synthetic import record_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "whole"
    record_run(path, generations=24, mask_silent=True, n_prompts=60)
    return path


@pytest.fixture(params=["segments", "parts", "parts without roll-ups", "resumed"])
def run(request, folder, tmp_path):
    """The same run in every state that its files can be in."""
    path = tmp_path / "run"
    shutil.copytree(folder, path)
    if request.param != "segments":
        compact(path, generations_per_part=7, grace_s=0)
    if request.param == "parts without roll-ups":
        shutil.rmtree(path / "rollups")
    if request.param == "resumed":  # step 15 is in the middle of a part
        with Recorder(path, start_step=15) as recorder:
            recorder.record(step=15, group_ids=[1, 1], prompt_ids=[5, 5], rewards=[1.0, 0.0])
    return Run(path)


def test_the_numbers_are_those_of_the_report(run):
    source, snapshot = LiveSource(run), Snapshot(run)
    summary = summarise_run(snapshot)
    assert source.measures().to_json() == pytest.approx(summary.train.to_json())
    found = rolled.timeline(source)
    assert [p.step for p in found] == [p.step for p in summary.timeline]
    for mine, expected in zip(found, summary.timeline, strict=True):
        assert mine.measures.to_json() == pytest.approx(expected.measures.to_json())
    for mine, expected in zip(heldout_curve(source.heldout), heldout_curve(snapshot), strict=True):
        assert mine == pytest.approx(expected)
    assert rolled.heat_map(source) == outcomes_over_time(snapshot)
    assert rolled.correctness_unknown(source) == why_unknown(snapshot)
    mass, expected = mass_from_bins(_bins(_cells(source))), mass_by_difficulty(snapshot)
    for name in ("rollouts", "used", "grpo", "dr_grpo", "left_out_frac", "other_rollouts"):
        assert getattr(mass, name) == pytest.approx(getattr(expected, name)), name
    forecast, expected = rolled.forecast(source), forecast_unanimous(snapshot)
    for mine, other in zip(forecast.points, expected.points, strict=True):
        assert mine == pytest.approx(other)


def test_a_step_has_the_measures_of_its_groups(run):
    steps = rolled.steps_table(LiveSource(run)).to_pylist()
    for row in (steps[0], steps[-1]):
        only = Snapshot.of(run, run.groups(split="train")).sql(
            f"FROM groups WHERE step = {row['step']}"
        )
        expected = summarise_run(Snapshot.of(run, only.drop_columns("prompt"))).train
        for name in row.keys() & expected.to_json().keys():
            assert row[name] == pytest.approx(getattr(expected, name)), name


def test_visits_of_a_prompt_are_its_groups(run):
    for prompt in ("5", "17"):
        groups = [row for row in run.groups().to_pylist() if row["prompt_id"] == prompt]
        found = LiveSource(run).visits(prompt).to_pylist()
        assert [row["group_id"] for row in found] == [row["group_id"] for row in groups]
        assert [row["correct"] for row in found] == [row["correct"] for row in groups]


def test_what_is_written_later_is_taken_in(folder, tmp_path):
    path = tmp_path / "live"
    shutil.copytree(folder, path)
    compact(path, generations_per_part=5, grace_s=0)
    source = LiveSource(Run(path))
    first = source.version
    VIEWS["prompts"].make(source, "light")
    assert source.refresh() == first
    with Recorder(path, start_step=24, correct=0.5) as recorder:
        for step in (24, 25):
            recorder.record(step=step, group_ids=[step] * 2, prompt_ids=[5, 5], rewards=[1.0, 0.0])
    assert source.refresh() != first
    _same_as_new(source, path)
    compact(path, generations_per_part=1000, grace_s=0)  # replaces parts that are held
    source.refresh()
    _same_as_new(source, path)
    with Recorder(path, start_step=10, correct=0.5) as recorder:
        recorder.record(step=10, group_ids=[1] * 2, prompt_ids=[5, 5], rewards=[1.0, 0.0])
    source.refresh()
    _same_as_new(source, path)
    assert rolled.steps_table(source)["step"].to_pylist()[-1] == 10


def _same_as_new(source, path):
    new = LiveSource(Run(path))
    assert source.measures().to_json() == pytest.approx(new.measures().to_json())
    tables = [VIEWS["prompts"].make(each, "light", sort="prompt_id") for each in (source, new)]
    assert tables[0].table.total == tables[1].table.total
    for mine, other in zip(tables[0].table.rows, tables[1].table.rows, strict=True):
        assert mine[:4] == other[:4]


def test_a_version_changes_with_every_new_generation(tmp_path):
    with Recorder(tmp_path) as recorder:
        run, seen = Run(tmp_path), set()
        for step in range(3):
            seen.add(run.version)
            recorder.record(step=step, group_ids=[1, 1], prompt_ids=[5, 5], rewards=[1.0, 0.0])
            recorder.flush()
        seen.add(run.version)
    assert len(seen) == 4


@pytest.mark.parametrize("name", sorted(VIEWS.keys() - {"compare"}))
def test_a_run_without_groups_says_so(tmp_path, name):
    Recorder(tmp_path).close()
    shown = VIEWS[name].make(LiveSource(Run(tmp_path)), "light")
    assert shown.figure is None
    assert shown.note or shown.table.total == 0
