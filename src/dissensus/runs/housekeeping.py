"""What a Recorder does beside its rows: heartbeat, the run's own files, background compaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.errors import InputError
from dissensus.runs import attempts, compaction, store
from dissensus.runs.arrow import encode
from dissensus.runs.attempts import Attempt
from dissensus.runs.records import Record
from dissensus.runs.schema import SCHEMAS, TABLES
from dissensus.runs.sink import Sink, Written
from dissensus.runs.views import VIEWS_SQL
from dissensus.runs.writer import Scalar, yield_interpreter

__all__ = ["BEAT_S", "Housekeeping", "write_run_files"]

BEAT_S = 2.0
"""Seconds between two heartbeats."""

LONGEST_GAP = 1_000_000
"""Generation numbers that a caller may skip at once."""


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
        before = attempt.first_generation - 1
        self._written = {"generations": before, "scalars": before}
        self._compacted = dict(self._written)
        self._sweep_at: float | None = None
        _import_everything(compacts=compact_every > 0)
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
        self._written["generations"] = max(self._written["generations"], record.generation)
        return written

    def write_scalars(self, segment: int, values: list[Scalar]) -> None:
        """Put scalars on disk as one file."""
        self._sink.write_scalars(segment, values)
        self._written["scalars"] = segment

    def tick(self, is_idle: bool) -> None:
        """Heartbeat and compaction, when they are due."""
        now = time.monotonic()
        if now - self._last_beat >= BEAT_S:
            self.beat("running")
        waiting = max(self._written[counter] - done for counter, done in self._compacted.items())
        if self._every and waiting >= self._every:
            self._compact()
        elif is_idle and self._sweep_at is not None and now >= self._sweep_at:
            self._sweep()

    def check_number(self, generation: int, next_generation: int) -> None:
        """Refuse a generation number that cannot be written any more, or that is out of reach.

        Raises:
            InputError: It belongs to an earlier attempt, was compacted, or skips a million numbers:
                compaction goes through all of them.
        """
        if generation >= next_generation + LONGEST_GAP:
            raise InputError(
                f"generation numbers may skip at most {LONGEST_GAP} at once",
                where="record(generation=…)",
                got=generation,
            )
        done = self._compacted["generations"]
        if generation <= done:
            raise InputError(
                f"generations up to {done} can no longer be replaced",
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
            "prompt_bytes": self._sink.prompt_bytes,
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
            if is_ours:
                self._sweep_at = time.monotonic() + compaction.GRACE_S
                self._compact_tables("generations", compaction.GENERATION_TABLES)
                self._compact_tables("scalars", ("scalars",))

    def _compact_tables(self, counter: str, tables: Sequence[str]) -> None:
        while self._written[counter] - self._compacted[counter] >= self._every:
            first = self._compacted[counter] + 1
            # Counted before it is done: from now on these numbers must not be recorded again, and a
            # stretch that cannot be compacted is left to the command instead of tried for ever.
            self._compacted[counter] += self._every
            compaction.compact_range(
                self._run_dir,
                self._attempt.attempt,
                self._sink.rank,
                first,
                first + self._every - 1,
                tables=tables,
                breathe=yield_interpreter,
            )

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


def _import_everything(*, compacts: bool) -> None:
    """Load now what the writer thread will need: an import holds the interpreter for up to 1 s.

    pyarrow imports pandas, where it is installed, at its first conversion.
    """
    pa.array([], pa.string())
    if compacts:
        import duckdb  # noqa: F401


def _is_older(path: Path) -> bool:
    try:
        metadata = pq.read_schema(path).metadata or {}
        version = int(metadata.get(b"dissensus_schema_version", b"0"))
    except (OSError, ValueError, pa.ArrowException):
        return True
    return version < int(SCHEMAS["groups"].metadata[b"dissensus_schema_version"])
