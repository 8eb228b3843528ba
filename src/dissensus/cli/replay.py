"""`dissensus replay`: allocators compete on recorded counts, at equal rollouts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dissensus.cli.output import make_console, print_json, progress_line, write_html
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

if TYPE_CHECKING:
    from dissensus.lab.replay.record import Record

__all__ = ["replay"]

BIG_MATH = "big-math"
_BIG_MATH_PROMPTS = 10_000


def replay(  # noqa: PLR0917 — typer makes options of parameters
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Folder of a run, a rollout log, a JSON of counts, or big-math."
        ),
    ],
    budget: Annotated[
        int, typer.Option("--budget", min=1, help="Rollouts that each allocator may generate.")
    ] = 100_000,
    allocators: Annotated[
        str | None,
        typer.Option(
            "--allocators",
            metavar="LIST",
            help="Such as uniform,dapo,contrast(least=4); the others are compared with the first. "
            "Default: all.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Worlds that all play in.")] = 5,
    prompts: Annotated[
        int | None,
        typer.Option(
            "--prompts", min=1, help="Prompts, drawn for each seed. Default: all; big-math 10000."
        ),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Prompts of a step.")] = 64,
    group_size: Annotated[int, typer.Option("--group-size", min=2, help="Rollouts of each.")] = 8,
    estimator: Annotated[
        str,
        typer.Option(
            "--estimator", metavar="NAME", help="Advantage rule whose contrast is counted."
        ),
    ] = "grpo",
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
    """Let allocation strategies spend the same number of rollouts on recorded prompts."""
    single_threaded_algebra()
    from dissensus.lab.replay.entries import everyone, read_entries
    from dissensus.lab.replay.run import ReplaySettings
    from dissensus.lab.replay.run import replay as compete

    entries, left_out = everyone() if allocators is None else (read_entries(allocators), {})
    opened: Any = None
    if source == BIG_MATH and not Path(source).exists():
        record, prompts = _big_math(), prompts or _BIG_MATH_PROMPTS
    else:
        opened = open_source(
            Path(source), format=format, mapping=mapping, strict=strict, trust_pickle=trust_pickle
        )
        record = _recorded(opened)
    settings = ReplaySettings(
        budget=budget,
        seeds=seeds,
        prompts=prompts,
        batch=batch,
        group_size=group_size,
        estimator=estimator,
    )
    with progress_line() as tell:
        made = compete(record, entries, settings, source=source, left_out=left_out, tell=tell)
    if html is not None:
        from dissensus.views.replay_page import replay_page

        write_html(replay_page(made), html)
    if as_json:
        print_json(
            made.to_json() | log_facts(opened) | ({} if html is None else {"html": str(html)})
        )
        return
    from dissensus.views.replay import replay_view

    make_console().print(replay_view(made))
    print_log_facts(opened)
    if html is not None:
        typer.echo(f"\nReplay: {html}")


def _big_math() -> Record:
    from dissensus.lab.replay.record import big_math_record

    return big_math_record()


def _recorded(opened: Any) -> Record:
    from dissensus.lab.replay.record import read_record

    return read_record(opened)
