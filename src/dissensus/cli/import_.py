"""`dissensus import`: a log of a framework becomes a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dissensus.cli.output import make_console, print_json
from dissensus.cli.source import (
    FormatOption,
    MapOption,
    StrictOption,
    TrustOption,
    log_facts,
    open_rollout_log,
    print_log_facts,
)

__all__ = ["import_"]


def import_(  # noqa: PLR0917 — typer makes options of parameters
    source: Annotated[Path, typer.Argument(metavar="LOG", help="A rollout log, or a folder.")],
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run to write.")],
    format: FormatOption = "auto",  # noqa: A002 — the option's name
    mapping: MapOption = None,
    strict: StrictOption = False,
    trust_pickle: TrustOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Write a framework's log as a run, with its texts."""
    from dissensus.readers.importing import import_log
    from dissensus.views.format import count, plural

    opened = open_rollout_log(
        source, format=format, mapping=mapping, strict=strict, trust_pickle=trust_pickle
    )
    with opened as log:
        with make_console(stderr=True).status("reading") as status:
            done = import_log(
                log, run, on_progress=lambda n: status.update(f"{count(n)} rollouts written")
            )
        if as_json:
            numbers = {"generations": done.generations, "rollouts": done.rollouts}
            print_json({"run": str(run), "source": str(source), **numbers, **log_facts(log)})
            return
        typer.echo(
            f"{plural(done.rollouts, 'rollout')} in {plural(done.generations, 'generation')} "
            f"written to {run}."
        )
        print_log_facts(log)
