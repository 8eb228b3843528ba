"""The code cells of a notebook as one Python script whose lines know their cell."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from dissensus.audit.configs.entry_module import parse_python

__all__ = ["Notebook", "read_cells"]

_PYTHON_CELLS = ("%%capture", "%%prun", "%%time", "%%timeit")
_MAGIC = re.compile(r"(?P<indent>\s*)(?:(?P<name>[A-Za-z_]\w*)\s*=\s*)?[!%]")


class Notebook(NamedTuple):
    """A notebook's code.

    Args:
        text: Its cells as one script; shell and magic lines do nothing.
        places: For each line of the text its cell, counted from 1 over all cells, and the line
            there: `cell 3:7`.
        odd: Cells that are not Python, and left out.
    """

    text: str
    places: list[str]
    odd: list[int]

    def place(self, line: int) -> str:
        """Return where a line of the text is written."""
        return self.places[min(max(line, 1), len(self.places)) - 1] if self.places else "1"


def read_cells(text: str) -> Notebook:
    r"""Return the code of a notebook; empty when the text is none.

    Example:
        >>> cell = {"cell_type": "code", "source": ["!pip install a \\\n", " b\n", "x = 1"]}
        >>> book = read_cells(json.dumps({"cells": [cell]}))
        >>> book.text.split("\n"), book.place(3)
        (['pass', '', 'x = 1'], 'cell 1:3')
    """
    try:
        cells = json.loads(text).get("cells", [])
    except (ValueError, RecursionError, AttributeError):
        return Notebook("", [], [])
    lines: list[str] = []
    places: list[str] = []
    odd: list[int] = []
    for number, cell in enumerate(cells if isinstance(cells, list) else [], start=1):
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        code = "".join(map(str, source)) if isinstance(source, list) else str(source)
        if code.lstrip().startswith("%%") and not code.lstrip().startswith(_PYTHON_CELLS):
            continue
        kept = code.split("\n")
        if parse_python(code) is None:  # a line that begins with % may be a string or an operator
            kept = _without_magic(kept)
        if parse_python("\n".join(kept)) is None:
            odd.append(number)
            continue
        lines += kept
        places += [f"cell {number}:{line}" for line in range(1, len(kept) + 1)]
    return Notebook("\n".join(lines), places, odd)


def _without_magic(lines: list[str]) -> list[str]:
    kept: list[str] = []
    goes_on = False  # a shell line that ends in a backslash has the next line, too
    for line in lines:
        magic = None if goes_on else _MAGIC.match(line)
        if goes_on:
            kept.append("")
        elif magic is None:
            kept.append(line)
            continue
        elif magic["name"]:
            kept.append(f"{magic['indent']}{magic['name']} = the_output_of_a_command")
        else:
            kept.append(f"{magic['indent']}pass")
        goes_on = line.rstrip().endswith("\\")
    return kept
