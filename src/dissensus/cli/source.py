"""SOURCE of a command: a run folder, or any log that a reader knows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from dissensus.errors import InputError

if TYPE_CHECKING:
    from dissensus.readers.log import Log
    from dissensus.runs import Run

__all__ = [
    "FormatOption",
    "MapOption",
    "StrictOption",
    "TrustOption",
    "log_facts",
    "open_rollout_log",
    "open_source",
    "parse_mapping",
    "print_log_facts",
]

RUN_FORMAT = "dissensus"
_SHOWN_ROWS = 10

FormatOption: TypeAlias = Annotated[
    str, typer.Option("--format", metavar="NAME", help="Format of a log; auto: by its content.")
]
MapOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="COLUMN=FIELD", help="A field of the log, such as reward=score."),
]
StrictOption: TypeAlias = Annotated[
    bool, typer.Option("--strict", help="Stop at the first row of a log that cannot be read.")
]
TrustOption: TypeAlias = Annotated[
    bool, typer.Option("--trust-pickle", help="Read pickles, which can run any code.")
]


def open_source(
    path: Path,
    *,
    format: str = "auto",  # noqa: A002 — the option's name
    mapping: list[str] | None = None,
    strict: bool = False,
    trust_pickle: bool = False,
) -> Run | Log:
    """Open a run folder or a log.

    Raises:
        InputError: No reader recognises it, or the options make no sense.
        RunError: A run folder cannot be read.
    """
    if format == RUN_FORMAT or (format == "auto" and (path / "run.json").is_file()):
        from dissensus.runs import Run

        if mapping:
            raise InputError("--map is for logs, and this is a run", where=str(path))
        return Run(path)
    return open_rollout_log(
        path, format=format, mapping=mapping, strict=strict, trust_pickle=trust_pickle
    )


def open_rollout_log(
    path: Path,
    *,
    format: str,  # noqa: A002
    mapping: list[str] | None,
    strict: bool,
    trust_pickle: bool,
) -> Log:
    """Open a log with the options of a command.

    Raises:
        InputError: No reader recognises it, or the options make no sense.
    """
    from dissensus.readers import open_log

    return open_log(
        path,
        format=format,
        mapping=parse_mapping(mapping or []),
        strict=strict,
        trust_pickle=trust_pickle,
    )


def parse_mapping(options: list[str]) -> dict[str, str]:
    """Read `--map column=field` options.

    Example:
        >>> parse_mapping(["reward=score", "group_id=a=b"])
        {'reward': 'score', 'group_id': 'a=b'}

    Raises:
        InputError: One is not of that form, or names a column twice.
    """
    found: dict[str, str] = {}
    for option in options:
        column, equals, field = option.partition("=")
        if not (column and equals and field):
            raise InputError("--map must be COLUMN=FIELD", got=option, hint="--map reward=score")
        if column in found:
            raise InputError(f"--map names {column} twice", got=option)
        found[column] = field
    return found


def log_facts(source: Any) -> dict[str, Any]:
    """What a report says of a log besides its numbers; nothing for a run."""
    if not hasattr(source, "damage"):
        return {}
    damage, grouping = source.damage, source.grouping
    return {
        "format": source.format,
        "grouping": {
            "kind": grouping.kind,
            "certainty": grouping.certainty,
            "text": grouping.text,
        },
        "notes": source.notes,
        "unreadable_rows": damage.bad_count,
        "unreadable": [row._asdict() for row in damage.bad],
    }


def print_log_facts(source: Any) -> None:
    """Print how a log was read: its format, its groups, and every row that could not be read."""
    if not hasattr(source, "damage"):
        return
    from dissensus.cli.output import make_console
    from dissensus.views.format import clean_text, count, plural

    damage, grouping = source.damage, source.grouping
    lines = [
        f"Read as {source.format} ({source.title}).",
        f"Groups: {grouping.text} ({grouping.certainty}).",
        *(f"Note: {note}." for note in source.notes),
    ]
    if damage.bad_count:
        rows = plural(damage.bad_count, "row")
        as_is = "it is" if damage.bad_count == 1 else "they are"
        lines.append(f"{rows} could not be read as {as_is}:")
        lines += [f"  {row}" for row in damage.bad[:_SHOWN_ROWS]]
        if damage.bad_count > _SHOWN_ROWS:
            lines.append(f"  and {count(damage.bad_count - _SHOWN_ROWS)} more; --json lists 100")
    console = make_console()
    console.print()
    for line in lines:
        console.print(clean_text(line, 400))
