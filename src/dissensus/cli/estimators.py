"""`dissensus estimators`: the advantage estimators there are."""

from __future__ import annotations

from typing import Annotated

import typer

from dissensus.cli.output import make_console, print_json

__all__ = ["estimators"]


def estimators(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """List the advantage estimators by name, with their parameters and sources."""
    from rich.table import Table

    from dissensus.core import advantages

    known = [advantages.get(name) for name in advantages.names()]
    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "parameters": dict(each.parameters),
                    "scope": each.scope,
                    "needs": list(each.needs),
                    "source": each.source,
                    "summary": each.summary,
                }
                for each in known
            ]
        )
        return
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for name in ("estimator", "what it does", "source"):
        table.add_column(name, overflow="fold")
    for each in known:
        table.add_row(repr(each), each.summary, each.source)
    make_console().print(table)
