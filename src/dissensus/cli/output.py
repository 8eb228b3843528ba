"""Standard output of every command: one JSON document, or text for a person."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["make_console", "print_json", "to_plain"]


def print_json(document: Any) -> None:
    """Print one JSON document; NaN and infinities, which JSON has no word for, become null.

    Args:
        document: Dicts, lists, strings and numbers.
    """
    text = json.dumps(to_plain(document), ensure_ascii=True, indent=2, allow_nan=False, default=str)
    sys.stdout.write(text + "\n")


def to_plain(value: Any) -> Any:
    """Replace numbers that are not finite by `None`.

    Example:
        >>> to_plain({"a": [1.5, float("nan")]})
        {'a': [1.5, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): to_plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(each) for each in value]
    return value


def make_console(*, stderr: bool = False) -> Console:
    """Make a console that prints text as it is: no markup, no emoji codes, no guessed colours."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)
