"""`dissensus estimators`: the advantage estimators there are, and what one of them does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dissensus.cli.output import make_console, print_json, write_html
from dissensus.errors import InputError

__all__ = ["estimators"]


def estimators(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A rule or a weight, also as it is written: weighted(grpo(ddof=1), power(0.5)).",
        ),
    ] = None,
    group_size: Annotated[int, typer.Option("--group-size", help="Rollouts of one prompt, G.")] = 8,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="OTHER", help="A second estimator to compare it with."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained page.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """List the advantage estimators and weights, or show what one of them does and implies."""
    if name is None:
        if against is not None or html is not None:
            raise InputError("--against and --html need the NAME of an estimator")
        _list(as_json=as_json)
        return
    from dissensus.views.estimators.detail import detail, find, pair
    from dissensus.views.estimators.terminal import detail_view

    estimator, base = find(name)
    other = find(against)[0] if against is not None else base
    first = detail(estimator, group_size)
    second = None if other is None else detail(other, group_size)
    shown = first if second is None else pair(first, second)
    if html is not None:
        from dissensus.views.estimators.page import estimator_page

        write_html(estimator_page(shown), html)
    if as_json:
        document = first.to_json()
        document |= {} if second is None else {"against": pair(first, second).to_json()}
        print_json(document | ({} if html is None else {"html": str(html)}))
        return
    console = make_console()
    console.print(detail_view(shown, width=console.width))
    if html is not None:
        typer.echo(f"\nPage: {html}")


def _list(*, as_json: bool) -> None:
    from dissensus.views.estimators.facts import entries
    from dissensus.views.estimators.terminal import list_view

    found = entries()
    if as_json:
        print_json([entry.to_json() for entry in found])
    else:
        make_console().print(list_view(found))
