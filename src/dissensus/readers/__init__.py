"""Rollout logs of training frameworks, read where they lie, in the schema of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dissensus.readers.log import Log

__all__ = ["format_names", "open_log"]


def open_log(
    path: str | os.PathLike[str],
    *,
    format: str = "auto",  # noqa: A002 — the command's option has this name
    mapping: Mapping[str, str] | None = None,
    strict: bool = False,
    trust_pickle: bool = False,
) -> Log:
    """Open a log of any format that a reader knows, told by its content.

    Args:
        path: A file, or a folder of files.
        format: Name of the format; "auto" looks at the content.
        mapping: Canonical column → column of the log, for what is not obvious.
        strict: Raise at the first row that cannot be read, instead of listing it.
        trust_pickle: Read formats that can run code while they are read.

    Raises:
        InputError: No reader recognises it, or it cannot be read.
        UnsupportedError: Reading it could run code, and `trust_pickle` is not set.

    Example:
        >>> import json, pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "rollouts.jsonl"
        >>> rows = [{"step": 0, "group_id": 7, "reward": reward} for reward in (1, 0, 0, 1)]
        >>> _ = file.write_text("".join(json.dumps(row) + chr(10) for row in rows))
        >>> open_log(file).groups(columns=["group_id", "size", "std"]).to_pylist()
        [{'group_id': '7', 'size': 4, 'std': 0.5}]
    """
    from dissensus.readers.log import Log
    from dissensus.readers.sources import find_source

    source = find_source(
        Path(path).absolute(), format=format, mapping=mapping or {}, trust_pickle=trust_pickle
    )
    return Log(source, strict=strict)


def format_names() -> list[str]:
    """Names of all formats."""
    from dissensus.readers.formats import format_names as names

    return names()
