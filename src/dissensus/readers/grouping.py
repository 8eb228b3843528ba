"""Group identity of a log that has none, reconstructed from prompts and the order of rows."""

from __future__ import annotations

from typing import Any, NamedTuple

from dissensus.readers.base import Grouping

__all__ = ["Regrouped", "note_on_reuse", "regroup"]

_STRETCH = "step, generation, split, round"


class Regrouped(NamedTuple):
    """What reconstruction found.

    Attributes:
        grouping: The grouping, in words that say what the rows look like.
        notes: What does not fit: equal prompts in one step, sizes that vary.
    """

    grouping: Grouping
    notes: list[str]


def regroup(connection: Any, grouping: Grouping) -> Regrouped:
    """Make the table `assigned` (line, group_id) from the table `numbers`.

    `numbers` has the rows in file order: line, file_index, step, generation, split, round and
    prompt_id.

    Args:
        connection: DuckDB connection with `numbers`.
        grouping: How group identity is known.
    """
    if grouping.kind == "size":
        size = int(grouping.size or 1)
        blocks = f"""SELECT line, dense_rank() OVER (ORDER BY file_index, {_STRETCH}) AS part,
            (row_number() OVER (
                PARTITION BY file_index, {_STRETCH} ORDER BY line) - 1) // {size}
            AS block FROM numbers"""  # noqa: S608
        connection.execute(
            f"""CREATE OR REPLACE TEMP TABLE assigned AS
            SELECT line, concat_ws('/', part, block) AS group_id FROM ({blocks})"""  # noqa: S608
        )
        return Regrouped(grouping, _notes_on_sizes(connection))
    if grouping.kind == "consecutive":
        part = f"""SELECT line, generation, prompt_id,
            sum(fresh) OVER (ORDER BY line) AS part FROM (
            SELECT *, CASE WHEN row(file_index, {_STRETCH}, prompt_id) IS DISTINCT FROM
                lag(row(file_index, {_STRETCH}, prompt_id)) OVER (ORDER BY line)
                THEN 1 ELSE 0 END AS fresh FROM numbers)"""  # noqa: S608
    else:
        part = f"""SELECT line, generation, prompt_id,
            dense_rank() OVER (ORDER BY {_STRETCH}, prompt_id) AS part FROM numbers"""  # noqa: S608
    connection.execute(f"CREATE OR REPLACE TEMP TABLE parts AS {part}")
    sizes = "SELECT part, count(*) AS n FROM parts GROUP BY part"
    most = connection.execute(
        f"SELECT n FROM ({sizes}) GROUP BY n ORDER BY count(*) DESC, n LIMIT 1"  # noqa: S608
    ).fetchone()
    usual = int(grouping.size or (most[0] if most else 1))  # no row is left of a damaged log
    several = f"n > {usual} AND n % {usual} = 0" if usual > 1 else "false"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE assigned AS SELECT line,
            CASE WHEN {several}
                THEN concat_ws('/', generation, part, (nth - 1) // {usual})
                ELSE concat_ws('/', generation, part) END AS group_id
        FROM (SELECT *, count(*) OVER (PARTITION BY part) AS n,
            row_number() OVER (PARTITION BY part ORDER BY line) AS nth FROM parts)"""  # noqa: S608
    )
    repeated = connection.execute(
        f"SELECT count(*) FROM ({sizes}) WHERE {several}"  # noqa: S608
    ).fetchone()[0]
    notes = _notes_on_sizes(connection)
    if repeated:
        where = "in a row" if grouping.kind == "consecutive" else "in one step"
        notes.insert(
            0,
            f"{repeated} {'prompt appears' if repeated == 1 else 'prompts appear'} more than once "
            f"{where}: such rows were cut into groups of {usual} in file order",
        )
    connection.execute("DROP TABLE parts")
    return Regrouped(grouping, notes)


def note_on_reuse(connection: Any, rows: str, sizes: str) -> str:
    """What speaks against the group ids of a log without steps; "" where nothing does.

    Without a step, an id that is used again later cannot be told from the first use of it.

    Args:
        connection: DuckDB connection.
        rows: SQL of file_index and group_id of every rollout, in file order.
        sizes: SQL of a table with the number of rollouts of each group.
    """
    key = "row(file_index, group_id)"
    apart = connection.execute(
        f"""SELECT count(*) FROM (SELECT key FROM (
            SELECT {key} AS key, lag({key}) OVER () AS before FROM ({rows}))
            WHERE key IS DISTINCT FROM before GROUP BY key HAVING count(*) > 1)"""  # noqa: S608
    ).fetchone()[0]
    usual, large, total = connection.execute(
        f"""SELECT any_value(m), count(*) FILTER (n >= 2 * m), count(*) FROM (
            SELECT n, mode(n) OVER () AS m FROM (SELECT rollouts AS n FROM {sizes}))"""  # noqa: S608
    ).fetchone()
    found = []
    if apart:
        found.append(f"{apart} of {total} group ids come again after rows of other groups")
    if large:
        found.append(f"{large} of {total} groups have at least twice the usual {usual} rows")
    if not found:
        return ""
    return f"{' and '.join(found)}: where there are no steps, an id used again is the same group"


def _notes_on_sizes(connection: Any) -> list[str]:
    row = connection.execute(
        """SELECT mode(n), count(*) FILTER (n <> m), count(*), min(n), max(n) FROM (
            SELECT n, mode(n) OVER () AS m FROM (
                SELECT count(*) AS n FROM assigned GROUP BY group_id))"""
    ).fetchone()
    usual, other, total, least, most = row
    if not total or not other:
        return []
    text = (
        f"{other} of {total} groups do not have the usual {usual} rows (from {least} to {most}): "
        "groups may be cut or mixed there"
    )
    return [text]
