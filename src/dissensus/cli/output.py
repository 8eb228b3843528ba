"""Standard output of every command: one JSON document, or text for a person."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dissensus.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["make_console", "print_json", "progress_line", "to_plain", "write_html"]


def print_json(document: Any) -> None:
    """Print one JSON document; NaN and infinities, which JSON has no word for, become null.

    Args:
        document: Dicts, lists, strings and numbers.
    """
    text = json.dumps(to_plain(document), ensure_ascii=True, indent=2, allow_nan=False, default=str)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()  # `dashboard` goes on, and whoever started it waits for the address


def to_plain(value: Any) -> Any:
    """Replace numbers that are not finite by `None`.

    Example:
        >>> to_plain({"a": [1.5, float("nan")]})
        {'a': [1.5, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): to_plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(each) for each in value]
    return value


def make_console(*, stderr: bool = False) -> Console:
    """Make a console that prints text as it is: no markup, no emoji codes, no guessed colours."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


@contextlib.contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """A line on a terminal that says what is going on; nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    console = make_console(stderr=True)
    with console.status("starting") as status:
        yield status.update


def write_html(page: str, path: Path) -> None:
    """Write a page, all of it or nothing.

    Args:
        page: The document.
        path: File to write; an existing one is replaced.

    Raises:
        InputError: The file cannot be written.
    """
    from dissensus.runs.store import commit_bytes

    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        commit_bytes(path, page.encode("utf-8"))
    except OSError as error:
        raise InputError(f"cannot write the page ({error.strerror})", where=str(path)) from error
