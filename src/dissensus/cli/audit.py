"""`dissensus audit`: what a pipeline really does with disagreement."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dissensus.cli.output import FINDINGS, make_console, print_json
from dissensus.cli.report import single_threaded_algebra
from dissensus.errors import InputError

if TYPE_CHECKING:
    from dissensus.audit.answer import Answer
    from dissensus.audit.settings import ConfigProblem

__all__ = ["audit"]

_CONFIG_ENDINGS = frozenset({".py", ".sh", ".bash", ".slurm", ".yaml", ".yml", ".toml"})
_DETAILED = 4
"""Up to so many targets are shown in full; more of them as an overview."""


def audit(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET…",
            help="A configuration, a folder of them, a log, a recorded run, or module:function.",
        ),
    ],
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="SEVERITY",
            help="Exit with 1 from this severity on: note, warning or error.",
        ),
    ] = None,
    log_format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="Format of a log.")
    ] = "auto",
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="Column of a log without a framework."),
    ] = None,
    adapter: Annotated[
        str | None,
        typer.Option("--adapter", metavar="NAME", help="Signature of the function."),
    ] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Load pickled logs, which can run any code.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Show every target in full.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> int | None:
    """Say which operation on the group's standard deviation a pipeline applies, and what to mend.

    A module:function is imported and called, so give it only code you trust. Configurations are
    read and never run.
    """
    single_threaded_algebra()
    from dissensus.audit.findings import Severity

    limit = None if fail_on is None else _severity(fail_on)
    answers: list[Answer] = []
    problems: list[ConfigProblem] = []
    options = {"format": log_format, "mapping": mapping, "trust_pickle": trust_pickle}
    for target in targets:
        answers += _look_at(target, problems, adapter=adapter, log_options=options)
    if as_json:
        print_json(
            {
                "targets": [answer.to_json() for answer in answers],
                "unreadable": [str(problem) for problem in problems],
            }
        )
    else:
        _print(answers, problems, every=every)
    worst = [answer.worst for answer in answers if answer.worst is not None]
    fails = limit is not None and any(each.is_at_least(Severity(limit)) for each in worst)
    return FINDINGS if fails else None
