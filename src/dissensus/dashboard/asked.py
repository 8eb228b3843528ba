"""What a request asks for: every name known, every value within its limits, nothing twice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dissensus.errors import InputError
from dissensus.views.live_views import View, checked
from dissensus.views.style import Theme

__all__ = ["read_parameters", "read_view"]


def read_parameters(view: View, query: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Read the parameters of a view from a request; those that are not there get their defaults.

    Raises:
        InputError: One is unknown, stands there twice, or has a value that it cannot have.
    """
    return checked(view, _once(query))


def read_view(view: View, query: Iterable[tuple[str, str]]) -> tuple[Theme, dict[str, Any]]:
    """Read the theme, light unless dark is asked for, and the parameters.

    Raises:
        InputError: As `read_parameters`, or the theme is neither.
    """
    found = _once(query)
    theme = found.pop("theme", "light")
    if theme not in ("light", "dark"):
        raise InputError("theme must be light or dark", got=theme[:80])
    return "dark" if theme == "dark" else "light", checked(view, found)


def _once(query: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in query:
        if name in found:
            raise InputError("the parameter stands there twice", got=name[:80])
        found[name] = text
    return found
