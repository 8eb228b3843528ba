"""Runs what is missing of a plan, one single-threaded process per core."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from dissensus.lab.bench.plan import Plan, Training
from dissensus.lab.bench.records import read_records, record_path
from dissensus.lab.bench.schedule import Schedule

__all__ = ["Failure", "Outcome", "Progress", "describe", "run_plan", "usable_cores"]

_COMMAND = [sys.executable, "-m", "dissensus.lab.bench.worker"]
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_WAKE_S = 0.5
_TAIL_BYTES = 2000


@dataclass(frozen=True)
class Failure:
    """A training that failed, and why, in one line."""

    training: Training
    reason: str


@dataclass(frozen=True)
class Progress:
    """Where a benchmark stands.

    Attributes:
        done: Trainings of the plan that are done.
        total: Trainings of the plan.
        failed: Trainings that failed this time.
        running: Trainings under way, and the share of the budget that each has spent.
        remaining_s: Expected seconds to go; None before the first training has ended.
    """

    done: int
    total: int
    failed: int
    running: tuple[tuple[Training, float], ...]
    remaining_s: float | None


@dataclass
class Outcome:
    """How a benchmark ended.

    Attributes:
        ran: Trainings done this time.
        failures: Those that failed.
        missing: Trainings of the plan that are not done.
        interrupted: Whether Ctrl-C ended it.
    """

    ran: int = 0
    failures: list[Failure] = field(default_factory=list)
    missing: int = 0
    interrupted: bool = False


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_plan(
    plan: Plan,
    folder: Path,
    *,
    jobs: int | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
) -> Outcome:
    """Do every training of the plan whose record is not in the folder.

    Ctrl-C ends it; trainings that were under way are begun anew next time, and so are those that
    failed.

    Args:
        plan: What to do.
        folder: Where records lie; made if there is none.
        jobs: Trainings at a time; None: one per core.
        tell: Told about twice a second where it stands.

    Raises:
        InputError: The folder holds trainings of another plan.
    """
    records = read_records(folder) if folder.exists() else []
    crew = _Crew(Schedule(plan, records, where=folder), folder)
    workers = [_Worker(crew) for _ in range(min(jobs or usable_cores(), crew.schedule.total))]
    for worker in workers:
        worker.start()
    try:
        while any(worker.is_alive() for worker in workers):
            tell(crew.progress())
            workers[0].join(_WAKE_S) if workers[0].is_alive() else time.sleep(_WAKE_S)
    except KeyboardInterrupt:
        crew.outcome.interrupted = True
    finally:
        for worker in workers:
            worker.stop()
    crew.outcome.missing = crew.schedule.total - crew.schedule.done
    return crew.outcome


class _Crew:
    """What the threads share: the schedule, and how far each training is."""

    def __init__(self, schedule: Schedule, folder: Path) -> None:
        self.schedule, self.folder = schedule, folder
        self.outcome = Outcome()
        self.changed = threading.Condition()
        self.is_over = False
        self.shares: dict[Training, float] = {}
        self.started = time.monotonic()

    def take(self) -> Training | None:
        """The next training; waits for one that others may open; None when all is done."""
        with self.changed:
            while not self.is_over:
                training = self.schedule.take()
                if training is not None:
                    self.shares[training] = 0.0
                    return training
                if not self.schedule.is_waiting:
                    break
                self.changed.wait()
            self.changed.notify_all()
            return None

    def end(self, training: Training, reason: str | None) -> None:
        with self.changed:
            self.shares.pop(training, None)
            if self.is_over:
                return
            if reason is None:
                [record] = read_records(_path(self.folder, training))
                self.schedule.add(record)
                self.outcome.ran += 1
            else:
                self.schedule.fail(training)
                self.outcome.failures.append(Failure(training, reason))
            self.changed.notify_all()

    def progress(self) -> Progress:
        with self.changed:
            schedule, outcome = self.schedule, self.outcome
            running = tuple(self.shares.items())
            failed = len(outcome.failures)
            work = outcome.ran + sum(share for _, share in running)
            left = schedule.total - schedule.done - failed - sum(share for _, share in running)
            elapsed = time.monotonic() - self.started
            remaining = elapsed / work * max(left, 0.0) if outcome.ran else None
            return Progress(schedule.done, schedule.total, failed, running, remaining)


class _Worker(threading.Thread):
    """A thread that gives one process its orders, and a new process where that one dies."""

    def __init__(self, crew: _Crew) -> None:
        super().__init__(daemon=True)
        self._crew = crew
        self._process: subprocess.Popen[str] | None = None
        # Both live as long as the thread. A process that is killed does not tidy up after itself.
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._scratch = tempfile.TemporaryDirectory(prefix="dissensus-bench-")

    def run(self) -> None:
        while (training := self._crew.take()) is not None:
            try:
                reason = self._train(training)
            except (OSError, ValueError) as error:
                reason = f"{type(error).__name__}: {error}"
            self._crew.end(training, reason)

    def stop(self) -> None:
        """End the process; a training that it is at is lost."""
        with self._crew.changed:
            self._crew.is_over = True
            self._crew.changed.notify_all()
            if self._process is not None:
                self._process.kill()
        self.join()
        self._close()
        self._errors.close()
        self._scratch.cleanup()

    def _train(self, training: Training) -> str | None:
        """Why the training failed; None where it did not."""
        process = self._process
        if process is None or process.poll() is not None:
            process = self._open()
        if process.stdin is None or process.stdout is None:
            raise OSError("no pipe to the process")
        order = {"folder": str(self._crew.folder.resolve()), "training": training.to_json()}
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        for line in process.stdout:
            reply = json.loads(line)
            if "share" not in reply:
                reason: str | None = reply.get("failed")
                return reason
            self._crew.shares[training] = reply["share"]
        return self._death(process.wait())

    def _open(self) -> subprocess.Popen[str]:
        self._close()
        self._errors.seek(0)
        self._errors.truncate()
        with self._crew.changed:
            if self._crew.is_over:
                raise InterruptedError("the benchmark was stopped")
            self._process = subprocess.Popen(  # noqa: S603 — this program
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                encoding="utf-8",
                env={
                    **os.environ,
                    **dict.fromkeys(_ONE_THREAD, "1"),
                    "TMPDIR": self._scratch.name,
                },
                # Ctrl-C at the terminal is for this process, which then ends the others.
                start_new_session=True,
            )
        return self._process

    def _close(self) -> None:
        """Let go of a process that has ended."""
        if self._process is None:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()

    def _death(self, code: int) -> str:
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - _TAIL_BYTES))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        name = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        return f"its process ended {name}" + (f": {lines[-1]}" if lines else "")


def _path(folder: Path, training: Training) -> Path:
    return record_path(folder, training.arm, training.learning_rate, training.seed)


def describe(training: Training) -> str:
    """A training in words."""
    words: dict[str, Any] = {"learning rate": f"{training.learning_rate:g}", "seed": training.seed}
    return f"{training.arm}, " + ", ".join(f"{name} {value}" for name, value in words.items())
