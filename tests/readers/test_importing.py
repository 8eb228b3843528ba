"""Import: what a log does not say stays unknown, and damage is repaired wherever it is met."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dissensus.readers import open_log
from dissensus.readers.importing import import_log
from dissensus.runs import Run

from .logs import rollouts, write


def test_a_null_correct_stays_unknown(tmp_path: Path):
    judged = [("a", 1.0, True), ("a", 0.0, False), ("b", 1.0, None), ("b", 0.0, False)]
    rows = [
        {"step": 0, "group_id": group, "reward": reward, "correct": correct}
        for group, reward, correct in [*judged, ("c", None, None), ("c", 0.0, True)]
    ]
    log = open_log(write(tmp_path / "log", rows, "jsonl"))
    done = import_log(log, tmp_path / "run")
    assert (done.generations, done.rollouts) == (2, 6)
    run = Run(tmp_path / "run")
    # c has one unscored rollout, which counts for nothing, and one that is right.
    found = {row["group_id"]: row["correct"] for row in run.groups().to_pylist()}
    assert found == {"a": 1, "b": None, "c": 1}
    assert found == {row["group_id"]: row["correct"] for row in log.groups().to_pylist()}
    flags = run.rollouts(columns=["group_id", "correct"]).to_pylist()
    assert {row["correct"] for row in flags if row["group_id"] == "b"} == {None}


def test_no_group_is_judged(tmp_path: Path):
    rows = [{"step": 0, "group_id": "a", "reward": 1.0, "correct": None}]
    rows.append({"step": 1, "group_id": "a", "reward": 1.0, "correct": 0})
    import_log(open_log(write(tmp_path / "log", rows, "jsonl")), tmp_path / "run")
    assert Run(tmp_path / "run").groups(["correct"]).column(0).to_pylist() == [None, 0]


def broken_text(path: Path, container: str) -> Path:
    """A log in which one completion is not UTF-8."""
    if container == "parquet":
        table = pa.Table.from_pylist(rollouts())
        pq.write_table(table, path, compression="none", use_dictionary=False)
    else:
        write(path, rollouts(), container)
    data = path.read_bytes()
    assert data.count(b"text 1 2 3")
    path.write_bytes(data.replace(b"text 1 2 3", b"text \xff 2 3"))
    return path


@pytest.mark.parametrize("container", ["csv", "parquet"])
def test_broken_text_is_repaired_by_batches(tmp_path: Path, container: str):
    with open_log(broken_text(tmp_path / "log", container)) as log:
        batches = list(log.batches(["group_id", "reward", "completion"], rows_per_batch=7))
        assert sum(batch.num_rows for batch in batches) == 60
        assert "valid UTF-8" in log.damage.bad[0].expected
        assert log.damage.bad_count == 1


@pytest.mark.parametrize("container", ["csv", "parquet"])
def test_broken_text_is_repaired_by_an_import(tmp_path: Path, container: str):
    with open_log(broken_text(tmp_path / "log", container)) as log:
        assert import_log(log, tmp_path / "run").rollouts == 60
        assert log.damage.bad_count == 1
    texts = Run(tmp_path / "run").rollouts(columns=["completion"]).column(0).to_pylist()
    assert texts.count(None) + sum("\ufffd" in (text or "") for text in texts) == 1
