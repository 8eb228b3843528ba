"""`dissensus dashboard`: the live web page over runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dissensus._optional import require
from dissensus.cli.output import print_json
from dissensus.cli.report import single_threaded_algebra

__all__ = ["dashboard"]


def dashboard(  # noqa: PLR0917 — typer makes options of parameters
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of runs, or one run; live ones too.")
    ],
    host: Annotated[
        str,
        typer.Option(
            "--host", metavar="ADDRESS", help="Others than this machine's own need --token."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65535, help="0: any free one; default: 8765 or the next."
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="DISSENSUS_TOKEN", help="What a visitor must show."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Another name the page is opened by."),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open it in the browser of this machine.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document, with the URL, and serve.")
    ] = False,
) -> None:
    """Serve a page that shows runs, live, until Ctrl-C. Nothing in it leaves this machine."""
    single_threaded_algebra()
    for module in ("starlette", "uvicorn", "jinja2"):
        require(module, "dashboard")
    from dissensus.dashboard.server import Server

    server = Server(folder, host=host, port=port, token=token, allowed=tuple(allow_host or ()))
    if as_json:
        print_json({"url": server.url, "runs": server.count_runs()})
    else:
        from dissensus.views.format import plural

        typer.echo(f"{plural(server.count_runs(), 'run')} under {folder}. Ctrl-C stops.")
        typer.echo(server.url)
    if open_browser:
        import webbrowser

        webbrowser.open(server.url)
    server.run()
