"""What a request asks for: every name known, every value within its limits, nothing twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dissensus.errors import InputError
from dissensus.views.live_views import View, checked
from dissensus.views.style import Theme

__all__ = ["read_parameters", "read_theme"]


def read_parameters(view: View, query: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Read the parameters of a view from a request; those that are not there get their defaults.

    Raises:
        InputError: One is unknown, stands there twice, or has a value that it cannot have.
    """
    found: dict[str, str] = {}
    for name, text in query:
        if name in found:
            raise InputError("the parameter stands there twice", got=name[:80])
        found[name] = text
    return checked(view, found)


def read_theme(text: str | None) -> Theme:
    """Light unless dark is asked for.

    Raises:
        InputError: It is neither.
    """
    if text not in (None, "light", "dark"):
        raise InputError("theme must be light or dark", got=text[:80])
    return "dark" if text == "dark" else "light"
