"""`dissensus replay`: allocators compete on recorded counts, at equal rollouts generated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dissensus.cli.output import make_console, print_json
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

__all__ = ["replay"]

BIG_MATH = "big-math"


def replay(  # noqa: PLR0917 — typer makes options of parameters
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="Run folder, rollout log, or big-math: its solve rates."
        ),
    ],
    budget: Annotated[
        int, typer.Option("--budget", metavar="N", help="Rollouts that each allocator generates.")
    ] = 50_000,
    allocators: Annotated[
        str, typer.Option("--allocators", metavar="LIST", help="Names by comma; default: all.")
    ] = "",
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="Worlds; all see each.")] = 5,
    batch: Annotated[int, typer.Option("--batch", metavar="N", help="Prompts of a step.")] = 64,
    group_size: Annotated[
        int, typer.Option("--group-size", metavar="N", help="Rollouts of each prompt.")
    ] = 8,
    prompts: Annotated[
        int, typer.Option("--prompts", metavar="N", help="Problems of big-math to draw.")
    ] = 5000,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
    format: FormatOption = "auto",  # noqa: A002 — the option's name
    mapping: MapOption = None,
    strict: StrictOption = False,
    trust_pickle: TrustOption = False,
) -> None:
    """Say which allocator wastes fewest rollouts on these prompts, at the same budget."""
    single_threaded_algebra()
    from dissensus.lab.replay import ReplaySettings, big_math_record, race, read_record
    from dissensus.lab.replay.text import replay_view

    opened = None
    if str(source) == BIG_MATH and not source.exists():
        record = big_math_record(prompts)
    else:
        opened = open_source(
            source, format=format, mapping=mapping, strict=strict, trust_pickle=trust_pickle
        )
        record = read_record(opened)
    settings = ReplaySettings(budget=budget, batch=batch, group_size=group_size, seeds=seeds)
    names = tuple(name.strip() for name in allocators.split(",") if name.strip())
    console = make_console(stderr=True)
    if console.is_terminal and not as_json:
        with console.status("replaying") as status:
            result = race(
                record,
                settings,
                names,
                on_done=lambda name, seed: status.update(f"seed {seed}: {name} done"),
            )
    else:
        result = race(record, settings, names)
    if as_json:
        print_json(result.to_json() | ({} if opened is None else log_facts(opened)))
        return
    make_console().print(replay_view(result))
    if opened is not None:
        print_log_facts(opened)
