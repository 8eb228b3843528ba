"""Run: reads a run, also while it is being written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from dissensus.errors import InputError, RunError
from dissensus.runs import attempts, rollups, store
from dissensus.runs.attempts import Attempt
from dissensus.runs.database import connect
from dissensus.runs.scan import (
    check_columns,
    conditions,
    holds_any,
    is_sound,
    live,
    quote,
    quoted,
    read_parquet,
    scan,
)
from dissensus.runs.schema import TABLES
from dissensus.runs.store import Segment
from dissensus.runs.totals import Total, find_total
from dissensus.runs.views import derived_views, prompts_from_sums, steps_from_sums

__all__ = ["Run"]

_TRIES = 8
_VIEW_TABLES = {
    **{table: table for table in TABLES},
    "steps": "groups",
    "by_prompt": "groups",
}

Value = TypeVar("Value")


class Run:
    """A run on disk. Every method reads what is there now: call again to follow a live run.

    All tables hold live rows only: rows of an attempt that a later attempt has superseded do not
    count. They come as Arrow tables (`.to_pandas()`, `polars.from_arrow(…)`).

    Args:
        path: Folder of the run.
        on_unreadable: "raise", or "skip" to go on without files that cannot be read; they are then
            listed in `unreadable`.

    Raises:
        RunError: The folder is absent or not a run, or one of its files cannot be read.

    Example:
        >>> import tempfile
        >>> from dissensus.runs import Recorder
        >>> folder = tempfile.mkdtemp()
        >>> with Recorder(folder) as recorder:
        ...     _ = recorder.record(
        ...         step=0, group_ids=[1, 1], prompt_ids=[5, 5], rewards=[1.0, 0.0]
        ...     )
        >>> Run(folder).groups(columns=["prompt_id", "size", "std"]).to_pylist()
        [{'prompt_id': '5', 'size': 2, 'std': 0.5}]
    """

    def __init__(self, path: str | os.PathLike[str], *, on_unreadable: str = "raise") -> None:
        if on_unreadable not in ("raise", "skip"):
            raise InputError('on_unreadable must be "raise" or "skip"', got=on_unreadable)
        self.path = Path(path).absolute()
        self.unreadable: tuple[str, ...] = ()
        self._skips = on_unreadable == "skip"
        self._broken_rollups: set[Path] = set()
        self._connection: Any = None
        attempts.read_info(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_connection": None}  # another process opens its own

    # ---- about the run -----------------------------------------------------------------------

    @property
    def info(self) -> dict[str, Any]:
        """run.json, and from the last heartbeats: state, step, dropped (summed over ranks)."""
        beats = attempts.read_heartbeats(self.path)
        dropped: dict[str, int] = {}
        for beat in beats.values():
            counts = beat.get("dropped")
            for name, number in counts.items() if isinstance(counts, dict) else ():
                if isinstance(number, int):
                    dropped[name] = dropped.get(name, 0) + number
        step = beats.get(0, {}).get("step")
        return {
            **attempts.read_info(self.path),
            "state": self.state,
            "step": step,
            "dropped": dropped,
        }

    @property
    def attempts(self) -> list[Attempt]:
        """Every start of the training process, in order."""
        return attempts.read_attempts(self.path)

    @property
    def state(self) -> str:
        """One of "running", "finished", "died"."""
        return attempts.run_state(self.path)

    @property
    def version(self) -> str:
        """A short text that changes when groups are added or superseded; it costs one listing.

        Compaction may change it too, although the rows stay the same.
        """
        spans: dict[tuple[int, int], list[int]] = {}
        for segment in store.list_segments(self.path, "groups"):
            span = spans.setdefault(segment[1:3], [segment.first, segment.last])
            span[1] = max(span[1], segment.last)
        ends = attempts.end_steps(self.attempts)
        known = sorted((*key, *span) for key, span in spans.items())
        return blake2b(repr((known, sorted(ends.items()))).encode(), digest_size=8).hexdigest()

    # ---- tables ------------------------------------------------------------------------------

    def groups(
        self,
        columns: Sequence[str] | None = None,
        split: str | None = None,
        generation: int | None = None,
    ) -> pa.Table:
        """One row per group, in the order of recording.

        Args:
            columns: Names to read; None: all.
            split: Only this split.
            generation: Only this generation; quick in a run of any length.
        """
        wanted = None if generation is None else {int(generation)}
        where = conditions(split=split, generation=generation)
        return self._select("groups", columns, where, wanted=wanted)

    def rollouts(
        self,
        step: int | None = None,
        generation: int | None = None,
        group_id: int | str | None = None,
        columns: Sequence[str] | None = None,
        split: str | None = None,
    ) -> pa.Table:
        """One row per rollout, ordered by generation and row.

        Args:
            step: Only this optimiser step.
            generation: Only this generation.
            group_id: Only this group.
            columns: Names to read; None: all. Leave out `completion` where text is not needed.
            split: Only this split.
        """
        where = conditions(step=step, generation=generation, group_id=group_id, split=split)
        wanted = None
        if generation is not None:
            wanted = {int(generation)}
        elif step is not None or group_id is not None:
            wanted = self._generations(where)
        return self._select("rollouts", columns, where, order="generation, row", wanted=wanted)

    def prompts(self) -> pa.Table:
        """One row per prompt: prompt_id, prompt, reference, and where it was first seen."""
        return self.retrying(
            lambda: self._query("FROM prompts ORDER BY generation, prompt_id", ["prompts"])
        )

    def scalars(self, name: str | None = None, split: str | None = None) -> pa.Table:
        """One row per scalar: step, split, name, value, time_s."""
        return self._select("scalars", None, conditions(name=name, split=split), order="segment")

    def steps(self, split: str | None = None) -> pa.Table:
        """One row per step and split: counts, fractions and means over its groups.

        Compacted parts come from their roll-ups, the rest from `groups`.
        """
        return self._rolled_up("steps", steps_from_sums, split)

    def by_prompt(self, split: str | None = None) -> pa.Table:
        """One row per prompt and split: how often it was drawn, solved, unanimous."""
        return self._rolled_up("by_prompt", prompts_from_sums, split)

    def sql(self, query: str) -> pa.Table:
        """Run a DuckDB query over the views groups, rollouts, prompts, scalars, steps, by_prompt.

        Example:
            >>> import tempfile
            >>> from dissensus.runs import Recorder
            >>> folder = tempfile.mkdtemp()
            >>> Recorder(folder).close()
            >>> Run(folder).sql("SELECT count(*) AS n FROM groups").to_pylist()
            [{'n': 0}]

        Raises:
            InputError: DuckDB refuses the query.
        """
        words = set(re.findall(r"\w+", query.lower()))
        names = [name for name in _VIEW_TABLES if name in words]
        if "attempts" in words:
            names.append("attempts")
        return self.retrying(lambda: self._query(query, names))

    # ---- private: queries --------------------------------------------------------------------

    def _select(
        self,
        table: str,
        columns: Sequence[str] | None,
        where: Sequence[str],
        *,
        order: str | None = None,
        wanted: set[int] | None = None,
    ) -> pa.Table:
        picked = quoted(check_columns(table, columns))

        def read() -> pa.Table:
            ends = attempts.end_steps(self.attempts)
            segments = self._segments(table, ends, wanted)
            query = f"SELECT {picked} FROM ({scan(table, segments, ends)})"  # noqa: S608
            if where:
                query += f" WHERE {' AND '.join(where)}"
            # Files come in the order of their numbers, so only rows of several ranks need sorting.
            if order and len({segment.rank for segment in segments}) > 1:
                query += f" ORDER BY {order}"
            return self._execute(query)

        return self.retrying(read)

    def _generations(self, where: Sequence[str]) -> set[int] | None:
        """Generations that can hold the rows, looked up in groups, which is small."""
        known = self._select("groups", ["generation", "step", "group_id", "split"], [])
        if not known.num_rows:
            return None
        connection = self._cursor()
        connection.register("known", known)
        found = connection.execute(
            f"SELECT DISTINCT generation FROM known WHERE {' AND '.join(where)}"  # noqa: S608
        ).fetchall()
        newest = connection.execute("SELECT max(generation) FROM known").fetchone()[0]
        # Rollouts come to disk before their groups: keep what is newer than all known groups.
        return {row[0] for row in found} | {-1 - newest}

    def _rolled_up(self, kind: str, merge: Callable[[str], str], split: str | None) -> pa.Table:
        def read() -> pa.Table:
            ends = attempts.end_steps(self.attempts)
            cached: dict[Path, int | None] = {}
            direct = []
            for segment in self._segments("groups", ends):
                path, end = self.rollup(kind, segment, ends), ends[segment.attempt]
                if path is None:
                    direct.append(segment)
                else:
                    cached[path] = end
            rows = scan("groups", direct, ends)
            pieces = [rollups.KINDS[kind].format(source=f"({rows})")]
            for end in set(cached.values()):
                files = [path for path, its_end in cached.items() if its_end == end]
                is_cut = end is not None and kind in rollups.CUT_BY_STEP
                keep = f" WHERE {live('groups', end)}" if is_cut else ""
                pieces.append(f"SELECT * FROM {read_parquet(files)}{keep}")  # noqa: S608
            condition = "" if split is None else f" WHERE split = {quote(split)}"
            merged = merge(" UNION ALL BY NAME ".join(f"({piece})" for piece in pieces))
            return self._execute(f"SELECT * FROM ({merged}){condition}")  # noqa: S608

        return self.retrying(read)

    def _query(self, query: str, names: Iterable[str]) -> pa.Table:
        """Run a query over temporary views, made anew: the files change while a run is live."""
        connection = self._cursor()
        tables = {_VIEW_TABLES[name] for name in names if name in _VIEW_TABLES}
        for table in sorted(tables):
            name = "prompt_sightings" if table == "prompts" else table
            ends = attempts.end_steps(self.attempts)
            rows = scan(table, self._segments(table, ends), ends)
            self._create_view(connection, name, rows)
        views = derived_views(lambda table: "prompt_sightings" if table == "prompts" else table)
        for name in names:
            if name in views:
                self._create_view(connection, name, views[name])
        if "attempts" in names:
            connection.register("attempts", self._attempt_table())
        return self._execute(query, connection)

    @staticmethod
    def _create_view(connection: Any, name: str, sql: str) -> None:
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {sql}")

    def _attempt_table(self) -> pa.Table:
        known = self.attempts
        ends = attempts.end_steps(known)
        return pa.table(
            {
                "attempt": pa.array([a.attempt for a in known], pa.int64()),
                "start_step": pa.array([a.start_step for a in known], pa.int64()),
                "first_generation": pa.array([a.first_generation for a in known], pa.int64()),
                "started_s": pa.array([a.started_s for a in known], pa.float64()),
                "end_step": pa.array([ends[a.attempt] for a in known], pa.int64()),
            }
        )

    def segments(self, ends: dict[int, int | None]) -> list[Segment]:
        """Files of `groups` that can hold live rows, for a follower of the run."""
        return self._segments("groups", ends)

    def rollup(self, kind: str, segment: Segment, ends: dict[int, int | None]) -> Path | None:
        """The roll-up to take in place of a segment; `None`: the segment itself."""
        path, end = rollups.find(self.path, kind, segment), ends[segment.attempt]
        if path is None or path in self._broken_rollups:
            return None
        return path if rollups.is_usable(kind, path, end) else None

    def total(self, attempt: int, end: int | None) -> Total | None:
        """The total per prompt of an attempt that is cut at `end`, where it can be used."""
        found = find_total(self.path, attempt)
        if found is None or found.path in self._broken_rollups:
            return None
        return found if rollups.is_usable("prompt_outcomes", found.path, end) else None

    def _segments(
        self, table: str, ends: dict[int, int | None], wanted: set[int] | None = None
    ) -> list[Segment]:
        """Segments that can hold live rows."""
        return [
            segment
            for segment in store.list_live(self.path, table)
            if segment.attempt in ends
            and str(segment.path) not in self.unreadable
            and (wanted is None or holds_any(segment, wanted))
        ]

    # ---- private: DuckDB ---------------------------------------------------------------------

    def _cursor(self) -> Any:
        if self._connection is None:
            self._connection = connect()
        return self._connection.cursor()

    def _execute(self, query: str, connection: Any = None) -> pa.Table:
        cursor = connection if connection is not None else self._cursor()
        relation = cursor.sql(query)
        if relation is None:
            raise InputError("the query must give rows", where="Run.sql", got=query)
        return relation.to_arrow_table()

    def retrying(self, read: Callable[[], Value]) -> Value:
        """Read; list again where compaction has removed a file, leave out or name a broken one.

        Args:
            read: Lists and reads; it is called again where files have disappeared.
        """
        import duckdb

        of_the_query = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
        for _ in range(_TRIES):
            try:
                return read()
            except of_the_query as error:
                raise _refused(error) from error
            except duckdb.Error as error:
                # A file that is gone was compacted between listing and reading.
                if not _is_about_missing_file(error) and not self._leave_out_broken(error):
                    raise _refused(error) from error
        raise RunError(f"files kept disappearing in {_TRIES} readings", where=str(self.path))

    def _leave_out_broken(self, error: Exception) -> bool:
        caches = set((self.path / "rollups").glob("*/*/*.parquet")) - self._broken_rollups
        broken_caches = {path for path in caches if not is_sound(path)}
        if broken_caches:  # nothing is lost: the parts have all that is in them
            self._broken_rollups |= broken_caches
            return True
        broken = [
            str(segment.path)
            for table in TABLES
            for segment in store.list_live(self.path, table)
            if str(segment.path) not in self.unreadable and not is_sound(segment.path)
        ]
        if not broken:
            return False
        if not self._skips:
            raise RunError(
                "the file cannot be read",
                where=broken[0],
                got=str(error).splitlines()[0],
                hint='Run(path, on_unreadable="skip") goes on without it',
            ) from error
        self.unreadable = (*self.unreadable, *broken)
        return True


def _is_about_missing_file(error: Exception) -> bool:
    text = str(error)
    return any(not Path(name).exists() for name in re.findall(r'"([^"]+\.parquet)"', text))


def _refused(error: Exception) -> InputError:
    return InputError("DuckDB refuses the query", got=str(error).splitlines()[0])
