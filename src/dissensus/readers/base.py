"""What a log format is: a small value that says how to recognise a log and what its columns mean.

A format maps *raw* columns (as the file has them) to *canonical* ones (those of `runs.schema`) by
SQL expressions, so that DuckDB reads the file in place and only the columns that are asked for.
Formats that DuckDB cannot read are converted to Arrow batches of canonical columns instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import pyarrow as pa

__all__ = [
    "CANONICAL",
    "BadRow",
    "Certainty",
    "Container",
    "Format",
    "Grouping",
    "GroupingKind",
    "Layout",
    "ReportBadRow",
    "Sample",
    "printable",
    "quote_name",
    "text_id",
]

Container: TypeAlias = Literal["jsonl", "json", "csv", "parquet", "torch", "pickle", "unknown"]
"""What a file is by its first bytes: `json` is one document, `torch` a zip archive (torch.save)."""

Certainty: TypeAlias = Literal["exact", "likely", "guessed"]
GroupingKind: TypeAlias = Literal["key", "prompt", "consecutive", "size", "counts"]

CANONICAL: dict[str, str] = {
    "step": "BIGINT",
    "generation": "BIGINT",
    "split": "VARCHAR",
    "round": "BIGINT",
    "group_id": "VARCHAR",
    "prompt_id": "VARCHAR",
    "reward": "DOUBLE",
    "correct": "BOOLEAN",
    "advantage": "DOUBLE",
    "length": "BIGINT",
    "truncated": "BOOLEAN",
    "trained": "BOOLEAN",
    "rewards_by_function": "MAP(VARCHAR, DOUBLE)",
    "policy_version": "BIGINT",
    "completion": "VARCHAR",
    "prompt": "VARCHAR",
    "reference": "VARCHAR",
    "correct_count": "BIGINT",
    "size": "BIGINT",
    "visits": "BIGINT",
}
"""Canonical columns a layout may give, with their DuckDB types.

One row is one rollout. `advantage` is what the log calls advantage. Only for grouping "counts" one
row is one group (or `visits` equal groups): `correct_count` of `size` rollouts were correct.
"""


class Sample(NamedTuple):
    """What is known of one file before it is read: enough to recognise it, never its name alone.

    Attributes:
        file: The file.
        container: What it is by its content.
        columns: Its columns with their types: DuckDB's names for Parquet, "" for CSV, and for JSON
            the union of the keys of `rows` with "".
        rows: The first JSON objects (of `json`: the document, or the first elements of an array);
            a line that is too long is there with the leading keys that fitted. CSV: the first rows
            as text. Empty for other containers.
        head: The first bytes.
    """

    file: Path
    container: Container
    columns: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]] = ()
    head: bytes = b""

    def has(self, *names: str) -> bool:
        """Whether every one of these columns is there."""
        return all(name in self.columns for name in names)


class Grouping(NamedTuple):
    """How the groups of a log are known, and how sure that is.

    | kind | groups are |
    |---|---|
    | key | rows of one step with equal `group_id` |
    | prompt | rows of one step with equal `prompt_id`, in any order |
    | consecutive | runs of rows with equal `prompt_id`, in file order |
    | size | every `size` consecutive rows |
    | counts | given as counts: one row is one group |

    Attributes:
        kind: See the table.
        certainty: "exact" where the log says it, "likely" or "guessed" where it is reconstructed.
        text: How, in words that complete "Groups: …".
        size: Rows of a group, where the log or its framework fixes it.
    """

    kind: GroupingKind
    certainty: Certainty
    text: str
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How one log maps to canonical columns; made by a format when it has seen a sample.

    Attributes:
        raw: DuckDB type of each raw column that may be read. Expressions that are not asked for are
            not evaluated, and raw columns that no evaluated expression names are not read.
        columns: SQL expression over the raw columns for each canonical column (`CANONICAL`); quote
            raw names with `quote_name`. The expression may use `filename`, the file's path.
        grouping: How groups are known.
        required: Raw columns that every row must have; a row without one is unreadable.
        unnest: Raw list columns that lie parallel: a row holds many rollouts, and each expression
            sees one element of these.
        flags: Raw text columns that hold yes or no, in words or as a number.
        check: For grouping "counts": what is impossible about a row of raw values, or "".
        has_group_steps: Rows of one group may name different steps: all get the smallest.
        metadata: What the log says about the framework: "framework", "version", settings.
        notes: What a reader of the report should know about this log.
    """

    raw: Mapping[str, str]
    columns: Mapping[str, str]
    grouping: Grouping
    required: tuple[str, ...] = ()
    unnest: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    has_group_steps: bool = False
    check: Callable[[Mapping[str, Any]], str] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class BadRow(NamedTuple):
    """One row that could not be read as it is.

    Attributes:
        file: The file's name, relative to the source where it is a folder.
        row: Line of a text file, or row of a table, from 1; 0 is the file as a whole.
        expected: What should have been there, in words.
        kept: What was kept of it, in words; "nothing" for a row that is left out.
    """

    file: str
    row: int
    expected: str
    kept: str = "nothing"

    def __str__(self) -> str:
        where = f"{self.file}, row {self.row}" if self.row else self.file
        return f"{where}: expected {self.expected}; kept {self.kept}"


ReportBadRow: TypeAlias = Callable[[int, str, str], None]
"""Told about a row that could not be converted: (row from 1, what was expected, what was kept)."""


def _all_files(files: Sequence[Path]) -> Sequence[Path]:
    return files


@dataclass(frozen=True, kw_only=True)
class Format:
    """One log format: a value made of pure functions. `readers.formats` has the table of all.

    Attributes:
        name: Short name for `--format`.
        title: Name for people.
        containers: Kinds of file it comes in.
        matches: Whether a sample is this format. Must be specific: no other format's fixtures may
            match. Never looks at the file's name.
        layout: How this log maps to canonical columns. With `convert`, over the converted columns.
        convert: For files that DuckDB cannot read: yields record batches of canonical columns (with
            the types of `CANONICAL`), and calls its second argument for rows it cannot convert.
        choose_files: Of the matching files of a folder, those to read (a framework may write the
            same rollouts twice).
        left_out: What `choose_files` leaves out, in words that complete "they …".
        needs_trust: Why reading it can run code; such a log is refused without `trust_pickle`.
    """

    name: str
    title: str
    containers: frozenset[Container]
    matches: Callable[[Sample], bool]
    layout: Callable[[Sample], Layout]
    convert: Callable[[Path, ReportBadRow], Iterator[pa.RecordBatch]] | None = None
    choose_files: Callable[[Sequence[Path]], Sequence[Path]] = _all_files
    left_out: str = "repeat others"
    needs_trust: str | None = None


def printable(text: str) -> str:
    """Text from a log on one line, without what could steer a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def quote_name(name: str) -> str:
    """Quote a column name for SQL.

    Example:
        >>> quote_name('a"b')
        '"a""b"'
    """
    return '"' + name.replace('"', '""') + '"'


def text_id(sql: str) -> str:
    """SQL of an id of 16 characters made from a text; no text has no id.

    It is the same in every release of DuckDB.

    Example:
        >>> text_id('"prompt"')
        'left(md5("prompt"), 16)'
    """
    return f"left(md5({sql}), 16)"
