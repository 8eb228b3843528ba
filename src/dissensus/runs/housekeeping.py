"""What a Recorder does beside its rows: heartbeat, the run's own files, background compaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dissensus.errors import InputError
from dissensus.runs import attempts, compaction, store
from dissensus.runs.attempts import Attempt
from dissensus.runs.records import Record
from dissensus.runs.schema import SCHEMAS, TABLES
from dissensus.runs.arrow import encode
from dissensus.runs.sink import Sink, Written
from dissensus.runs.views import VIEWS_SQL
from dissensus.runs.writer import Scalar, yield_interpreter

__all__ = ["BEAT_S", "Housekeeping", "write_run_files"]

BEAT_S = 2.0
"""Seconds between two heartbeats."""


class Housekeeping:
    """Stands between the writer thread and the sink, in the writer thread.

    Args:
        run_dir: Folder of the run.
        attempt: The attempt that is being recorded.
        sink: Writes generations.
        compact_every: Generations per part; 0: no compaction.
        counts: What the Recorder has dropped, and its next generation.
    """

    def __init__(
        self,
        run_dir: Path,
        attempt: Attempt,
        sink: Sink,
        *,
        compact_every: int,
        counts: Callable[[], dict[str, Any]],
    ) -> None:
        self._run_dir, self._attempt, self._sink, self._counts = run_dir, attempt, sink, counts
        self._every = compact_every
        self._identity = attempts.process_identity()
        self._generations = self._rollouts = 0
        self._step: int | None = None
        self._last_beat = -BEAT_S
        self._compacted_to = attempt.first_generation - 1
        self._scalars_compacted_to = attempt.first_generation - 1
        self._last_written = self._last_segment = attempt.first_generation - 1
        self._sweep_at: float | None = None
        if sink.rank == 0:
            write_run_files(run_dir)
            self.beat("running")

    # ---- for the writer thread ---------------------------------------------------------------

    def write(self, record: Record) -> Written:
        """Put one generation on disk, and the run's own files where somebody removed them."""
        if not (self._run_dir / "run.json").exists():
            self._restore()
        written = self._sink.write(record)
        self._generations += 1
        self._rollouts += record.n_local
        self._step = record.step
        self._last_written = max(self._last_written, record.generation)
        return written

    def write_scalars(self, segment: int, values: list[Scalar]) -> None:
        """Put scalars on disk as one file."""
        self._sink.write_scalars(segment, values)
        self._last_segment = segment

    def tick(self, is_idle: bool) -> None:
        """Heartbeat and compaction, when they are due."""
        now = time.monotonic()
        if now - self._last_beat >= BEAT_S:
            self.beat("running")
        written = self._last_written - self._compacted_to
        segments = self._last_segment - self._scalars_compacted_to
        if self._every and max(written, segments) >= self._every:
            self._compact()
        elif is_idle and self._sweep_at is not None and now >= self._sweep_at:
            self._sweep()

    def check_number(self, generation: int) -> None:
        """Refuse a generation number that cannot be written any more.

        Raises:
            InputError: It belongs to an earlier attempt, or was compacted.
        """
        if generation <= self._compacted_to:
            raise InputError(
                f"generations up to {self._compacted_to} can no longer be replaced",
                where="record(generation=…)",
                got=generation,
            )

    def beat(self, state: str) -> None:
        """Write the heartbeat of this rank."""
        self._last_beat = time.monotonic()
        value = {
            "state": state,
            "attempt": self._attempt.attempt,
            "rank": self._sink.rank,
            **self._identity,
            "time_s": time.time(),
            "step": self._step,
            "generations": self._generations,
            "rollouts": self._rollouts,
            "text_bytes": self._sink.text_bytes,
            "reward_values": self._sink.correctness.values,
            **self._counts(),
        }
        path = attempts.heartbeat_path(self._run_dir, self._sink.rank)
        store.commit_json(path, value, sync=state != "running")

    def end(self, state: str) -> None:
        """Say how it ended, in the heartbeat and in the attempt."""
        self._sweep()
        self.beat(state)
        if self._sink.rank == 0:
            self._attempt = attempts.update_attempt(
                self._run_dir,
                self._attempt,
                {"state": state, "ended_s": time.time(), **self._counts()},
            )

    # ---- private -----------------------------------------------------------------------------

    def _restore(self) -> None:
        attempts.restore(self._run_dir, self._attempt)
        write_run_files(self._run_dir)

    def _compact(self) -> None:
        with compaction.compacting(self._run_dir, wait=False) as is_ours:
            if not is_ours:
                return
            self._compacted_to = self._compact_to(
                self._last_written, self._compacted_to, compaction.GENERATION_TABLES
            )
            self._scalars_compacted_to = self._compact_to(
                self._last_segment, self._scalars_compacted_to, ("scalars",)
            )
        self._sweep_at = time.monotonic() + compaction.GRACE_S

    def _compact_to(self, written: int, done: int, tables: Sequence[str]) -> int:
        attempt, rank = self._attempt.attempt, self._sink.rank
        while written - done >= self._every:
            # Before the part is there: from now on its generations must not be recorded again.
            if tables == compaction.GENERATION_TABLES:
                self._compacted_to = done + self._every
            compaction.compact_range(
                self._run_dir,
                attempt,
                rank,
                done + 1,
                done + self._every,
                tables=tables,
                breathe=yield_interpreter,
            )
            done += self._every
        return done

    def _sweep(self) -> None:
        if self._sweep_at is not None:
            compaction.remove_covered(self._run_dir, self._attempt.attempt, self._sink.rank)
            self._sweep_at = None


def write_run_files(run_dir: Path) -> None:
    """Write views.sql and one empty file per table, so that the views work from the start.

    The empty file also gives every column of this version its type, whatever the others hold.
    """
    store.commit_bytes(run_dir / "views.sql", VIEWS_SQL.encode())
    for table in TABLES:
        path = run_dir / table / "attempt=0" / "rank=0" / "schema.parquet"
        if not path.exists() or _is_older(path):
            store.commit_bytes(path, encode(SCHEMAS[table].empty_table()))


def _is_older(path: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
        version = int(metadata.get(b"dissensus_schema_version", b"0"))
    except (OSError, ValueError, pa.ArrowException):
        return True
    return version < int(SCHEMAS["groups"].metadata[b"dissensus_schema_version"])
