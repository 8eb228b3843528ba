"""What a worker does with a share, called here without Ray."""

from __future__ import annotations

import pickle
import sys

import pyarrow as pa
import pytest

from dissensus import Run, __version__
from dissensus.errors import InputError, MissingDependencyError, RunError
from dissensus.integrations import ray_data
from dissensus.runs.shares import plan_shares

from .runs import copied, numbers, record_attempts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return record_attempts(tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture
def run(folder, tmp_path):
    return copied(folder, tmp_path / "run", "parts of 4 some rolled up")


def by_worker(shares, version=__version__):
    """What a driver has of the answers of workers, the last share first."""
    work = ray_data._worker(version, None)
    for share in reversed(shares):
        (answer,) = work(pa.table({"share": [pickle.dumps(share)]})).to_pylist()
        yield ray_data._opened(answer, "auto")


def test_a_worker_gives_the_digits_of_this_process(folder, run):
    assert numbers(run, by_worker) == numbers(Run(folder))


def test_a_worker_leaves_out_a_broken_roll_up(folder, tmp_path):
    broken = copied(folder, tmp_path / "run", "parts of 4 with a broken roll-up each")
    assert numbers(broken, by_worker) == numbers(Run(folder))


def test_a_worker_names_a_part_that_it_cannot_read(folder, tmp_path):
    broken = copied(folder, tmp_path / "run", "parts of 5 without roll-ups")
    part = sorted(broken.path.glob("groups/*/*/part-*"))[1]
    part.write_bytes(b"PAR1" + bytes(200))
    with pytest.raises(RunError, match=part.name):
        numbers(broken, by_worker)


def test_parts_that_compaction_replaces_meanwhile_are_looked_for_again(folder, tmp_path):
    run = copied(folder, tmp_path / "run", "segments")
    looked = []

    def compacted_first(shares):
        if not looked:
            copied(folder, tmp_path / "other", "parts of 4")
            for path in run.path.glob("groups/*/*/*.parquet"):
                path.unlink()
            for path in (tmp_path / "other" / "groups").glob("*/*/*.parquet"):
                path.rename(run.path / path.relative_to(tmp_path / "other"))
        looked.append(len(shares))
        return by_worker(shares)

    assert numbers(run, compacted_first) == numbers(Run(folder))
    assert len(looked) == 2


def test_a_worker_of_another_version_is_refused(run):
    with pytest.raises(InputError, match="install the same version everywhere"):
        next(by_worker(plan_shares(run), version="999.0"))


def test_a_worker_without_the_package_says_so(run, monkeypatch):
    work = ray_data._worker(__version__, None)
    batch = pa.table({"share": [pickle.dumps(plan_shares(run)[0])]})
    with monkeypatch.context() as hidden:
        hidden.setitem(sys.modules, "dissensus", None)
        (answer,) = work(batch).to_pylist()
    with pytest.raises(MissingDependencyError, match="cannot import dissensus"):
        ray_data._opened(answer, "auto")
