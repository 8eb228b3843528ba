"""A dashboard beside a training: a process of its own that ends when the training's does."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from dissensus.errors import DissensusError, RunError

__all__ = ["beside"]

_NICE = 5
_PATIENCE_S = 30.0
_END_S = 5.0


@contextlib.contextmanager
def beside(folder: Path) -> Iterator[str]:
    """Serve a folder of runs in another process, and give the URL.

    The process is told to end by the end of its standard input, so that it ends with this process
    however that ends. It gives way to the training, and Ctrl-C, which stops that, is not for it.

    Args:
        folder: Of runs; made where it is missing.

    Raises:
        RunError: It does not start, or not within half a minute.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(  # noqa: S603 — this very program
        [sys.executable, "-m", "dissensus.dashboard.beside", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101 — both are pipes
    assert process.stdout is not None  # noqa: S101
    try:
        yield _url(process, folder)
    finally:
        process.stdin.close()
        process.stdout.close()
        try:
            process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if is_new:  # a training that was refused leaves no folder behind
            with contextlib.suppress(OSError):
                folder.rmdir()


def _url(process: subprocess.Popen[str], folder: Path) -> str:
    """What the process says first; one that says nothing in time is ended."""
    assert process.stdout is not None  # noqa: S101 — it is a pipe
    patience = threading.Timer(_PATIENCE_S, process.kill)
    patience.start()
    try:
        line = process.stdout.readline()
    finally:
        patience.cancel()
    said: dict[str, str] = {}
    with contextlib.suppress(ValueError):  # a warning of some library: no answer either
        said = json.loads(line)
    if "url" in said:
        return str(said["url"])
    why = said.get("error", "the dashboard does not start")
    raise RunError(why, hint=f"dissensus dashboard {folder} says more")


def main(folder: Path) -> None:
    """Serve until standard input ends."""
    try:
        from dissensus.dashboard.server import Server

        server = Server(folder)
    except (DissensusError, ImportError) as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        return
    if hasattr(os, "nice"):
        os.nice(_NICE)

    def wait() -> None:
        sys.stdin.read()
        server.stop()

    threading.Thread(target=wait, daemon=True).start()
    sys.stdout.write(json.dumps({"url": server.url}) + "\n")
    sys.stdout.flush()
    server.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
