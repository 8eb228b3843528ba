"""Names, listings and the atomic commit."""

import errno
import os
import threading
from pathlib import Path

import pytest

from dissensus.errors import RunError
from dissensus.runs import store


def test_names_are_those_of_the_format(tmp_path):
    path = store.segment_path(tmp_path, "groups", 1, 0, 123)
    assert path == tmp_path / "groups/attempt=1/rank=0/generation-000000123.parquet"
    assert store.part_name((0, 499)) == "part-000000000-000000499.parquet"


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / "groups/attempt=1/rank=0" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def live_names(root: Path) -> list[str]:
    return [segment.path.name for segment in store.list_live(root, "groups")]


def test_what_a_part_covers_does_not_count(tmp_path):
    put(
        tmp_path,
        "part-000000000-000000002.parquet",
        "part-000000000-000000001.parquet",  # a smaller part inside a larger one
        "generation-000000002.parquet",
        "generation-000000003.parquet",
    )
    assert live_names(tmp_path) == [
        "part-000000000-000000002.parquet",
        "generation-000000003.parquet",
    ]


def test_ranks_and_attempts_cover_nothing_of_each_other(tmp_path):
    put(tmp_path, "part-000000000-000000009.parquet")
    other = tmp_path / "groups/attempt=1/rank=1/generation-000000003.parquet"
    other.parent.mkdir(parents=True)
    other.touch()
    assert len(live_names(tmp_path)) == 2


def test_other_files_are_not_segments(tmp_path):
    put(tmp_path, ".generation-000000001.parquet.7.tmp", "schema.parquet", "notes.txt")
    (tmp_path / "groups/attempt=x").mkdir()
    (tmp_path / "groups/file").touch()
    assert live_names(tmp_path) == []


def test_a_listing_repeats_until_no_part_appears(tmp_path, monkeypatch):
    put(tmp_path, "part-000000000-000000001.parquet", "generation-000000002.parquet")
    complete = store.list_segments(tmp_path, "groups")
    # The first pass over the folder met neither the new part nor the deleted segments.
    answers = [complete[1:], complete, complete]
    monkeypatch.setattr(store, "list_segments", lambda *_: answers.pop(0))
    assert [s.first for s in store.list_live(tmp_path, "groups")] == [0, 2]


def test_next_generation_is_over_all_tables(tmp_path):
    assert store.next_generation(tmp_path, ["groups", "rollouts"]) == 0
    put(tmp_path, "part-000000000-000000007.parquet")
    path = store.segment_path(tmp_path, "rollouts", 1, 3, 11)
    store.commit_bytes(path, b"x")
    assert store.next_generation(tmp_path, ["groups", "rollouts"]) == 12


def test_a_failed_commit_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "file"
    store.commit_bytes(path, b"old")

    def full(descriptor, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        store.commit_bytes(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_commit_syncs_the_file_before_the_name_and_the_folder_after(tmp_path, monkeypatch):
    calls = []
    here = threading.get_ident()  # a recorder of another test may be writing its heartbeat

    def watched(name, call):
        def record_and_call(*given):
            if threading.get_ident() == here:
                calls.append(name)
            return call(*given)

        return record_and_call

    monkeypatch.setattr(os, "fsync", watched("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", watched("replace", Path.replace))
    store.commit_bytes(tmp_path / "file", b"data")
    assert calls == ["fsync", "replace", "fsync"]


def test_a_write_in_pieces_is_completed(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda d, data: write(d, bytes(data)[:3]))
    store.commit_bytes(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00\xff"])
def test_unreadable_json_is_one_clear_line(tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(RunError, match=r"run\.json") as caught:
        store.read_json(path)
    assert "\n" not in str(caught.value)
