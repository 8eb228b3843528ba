"""What a request asks for, checked: every name is known, every value has a type and a limit."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from dissensus.errors import InputError
from dissensus.views.live_views import Parameter
from dissensus.views.style import Theme

__all__ = ["read_choice", "read_parameters", "read_theme"]

_MOST_CHARS = 2_000
_INT = re.compile(r"-?\d{1,18}")
_FLOAT = re.compile(r"-?\d{1,30}(?:\.\d{0,30})?(?:[eE][-+]?\d{1,3})?")


def read_parameters(
    parameters: Sequence[Parameter], query: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    """Read the parameters of a view from a request; those that are not there get their defaults.

    Raises:
        InputError: One is unknown, stands there twice, or has no value that it can have.
    """
    known = {each.name: each for each in parameters}
    found: dict[str, Any] = {}
    for name, text in query:
        if name not in known:
            hint = f"this view knows {', '.join(known)}" if known else "this view has none"
            raise InputError("there is no such parameter", got=name, hint=hint)
        if name in found:
            raise InputError("the parameter stands there twice", got=name)
        found[name] = _value(known[name], text)
    return {each.name: found.get(each.name, each.default) for each in parameters}


def read_theme(text: str | None) -> Theme:
    """Light unless dark is asked for.

    Raises:
        InputError: It is neither.
    """
    return "dark" if read_choice("theme", text, ("light", "dark")) == "dark" else "light"


def read_choice(name: str, text: str | None, choices: Sequence[str]) -> str:
    """One of some words, the first where nothing is said.

    Raises:
        InputError: It is none of them.
    """
    if text is None:
        return choices[0]
    if text not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}", got=text)
    return text


def _value(parameter: Parameter, text: str) -> Any:
    if parameter.kind == "choice":
        return read_choice(parameter.name, text, parameter.choices)
    if parameter.kind == "text":
        if len(text) > _MOST_CHARS:
            raise InputError(
                f"{parameter.name} is longer than {_MOST_CHARS:,} characters", got=len(text)
            )
        return text
    if not text and parameter.default is None:
        return None
    value = _number(parameter, text)
    low, high = parameter.low, parameter.high
    if (low is not None and value < low) or (high is not None and value > high):
        raise InputError(f"{parameter.name} must lie between {low} and {high}", got=value)
    return value


def _number(parameter: Parameter, text: str) -> int | float:
    if parameter.kind == "int" and _INT.fullmatch(text):
        return int(text)
    if parameter.kind == "float" and _FLOAT.fullmatch(text):
        value = float(text)
        if math.isfinite(value):
            return value
    noun = "a whole number" if parameter.kind == "int" else "a number"
    raise InputError(f"{parameter.name} must be {noun}", got=text)
