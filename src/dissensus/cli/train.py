"""`dissensus train`: the lab's small language model, trained through TRL and recorded."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dissensus._optional import require
from dissensus.cli.output import make_console, print_json
from dissensus.cli.report import print_summary, write_page
from dissensus.errors import DissensusError, InputError

if TYPE_CHECKING:
    from dissensus.lab.training import TrainEvent, TrainResult, TrainSettings
    from dissensus.views.summary import RunSummary

__all__ = ["Silent", "train"]

REPORT_NAME = "report.html"


class Silent(StrEnum):
    """What happens to groups with zero advantage."""

    keep = "keep"
    mask = "mask"
    resample = "resample"


def train(
    *,
    estimator: Annotated[
        str | None,
        typer.Option(
            "--estimator",
            metavar="NAME",
            help='Advantage estimator, for example dr_grpo or "grpo(ddof=1, eps=1e-4)"; '
            "default: TRL's own. See: dissensus estimators.",
        ),
    ] = None,
    silent: Annotated[
        Silent, typer.Option("--silent", help="What happens to groups with zero advantage.")
    ] = Silent.keep,
    allocator: Annotated[
        str | None,
        typer.Option(
            "--allocator",
            metavar="NAME",
            help='Who gets rollouts, for example contrast or "dapo(max_rounds=4)"; default: every '
            "prompt the same number in its turn.",
        ),
    ] = None,
    rollouts: Annotated[
        int | None,
        typer.Option(
            "--rollouts", min=1, help="End when as many are generated; needs --allocator."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Optimiser steps.")] = None,
    group_size: Annotated[
        int | None, typer.Option("--group-size", min=2, help="Rollouts per prompt.")
    ] = None,
    prompts: Annotated[
        int | None, typer.Option("--prompts", min=1, help="Prompts per step.")
    ] = None,
    train_prompts: Annotated[
        int | None, typer.Option("--train-prompts", min=1, help="Prompts in the training set.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", min=0.0, help="Of AdamW.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of prompts and sampling.")] = 0,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="DIR", help="Folder of the run; default: under runs/."),
    ] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Serve the live page over the folder of the run.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Train the bundled small language model by GRPO, record it, and report.

    Ctrl-C stops after what is recorded so far: the run stays whole, the summary is printed, and the
    exit code is 130.
    """
    if run is not None and (run / "run.json").exists():
        # Training starts at step 0, so a second attempt would supersede every row of the first.
        raise InputError("the folder holds a run already", where=str(run), hint="name a new one")
    settings = _settings(
        run=run,
        steps=steps,
        group_size=group_size,
        prompts_per_step=prompts,
        train_prompts=train_prompts,
        learning_rate=learning_rate,
        seed=seed,
        estimator=estimator,
        silent=silent.value,
        allocator=allocator,
        rollout_budget=rollouts,
    )
    is_seen = sys.stdout.isatty() and not as_json
    with _served(settings) if dashboard else contextlib.nullcontext() as url:
        result = _run(settings, quiet=not is_seen)
        _finish(result, as_json=as_json)
        if url is not None and is_seen and not result.interrupted:
            _wait(url)
    if result.interrupted:
        from dissensus.cli.app import INTERRUPTED

        raise typer.Exit(INTERRUPTED)


@contextlib.contextmanager
def _served(settings: TrainSettings) -> Iterator[str | None]:
    """The live page over the run that is named, or over all under `runs/`.

    A training does without one that does not start: it is said, and nothing ends.
    """
    from dissensus.dashboard.beside import beside

    with contextlib.ExitStack() as stack:
        url = None
        try:
            for module in ("starlette", "uvicorn", "jinja2"):
                require(module, "dashboard")
            url = stack.enter_context(beside(settings.run or Path("runs")))
        except (DissensusError, ImportError, OSError, ValueError) as error:
            typer.echo(f"dissensus: no dashboard beside this training: {error}", err=True)
        else:
            typer.echo(f"Dashboard: {url}", err=True)
        yield url


def _wait(url: str) -> None:
    typer.echo(f"The dashboard stays at {url} until Ctrl-C.")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _settings(**given: Any) -> TrainSettings:
    from dissensus.lab.training import TrainSettings

    return TrainSettings(**{name: value for name, value in given.items() if value is not None})


def _run(settings: TrainSettings, *, quiet: bool) -> TrainResult:
    from dissensus.lab.training import train as run_training

    if quiet:
        # A framework that prints must not get between the caller and the one JSON document.
        with contextlib.redirect_stdout(sys.stderr):
            return run_training(settings)
    with _live_view(settings) as (on_event, on_stage):
        return run_training(settings, on_event, on_stage)


@contextlib.contextmanager
def _live_view(
    settings: TrainSettings,
) -> Iterator[tuple[Callable[[TrainEvent], None], Callable[[str], None]]]:
    from rich.live import Live

    from dissensus.views.live import TrainProgress, TrainState

    console = make_console()
    progress = TrainProgress(_title(settings), settings.steps)
    with Live(progress, console=console, refresh_per_second=2, transient=True) as live:

        def on_event(event: TrainEvent) -> None:
            progress.add(
                TrainState(
                    step=event.step,
                    reward=event.reward,
                    heldout=event.heldout if event.heldout_is_new else None,
                    heldout_standard_error=event.heldout_standard_error,
                    metrics=event.metrics,
                    elapsed_s=event.elapsed_s,
                    remaining_s=event.remaining_s,
                )
            )
            live.refresh()

        yield on_event, progress.begin


def _title(settings: TrainSettings) -> str:
    estimator = settings.make_estimator()
    name = "grpo as TRL computes it" if estimator is None else repr(estimator)
    who = "" if settings.allocator is None else f"allocator {settings.allocator}, "
    return (
        f"{name}, silent groups: {settings.silent}, {who}"
        f"{settings.prompts_per_step} prompts × {settings.group_size} rollouts a step, "
        f"seed {settings.seed}"
    )


def _finish(result: TrainResult, *, as_json: bool) -> None:
    from dissensus.runs import Run
    from dissensus.views.format import duration
    from dissensus.views.snapshot import Snapshot
    from dissensus.views.summary import summarise_run

    snapshot = Snapshot(Run(result.run))
    summary = summarise_run(snapshot)
    page = Path(result.run) / REPORT_NAME
    write_page(snapshot, summary, page)
    if as_json:
        document = result.to_json()
        if summary.heldout is not None and summary.heldout.evaluations == 1:
            document |= {"heldout_after": None, "heldout_after_standard_error": None}
        print_json(document | {"report": str(page)})
        return
    print_summary(snapshot, summary)
    stopped = ", stopped by Ctrl-C" if result.interrupted else ""
    typer.echo(
        f"\nTrained {result.steps} steps in {duration(result.seconds)}{stopped}. "
        f"{_heldout_sentence(result, summary)}"
    )
    typer.echo(f"Run:    {result.run}\nReport: {page}\nAgain:  dissensus report {result.run}")


def _heldout_sentence(result: TrainResult, summary: RunSummary) -> str:
    from dissensus.views.format import fraction, points

    before = fraction(result.heldout_before)
    if summary.heldout is None:
        return "No held-out check was made."
    if summary.heldout.evaluations == 1:  # the latest rate is the first one: no change was measured
        return f"Held-out solve rate {before} before training; none was measured after it."
    change = points(result.heldout_after - result.heldout_before)
    return (
        f"Held-out solve rate {before} before, {fraction(result.heldout_after)} after ({change})."
    )
