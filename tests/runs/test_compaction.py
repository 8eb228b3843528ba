"""Compaction changes files, never rows; every crash point is safe."""

import os
import shutil

import pyarrow.parquet as pq
import pytest
from batches import batch, files_of, plain_duckdb, record_steps

from dissensus.errors import RunError
from dissensus.runs import Recorder, Run, compact, compaction, rollups, store
from dissensus.runs.totals import find_total


def rows_of(run_dir):
    """All rows, by Run and by plain DuckDB."""
    ours = sorted(map(str, Run(run_dir).rollouts().to_pylist()))
    theirs = plain_duckdb(run_dir).execute("SELECT count(*) FROM rollouts").fetchone()
    assert theirs == (len(ours),)
    return ours


def test_compact_makes_few_files_and_twice_is_once(tmp_path):
    record_steps(tmp_path, range(7), compact_every=0)
    before = rows_of(tmp_path)
    done = compact(tmp_path, generations_per_part=3, grace_s=0)
    assert files_of(tmp_path, "groups") == [
        "generation-000000006.parquet",
        "part-000000000-000000002.parquet",
        "part-000000003-000000005.parquet",
    ]
    assert (done.parts, done.segments, done.removed) == (4, 12, 12)  # groups and rollouts
    assert rows_of(tmp_path) == before
    again = compact(tmp_path, generations_per_part=3, grace_s=0)
    assert (again.parts, again.removed) == (0, 0)
    compact(tmp_path, generations_per_part=100, grace_s=0)
    assert files_of(tmp_path, "groups") == ["part-000000000-000000006.parquet"]
    assert rows_of(tmp_path) == before


def test_the_recorder_compacts_in_the_background(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "GRACE_S", 0.0)
    with Recorder(tmp_path, compact_every=4, strict=True) as recorder:
        for step in range(10):
            recorder.record(**batch(step))
    assert files_of(tmp_path, "rollouts") == [
        "generation-000000008.parquet",
        "generation-000000009.parquet",
        "part-000000000-000000003.parquet",
        "part-000000004-000000007.parquet",
    ]
    assert len(list((tmp_path / "rollups").rglob("part-*.parquet"))) == 2 * len(rollups.KINDS)
    assert len(find_total(tmp_path, 1).covers) == 2
    assert Run(tmp_path).groups(columns=["generation"]).column(0).to_pylist() == [
        g for g in range(10) for _ in range(2)
    ]


@pytest.mark.parametrize("crash", ["before the part", "after the part", "amid deletion"])
def test_every_crash_point_reads_the_same(tmp_path, monkeypatch, crash):
    record_steps(tmp_path, range(6), compact_every=0)
    before = rows_of(tmp_path)

    class Crash(BaseException):
        pass

    def crashing(*_args, **_options):
        raise Crash

    if crash == "before the part":
        monkeypatch.setattr(compaction.store, "sync_file", crashing)
    elif crash == "after the part":
        monkeypatch.setattr(compaction, "remove_covered", crashing)
    else:
        unlink = type(tmp_path).unlink
        calls = []

        def one_then_crash(path, missing_ok=False):
            calls.append(path)
            if len(calls) > 2:
                raise Crash
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(type(tmp_path), "unlink", one_then_crash)
    with pytest.raises(Crash):
        compact(tmp_path, grace_s=0)
    monkeypatch.undo()
    assert rows_of(tmp_path) == before
    compact(tmp_path, grace_s=0)
    assert rows_of(tmp_path) == before
    assert files_of(tmp_path, "groups") == ["part-000000000-000000005.parquet"]


def test_a_live_run_keeps_its_last_stretch(tmp_path):
    with Recorder(tmp_path, compact_every=0) as recorder:
        for step in range(5):
            recorder.record(**batch(step))
        recorder.flush()
        compact(tmp_path, generations_per_part=3, grace_s=0)
        assert files_of(tmp_path, "groups")[0] == "generation-000000003.parquet"
        recorder.record(**batch(5))
    assert Run(tmp_path).groups().num_rows == 12


@pytest.mark.parametrize("is_footer_whole", [True, False])
def test_a_broken_file_is_left_alone_and_not_hidden(tmp_path, is_footer_whole):
    record_steps(tmp_path, range(5), compact_every=0)
    path = tmp_path / "groups/attempt=1/rank=0/generation-000000002.parquet"
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(bytes(content) if is_footer_whole else b"torn")
    done = compact(tmp_path, grace_s=0)
    assert done.unreadable == (str(path),)
    assert files_of(tmp_path, "groups") == [
        "generation-000000002.parquet",
        "part-000000000-000000001.parquet",
        "part-000000003-000000004.parquet",
    ]
    with pytest.raises(RunError, match="generation-000000002"):
        Run(tmp_path).groups()


