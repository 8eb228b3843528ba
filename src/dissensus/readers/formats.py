"""The table of all formats. A framework's format is one file beside this one and one line here."""

from __future__ import annotations

from dissensus.readers.base import Format

__all__ = ["FORMATS", "format_names"]

FORMATS: tuple[Format, ...] = ()
"""Formats of frameworks, each of which recognises only its own logs; the generic tables and counts
(`readers.tabular`, `readers.counts`) are tried when none of these does."""


def format_names() -> list[str]:
    """Names that `--format` accepts, without "auto"."""
    return [each.name for each in FORMATS]
