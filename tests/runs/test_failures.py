"""What a training loop can meet: a full disk, a lost folder, a fork, hostile input."""

import contextlib
import errno
import logging
import math
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from batches import batch, files_of, record_steps

from dissensus.errors import InputError, RunError
from dissensus.runs import Recorder, Run, store, writer


@pytest.fixture
def disk(monkeypatch):
    """A disk that can be made to fail or to hang: every write goes through commit_bytes."""

    class Disk:
        error: OSError | None = None
        answers = threading.Event()

    commit = store.commit_bytes

    def commit_bytes(path, data, *, sync=True):
        assert Disk.answers.wait(60)
        error = Disk.error  # read once: the test may clear it meanwhile
        if error is not None:
            raise error
        commit(path, data, sync=sync)

    Disk.answers.set()
    monkeypatch.setattr(store, "commit_bytes", commit_bytes)
    monkeypatch.setattr(writer, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(writer, "LAST_RETRY_S", 0.05)
    return Disk


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS])
def test_nothing_is_lost_when_the_disk_comes_back(tmp_path, disk, caplog, number):
    recorder = Recorder(tmp_path)
    disk.error = OSError(number, os.strerror(number))
    for step in range(20):
        recorder.record(**batch(step, completions=["a", "b", "c", "d"]))
        recorder.scalars(step=step, values={"loss": 1.0})
    assert recorder.flush() is False  # it says so instead of waiting for ever
    disk.error = None
    assert recorder.flush() is True
    recorder.close()
    assert Run(tmp_path).groups().num_rows == 40
    assert Run(tmp_path).scalars().num_rows == 20
    # Text goes before numbers, once, when the disk has refused a record three times.
    assert set(recorder.dropped) <= {"texts"}
    warnings = [r for r in caplog.records if "cannot be written" in r.message]
    assert len(warnings) == 1


