"""`dissensus report`: what a run did, for a person, a program, or a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dissensus.cli.output import make_console, print_json, write_html
from dissensus.cli.source import (
    FormatOption,
    MapOption,
    StrictOption,
    TrustOption,
    log_facts,
    open_source,
    print_log_facts,
)

if TYPE_CHECKING:
    from dissensus.runs import Run
    from dissensus.views.snapshot import Snapshot
    from dissensus.views.summary import RunSummary

__all__ = ["print_summary", "report", "write_page"]

_TERMINAL_PROMPTS = 5


def report(  # noqa: PLR0917 — typer makes options of parameters
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Folder of a recorded run, or a rollout log.")
    ],
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained page.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
    format: FormatOption = "auto",  # noqa: A002 — the option's name
    mapping: MapOption = None,
    strict: StrictOption = False,
    trust_pickle: TrustOption = False,
) -> None:
    """Summarise a run or a log: what its rollouts taught, and why the rest did not."""
    single_threaded_algebra()
    from dissensus.views.snapshot import Snapshot
    from dissensus.views.summary import summarise_run

    opened = open_source(
        source, format=format, mapping=mapping, strict=strict, trust_pickle=trust_pickle
    )
    snapshot = Snapshot(opened)
    summary = summarise_run(snapshot)
    if html is not None:
        write_page(snapshot, summary, html)
    if as_json:
        facts = log_facts(opened)
        print_json(summary.to_json() | facts | ({} if html is None else {"html": str(html)}))
        return
    print_summary(snapshot, summary)
    print_log_facts(opened)
    if html is not None:
        typer.echo(f"\nReport: {html}")


def print_summary(snapshot: Snapshot, summary: RunSummary) -> None:
    """Print a run's summary and the never or always solved prompts that cost most.

    Args:
        snapshot: The run.
        summary: Its summary.
    """
    from dissensus.views.prompts import MIN_VISITS, extreme_prompts
    from dissensus.views.tables import prompts_table, summary_view

    console = make_console()
    console.print(summary_view(summary, width=console.width))
    lists = (
        (summary.never_solved, "Never solved", False),
        (summary.always_solved, "Always solved", True),
    )
    for prompts, title, solved in lists:
        if prompts is None or not prompts.repeated_prompts:
            continue
        found = extreme_prompts(
            snapshot, solved=solved, limit=_TERMINAL_PROMPTS, min_visits=MIN_VISITS
        )
        heading = f"{title} in at least {MIN_VISITS} visits, most expensive first"
        console.print()
        console.print(prompts_table(heading, found, width=console.width))


def write_page(run: Run | Snapshot, summary: RunSummary | None, path: Path) -> None:
    """Write a run's HTML report, all of it or nothing.

    Args:
        run: The run, or a snapshot of it.
        summary: Its summary, where it is at hand.
        path: File to write; an existing one is replaced.

    Raises:
        InputError: The file cannot be written.
    """
    from dissensus.views.html import report_page

    write_html(report_page(run, summary), path)


def single_threaded_algebra() -> None:
    """Keep linear algebra on one thread; must be called before numpy is imported.

    The matrices here are tiny. OpenBLAS on several threads makes fitting them up to ten times
    slower on a busy machine, because its threads spin while they wait for each other.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
