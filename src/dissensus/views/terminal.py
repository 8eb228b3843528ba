"""Pieces that several terminal views share: tables of numbers, bullet points."""

from __future__ import annotations

from collections.abc import Sequence

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dissensus.views.format import clean_text
from dissensus.views.style import TERMINAL

__all__ = ["bullet", "number_table"]


def number_table(header: Sequence[str], *, first: str | None = "") -> Table:
    """A table without rules, its numbers to the right.

    Args:
        header: Of the columns with numbers.
        first: Header of a column of names before them; None: there is none.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, header_style=TERMINAL["muted"])
    if first is not None:
        table.add_column(first, overflow="fold", ratio=1)
    for name in header:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def bullet(text: str, *, limit: int = 600) -> Padding:
    """A sentence after a bullet, without terminal escapes, at most `limit` characters of it."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=1)
    grid.add_column(ratio=1)
    grid.add_row("•", Text(clean_text(text, limit)))
    return Padding(grid, (0, 0, 0, 0))
