"""A run in sums, followed while it is written: what every view of the dashboard works on.

Sums of compacted parts come from their roll-ups. The groups of the rest are held as rows: a few
hundred generations at most while the Recorder compacts. What is new since the last look is added.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from dissensus.runs import Run
from dissensus.runs.database import connect
from dissensus.runs.follow import Pieces, pieces, rows_of, sums_of, totals_of
from dissensus.runs.rollups import KINDS
from dissensus.runs.store import Segment
from dissensus.runs.sums import prompt_outcomes_merged
from dissensus.views.queries import IS_TRAIN, MEASURES, Measures, rows
from dissensus.views.snapshot import PromptText, Snapshot

__all__ = ["LiveSource"]

_KINDS = ("generations", "outcomes", "prompt_outcomes", "heldout", "tops")
"""Tables there are; `visits` is read from the files, a prompt at a time."""

_REMEMBERED = 64
_THREADS = 8
"""Of each open run: a server of many cores has other work, and other runs are open."""

_PARTS_AT_A_TIME = 4
"""Parts whose prompts are added up at a time: more would take more memory, not less time."""

_VISIT = """generation, step, split, round, group_id, rollouts, size, mean, std, correct,
    unanimous, silent, trained, contrast, push, length_mean, truncated"""

Value = TypeVar("Value")


class _Entry:
    """Something that is made once, by whoever asks first."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.is_made = False
        self.value: Any = None


