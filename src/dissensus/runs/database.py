"""Connections to DuckDB, the engine that reads the files of a run."""

from __future__ import annotations

from typing import Any

__all__ = ["connect"]


def connect(**config: Any) -> Any:
    """A new database in memory that writes nothing to the terminal.

    Names in a query are tables and views, never variables of ours.

    Args:
        **config: Settings of DuckDB, such as `threads` or `memory_limit`.
    """
    import duckdb  # takes a tenth of a second: only for those who query

    connection = duckdb.connect(":memory:", config={"python_enable_replacements": False, **config})
    connection.execute("SET enable_progress_bar=false")  # it would go to standard output
    return connection
