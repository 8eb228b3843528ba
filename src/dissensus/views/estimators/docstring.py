"""The parts of a docstring in the house's style: summary, equation, text."""

from __future__ import annotations

import inspect
import re
from itertools import groupby
from typing import NamedTuple

__all__ = ["Described", "describe"]

_SECTION = re.compile(r"(Args|Returns|Raises|Example|Source|Attributes):")


class Described(NamedTuple):
    """A docstring, taken apart.

    Attributes:
        summary: First line.
        equation: Lines of the first indented block, as they stand.
        text: Paragraphs in order, each in one line, and tables and lists in their own lines;
            sections such as `Args:` are left out.
    """

    summary: str
    equation: tuple[str, ...]
    text: tuple[str, ...]

    @property
    def short(self) -> str:
        """What defines the advantage (or the weight u) in one line; else the first statement.

        A₊ and A₋ stand together where they are stated apart.
        """
        # Two spaces set statements apart; within one there is a single space.
        parts = [part for line in self.equation for part in re.split(r";\s{2,}", line)]
        defining = [part for part in parts if re.match(r"(A|u|w)[₊ ]", part.strip())]
        chosen = (defining or parts or [""])[:1]
        if chosen[0].strip().startswith("A₊") and "A₋" not in chosen[0]:
            chosen += [part for part in parts if part.strip().startswith("A₋")][:1]
        return ", ".join(re.sub(r"\s+", " ", part).strip(" ;,") for part in chosen)


def describe(documented: object) -> Described:
    """Take the docstring of a rule or a weight apart.

    Example:
        >>> from dissensus import advantages
        >>> described = describe(advantages.get("dr_grpo").function)
        >>> described.summary, described.short
        ('Centre on the group mean, without a division.', 'A = r − mean')
    """
    lines = (inspect.getdoc(documented) or "").splitlines()
    summary = lines[0] if lines else ""
    equation: list[str] = []
    text: list[str] = []
    for is_blank, block in groupby(lines[1:], key=lambda line: not line.strip()):
        if is_blank:
            continue
        block_lines = list(block)
        if _SECTION.match(block_lines[0]):
            break
        if not block_lines[0].startswith(" "):
            is_laid_out = block_lines[0].startswith(("|", "- "))
            text.append(("\n" if is_laid_out else " ").join(line.strip() for line in block_lines))
        elif not equation:
            equation = inspect.cleandoc("\n".join(block_lines)).splitlines()
    return Described(summary, tuple(equation), tuple(text))
