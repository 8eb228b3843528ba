"""Read the text of a configuration, whatever is in the file."""

from __future__ import annotations

import stat
from pathlib import Path

__all__ = ["MAX_BYTES", "read_text", "why_unreadable"]

MAX_BYTES = 1_000_000
"""Larger files are no configurations."""


def read_text(path: Path, limit: int = MAX_BYTES) -> str | None:
    """Return the text of a regular file, or None when it cannot be read.

    Bytes that are not UTF-8 become replacement characters; NUL characters are left out.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            return None
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except (OSError, ValueError):
        return None
    encoding = "utf-16" if raw[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    return raw.decode(encoding, errors="replace").replace("\0", "").replace("\r\n", "\n")


def why_unreadable(path: Path, limit: int = MAX_BYTES) -> str:
    """Say in one line why `read_text` returned None."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        return f"cannot be opened ({type(error).__name__})"
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if status.st_size > limit:
        return f"{status.st_size:,} bytes; a configuration has at most {limit:,}"
    return "cannot be read"
