"""The background thread of a Recorder: a bounded queue, retries, and housekeeping."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from dissensus.runs.records import Record
from dissensus.runs.sink import Written

__all__ = ["Scalar", "Writer", "WriterSink", "yield_interpreter"]

log = logging.getLogger("dissensus.runs")

Scalar = tuple[int, str, str, float, float]

FIRST_RETRY_S, LAST_RETRY_S = 0.05, 5.0
TRIES_WITH_TEXT = 3
TICK_S = 1.0
SCALARS_PER_FILE = 20_000
LAST_SCALARS = 200_000


class WriterSink(Protocol):
    """What the thread calls; every method may raise OSError, and is called again then."""

    def write(self, record: Record) -> Written:
        """Put one generation on disk."""

    def write_scalars(self, segment: int, values: list[Scalar]) -> None:
        """Put scalars on disk as one file."""


class Writer:
    """One thread that takes records from a bounded queue and puts them on disk.

    While the queue fills up, text is dropped at half of it, rollouts at three quarters, and whole
    generations when it is full. A write that failed is repeated, with pauses from 0.05 to 5
    seconds, for as long as the process lives; after three failures its text is given up.

    Args:
        sink: Writes one record.
        queue_size: Records that may wait.
        tick: Called about once a second, and after each record; told whether nothing is waiting.
        dropped: Counts what is dropped, by kind.
        first_segment: Number of the first file of scalars.
    """

    def __init__(
        self,
        sink: WriterSink,
        *,
        queue_size: int,
        tick: Callable[[bool], None],
        dropped: Counter[str],
        first_segment: int,
        name: str,
    ) -> None:
        self.error: BaseException | None = None
        self._sink, self._size, self._tick = sink, max(queue_size, 4), tick
        self._dropped = dropped
        self._queue: deque[Record] = deque()
        self._scalars: list[Scalar] = []
        self._segment = first_segment
        self._changed = threading.Condition()
        self._submitted = self._done = self._failures = 0
        self._scalars_in = self._scalars_out = 0
        self._scalars_since = 0.0
        self._flush_waiting = 0
        self._closing = False
        self._warned: set[str] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    # ---- called by the training thread -------------------------------------------------------

    def submit(self, record: Record) -> None:
        """Queue a record, or as much of it as there is room for. Never waits for the disk."""
        with self._changed:
            waiting = len(self._queue)
            if waiting >= self._size or self._closing:
                self._count("generations", 1, "the queue of generations is full")
                return
            if waiting * 2 >= self._size:
                self._count("texts", record.drop_text(), "writing cannot keep up")
            if waiting * 4 >= self._size * 3:
                self._count("rollouts", record.n_local, "writing cannot keep up")
                record.has_rollouts = False
            self._queue.append(record)
            self._submitted += 1
            self._changed.notify_all()

    def submit_scalars(self, values: list[Scalar]) -> None:
        """Queue scalars; they are written together, about once a second."""
        with self._changed:
            if len(self._scalars) + len(values) > LAST_SCALARS or self._closing:
                self._count("scalars", len(values), "the queue of scalars is full")
                return
            if not self._scalars:
                self._scalars_since = time.monotonic()
            self._scalars.extend(values)
            self._scalars_in += len(values)

    def flush(self, timeout_s: float | None) -> bool:
        """Wait until all that was submitted before is on disk; False when it is not.

        It gives up when a write fails that began after this call, so that a full disk does not stop
        training: what waits is still tried again later.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            target, scalars, failures = self._submitted, self._scalars_in, self._failures
            self._flush_waiting += 1
            self._changed.notify_all()
            try:
                while self._done < target or self._scalars_out < scalars:
                    left = None if deadline is None else deadline - time.monotonic()
                    gave_up = self._failures >= failures + 2 or not self._thread.is_alive()
                    if gave_up or (left is not None and left <= 0):
                        return False
                    self._changed.wait(min(left, TICK_S) if left is not None else TICK_S)
                return True
            finally:
                self._flush_waiting -= 1

    def close(self, timeout_s: float) -> bool:
        """Write what waits, end the thread; False when something could not be written."""
        is_written = self.flush(timeout_s)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout=max(1.0, timeout_s))
        with self._changed:
            self._count("generations", len(self._queue), "the run was closed before the disk")
            self._count("scalars", len(self._scalars), "the run was closed before the disk")
            self._queue.clear()
            self._scalars.clear()
        return is_written

    @property
    def waiting(self) -> int:
        """Records that are not on disk yet."""
        return len(self._queue)

    def warn(self, what: str, reason: str) -> None:
        """Say once what is going on; later cases are only counted."""
        if what not in self._warned:
            self._warned.add(what)
            log.warning("dissensus: %s (%s); further cases are only counted", what, reason)

    # ---- the thread --------------------------------------------------------------------------

    def _count(self, what: str, number: int, reason: str) -> None:
        if number:
            self._dropped[what] += number
            self.warn(f"{what} of the record are dropped", reason)

    def _run(self) -> None:
        pause_s = 0.0
        failed_tries = 0
        while True:
            record, scalars = self._next(pause_s)
            if record is None and not scalars:
                self._safely_tick(idle=True)
                if self._closing and not self._queue:
                    return
                continue
            try:
                self._write(record, scalars)
                pause_s, failed_tries = 0.0, 0
            except OSError as error:
                failed_tries += 1
                pause_s = min(LAST_RETRY_S, max(FIRST_RETRY_S, 2 * pause_s))
                self._on_failure(error, record, failed_tries)
                if self._closing:
                    return
            except Exception as error:  # noqa: BLE001 - a bug of ours must not stop the thread
                self._on_poison(error, record, scalars)
            self._safely_tick(idle=False)

    def _next(self, pause_s: float) -> tuple[Record | None, list[Scalar]]:
        """The oldest record, left in the queue until it is on disk; scalars when they are due."""
        with self._changed:
            if pause_s:
                self._wait_unless_flushed(pause_s)
            elif not self._queue and not self._closing and not self._scalars_are_due():
                self._changed.wait(TICK_S)
            if self._scalars_are_due() and not (self._queue and self._flush_waiting):
                return None, self._scalars[:SCALARS_PER_FILE]
            return (self._queue[0] if self._queue else None), []

    def _scalars_are_due(self) -> bool:
        is_wanted = self._flush_waiting or self._closing
        return bool(self._scalars) and (
            bool(is_wanted) or time.monotonic() - self._scalars_since >= TICK_S
        )

    def _wait_unless_flushed(self, pause_s: float) -> None:
        # New records do not shorten the pause, somebody who waits does: flush wants one more try.
        deadline = time.monotonic() + pause_s
        while not self._closing and not self._flush_waiting:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)
        self._changed.wait(FIRST_RETRY_S)

    def _write(self, record: Record | None, scalars: list[Scalar]) -> None:
        if record is not None:
            lost = self._sink.write(record)
            with self._changed:
                self._pop(record)
                self._count("texts_over_budget", lost.texts_lost, "text_budget_bytes is spent")
                self._count("prompts_over_budget", lost.prompts_lost, "text_budget_bytes is spent")
                self._changed.notify_all()
            return
        self._sink.write_scalars(self._segment, scalars)
        self._segment += 1
        self._scalars_are_done(len(scalars))

    def _scalars_are_done(self, number: int) -> None:
        with self._changed:
            del self._scalars[:number]
            self._scalars_since = time.monotonic()
            self._scalars_out += number
            self._changed.notify_all()

    def _on_failure(self, error: OSError, record: Record | None, failed_tries: int) -> None:
        with self._changed:
            self._failures += 1
            self.error = error
            self.warn("the run cannot be written; it is tried again", str(error))
            if record is not None and failed_tries >= TRIES_WITH_TEXT:
                self._count("texts", record.drop_text(), "the disk takes no more")
            self._changed.notify_all()

    def _on_poison(self, error: Exception, record: Record | None, scalars: list[Scalar]) -> None:
        """Give up what cannot be turned into rows: its text first, then all of it."""
        self.error = error
        reason = f"{type(error).__name__}: {error}"
        if record is None:
            self._count("scalars", len(scalars), reason)
            self._scalars_are_done(len(scalars))
            return
        with self._changed:
            lost = record.drop_text()
            if lost:
                self._count("texts", lost, reason)
                return
            self._count("generations", 1, reason)
            self._pop(record)
            self._changed.notify_all()

    def _pop(self, record: Record) -> None:
        self._done += 1
        if self._queue and self._queue[0] is record:  # else close() has emptied the queue
            self._queue.popleft()

    def _safely_tick(self, *, idle: bool) -> None:
        try:
            self._tick(idle)
        except OSError as error:
            self.warn("housekeeping of the run failed", str(error))
        except Exception as error:  # noqa: BLE001 - never stop the thread
            self.error = error
            self.warn("housekeeping of the run failed", f"{type(error).__name__}: {error}")


def yield_interpreter() -> None:
    """Let the training thread run: without it one stretch of Python could cost it 5 ms."""
    with contextlib.suppress(ValueError):
        time.sleep(0)
