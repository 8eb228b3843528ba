"""`dissensus audit`: what a pipeline really does with disagreement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from dissensus.cli.output import make_console, print_json
from dissensus.cli.report import single_threaded_algebra
from dissensus.cli.source import (
    FormatOption,
    MapOption,
    TrustOption,
    log_facts,
    open_source,
    print_log_facts,
)
from dissensus.errors import DissensusError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dissensus.audit.answer import Answer
    from dissensus.audit.findings import Severity
    from dissensus.audit.settings import Settings
    from dissensus.readers.log import Log
    from dissensus.runs import Run

__all__ = ["audit"]

_LOG_COLUMNS = (
    "step", "generation", "split", "group_id", "prompt_id", "row", "reward", "advantage_used",
    "length",
)  # fmt: skip
_IN_FULL = 4  # targets; more of them are shown as an overview


class _Found(NamedTuple):
    """What one target gave: answers, what could not be read of it, and the log if it was one."""

    answers: list[Answer]
    unreadable: list[str]
    log: Log | None = None


def audit(  # noqa: PLR0917 — typer makes options of parameters
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET…",
            help="Configuration, folder, log, recorded run, or package.module:function.",
        ),
    ],
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="SEVERITY",
            help="Exit with 1 if there is a finding of this severity or a worse one: "
            "note, warning, error.",
        ),
    ] = None,
    adapter: Annotated[
        str | None,
        typer.Option("--adapter", metavar="NAME", help="How to call the function; else tried."),
    ] = None,
    format: FormatOption = "auto",  # noqa: A002 — the option's name
    mapping: MapOption = None,
    trust_pickle: TrustOption = False,
    every: Annotated[bool, typer.Option("--all", help="Show every target in full.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> int:
    """Say which operation on the group std a pipeline applies, with evidence and a fix.

    Configurations are read and never run. A function is imported and called: name only code that
    you would run.
    """
    single_threaded_algebra()
    from dissensus.audit.blackbox.target import parse_target

    def look_at(target: str) -> _Found:
        path = Path(target)
        if not path.exists() and parse_target(target):
            return _look_at_function(target, adapter)
        read = _look_at_configurations(path)
        if read is not None and read.answers:
            return read
        try:
            return _look_at_log(
                open_source(path, format=format, mapping=mapping, trust_pickle=trust_pickle)
            )
        except InputError:
            if read is None:
                raise
            return read

    limit = _severity(fail_on)
    found: list[_Found] = []
    for target in targets:
        try:
            found.append(look_at(target))
        except DissensusError as error:
            if len(targets) == 1:
                raise
            found.append(_Found([], [str(error)]))  # what the other targets gave is not lost
    answers = [answer for each in found for answer in each.answers]
    if as_json:
        unreadable = [text for each in found for text in each.unreadable]
        print_json({"targets": [a.to_json() for a in answers], "unreadable": unreadable})
    else:
        _print(found, answers, in_full=every or len(answers) <= _IN_FULL)
    return _exit_code(found, answers, limit)


def _exit_code(found: list[_Found], answers: list[Answer], limit: Severity | None) -> int:
    from dissensus.cli.app import DONE, FINDINGS, USAGE

    if any(each.unreadable and not each.answers for each in found):
        return USAGE  # a target of which nothing could be read must not look clean
    worst = [answer.worst for answer in answers if answer.worst is not None]
    is_over = limit is not None and any(each.is_at_least(limit) for each in worst)
    return FINDINGS if is_over else DONE


def _severity(name: str | None) -> Severity | None:
    from dissensus.audit.findings import Severity

    if name is None:
        return None
    try:
        return Severity(name)
    except ValueError:
        raise InputError(f"--fail-on must be one of {', '.join(Severity)}", got=name) from None


def _look_at_configurations(path: Path) -> _Found | None:
    """Answers about the configurations in a file or folder; None or no answer: perhaps a log."""
    from dissensus.audit.configs import CONFIG_ENDINGS, scan_configs

    if not path.exists():
        raise InputError(
            "there is no such file or folder",
            where=str(path),
            hint="an advantage function is named package.module:function",
        )
    is_script = path.is_file() and path.suffix.lower() in CONFIG_ENDINGS
    if not (is_script or path.is_dir()) or (path / "run.json").is_file():
        return None
    scan = scan_configs(path)
    problems = [str(problem) for problem in scan.problems]
    if is_script and not (scan.settings or problems):
        raise InputError(
            "no training configuration of a known framework is in it",
            where=str(path),
            hint="docs/audit.md lists what is recognised",
        )
    if not (scan.settings or problems):
        return None
    return _Found(list(_resolved(scan.settings, problems)), problems)


def _resolved(settings: list[Settings], problems: list[str]) -> Iterator[Answer]:
    """Yield the answer about each configuration; one that cannot be given is a problem."""
    from dissensus.audit import resolve

    for each in settings:
        try:
            yield resolve.resolve(each)
        except Exception as error:  # noqa: BLE001 - one odd file must not hide all the others
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            problems.append(f"{each.place}: could not be resolved ({said})")


def _look_at_function(target: str, adapter: str | None) -> _Found:
    from importlib.util import find_spec

    from dissensus.audit.blackbox import NUMPY_ADAPTERS
    from dissensus.audit.blackbox.isolated import audit_isolated

    adapters = NUMPY_ADAPTERS
    if find_spec("torch") is not None:
        from dissensus.integrations.advantage_functions import ADAPTERS

        adapters = ADAPTERS
    return _Found([audit_isolated(target, adapters=adapters, adapter=adapter)], [])


def _look_at_log(source: Run | Log) -> _Found:
    from dissensus.audit.logged import audit_log
    from dissensus.runs import Run

    if isinstance(source, Run):
        batches = source.rollouts(split="train", columns=_LOG_COLUMNS).to_batches()
        framework = (source.info.get("metadata") or {}).get("framework")
        return _Found([audit_log(batches, target=str(source.path), framework=framework)], [])
    answer = audit_log(
        source.batches(_LOG_COLUMNS), target=str(source.path), framework=source.format
    )
    answer = replace(answer, extra={**answer.extra, "log": log_facts(source)})
    return _Found([answer], [str(row) for row in source.damage.bad], source)


def _print(found: list[_Found], answers: list[Answer], *, in_full: bool) -> None:
    from dissensus.views.audit import LONGEST_PATH, answer_view, overview, totals_line
    from dissensus.views.format import clean_text

    console = make_console()
    if not console.is_terminal:  # a path that is cut in two cannot be copied or searched for
        places = [f.where for answer in answers for f in answer.findings]
        longest = max(map(len, [*places, *(answer.target for answer in answers)]), default=0)
        console.width += min(longest, LONGEST_PATH)
    if in_full:
        for answer in answers:
            console.print(answer_view(answer))
            console.print()
    elif answers:
        console.print(overview(answers))
        console.print()
    logs = [each.log for each in found if each.log is not None]
    for text in (text for each in found if each.log is None for text in each.unreadable):
        console.print(clean_text(f"could not be read: {text}", 400))
    console.print(totals_line(answers))
    for log in logs:  # what could not be read of a log is told here
        print_log_facts(log)
