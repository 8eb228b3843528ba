"""Curves and bars of text, for a terminal: no colour is needed to tell them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.text import Text

from dissensus.views.format import number

__all__ = ["bar", "curve_plot"]

_EIGHTHS = " ▏▎▍▌▋▊▉█"
# Bits of a braille character's eight dots: column 0 then column 1, from the bottom up.
_DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))


def bar(value: float, full: float, cells: int) -> str:
    """A horizontal bar of `value` on a scale where `full` fills all cells; its size alone counts.

    Example:
        >>> bar(0.75, 1.0, 4), bar(0.0, 1.0, 4), bar(-0.3, 1.0, 4)
        ('███', '', '█▎')
    """
    if not (math.isfinite(value) and full > 0):
        return ""
    eighths = min(8 * cells, round(8 * cells * abs(value) / full))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def curve_plot(
    curves: Sequence[Sequence[float]],
    *,
    styles: Sequence[str],
    width: int,
    height: int,
    title: str = "",
    x_ends: tuple[str, str] = ("0", "1"),
    from_zero: bool = False,
) -> list[Text]:
    """Draw curves over one axis, the first one solid and the others dotted, in braille.

    The scale is that of the first curve and of others where they stay within three times its span:
    what diverges leaves the plot. Values that are not finite are gaps.

    Args:
        curves: Values at equal steps along the axis.
        styles: Colour of each curve, as rich names it.
        width: Columns of the whole, scale included.
        height: Rows of the plot alone.
        title: Line above the plot.
        x_ends: What stands at the two ends of the axis.
        from_zero: Whether the scale reaches to zero.

    Returns:
        Lines of equal width: title, plot, axis.

    Example:
        >>> [line.plain for line in curve_plot([[0, 1]], styles=[""], width=12, height=2)]
        ['            ', ' 1.00 ┤  ⢀⠤⠊', '    0 ┤⡠⠒⠁  ', '       0   1']
    """
    low, high = _scale(curves, from_zero=from_zero)
    labels = {0: _label(high), height - 1: _label(low)}
    margin = max(6, max(map(len, labels.values())) + 1)
    columns = width - margin - 1
    cells = [[(0, "")] * columns for _ in range(height)]
    for order, (values, style) in enumerate(zip(curves, styles, strict=True)):
        for x, y in _dots(values, 2 * columns, 4 * height, low, high):
            if order and x % 4 >= 2:
                continue  # dotted: two columns on, two columns off
            row, column = height - 1 - y // 4, x // 2
            bits, owner = cells[row][column]
            cells[row][column] = (bits | _DOTS[x % 2][y % 4], owner or style)
    lines = [Text(f"{title:<{width}}"[:width])]
    for row, line in enumerate(cells):
        text = Text(f"{labels.get(row, ''):>{margin - 1}} ┤")
        for bits, style in line:
            text.append(chr(0x2800 + bits) if bits else " ", style=style)
        lines.append(text)
    gap = columns - len(x_ends[0]) - len(x_ends[1])
    lines.append(Text(" " * (margin + 1) + x_ends[0] + " " * gap + x_ends[1]))
    return lines


def _label(value: float) -> str:
    return "0" if value == 0 else number(value)


def _scale(curves: Sequence[Sequence[float]], *, from_zero: bool) -> tuple[float, float]:
    first = [v for v in curves[0] if math.isfinite(v)] or [0.0]
    low, high = min(first), max(first)
    span = (high - low) or abs(high) or 1.0
    others = [v for values in curves[1:] for v in values if math.isfinite(v)]
    kept = [v for v in others if low - span <= v <= high + span]
    low, high = min([low, *kept]), max([high, *kept])
    if from_zero or (0 < low < high - low):
        low, high = min(low, 0.0), max(high, 0.0)
    # A flat curve stands in the middle of its plot, and its rounding errors stay out of sight.
    is_flat = high - low <= 1e-6 * max(abs(low), abs(high), 1e-6)
    around = abs(high) or 1.0
    return (low - around, high + around) if is_flat else (low, high)


def _dots(
    values: Sequence[float], columns: int, rows: int, low: float, high: float
) -> list[tuple[int, int]]:
    """Dots of a curve, the gaps between neighbouring columns filled."""
    found: list[tuple[int, int]] = []
    before: int | None = None
    for x in range(columns):
        place = x * (len(values) - 1) / max(1, columns - 1)
        left = min(int(place), max(0, len(values) - 2))
        value = values[left] + (place - left) * (
            values[min(left + 1, len(values) - 1)] - values[left]
        )
        if not (math.isfinite(value) and low <= value <= high):
            before = None
            continue
        y = min(rows - 1, round((value - low) / (high - low) * (rows - 1)))
        start = y if before is None else before + (1 if y > before else -1 if y < before else 0)
        found += [(x, each) for each in range(min(start, y), max(start, y) + 1)]
        before = y
    return found
