"""A run in sums, followed while it is written: what every view of the dashboard works on.

Sums of compacted parts come from their roll-ups. The groups of the rest are held as rows: a few
hundred generations at most while the Recorder compacts. What is new since the last look is added.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from dissensus.runs import Run
from dissensus.runs.database import connect
from dissensus.runs.follow import Pieces, pieces, rows_of, sums_of
from dissensus.runs.rollups import KINDS
from dissensus.runs.sums import prompt_outcomes_merged
from dissensus.views.queries import IS_TRAIN, Measures, rows
from dissensus.views.snapshot import PromptText, Snapshot

__all__ = ["ROLLED_MEASURES", "LiveSource", "rolled_buckets"]

_KINDS = ("generations", "outcomes", "prompt_outcomes", "heldout", "tops")
"""Tables there are; `visits` is read from the files, a prompt at a time."""

_REMEMBERED = 64

_COUNTS = (
    "groups", "rollouts", "unscored", "trained", "scored", "known", "unanimous", "all_wrong",
    "all_correct", "heard", "silent", "unheard_trained", "effective", "no_contrast",
)  # fmt: skip

#: Aggregates of rows of `generations`; `Measures` reads them.
ROLLED_MEASURES = (
    ", ".join(f"coalesce(sum({name}), 0)::BIGINT AS {name}" for name in _COUNTS)
    + """,
    coalesce(sum(contrast), 0) AS contrast,
    sum(std_sum) / nullif(sum(scored), 0) AS std_mean,
    sum(correct_sum) / nullif(sum(size_sum), 0) AS solve_rate,
    sum(reward_sum) / nullif(sum(size_sum), 0) AS reward_mean,
    sum(length_sum) / nullif(sum(length_rollouts), 0) AS length_mean,
    sum(truncated_sum) / nullif(sum(truncated_rollouts), 0) AS truncated_frac
"""
)

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
        self._connection = connect(memory_limit="640MB")
        self._lock = threading.RLock()
        self._held = Pieces({}, {}, {})
        self._loaded: dict[str, set[Path]] = {}
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
        with self._lock:
            words = set(re.findall(r"\w+", query))
            for kind in _KINDS:
                if kind in words and kind not in self._ready:
                    self.run.retrying(partial(self._prepare, kind))
            cursor = self._connection.cursor()
        return cursor.sql(query).to_arrow_table()

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
        nothing = rows_of([], {})
        self._connection.execute(f"CREATE OR REPLACE TABLE tail AS FROM ({nothing})")
        for kind in _KINDS:
            empty = KINDS[kind].format(source="tail")
            self._connection.execute(f"CREATE OR REPLACE TABLE base_{kind} AS FROM ({empty})")
        self._loaded = {kind: set() for kind in _KINDS}
        self._held = Pieces({}, {}, {})

    def _prepare(self, kind: str) -> None:
        """Make the table of one kind: sums of the parts, held, and sums of the rest, made anew."""
        if not all(path.exists() for path in self._held.parts):
            self._follow()  # compaction has replaced a part
        held, run = self._held, self._connection
        new = held.parts.keys() - self._loaded[kind]
        added = sums_of(self.run, kind, [held.parts[path] for path in sorted(new)], held.ends)
        if added is not None:
            if kind == "prompt_outcomes":
                both = f"(FROM base_{kind}) UNION ALL BY NAME {added}"
                run.execute(
                    f"CREATE OR REPLACE TABLE base_{kind} AS {prompt_outcomes_merged(both)}"
                )
            else:
                run.execute(f"INSERT INTO base_{kind} BY NAME FROM ({added})")
            self._loaded[kind] |= new
        rest = KINDS[kind].format(source="tail")
        run.execute(f"CREATE OR REPLACE TABLE rest_{kind} AS FROM ({rest})")
        run.execute(
            f"CREATE OR REPLACE VIEW {kind} AS FROM base_{kind} UNION ALL BY NAME FROM rest_{kind}"
        )
        self._ready.add(kind)

    # ---- numbers that several views show -----------------------------------------------------

    def measures(self) -> Measures:
        """Measures over all training groups."""
        query = f"SELECT {ROLLED_MEASURES} FROM generations WHERE {IS_TRAIN}"  # noqa: S608
        return self.remember("measures", lambda: Measures(rows(self, query)[0]))


def rolled_buckets(table: str, count: int, *, by: str = "step, generation") -> str:
    """`ordered_buckets` over a table of sums.

    Args:
        table: `generations` or `outcomes`.
        count: Largest number of buckets.
        by: What a stretch is made of.
    """
    return f"""(
        SELECT g.*, o.bucket FROM {table} AS g JOIN (
            SELECT {by}, ntile({int(count)}) OVER (ORDER BY {by}) AS bucket
            FROM (SELECT DISTINCT {by} FROM generations WHERE {IS_TRAIN})
        ) AS o USING ({by}) WHERE {IS_TRAIN})"""  # noqa: S608 — no outside text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
