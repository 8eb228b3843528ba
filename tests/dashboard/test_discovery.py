"""Runs are found, named, and never reached by a path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dissensus.dashboard.discovery import Runs
from dissensus.errors import RunError


def make_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"format": "dissensus-run"}))
    return folder


def test_runs_are_found_below_and_at_the_root(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b" / "c")
    make_run(tmp_path / ".hidden" / "d")
    make_run(tmp_path / "a" / "inside")  # part of a run, not one of its own
    assert [each.name for each in Runs(tmp_path).all()] == ["a", "b/c"]
    assert [each.name for each in Runs(tmp_path / "a").all()] == ["a"]


def test_a_link_is_not_followed(tmp_path):
    outside = make_run(tmp_path / "outside" / "secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside, target_is_directory=True)
    assert Runs(inside).all() == []


def test_an_id_fits_an_address_and_tells_names_apart(tmp_path):
    for name in ("a b", "a-b", "ä/b", "x..", "%2e%2e"):
        make_run(tmp_path / name)
    found = Runs(tmp_path).all()
    assert len({each.id for each in found}) == 5
    assert all(set(each.id) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_") for each in found)
    assert not any(each.id.startswith(".") for each in found)
    assert Runs(tmp_path).get(found[0].id) == found[0]


@pytest.mark.parametrize("name", ["../a", "a", "", ".", "/etc", "a\x00"])
def test_what_was_not_found_is_not_there(tmp_path, name):
    make_run(tmp_path / "a")
    assert Runs(tmp_path).get(name) is None


def test_a_root_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(RunError, match="no such folder"):
        Runs(tmp_path / "absent")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(RunError, match="not a file"):
        Runs(file)