class LiveSource:
    """The live rows of a run in tables of sums.

    Tables are generations, outcomes, prompt_outcomes, heldout and tops.
    Safe to share among threads. It shows the run as of the last `refresh`.

    Args:
        run: The run.

    Raises:
        RunError: A file of the run cannot be read.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.version = ""
        # What does not fit is put here for a while; DuckDB itself would take the working folder.
        spilled = tempfile.mkdtemp(prefix="dissensus-")
        weakref.finalize(self, shutil.rmtree, spilled, ignore_errors=True)
        self._connection = connect(
            memory_limit="640MB", temp_directory=spilled, threads=min(_THREADS, os.cpu_count() or 1)
        )
        # A view of one prompt looks at the footers of all parts, again and again.
        self._connection.execute("SET parquet_metadata_cache = true")
        self._lock = threading.RLock()
        self._held = Pieces({}, {}, {})
        self._bases: dict[str, tuple[str, frozenset[Path]]] = {}
        self._tables: dict[str, set[str]] = {}
        self._numbers = itertools.count()
        self._ready: set[str] = set()
        self._remembered: dict[Any, _Entry] = {}
        self._lasting: dict[Any, _Entry] = {}
        self.refresh()

    def refresh(self) -> str:
        """Take in what has been written since, and return the version of it."""
        with self._lock:
            version = self.run.version
            if version != self.version:
                self.run.retrying(self._follow)
                self.version = version
            return self.version

    def sql(self, query: str, /) -> pa.Table:
        """Run one query over the tables of sums."""
        import duckdb

        while True:
            with self._lock:
                words = set(re.findall(r"\w+", query))
                for kind in _KINDS:
                    if kind in words and kind not in self._ready:
                        self.run.retrying(partial(self._prepare, kind))
                cursor, numbers = self._connection.cursor(), repr(self._tables)
            try:
                return cursor.sql(query).to_arrow_table()
            except duckdb.CatalogException:
                if numbers == repr(self._tables):
                    raise  # else the tables it read were replaced amid it

    def sql_over(self, table: pa.Table, query: str) -> pa.Table:
        """Run one query over a table at hand, as `given`."""
        cursor = self._connection.cursor()
        cursor.register("given", table)
        return cursor.sql(query).to_arrow_table()

    def remember(self, key: Any, make: Callable[[], Value], *, lasting: bool = False) -> Value:
        """What `make` gives, made once for each version of the run.

        Args:
            key: What it is.
            make: Makes it.
            lasting: It stays right when the run grows.
        """
        with self._lock:
            held = self._lasting if lasting else self._remembered
            if len(held) >= _REMEMBERED:
                held.clear()
            entry = held.setdefault(key, _Entry())
        with entry.lock:
            if not entry.is_made:
                entry.value, entry.is_made = make(), True
        found: Value = entry.value
        return found

    def visits(self, prompt_id: str) -> pa.Table:
        """The groups of one prompt, in the order of their generations."""
        return self.run.retrying(partial(self._visits, prompt_id))

    def groups(self, generation: int) -> pa.Table:
        """The groups of one generation."""
        return self.run.groups(generation=generation)

    def prompt_texts(self, ids: Iterable[str | None], limit: int) -> dict[str, PromptText]:
        """Look up prompts and their reference answers, as `Snapshot.prompt_texts` does."""
        return Snapshot.texts_of(self.run, ids, limit)

    @property
    def heldout(self) -> Snapshot:
        """The groups that evaluate, as a source of their own."""
        return self.remember("heldout", lambda: Snapshot.of(self.run, self.sql("FROM heldout")))

    # ---- private -----------------------------------------------------------------------------

    def _visits(self, prompt_id: str) -> pa.Table:
        import duckdb

        condition = f"prompt_id = {_quoted(prompt_id)}"
        with self._lock:
            cursor = self._connection.cursor()
        parts = self.remember("visits", self._visits_of_parts)
        query = f"SELECT {_VISIT} FROM tail WHERE {condition}"  # noqa: S608
        if parts is not None:
            query += f" UNION ALL SELECT {_VISIT} FROM ({parts}) WHERE {condition}"  # noqa: S608
        try:
            return cursor.sql(f"{query} ORDER BY generation").to_arrow_table()
        except duckdb.Error:
            with self._lock:  # compaction has replaced a part, or its roll-up
                self._follow()
            raise

    def _visits_of_parts(self) -> str | None:
        with self._lock:
            held = self._held
        return sums_of(self.run, "visits", held.parts.values(), held.ends)

    def _follow(self) -> None:
        found = pieces(self.run)
        held = self._held
        is_cut = any(found.ends.get(attempt) != end for attempt, end in held.ends.items())
        if is_cut or not held.ends or not held.parts.keys() <= found.parts.keys():
            self._start()
            held = self._held
        for path in held.segments.keys() - found.segments.keys():
            _, attempt, _, first, last, _ = held.segments[path]
            self._connection.execute(
                "DELETE FROM tail WHERE attempt = ? AND generation BETWEEN ? AND ?",
                [attempt, first, last],
            )
        new = [segment for path, segment in found.segments.items() if path not in held.segments]
        if new:
            self._connection.execute(f"INSERT INTO tail FROM ({rows_of(new, found.ends)})")
        self._held = found
        self._ready = set()
        self._remembered = {}

    def _start(self) -> None:
        """Begin anew; the tables of sums stay what they are until they are asked for again."""
        self._connection.execute(f"CREATE OR REPLACE TABLE tail AS FROM ({rows_of([], {})})")
        self._bases = {}
        self._held = Pieces({}, {}, {})

    def _prepare(self, kind: str) -> None:
        """Make the table of one kind: sums of the parts, held, and sums of the rest, made anew.

        It is a view that is laid over new tables at the end: a query that runs meanwhile sees the
        sums as they were or as they are, and never a piece of them.
        """
        left_out = self.run.unreadable
        if not all(path.exists() and str(path) not in left_out for path in self._held.parts):
            self._follow()  # compaction has replaced a part, or it turned out to be broken
        base, loaded = self._bases.get(kind, ("", frozenset()))
        new = [self._held.parts[path] for path in sorted(self._held.parts.keys() - loaded)]
        of_tail = KINDS[kind].format(source="tail")
        if new or not base:
            base = self._grown(kind, base, new, of_tail)
        rest = self._table(kind, of_tail)
        both = f"FROM {base} UNION ALL BY NAME FROM {rest}"
        self._connection.execute(f"CREATE OR REPLACE VIEW {kind} AS {both}")
        self._bases[kind] = base, loaded | {part.path for part in new}
        for name in self._tables[kind] - {base, rest}:
            self._connection.execute(f"DROP TABLE {name}")
        self._tables[kind] = {base, rest}
        self._ready.add(kind)

    def _grown(self, kind: str, base: str, new: list[Segment], nothing: str) -> str:
        """A table of what another one holds and of the sums of some parts."""
        ends = self._held.ends
        held = f"(FROM {base})" if base else f"(SELECT * FROM ({nothing}) WHERE false)"  # noqa: S608
        if kind != "prompt_outcomes":
            added = sums_of(self.run, kind, new, ends)
            return self._table(kind, held if added is None else f"{held} UNION ALL BY NAME {added}")
        # A prompt comes back in every part: what is held must not grow with the parts.
        totals, new = totals_of(self.run, new, ends)
        base = self._table(kind, held if totals is None else f"{held} UNION ALL BY NAME {totals}")
        for first in range(0, len(new), _PARTS_AT_A_TIME):
            added = sums_of(self.run, kind, new[first : first + _PARTS_AT_A_TIME], ends)
            both = f"(FROM {base}) UNION ALL BY NAME {added}"
            base = self._table(kind, prompt_outcomes_merged(both))
        return base

    def _table(self, kind: str, query: str) -> str:
        """Make a table of a query, under a name of its own."""
        name = f"{kind}_{next(self._numbers)}"
        self._connection.execute(f"CREATE TABLE {name} AS {query}")
        self._tables.setdefault(kind, set()).add(name)
        return name

    # ---- numbers that several views show -----------------------------------------------------

    def measures(self) -> Measures:
        """Measures over all training groups."""
        query = f"SELECT {MEASURES} FROM generations WHERE {IS_TRAIN}"  # noqa: S608
        return self.remember("measures", lambda: Measures(rows(self, query)[0]))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
