"""What a number and a text look like, decided in one place.

Fractions are held in 0..1 everywhere and become per cent only here. What is unknown is `None` in
data and `–` on screen; it is never shown as 0.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

__all__ = [
    "UNKNOWN",
    "clean_text",
    "count",
    "duration",
    "fraction",
    "number",
    "one_line",
    "plural",
    "points",
    "sparkline",
]

UNKNOWN = "–"
_BARS = "▁▂▃▄▅▆▇█"
# CSI, OSC and two-character escape sequences, in their 7-bit form.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)|[@-Z\\-_])")
_LINE_ENDS = re.compile(r"\r\n|[\r\u0085\u2028\u2029]")
_KEPT_CONTROLS = "\n\t"


def fraction(value: float | None, *, digits: int | None = None) -> str:
    """Write a fraction in 0..1 as per cent.

    Below 10 % one decimal is kept. A fraction that is not exactly 0 or 1 is never rounded to it.

    Args:
        value: Fraction in 0..1; `None` or NaN means unknown.
        digits: Decimals of the per cent; `None` chooses.

    Returns:
        For example ``"52 %"``.

    Example:
        >>> fraction(0.521), fraction(0.043), fraction(0.0), fraction(0.0001), fraction(None)
        ('52 %', '4.3 %', '0 %', '<0.1 %', '–')
        >>> fraction(0.9999), fraction(1.0)
        ('>99 %', '100 %')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    percent = 100.0 * value
    places = digits if digits is not None else (1 if abs(percent) < 9.95 else 0)
    smallest = 10.0**-places
    if percent == 0.0 or -smallest / 2 < percent < 0.0:
        return "0 %"
    if 0.0 < percent < smallest / 2:
        return f"<{smallest:.{places}f} %"
    if 100.0 - smallest / 2 <= percent < 100.0:
        return f">{100.0 - smallest:.{places}f} %"
    return f"{percent:.{places}f} %"


def points(difference: float | None) -> str:
    """Write the difference of two fractions in percentage points, with its sign.

    Example:
        >>> points(0.183), points(-0.02), points(None)
        ('+18.3 points', '−2.0 points', '–')
    """
    if difference is None or not math.isfinite(difference):
        return UNKNOWN
    sign = "−" if difference < 0 else "+"
    return f"{sign}{abs(100.0 * difference):.1f} points"


def count(value: float | None) -> str:
    """Write a whole number with thousands separators.

    Example:
        >>> count(1234567), count(None)
        ('1,234,567', '–')
    """
    return UNKNOWN if value is None else f"{round(value):,}"


def plural(value: int, singular: str, several: str | None = None) -> str:
    """Write a count with its noun.

    Example:
        >>> plural(1, "prompt"), plural(1200, "prompt"), plural(2, "try", "tries")
        ('1 prompt', '1,200 prompts', '2 tries')
    """
    noun = singular if value == 1 else (several or f"{singular}s")
    return f"{count(value)} {noun}"


def number(value: float | None, *, significant: int = 3) -> str:
    """Write a real number with a fixed count of significant digits.

    Example:
        >>> number(0.31249), number(12345.6), number(-0.00001234), number(None)
        ('0.312', '12,346', '−1.23e-05', '–')
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    size = abs(value)
    if size >= 10**significant:
        text = f"{size:,.0f}"
    elif size == 0.0 or size >= 1e-4:
        leading = 0 if size == 0.0 else math.floor(math.log10(size))
        text = f"{size:.{max(0, significant - 1 - leading)}f}"
    else:
        text = f"{size:.{significant - 1}e}"
    return f"−{text}" if value < 0 else text


def duration(seconds: float | None) -> str:
    """Write a span of time.

    Example:
        >>> duration(0.4), duration(75), duration(3 * 3600 + 125), duration(None)
        ('0.4 s', '1 min 15 s', '3 h 2 min', '–')
    """
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def sparkline(
    values: Sequence[float | None], *, low: float | None = None, high: float | None = None
) -> str:
    """Draw a series with block characters, one per value; unknown values are spaces.

    Args:
        values: The series, oldest first.
        low: Value of the lowest bar; the smallest of `values` if not given.
        high: Value of the highest bar; the largest of `values` if not given.

    Example:
        >>> sparkline([0.0, 0.5, None, 1.0])
        '▁▅ █'
    """
    known = [v for v in values if v is not None and math.isfinite(v)]
    if not known:
        return " " * len(values)
    floor = min(known) if low is None else low
    span = (max(known) if high is None else high) - floor
    return "".join(_bar(value, floor, span) for value in values)


def _bar(value: float | None, floor: float, span: float) -> str:
    if value is None or not math.isfinite(value):
        return " "
    level = (value - floor) / span if span > 0 else 0.0
    return _BARS[min(7, max(0, round(level * 7 + 1e-9)))]


def clean_text(text: str, limit: int | None = None, *, length: int | None = None) -> str:
    r"""Make untrusted text safe to show: nothing in it can steer a terminal or reorder a line.

    Terminal escape sequences are removed. Line separators become a newline. Every other control,
    format or private-use character (among them bidirectional overrides and zero-width characters)
    is shown as a visible stand-in, so that it does not vanish unseen.

    Args:
        text: Anything a model or a data set wrote.
        limit: Longest result in characters; the rest is replaced by a note of how much is missing.
        length: Characters of the whole, where `text` is only its start.

    Example:
        >>> clean_text("\x1b[31mred\x1b[0m \u202eabc\x07")
        'red ⟨202E⟩abc␇'
        >>> clean_text("a" * 1000, limit=4)
        'aaaa … (996 more characters)'
    """
    length = len(text) if length is None else length
    start = text if limit is None else text[: 4 * limit + 64]
    kept = "".join(map(_visible, _LINE_ENDS.sub("\n", _ESCAPE.sub("", start))))
    if limit is None or (len(kept) <= limit and len(start) == length):
        return kept
    return f"{kept[:limit]} … ({max(1, length - limit):,} more characters)"


def one_line(text: str, limit: int) -> str:
    r"""Make untrusted text safe and short enough for one cell of a table.

    Example:
        >>> one_line("12 + 7 =\n19", 40), one_line("x" * 50, 8)
        ('12 + 7 = ⏎ 19', 'xxxxxxx…')
    """
    flat = clean_text(text[: 8 * limit + 64]).replace("\n", " ⏎ ").replace("\t", " ")
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"


def _visible(char: str) -> str:
    if char.isprintable() or char in _KEPT_CONTROLS:
        return char
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    # Spaces other than U+0020 are "not printable" to Python, and harmless.
    return " " if unicodedata.category(char) == "Zs" else f"⟨{code:04X}⟩"