def test_a_disk_that_stays_full_ends_with_counts(tmp_path, disk):
    recorder = Recorder(tmp_path)
    disk.error = OSError(errno.ENOSPC, "No space left on device")
    recorder.record(**batch(0))
    recorder.close(timeout_s=0.5)
    assert recorder.dropped == {"generations": 1}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_really_full_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    try:
        recorder = Recorder(disk / "run")
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        for step in range(5):
            recorder.record(**batch(step))
        assert recorder.flush() is False
        filler.unlink()
        assert recorder.flush() is True
        recorder.close()
        assert Run(disk / "run").groups().num_rows == 10
        assert store.temporary_files(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_is_removed_is_made_again(tmp_path):
    import shutil

    recorder = Recorder(tmp_path / "run", metadata={"model": "tiny"})
    recorder.record(**batch(0))
    recorder.flush()
    shutil.rmtree(tmp_path / "run")
    recorder.record(**batch(1))
    assert recorder.flush()
    recorder.close()
    run = Run(tmp_path / "run")
    assert run.groups()["step"].to_pylist() == [1, 1]
    assert run.info["metadata"] == {"model": "tiny"}
    assert (run.path / "views.sql").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_permission_lost(tmp_path):
    recorder = Recorder(tmp_path / "run")
    folder = tmp_path / "run" / "groups"
    folder.chmod(0o500)
    recorder.record(**batch(0))
    assert recorder.flush() is False
    folder.chmod(0o700)
    assert recorder.flush() is True
    recorder.close()


def test_a_place_where_no_run_can_be_is_refused_at_the_start(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be opened"):
        Recorder(tmp_path / "file")


def test_recording_does_not_wait_for_a_slow_disk(tmp_path, disk):
    recorder = Recorder(tmp_path, queue_size=8)
    disk.answers.clear()
    for step in range(30):
        recorder.record(**batch(step, completions=["a", "b", "c", "d"]))
        recorder.scalars(step=step, values={"loss": 1.0})
    assert recorder.flush(timeout_s=0.01) is False
    disk.answers.set()
    recorder.close()
    # A queue of 8: records 5 to 8 lose their 4 texts, 7 and 8 their 4 rollouts, 9 to 30 everything.
    dropped = {"texts": 16, "rollouts": 8, "generations": 22}
    assert recorder.dropped == dropped
    run = Run(tmp_path)
    assert run.groups()["step"].to_pylist() == [step for step in range(8) for _ in range(2)]
    assert run.rollouts()["completion"].to_pylist() == [*"abcd"] * 4 + [None] * 8
    assert run.scalars().num_rows == 30
    assert run.info["dropped"] == dropped


def test_a_bug_of_ours_costs_one_generation_and_not_the_thread(tmp_path, monkeypatch):
    from dissensus.runs import arrow

    group_table = arrow.group_table

    def broken(record, *rest):
        if record.step == 1:
            raise ZeroDivisionError
        return group_table(record, *rest)

    monkeypatch.setattr(arrow, "group_table", broken)
    with Recorder(tmp_path) as recorder:
        for step in range(3):
            recorder.record(**batch(step))
    assert recorder.dropped == {"generations": 1}
    assert Run(tmp_path).steps()["step"].to_pylist() == [0, 2]


HOSTILE = {
    "lengths differ": {"prompt_ids": ["a"]},
    "nothing": {"rewards": [], "group_ids": [], "prompt_ids": []},
    "mixed ids": {"group_ids": ["a", 1, "b", 2]},
    "ids are floats": {"group_ids": [1.0, 2.0, 3.0, 4.0]},
    "ids are booleans": {"prompt_ids": [True, False, True, True]},
    "infinite": {"rewards": [math.inf, 0.0, 1.0, 1.0]},
    "not numbers": {"rewards": ["a", "b", "c", "d"]},
    "two dimensions": {"rewards": [[1.0, 0.0], [1.0, 1.0]]},
    "text is one string": {"completions": "abcd"},
    "too few texts": {"completions": ["a"]},
    "texts of all rows for some": {"completions": ["a"] * 4, "local": slice(0, 2)},
    "step is not a number": {"step": None},
    "step of more than 64 bits": {"step": 10**30},
    "generation is not a number": {"generation": "x"},
    "generation is NaN": {"generation": math.nan},
    "generation below 0": {"generation": -1},
    "generation out of reach": {"generation": 10**9},
    "advantages of another length": {"advantages_used": [1.0]},
    "flags are numbers": {"truncated": [0.5, 0.5, 0.5, 0.5]},
    "a function's rewards": {"rewards_by_function": {"f": [1.0]}},
    "correct is a text": {"correct": "yes"},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_bad_input_is_counted_and_said_once_or_raised_when_strict(tmp_path, caplog, change):
    with Recorder(tmp_path / "run") as recorder:
        for step in range(3):
            recorder.record(**{**batch(step), **change})
        recorder.record(**batch(9))
    assert recorder.dropped == {"invalid_calls": 3}
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1
    assert Run(tmp_path / "run").steps()["step"].to_pylist() == [9]
    with Recorder(tmp_path / "strict", strict=True) as recorder, pytest.raises(InputError) as error:
        recorder.record(**{**batch(0), **change})
    assert "\n" not in str(error.value)


def test_bad_scalars_are_counted(tmp_path):
    with Recorder(tmp_path) as recorder:
        recorder.scalars(step=0, values={"a": "text"})
        recorder.scalars(step="x", values={"a": 1.0})
        recorder.scalars(step=10**30, values={"a": 1.0})
        recorder.scalars(step=0, values={"b\x00\ud800": 1})
    assert recorder.dropped == {"invalid_calls": 3}
    assert Run(tmp_path).scalars()["name"].to_pylist() == ["b\x00?"]


def test_ids_of_python_and_numpy_may_be_mixed(tmp_path):
    with Recorder(tmp_path, strict=True) as recorder:
        recorder.record(
            step=0, group_ids=[1, np.int64(1)], prompt_ids=["a", np.str_("a")], rewards=[1, 0]
        )
    row = Run(tmp_path).groups(columns=["group_id", "prompt_id", "size"]).to_pylist()
    assert row == [{"group_id": "1", "prompt_id": "a", "size": 2}]


def test_hostile_text_and_ids_come_back(tmp_path):
    nasty = ["\x00", "'; DROP TABLE groups; --", "é" * 200_000, "\ud83d"]
    with Recorder(tmp_path, strict=True) as recorder:
        recorder.record(
            step=0,
            group_ids=nasty,
            prompt_ids=[2**70, 2, 3, 4],
            rewards=[1, 0, 1, 0],
            completions=nasty,
            prompts=nasty,
            split="it's\x00",
        )
    run = Run(tmp_path)
    assert run.rollouts()["completion"].to_pylist() == [*nasty[:3], "?"]
    assert run.groups(split="it's\x00")["group_id"].to_pylist() == [*nasty[:3], "?"]
    assert run.rollouts(group_id=nasty[1]).num_rows == 1
    assert set(run.prompts()["prompt_id"].to_pylist()) == {str(2**70), "2", "3", "4"}


def test_arrays_of_the_caller_may_change_afterwards(tmp_path, disk):
    rewards, texts = np.array([1.0, 0.0]), ["a", "b"]
    with Recorder(tmp_path) as recorder:
        disk.answers.clear()
        recorder.record(
            step=0, group_ids=[0, 0], prompt_ids=[0, 0], rewards=rewards, completions=texts
        )
        rewards[:] = 9.0
        texts[:] = ["x", "y"]
        disk.answers.set()
    rows = Run(tmp_path).rollouts().to_pydict()
    assert (rows["reward"], rows["completion"]) == ([1.0, 0.0], ["a", "b"])


def test_recording_a_number_again_replaces_it_until_it_is_compacted(tmp_path):
    with Recorder(tmp_path, compact_every=3) as recorder:
        for rewards in ([0.0, 0.0], [1.0, 0.0]):
            recorder.record(**batch(0, rewards), generation=0)
        for step in range(1, 4):
            recorder.record(**batch(step))
        recorder.flush()
        deadline = time.monotonic() + 20
        while not any(n.startswith("part") for n in files_of(tmp_path, "groups")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        recorder.record(**batch(0), generation=0)
    assert recorder.dropped == {"invalid_calls": 1}
    assert Run(tmp_path).groups()["mean"].to_pylist()[0] == 0.5


def test_calls_after_close_are_counted(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.close()
    recorder.close()
    recorder.record(**batch(0))
    assert recorder.flush() is False
    assert recorder.dropped == {"invalid_calls": 1}


def test_strict_raises_failed_writes_at_the_next_call(tmp_path, disk):
    recorder = Recorder(tmp_path, strict=True)
    disk.error = OSError(errno.ENOSPC, "No space left on device")
    recorder.record(**batch(0))
    with pytest.raises(RunError, match="No space"):
        recorder.flush()
    disk.error = None
    with contextlib.suppress(RunError):  # a retry may have failed before the disk came back
        recorder.flush()
    assert recorder.flush()
    recorder.close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_neither_writes_nor_hangs(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.record(**batch(0))
    recorder.flush()
    pid = os.fork()
    if pid == 0:  # the child: its copy of the recorder has no thread
        status = 1
        try:
            recorder.record(**batch(1))
            recorder.scalars(step=1, values={"a": 1.0})
            recorder.flush()
            recorder.close()
            status = 0 if recorder.dropped == {"calls_after_fork": 2} else 1
        finally:  # an exception must not go on as a second pytest
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    recorder.record(**batch(2))
    recorder.close()
    assert Run(tmp_path).steps()["step"].to_pylist() == [0, 2]


@pytest.mark.parametrize(("ending", "state"), [("", "finished"), ("1 / 0", "died")])
def test_an_interpreter_that_ends_without_close_writes_everything(tmp_path, ending, state):
    code = f"""
from dissensus import Recorder
recorder = Recorder({str(tmp_path)!r})
for step in range(50):
    recorder.record(step=step, group_ids=[step] * 2, prompt_ids=[0, 0], rewards=[0.0, 1.0])
recorder.scalars(step=0, values={{"loss": 1.0}})
{ending}
"""
    subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert Run(tmp_path).groups().num_rows == 50
    assert Run(tmp_path).scalars().num_rows == 1
    assert Run(tmp_path).state == state


def test_heavy_imports_happen_before_training(tmp_path):
    """An import in the writer thread holds the interpreter, and so the training thread."""
    record_steps(tmp_path, range(1))
    code = f"""
import sys
from dissensus import Recorder
with Recorder({str(tmp_path)!r}, 1, compact_every=2, strict=True) as recorder:
    before = {{name.partition(".")[0] for name in sys.modules}}
    for step in range(1, 6):
        recorder.record(
            step=step, group_ids=[step] * 2, prompt_ids=["a", "a"], rewards=[0.0, float("nan")],
            completions=["a", None], prompts=["p", "p"], lengths=[1, 2], truncated=[True, False],
            advantages_used=[0.0, 0.0], rewards_by_function={{"f": [0.0, 1.0]}},
        )
        recorder.flush()
    after = {{name.partition(".")[0] for name in sys.modules}}
assert not (after - before) & {{"pandas", "duckdb", "pyarrow", "scipy"}}, after - before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert any(name.startswith("part") for name in files_of(tmp_path, "groups"))


def test_records_from_several_threads_get_their_own_numbers(tmp_path):
    with Recorder(tmp_path) as recorder:
        threads = [
            threading.Thread(target=lambda: [recorder.record(**batch(0)) for _ in range(25)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    generations = Run(tmp_path).groups()["generation"].to_pylist()
    assert len(set(generations)) == 100


def test_a_live_run_is_read_while_it_is_written(tmp_path):
    """A reader beside a writer that compacts: never an error, never fewer rows than before."""
    record_steps(tmp_path, range(1))
    with Recorder(tmp_path, 1, compact_every=5) as recorder:
        run, seen = Run(tmp_path), 0
        for step in range(1, 60):
            recorder.record(**batch(step))
            if step % 3 == 0:
                rows = run.groups(columns=["generation", "group_id"]).to_pylist()
                keys = {(row["generation"], row["group_id"]) for row in rows}
                assert len(keys) == len(rows) >= seen
                seen = len(rows)
    assert run.groups().num_rows == 120
