"""A run in the sums its summary is made from, however large it is and whoever adds them up."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Iterable

import pyarrow as pa

from dissensus.runs import Run
from dissensus.runs.database import connect
from dissensus.runs.follow import rows_of
from dissensus.runs.rollups import KINDS
from dissensus.runs.shares import SHARED, Share, add_up_here, merged, plan_shares, shared_sql
from dissensus.views.snapshot import PromptText, Snapshot

__all__ = ["AddUp", "Summed"]

AddUp = Callable[[list[Share]], Iterable[dict[str, pa.Table]]]
"""Adds shares up, in any order: `add_up_here`, or one that has others do it."""

_MEMORY = "640MiB"
_LOOSE_ROWS = 2_000_000


class Summed:
    """The sums of a run at the moment this is made.

    No groups are held: of those there are a row per generation and outcome, and a row per prompt,
    which DuckDB puts on disk where they need more than 640 MiB.

    Args:
        run: The run.
        add_up: Adds its shares up.

    Raises:
        RunError: A file of the run cannot be read.
    """

    def __init__(self, run: Run, add_up: AddUp = add_up_here) -> None:
        self.run = run
        folder = tempfile.TemporaryDirectory(prefix="dissensus-")
        self._finalizer = weakref.finalize(self, folder.cleanup)
        self._connection = connect(memory_limit=_MEMORY, temp_directory=folder.name)
        self._loose = 0
        run.retrying(lambda: self._take(add_up(plan_shares(run))))

    def sql(self, query: str, /) -> pa.Table:
        """Run one query over the tables of `runs.shares.SHARED`."""
        return self._connection.sql(query).to_arrow_table()

    def prompt_texts(self, ids: Iterable[str | None], limit: int) -> dict[str, PromptText]:
        """Look up prompts and their reference answers, as `Snapshot.prompt_texts` does."""
        return Snapshot.texts_of(self.run, ids, limit)

    def _take(self, pieces: Iterable[dict[str, pa.Table]]) -> None:
        nothing = f"({rows_of([], {})})"
        for name, query in shared_sql(lambda kind: KINDS[kind].format(source=nothing)).items():
            self._connection.execute(f"CREATE OR REPLACE TABLE {name} AS {query}")
        self._loose = 0
        for tables in pieces:
            for name, rows in tables.items():
                self._connection.register("new_rows", rows)
                self._connection.execute(f"INSERT INTO {name} BY NAME FROM new_rows")
                self._connection.unregister("new_rows")
                self._loose += rows.num_rows if name == "prompt_totals" else 0
            if self._loose > _LOOSE_ROWS:
                self._merge("prompt_totals")
        for name in SHARED:
            self._merge(name)

    def _merge(self, name: str) -> None:
        self._connection.execute(f"CREATE OR REPLACE TABLE {name} AS {merged(name, name)}")
        self._loose = 0