def test_columns_of_a_newer_version_survive(tmp_path):
    record_steps(tmp_path, range(2), compact_every=0)
    path = tmp_path / "groups/attempt=1/rank=0/generation-000000001.parquet"
    table = pq.ParquetFile(path).read()
    newer = table.append_column("novelty", [[1.5, 2.5]]).replace_schema_metadata(
        {**table.schema.metadata, b"dissensus_schema_version": b"99"}
    )
    pq.write_table(newer, path)
    assert Run(tmp_path).groups().num_rows == 4  # it reads the columns it knows
    compact(tmp_path, grace_s=0)
    part = pq.ParquetFile(path.with_name("part-000000000-000000001.parquet")).read()
    assert part["novelty"].to_pylist() == [None, None, 1.5, 2.5]


def test_roll_ups_are_rebuilt_and_those_of_other_versions_left(tmp_path):
    record_steps(tmp_path, range(4), compact_every=0)
    compact(tmp_path, grace_s=0)
    before = Run(tmp_path).steps()
    shutil.rmtree(tmp_path / "rollups")
    assert Run(tmp_path).steps().equals(before)
    folder = tmp_path / "rollups/steps/attempt=1"
    folder.mkdir(parents=True)
    other = folder / "part-000000000-000000003.v99.parquet"
    other.write_bytes(b"of a later version")
    assert rollups.update(tmp_path) == len(rollups.KINDS)
    assert other.exists()
    assert Run(tmp_path).steps().equals(before)


def test_a_roll_up_is_what_steps_reads(tmp_path):
    """Without this the tests above would pass if roll-ups were never used."""
    record_steps(tmp_path, range(2), compact_every=0)
    compact(tmp_path, grace_s=0)
    (path,) = (tmp_path / "rollups/steps").rglob("*.parquet")
    table = pq.ParquetFile(path).read()
    changed = table.set_column(table.schema.get_field_index("groups"), "groups", [[70, 70]])
    pq.write_table(changed, path)
    assert Run(tmp_path).steps()["groups"].to_pylist() == [70, 70]


def test_a_total_covers_the_parts_of_its_attempt(tmp_path):
    record_steps(tmp_path, range(6), compact_every=0)
    compact(tmp_path, generations_per_part=2, grace_s=0)
    parts = {path.name for path in (tmp_path / "groups").rglob("part-*.parquet")}
    total = find_total(tmp_path, 1)
    assert len(parts) == 3
    assert total.covers == parts
    query = "SELECT prompt_id, count(*) AS visits FROM groups WHERE split = 'train' GROUP BY ALL"
    visits = {row["prompt_id"]: row["visits"] for row in Run(tmp_path).sql(query).to_pylist()}
    found: dict = {}
    for row in pq.ParquetFile(total.path).read().to_pylist():
        found[row["prompt_id"]] = found.get(row["prompt_id"], 0) + row["groups"]
    assert found == visits


def test_a_total_is_made_anew_when_parts_are_replaced(tmp_path):
    record_steps(tmp_path, range(6), compact_every=0)
    compact(tmp_path, generations_per_part=2, grace_s=0)
    with Recorder(tmp_path, start_step=6, compact_every=0) as recorder:
        recorder.record(step=6, group_ids=[0, 0], prompt_ids=["p", "p"], rewards=[0.0, 1.0])
    before = find_total(tmp_path, 1).path.read_bytes()
    rollups.update(tmp_path)
    assert find_total(tmp_path, 1).path.read_bytes() == before  # another attempt is not its matter
    find_total(tmp_path, 1).path.write_bytes(b"not Parquet")
    assert find_total(tmp_path, 1) is None
    rollups.update(tmp_path)
    assert find_total(tmp_path, 1).path.read_bytes() == before
    compact(tmp_path, generations_per_part=4, grace_s=0)
    live = {s.path.name for s in store.list_live(tmp_path, "groups") if s.attempt == 1}
    assert find_total(tmp_path, 1).covers == live


def test_scalars_are_compacted_by_their_own_numbers(tmp_path):
    with Recorder(tmp_path, compact_every=3, strict=True) as recorder:
        for step in range(7):
            recorder.scalars(step=step, values={"loss": step / 2})
            recorder.flush()
    assert "part-000000000-000000002.parquet" in files_of(tmp_path, "scalars")
    values = Run(tmp_path).scalars()["value"].to_pylist()
    assert values == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert plain_duckdb(tmp_path).execute("SELECT count(*) FROM scalars").fetchone() == (7,)


def test_temporary_files_of_killed_processes_go_when_they_are_old(tmp_path):
    record_steps(tmp_path, range(1))
    folder = tmp_path / "groups/attempt=1/rank=0"
    old, new = folder / ".generation-000000009.parquet.1.tmp", folder / ".x.parquet.2.tmp"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    compact(tmp_path, grace_s=0)
    assert (old.exists(), new.exists()) == (False, True)


def test_compact_refuses_what_is_not_a_run(tmp_path):
    with pytest.raises(RunError, match="not a run"):
        compact(tmp_path)
