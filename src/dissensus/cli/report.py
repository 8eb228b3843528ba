"""`dissensus report`: what a run did, for a person, a program, or a browser."""

from __future__ import annotations

import os
from functools import partial
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
from dissensus.errors import InputError

if TYPE_CHECKING:
    from dissensus.readers.log import Log
    from dissensus.runs import Run
    from dissensus.views.prompts import TextSource
    from dissensus.views.snapshot import Snapshot
    from dissensus.views.summary import RunSummary
    from dissensus.views.summed import Summed

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
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Let a Ray cluster read the run: local, auto, or an address.",
        ),
    ] = None,
) -> None:
    """Summarise a run or a log: what its rollouts taught, and why the rest did not."""
    single_threaded_algebra()
    from dissensus.runs import Run
    from dissensus.views.snapshot import Snapshot
    from dissensus.views.summary import summarise_run
    from dissensus.views.summed import Summed

    opened = open_source(
        source, format=format, mapping=mapping, strict=strict, trust_pickle=trust_pickle
    )
    if ray is not None:
        shown: Snapshot | Summed = _summed_on_ray(opened, ray, html)
    elif isinstance(opened, Run) and html is None:
        shown = Summed(opened)
    else:  # figures need the groups themselves
        shown = Snapshot(opened)
    summary = summarise_run(shown)
    if html is not None and isinstance(shown, Snapshot):
        write_page(shown, summary, html)
    if as_json:
        facts = log_facts(opened)
        print_json(summary.to_json() | facts | ({} if html is None else {"html": str(html)}))
        return
    print_summary(shown, summary)
    print_log_facts(opened)
    if html is not None:
        typer.echo(f"\nReport: {html}")


def _summed_on_ray(opened: Run | Log, address: str, html: Path | None) -> Summed:
    from dissensus.integrations.ray_data import add_up_on_ray
    from dissensus.runs import Run
    from dissensus.views.summed import Summed

    if html is not None:
        raise InputError(
            "--html is not for --ray: its figures need all groups in one memory", got=str(html)
        )
    if not isinstance(opened, Run):
        raise InputError(
            "--ray reads recorded runs, and this is a log",
            where=str(opened.path),
            hint="dissensus import LOG RUN makes a run of it in bounded memory",
        )
    return Summed(opened, partial(add_up_on_ray, address=address))


def print_summary(source: TextSource, summary: RunSummary) -> None:
    """Print a run's summary and the never or always solved prompts that cost most.

    Args:
        source: The run.
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
            source, solved=solved, limit=_TERMINAL_PROMPTS, min_visits=MIN_VISITS
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
