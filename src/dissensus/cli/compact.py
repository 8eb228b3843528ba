"""`dissensus compact`: many small files of a run become few."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dissensus.cli.output import print_json

__all__ = ["compact"]


def compact(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a recorded run.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Merge the small files of a run into large ones; its contents stay the same."""
    from dissensus import runs
    from dissensus.views.format import plural

    done = runs.compact(source)
    if as_json:
        print_json({"run": str(source), **done._asdict()})
        return
    typer.echo(
        f"{plural(done.segments, 'file')} became {plural(done.parts, 'part')}; "
        f"{plural(done.removed, 'file')} removed."
    )
    for name in done.unreadable:
        typer.echo(f"left alone, cannot be read: {name}", err=True)
