"""One contract for all framework formats: recognised, grouped, valued and damaged alike."""

from __future__ import annotations

import functools
import json
import math
import random
import shutil
from pathlib import Path

import pytest

from dissensus.errors import DissensusError
from dissensus.readers import open_log
from dissensus.readers.formats import FORMATS, FRAMEWORK_FORMATS
from dissensus.readers.log import Log
from dissensus.readers.sniff import sniff

from .framework_logs import FIXTURES, LOGS, FrameworkLog

ALL_LOGS = [*LOGS, FrameworkLog("skyrl", "skyrl", "key", "exact", 1)]


def case(log: FrameworkLog) -> str:
    return log.path


@functools.cache
def read(log: FrameworkLog) -> Log:
    """A log of which several tests ask something."""
    return open_log(log.folder, trust_pickle=True)


@pytest.mark.parametrize(
    "file",
    sorted(p for p in FIXTURES.rglob("*") if p.suffix in (".jsonl", ".pt", ".pkl", ".parquet")),
)
def test_a_file_is_recognised_by_one_format_under_any_name(file: Path, tmp_path: Path):
    frameworks = {log.path: log.format for log in ALL_LOGS}
    expected = next(
        frameworks.get(str(p.relative_to(FIXTURES)), "trl")
        for p in file.parents
        if str(p.relative_to(FIXTURES)) in frameworks or p.parent.name == "trl"
    )
    renamed = tmp_path / "x.bin"
    shutil.copy(file, renamed)
    sample = sniff(renamed)
    found = [
        each.name
        for each in FRAMEWORK_FORMATS
        if sample.container in each.containers and each.matches(sample)
    ]
    assert found == [expected]


