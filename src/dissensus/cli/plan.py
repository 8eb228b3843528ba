"""`dissensus plan`: what another group size, estimator or filter would do on recorded prompts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from dissensus.cli.output import make_console, print_json, write_html
from dissensus.cli.report import single_threaded_algebra
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

__all__ = ["parse_sizes", "plan"]

_SIZES = re.compile(r"(\d{1,4})(?:\.\.(\d{1,4}))?")


def plan(  # noqa: PLR0917 — typer makes options of parameters
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Folder of a recorded run, or a rollout log.")
    ],
    estimator: Annotated[
        str | None,
        typer.Option(
            "--estimator",
            metavar="NAME",
            help="Whose contrast; default: the recorded one, or grpo.",
        ),
    ] = None,
    group_sizes: Annotated[
        str, typer.Option("--group-sizes", metavar="LIST", help="Such as 4,8,16 or 2..256.")
    ] = "2..256",
    last: Annotated[
        float,
        typer.Option("--last", metavar="SHARE", help="Plan on the last share of the run only."),
    ] = 1.0,
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
    """Predict other group sizes and skipped prompts; say what gains, and at what price."""
    single_threaded_algebra()
    sizes = parse_sizes(group_sizes)
    from dissensus.views.plan import make_plan

    opened = open_source(
        source, format=format, mapping=mapping, strict=strict, trust_pickle=trust_pickle
    )
    made = make_plan(opened, estimator=estimator, group_sizes=sizes, last=last)
    if html is not None:
        from dissensus.views.plan_page import plan_page

        write_html(plan_page(made), html)
    if as_json:
        document, facts = made.to_json(), log_facts(opened)
        document["notes"] += [each for each in facts.pop("notes", []) if each not in made.notes]
        print_json(document | facts | ({} if html is None else {"html": str(html)}))
        return
    from dissensus.views.plan_tables import plan_view

    make_console().print(plan_view(made))
    print_log_facts(opened)
    if html is not None:
        typer.echo(f"\nPlan: {html}")


def parse_sizes(text: str) -> tuple[int, ...]:
    """Read group sizes: numbers and ranges, separated by commas.

    Example:
        >>> parse_sizes("2..4,16")
        (2, 3, 4, 16)

    Raises:
        InputError: It is no such list.
    """
    sizes: list[int] = []
    for part in text.split(","):
        match = _SIZES.fullmatch(part.strip())
        if match is None:
            raise InputError(
                "--group-sizes must be numbers or ranges", got=part, hint="4,8,16 or 2..256"
            )
        first = int(match[1])
        sizes += range(first, int(match[2] or first) + 1)
    if not sizes:
        raise InputError("--group-sizes names no group size", got=text, hint="4,8,16 or 2..256")
    return tuple(sizes)
