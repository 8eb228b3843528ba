"""Text that stands for a number, a truth value, nothing, or a list."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["parse_scalar", "unique"]

_INT = re.compile(r"[+-]?\d(?:_?\d){0,30}\Z")
_FLOAT = re.compile(r"[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?\Z")
_WORDS: dict[str, Any] = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
    "null": None,
    "Null": None,
    "NULL": None,
    "None": None,
}
_SPECIAL = {
    ".inf": float("inf"),
    "inf": float("inf"),
    "-.inf": float("-inf"),
    ".nan": float("nan"),
}


def parse_scalar(text: str) -> Any:
    """Return the value that a command line or a plain YAML scalar stands for.

    `null` and `None` are None; `none` stays text, because several frameworks have it as a name.

    Example:
        >>> [parse_scalar(text) for text in ("1e-6", "8", "True", "none", "null", "[a, 2]")]
        [1e-06, 8, True, 'none', None, ['a', 2]]
    """
    text = text.strip()
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text)
    if len(text) < 64 and _FLOAT.match(text):
        return float(text)
    if text in _SPECIAL:
        return _SPECIAL[text]
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if text.startswith("[") and text.endswith("]") and len(text) < 20_000:
        return _parse_list(text)
    return text


def _parse_list(text: str) -> Any:
    inner = text[1:-1].strip()
    if any(char in inner for char in "[]{}"):
        return text  # nested: kept as written
    return [parse_scalar(item) for item in inner.split(",")] if inner else []


def unique(*names: tuple[str, ...]) -> tuple[str, ...]:
    """Join tuples of names, each name once, in order of appearance.

    Example:
        >>> unique(("A",), ("B", "A"))
        ('A', 'B')
    """
    return tuple(dict.fromkeys(name for group in names for name in group))[:20]