def test_names_of_formats_are_different():
    names = [each.name for each in FORMATS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("log", LOGS, ids=case)
def test_groups_are_those_that_were_sampled(log: FrameworkLog):
    opened = read(log)
    assert opened.format == log.format
    assert (opened.grouping.kind, opened.grouping.certainty) == (log.kind, log.certainty)
    groups = opened.groups().to_pylist()
    assert opened.damage.bad_count == 0
    found = sorted(
        (g["step"], -g["mean"], g["std"], g["correct"], g["size"], g["rollouts"]) for g in groups
    )
    first, second = log.first_step, log.first_step + 1
    assert found == [
        (first, -1.0, 0.0, 4, 4, 4),
        (first, -0.25, pytest.approx(math.sqrt(3) / 4), 1, 4, 4),
        (second, -0.5, 0.5, 2, 4, 4),
        (second, 0.0, 0.0, 0, 4, 4),
    ]


@pytest.mark.parametrize("log", LOGS, ids=case)
def test_advantages_are_those_that_were_logged(log: FrameworkLog):
    groups = read(log).groups(columns=["mean", "silent", "contrast"]).to_pylist()
    rollouts = read(log).rollouts(columns=["group_id", "step", "reward", "advantage_framework"])
    given = {(r["step"], r["reward"], r["advantage_framework"]) for r in rollouts.to_pylist()}
    if log.advantages is None:
        assert {advantage for *_, advantage in given} == {None}
        assert {g["silent"] for g in groups} == {None}
        return
    silent = {g["mean"]: g["silent"] for g in groups}
    assert silent == {0.25: False, 1.0: True, 0.5: False, 0.0: True}
    (lone, wrong), (half, other) = log.advantages
    steps = (log.first_step, log.first_step + 1)
    expected = [
        (steps[0], 0.0, wrong),
        (steps[0], 1.0, 0.0),
        (steps[0], 1.0, lone),
        (steps[1], 0.0, other),
        (steps[1], 0.0, 0.0),
        (steps[1], 1.0, half),
    ]
    assert [(s, r, pytest.approx(a, abs=1e-4)) for s, r, a in expected] == sorted(given)
    contrast = {g["mean"]: g["contrast"] for g in groups}
    assert contrast[0.25] == pytest.approx(3 / 16 * (lone - wrong), abs=1e-4)
    assert contrast[0.5] == pytest.approx(1 / 4 * (half - other), abs=1e-4)


@pytest.mark.parametrize("log", LOGS, ids=case)
def test_prompts_are_recognised_between_steps(log: FrameworkLog):
    prompts = read(log).prompts().num_rows
    by_mean = {g["mean"]: g["prompt_id"] for g in read(log).groups().to_pylist()}
    if not log.has_prompts:
        assert prompts == 0
        return
    assert prompts == 3
    assert by_mean[0.25] == by_mean[0.5]
    assert len(set(by_mean.values())) == 3


@pytest.mark.parametrize("log", ALL_LOGS, ids=case)
def test_what_a_log_lacks_is_said(log: FrameworkLog):
    assert read(log).info["metadata"]["framework"]
    if log.certainty != "exact":
        assert "equal" in read(log).grouping.text


# ---- damage ------------------------------------------------------------------------------------


def damaged_copy(log: FrameworkLog, folder: Path, rng: random.Random) -> Path:
    """A copy of the log in which one file is broken in one way."""
    copy = folder / "log"
    shutil.copytree(log.folder, copy)
    file = rng.choice(sorted(p for p in copy.rglob("*") if p.is_file()))
    content = bytearray(file.read_bytes())
    way = rng.choice(["cut", "flip", "flip", "drop", "type", "noise", "empty"])
    if way == "flip":
        for _ in range(rng.choice([1, 3, 20])):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif way == "noise":
        content = bytearray(rng.randbytes(rng.randrange(1, 400)))
    elif way in ("drop", "type") and file.suffix == ".jsonl":
        rows = [json.loads(line) for line in bytes(content).splitlines()]
        key = rng.choice(list(rows[0]))
        strange = rng.choice(["x", None, [], {}, [[1]], True, 1e400, -5, [None]])
        for row in rows if way == "drop" else [rng.choice(rows)]:
            if way == "drop":
                del row[key]
            else:
                row[key] = strange
        content = bytearray("".join(json.dumps(row) + "\n" for row in rows).encode())
    else:
        content = content[: rng.randrange(len(content)) if way != "empty" else 0]
    file.write_bytes(bytes(content))
    return copy


@pytest.mark.parametrize("attempts", [2, pytest.param(40, marks=pytest.mark.slow)])
@pytest.mark.parametrize("log", ALL_LOGS, ids=case)
def test_damage_gives_clear_lines_and_never_a_traceback(
    log: FrameworkLog, attempts: int, tmp_path: Path
):
    rng = random.Random(f"{log.path} {attempts}")
    for attempt in range(attempts):
        copy = damaged_copy(log, tmp_path / str(attempt), rng)
        try:
            with open_log(copy, trust_pickle=True) as opened:
                opened.groups()
                opened.rollouts()
                opened.prompts()
                lines = [*opened.notes, *map(str, opened.damage.bad)]
        except DissensusError as error:
            lines = [str(error)]
        assert not [line for line in lines if "\n" in line or "Traceback" in line]


@pytest.mark.parametrize("log", [each for each in LOGS if each.path != "slime"], ids=case)
def test_a_cut_last_row_is_listed_and_the_rest_kept(log: FrameworkLog, tmp_path: Path):
    copy = tmp_path / "log"
    shutil.copytree(log.folder, copy)
    file = max(p for p in copy.rglob("*") if p.is_file() and p.parent.name != "effective")
    file.write_bytes(file.read_bytes()[:-20])
    with open_log(copy) as opened:
        kept = sum(opened.groups(columns=["rollouts"]).column("rollouts").to_pylist())
        assert opened.damage.bad_count == 1
        bad = opened.damage.bad[0]
    assert bad.kept == "nothing"
    assert bad.file in str(file)
    assert 8 <= kept < 16
