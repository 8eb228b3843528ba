"""What a view works on: the groups of a run at one moment, held in memory.

A run is read once, so every number of a report is about the same moment even while the run is being
written, and a run of thousands of small files is listed and opened once instead of once per query.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pyarrow as pa

from dissensus.runs.database import connect
from dissensus.runs.follow import rows_of
from dissensus.runs.rollups import KINDS
from dissensus.runs.shares import shared_sql
from dissensus.views.format import clean_text
from dissensus.views.readable import Readable

__all__ = ["Excerpt", "PromptText", "Snapshot"]

_COLUMNS = (
    "step",
    "generation",
    "split",
    "group_id",
    "prompt_id",
    "rollouts",
    "size",
    "mean",
    "std",
    "correct",
    "unanimous",
    "silent",
    "trained",
    "contrast",
    "length_mean",
    "truncated",
)
_ROLLOUT_COLUMNS = ("row", "group_id", "reward", "advantage_used", "length", "completion")


class Excerpt(NamedTuple):
    """The start of a recorded text, untrusted, and the number of characters the whole has."""

    start: str
    length: int

    def shown(self, limit: int) -> str:
        """The text made safe to show, cut to `limit` characters."""
        return clean_text(self.start, limit, length=self.length)


class PromptText(NamedTuple):
    """A prompt and its reference answer as they were recorded; `None` where they were not."""

    prompt: Excerpt | None
    reference: Excerpt | None


class Snapshot:
    """The live groups of a run at the moment this is made, and the way to its texts.

    Args:
        run: The run, or a log; its groups are read here, its texts when they are asked for.

    Raises:
        RunError: A file of the run cannot be read.
    """

    def __init__(self, run: Readable) -> None:
        self._hold(run, run.groups(columns=_COLUMNS))

    @classmethod
    def of(cls, run: Readable, groups: pa.Table) -> Snapshot:
        """A snapshot of some groups of a run that have been read already."""
        snapshot = cls.__new__(cls)
        snapshot._hold(run, groups)  # noqa: SLF001 — its own
        return snapshot

    def _hold(self, run: Readable, groups: pa.Table) -> None:
        self.run = run
        self._connection = connect(enable_external_access=False)
        # Numbers in place of prompt ids: grouping by them costs a third.
        codes = groups["prompt_id"].combine_chunks().dictionary_encode()
        groups = groups.append_column("prompt", codes.indices)
        self._connection.register("read", groups)
        self._connection.execute("CREATE TABLE groups AS SELECT * FROM read")
        self._connection.unregister("read")
        self._made: set[str] = set()

    def sql(self, query: str, /) -> pa.Table:
        """Run one query over the table `groups`, and over those of `runs.shares.SHARED`.

        The column `prompt` of `groups` numbers the prompt ids.
        """
        for name, made in self._sums().items():
            if name in query and name not in self._made:
                self._connection.execute(f"CREATE TABLE {name} AS {made}")
                self._made.add(name)
        return self._connection.sql(query).to_arrow_table()

    def _sums(self) -> dict[str, str]:
        all_columns = f"({rows_of([], {})} UNION ALL BY NAME FROM groups)"
        return shared_sql(lambda kind: KINDS[kind].format(source=all_columns))

    def prompt_texts(self, ids: Iterable[str | None], limit: int) -> dict[str, PromptText]:
        """Look up prompts and their reference answers, cut to `limit` characters in the query.

        Args:
            ids: Prompt ids; None, of a log that names no prompts, has no text.
            limit: Longest text in characters.

        Returns:
            The texts by prompt id; ids without a recorded prompt are missing.
        """
        return self.texts_of(self.run, ids, limit)

    @staticmethod
    def texts_of(run: Readable, ids: Iterable[str | None], limit: int) -> dict[str, PromptText]:
        """`prompt_texts` of a run without a snapshot."""
        known = sorted({each for each in ids if each is not None})
        quoted = ", ".join("'" + each.replace("'", "''") + "'" for each in known)
        if not quoted:
            return {}
        found = run.sql(
            f"""SELECT prompt_id,
                left(prompt, {int(limit)}) AS prompt, length(prompt) AS prompt_chars,
                left(reference, {int(limit)}) AS reference, length(reference) AS reference_chars
            FROM prompts WHERE prompt_id IN ({quoted})"""  # noqa: S608 — quoted above
        ).to_pylist()
        return {
            row["prompt_id"]: PromptText(_excerpt(row, "prompt"), _excerpt(row, "reference"))
            for row in found
        }

    def rollouts(self, generation: int, group_ids: Iterable[str]) -> list[dict[str, Any]]:
        """The scored rollouts with recorded text of a few groups of one generation, in order.

        One generation is one file or a few, so that this is quick in a run of any length.

        Args:
            generation: Which generation.
            group_ids: Groups of it.
        """
        import pyarrow.compute as pc

        table = self.run.rollouts(generation=generation, columns=_ROLLOUT_COLUMNS)
        wanted = pc.is_in(table["group_id"], value_set=pa.array(list(group_ids), pa.string()))
        has_text = pc.and_(pc.is_valid(table["completion"]), pc.is_valid(table["reward"]))
        found: list[dict[str, Any]] = table.filter(pc.and_(wanted, has_text)).to_pylist()
        return found


def _excerpt(row: dict[str, Any], name: str) -> Excerpt | None:
    return None if row[name] is None else Excerpt(row[name], int(row[f"{name}_chars"]))
