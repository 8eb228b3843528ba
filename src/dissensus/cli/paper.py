"""`dissensus paper`: arXiv:2607.00152 recomputed, side by side with what it prints."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dissensus.cli.output import make_console, print_json, progress_line, write_html
from dissensus.cli.report import single_threaded_algebra

if TYPE_CHECKING:
    from dissensus.lab.paper.run import PaperResult

__all__ = ["paper"]


def paper(
    *,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained page.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Seeds of the controlled run.")] = 20,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            help="Folder with DAPO's digitised curve; default: DISSENSUS_SHARED_DATA, or "
            "shared/data beside the checkout.",
        ),
    ] = None,
    skip_model: Annotated[
        bool, typer.Option("--skip-model", help="Leave out the language model (some minutes).")
    ] = False,
) -> None:
    """Reproduce "GRPO, Dr. GRPO, and DAPO Are Three Operations on One Number".

    Every number of arXiv:2607.00152 beside ours with the difference and its cause, every figure,
    and the same predictions on a language model in training.
    """
    single_threaded_algebra()
    from dissensus.lab.paper.run import PaperSettings, reproduce

    settings = PaperSettings(seeds=seeds, data=data, model=not skip_model)
    # A framework that prints must not get between the caller and the one JSON document.
    with progress_line() as tell, contextlib.redirect_stdout(sys.stderr):
        result = reproduce(settings, tell)
    if html is not None:
        _write_page(result, html)
    if as_json:
        print_json({**result.to_json(), **({} if html is None else {"html": str(html)})})
        return
    from dissensus.views.paper import paper_view

    make_console().print(paper_view(result.sections))
    if html is not None:
        typer.echo(f"\nPage: {html}")


def _write_page(result: PaperResult, path: Path) -> None:
    from dissensus.lab.paper.panels import paper_panels
    from dissensus.lab.paper.run import PAPER, TITLE
    from dissensus.views.paper_page import paper_page

    page = paper_page(result.sections, paper_panels(result), paper=PAPER, title=TITLE)
    write_html(page, path)
