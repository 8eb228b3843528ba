"""`dissensus bench`: estimators and allocators compared in live training at equal rollouts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dissensus.cli.output import make_console, print_json, write_html
from dissensus.cli.report import single_threaded_algebra

if TYPE_CHECKING:
    from dissensus.lab.bench.plan import Plan
    from dissensus.lab.bench.records import Arm, TrainingRecord
    from dissensus.lab.bench.runner import Outcome, Progress

__all__ = ["bench"]

_DEFAULT_PLAN = "quick"


def bench(  # noqa: PLR0917 — typer makes options of parameters
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder where the trainings are kept, made if there is none; or a file made by "
            "--save, which is only analysed.",
        ),
    ],
    plan: Annotated[
        str, typer.Option("--plan", metavar="PLAN", help="quick, serious, or a file FILE.json.")
    ] = _DEFAULT_PLAN,
    arms: Annotated[
        str | None,
        typer.Option(
            "--arms",
            metavar="LIST",
            help='Only these, such as "grpo x uniform; grpo x contrast(least=4)"; the others are '
            "compared with the first.",
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Trainings at a time; default: one a core.")
    ] = None,
    no_run: Annotated[
        bool, typer.Option("--no-run", help="Train nothing; analyse what is there.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Put all trainings into one .jsonl.gz file."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained page.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Train every arm of a plan at the same number of rollouts, and compare them.

    What is done already is not done again: a benchmark that was stopped goes on. Ctrl-C loses no
    more than the trainings under way.
    """
    single_threaded_algebra()
    from dissensus.lab.bench.plan import load_plan, read_arms
    from dissensus.lab.bench.records import combine_records, read_records

    chosen = None if arms is None else read_arms(arms)
    outcome = None
    if not no_run and not source.is_file():
        whole = load_plan(plan)
        outcome = _run(whole if chosen is None else whole.of(chosen), source, jobs)
    records = [record for record in read_records(source) if chosen is None or record.arm in chosen]
    if save is not None:
        combine_records(records, save)
    if outcome is None or not outcome.interrupted:
        baseline = None if chosen is None else chosen[0]
        _show(records, source, baseline, html=html, as_json=as_json)
    _end(outcome)


def _run(plan: Plan, folder: Path, jobs: int | None) -> Outcome:
    from dissensus.lab.bench.runner import describe, run_plan

    with _progress() as tell:
        outcome = run_plan(plan, folder, jobs=jobs, tell=tell)
    for failure in outcome.failures:
        typer.echo(
            f"dissensus: {describe(failure.training)}: {failure.reason} "
            "It is tried again next time.",
            err=True,
        )
    return outcome


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with make_console(stderr=True).status("starting") as status:
        yield lambda progress: status.update(_words(progress))


def _words(progress: Progress) -> str:
    from dissensus.lab.bench.runner import describe
    from dissensus.views.format import duration

    words = f"{progress.done} of {progress.total} trainings"
    if progress.failed:
        words += f", {progress.failed} failed"
    if progress.remaining_s is not None:
        words += f", about {duration(progress.remaining_s)} to go"
    under_way = [f"{describe(each)} ({share:.0%})" for each, share in progress.running]
    return "\n  ".join([words, *under_way])


def _show(
    records: list[TrainingRecord],
    source: Path,
    baseline: Arm | None,
    *,
    html: Path | None,
    as_json: bool,
) -> None:
    from dissensus.lab.bench.analysis import BASELINE, analyse

    made = analyse(records, source=str(source), baseline=baseline or BASELINE)
    if html is not None:
        from dissensus.views.bench_page import bench_page

        write_html(bench_page(made), html)
    if as_json:
        print_json(made.to_json() | ({} if html is None else {"html": str(html)}))
        return
    from dissensus.views.bench_tables import bench_view

    make_console().print(bench_view(made))
    if html is not None:
        typer.echo(f"\nBench: {html}")


def _end(outcome: Outcome | None) -> None:
    from dissensus.cli.app import FINDINGS, INTERRUPTED

    if outcome is None:
        return
    if outcome.interrupted:
        raise typer.Exit(INTERRUPTED)
    if outcome.failures:
        raise typer.Exit(FINDINGS)
