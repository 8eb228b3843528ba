"""The command line as a whole: its commands, its exit codes, and what an error looks like."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import dissensus
from dissensus.cli import (
    audit,
    bench,
    compact,
    dashboard,
    estimators,
    import_,
    paper,
    plan,
    replay,
    report,
    train,
)
from dissensus.errors import DissensusError

__all__ = ["DONE", "FINDINGS", "INTERRUPTED", "USAGE", "build_app", "run"]

DONE, FINDINGS, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done; findings above a limit; usage or bad input; stopped by Ctrl-C."""


def build_app() -> typer.Typer:
    """All commands, each from its own file."""
    app = typer.Typer(
        name="dissensus",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_root)
    app.command("train")(train.train)
    app.command("report")(report.report)
    app.command("dashboard")(dashboard.dashboard)
    app.command("import")(import_.import_)
    app.command("audit")(audit.audit)
    app.command("plan")(plan.plan)
    app.command("replay")(replay.replay)
    app.command("bench")(bench.bench)
    app.command("compact")(compact.compact)
    app.command("estimators")(estimators.estimators)
    app.command("paper")(paper.paper)
    return app


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    An error is one line on standard error: what, where, got, hint. `DISSENSUS_DEBUG=1` shows the
    traceback as well. A reader that closes the pipe early (`| head`) is no error.

    Args:
        arguments: Without the program's name; `None` takes them from the process.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 must not end a command
    try:
        code = build_app()(args=arguments, standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _reader_left()
    except SystemExit as leaving:
        # click turns a closed pipe into exit code 1, which means findings here.
        if isinstance(leaving.__context__, BrokenPipeError):
            return _reader_left()
        raise
    except Exception as error:  # noqa: BLE001 — the last place where an error can become a line
        return _report(error)
    return code if isinstance(code, int) else DONE


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Which rollouts of a GRPO-family run taught anything, and why the others did not."""
    if version:
        typer.echo(f"dissensus {dissensus.__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _report(error: Exception) -> int:
    if os.environ.get("DISSENSUS_DEBUG"):
        import traceback

        traceback.print_exception(error)
    # How click passes Ctrl-C on, and DuckDB while it streams.
    if type(error).__name__ == "Abort" or str(error) == "Query interrupted":
        return INTERRUPTED
    # typer carries its own copy of click from some version on, so there is no class to catch.
    message: Any = getattr(error, "format_message", None)
    if message is not None:
        text = message()
        end = "" if text.endswith((".", "?", "!")) else "."
        return _fail(f"{text}{end} See dissensus --help.", USAGE)
    if isinstance(error, DissensusError):
        return _fail(str(error), USAGE)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror}.", USAGE)
    return _fail(
        f"unexpected {type(error).__name__}: {error}. Hint: DISSENSUS_DEBUG=1 shows where.", USAGE
    )


def _reader_left() -> int:
    # The interpreter flushes standard output once more on exit, and would complain again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def _fail(text: str, code: int) -> int:
    from dissensus.views.format import one_line

    sys.stderr.write(f"dissensus: {one_line(text, 600)}\n")
    return code
