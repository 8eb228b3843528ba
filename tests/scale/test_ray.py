"""A run added up in real Ray processes: the digits of one process, and one line where it fails."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from functools import partial
from pathlib import Path

import pytest

from dissensus import Recorder, Run
from dissensus.errors import InputError, MissingDependencyError, RunError
from dissensus.integrations import ray_data
from dissensus.integrations.ray_data import LOCAL, add_up_on_ray
from dissensus.runs.shares import plan_shares

from .runs import copied, numbers, record_attempts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return record_attempts(tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return copied(folder, tmp_path_factory.mktemp("runs") / "cut", "parts of 4 some rolled up")


@pytest.fixture(scope="module")
def cut(folder, tmp_path_factory):
    return copied(folder, tmp_path_factory.mktemp("runs") / "cut", "parts of 2 without roll-ups")


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_any_number_of_workers_gives_the_digits_of_one_process(cluster, folder, cut, workers):
    assert sum(not share.is_rolled_up for share in plan_shares(cut)) >= workers
    on_ray = partial(add_up_on_ray, address=LOCAL, workers=workers)
    assert numbers(cut, on_ray) == numbers(Run(folder))


def test_other_files_of_the_same_groups_give_the_same_digits(cluster, folder, run, tmp_path):
    other = copied(folder, tmp_path / "run", "parts of 5 without roll-ups")
    assert numbers(other, partial(add_up_on_ray, address=LOCAL)) == numbers(run)


def test_single_generations_are_added_up_too(cluster, folder, run, monkeypatch):
    monkeypatch.setattr(ray_data, "_TAIL", 0)
    assert numbers(Run(folder), partial(add_up_on_ray, address=LOCAL)) == numbers(run)


@pytest.mark.parametrize("state", ["parts of 5", "segments"])
def test_what_is_added_up_already_needs_no_cluster(folder, run, tmp_path, monkeypatch, state):
    monkeypatch.setitem(sys.modules, "ray", None)
    light = copied(folder, tmp_path / "run", state)
    assert numbers(light, partial(add_up_on_ray, address=LOCAL)) == numbers(run)


def test_the_work_is_done_by_other_processes(cluster, run, tmp_path):
    def note() -> None:
        (tmp_path / str(os.getpid())).touch()

    assert list(add_up_on_ray(plan_shares(run), address=LOCAL, prepare=note))
    found = {int(path.name) for path in tmp_path.iterdir()}
    assert found
    assert os.getpid() not in found


def test_a_worker_that_is_killed_is_replaced(cluster, run, tmp_path):
    died = tmp_path / "died"

    def kill_the_first() -> None:
        if not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    on_ray = partial(add_up_on_ray, address=LOCAL, prepare=kill_the_first)
    assert numbers(run, on_ray) == numbers(run)
    assert died.exists()


def test_a_part_that_cannot_be_read_is_named(cluster, folder, tmp_path):
    broken = copied(folder, tmp_path / "run", "parts of 5 without roll-ups")
    part = sorted(broken.path.glob("groups/*/*/part-*"))[1]
    part.write_bytes(b"PAR1" + bytes(200))
    with pytest.raises(RunError, match=part.name):
        numbers(broken, partial(add_up_on_ray, address=LOCAL))


def test_a_worker_without_the_package_is_one_line(cluster, run):
    def hide() -> None:
        class Absent:
            def find_spec(self, name, *_):
                if name == "dissensus":
                    sys.meta_path.remove(self)
                    raise ModuleNotFoundError("No module named 'dissensus'")

        sys.modules.pop("dissensus", None)
        sys.meta_path.insert(0, Absent())

    with pytest.raises(MissingDependencyError, match="cannot import dissensus") as caught:
        list(add_up_on_ray(plan_shares(run), address=LOCAL, prepare=hide))
    assert "\n" not in str(caught.value)
    assert "pip install 'dissensus[ray]'" in str(caught.value)


def test_a_worker_with_another_version_is_refused(cluster, run, monkeypatch):
    monkeypatch.setattr(ray_data, "__version__", "999.0")
    with pytest.raises(InputError, match="install the same version everywhere"):
        list(add_up_on_ray(plan_shares(run), address=LOCAL))


def test_a_run_that_a_worker_does_not_see_is_named(run):
    (part, *_) = run.path.glob("groups/*/*/part-*")
    answer = {"kind": "unseen", "host": "node-7", "content": str(part).encode()}
    with pytest.raises(InputError, match="node-7 does not see the run"):
        ray_data._opened(answer, "auto")


def test_an_empty_run_needs_no_cluster(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    Recorder(tmp_path).close()
    assert numbers(Run(tmp_path), partial(add_up_on_ray, address=LOCAL))["groups"] == 0


def test_without_ray_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'dissensus\[ray\]'"):
        list(add_up_on_ray(plan_shares(run), address=LOCAL))


@pytest.mark.parametrize("asked", ["the address", "auto"])
def test_where_no_cluster_answers_the_command_says_so(cluster, run, monkeypatch, asked):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody answers there
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        done = _report(run.path, "--ray", "auto" if asked == "auto" else address)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "no Ray cluster answers" in line


def test_a_log_and_a_page_are_refused(run, tmp_path):
    log = tmp_path / "rollouts.jsonl"
    log.write_text('{"step": 0, "group_id": 7, "reward": 1}\n')
    page = _report(run.path, "--ray", "local", "--html", tmp_path / "page.html")
    for done, said in ((_report(log, "--ray", "local"), "dissensus import"), (page, "--html")):
        assert done.returncode == 2
        assert said in done.stderr.splitlines()[-1]


def test_the_command_prints_the_same_document(cluster, run):
    address = cluster.get_runtime_context().gcs_address
    mine, theirs = _report(run.path), _report(run.path, "--ray", address)
    assert (theirs.returncode, theirs.stderr) == (0, "")
    assert theirs.stdout == mine.stdout
    assert cluster.nodes()[0]["Alive"]  # it was there before, and it stays


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_a_cluster_of_its_own_ends_with_the_command(cluster, run, monkeypatch, is_interrupted):
    monkeypatch.setenv("DISSENSUS_TEST", mark := uuid.uuid4().hex)
    command = subprocess.Popen(
        [*_COMMAND, str(run.path), "--ray", "local"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while is_interrupted and len(_processes(mark)) < 3 and time.monotonic() < until:
        time.sleep(0.05)  # Ray is starting: the worst moment
    if is_interrupted:
        os.killpg(command.pid, signal.SIGINT)
    out, errors = command.communicate(timeout=120)
    assert (command.returncode, errors) == (130 if is_interrupted else 0, b"")
    assert bool(out) != is_interrupted
    until = time.monotonic() + 20
    while (left := _processes(mark)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not left


_COMMAND = [sys.executable, "-m", "dissensus", "report", "--json"]


def _report(*arguments):
    command = [*_COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _processes(mark):
    """Those that have inherited the mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found
