"""The table of all formats. A framework's format is one file beside this one and one line here."""

from __future__ import annotations

from dissensus.readers.base import Format
from dissensus.readers.counts import ACCURACY_LISTS, HISTOGRAM, KOFN
from dissensus.readers.tabular import TABLE

__all__ = ["FORMATS", "FRAMEWORK_FORMATS", "GENERIC_FORMATS", "format_names"]

FRAMEWORK_FORMATS: tuple[Format, ...] = ()
"""Each recognises only its own logs: a log that two of them recognise is an error."""

GENERIC_FORMATS: tuple[Format, ...] = (ACCURACY_LISTS, HISTOGRAM, KOFN, TABLE)
"""Tried in this order when no framework's format recognises a log."""

FORMATS: tuple[Format, ...] = (*FRAMEWORK_FORMATS, *GENERIC_FORMATS)


def format_names() -> list[str]:
    """Names that `--format` accepts, besides "auto"."""
    return [each.name for each in FORMATS]
