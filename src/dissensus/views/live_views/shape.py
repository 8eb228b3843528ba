"""What a view of the dashboard is, what it gives, and how its parameters are checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from dissensus.errors import InputError

__all__ = ["Cell", "Grid", "Parameter", "Shown", "View", "checked"]

Cell = Literal["text", "int", "frac", "number", "sparkline", "link", "spans"]


class Grid(NamedTuple):
    """A table, or a window of one.

    Attributes:
        columns: (key, title, kind) of each. A cell is `None` where nothing is known, else: text, a
            number, a fraction in 0..1, the numbers of a sparkline, `[text, id, …]` of a link, or
            `[[text, is_different], …]` of spans. Texts are untrusted and made safe to show.
        rows: As many cells each.
        total: Rows of the whole table, of which these are a window.
    """

    columns: list[tuple[str, str, Cell]]
    rows: list[list[Any]]
    total: int


class Shown(NamedTuple):
    """What a view made.

    Attributes:
        figure: A plotly figure as plain data; points carry `customdata`: `[step]` in a run,
            `[prompt_id]` among prompts, `[group_id, generation]` among groups. Its texts are ours.
        table: A table; a view has one, a figure, or both.
        note: What the numbers are exactly, or why there are none.
        csv: The numbers behind it.
        python: Code that gives the same numbers.
        more: What else a page says beside it, by name; plain data, texts made safe.
    """

    figure: dict[str, Any] | None
    table: Grid | None
    note: str
    csv: pa.Table
    python: str
    more: Mapping[str, Any] = MappingProxyType({})


class Parameter(NamedTuple):
    """One parameter of a view, and what it may be.

    Attributes:
        name: Keyword of `View.make`.
        kind: Of its values.
        default: Where nothing is given; `None` is allowed there alone.
        choices: Of a choice.
        low: Least number.
        high: Largest number, or longest text.
    """

    name: str
    kind: Literal["int", "float", "text", "choice"]
    default: Any
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None

    def read(self, text: Any) -> Any:
        """The value that a text, such as one from an address line, stands for.

        Raises:
            InputError: It is not allowed.

        Example:
            >>> Parameter("limit", "int", 50, low=1, high=200).read("80")
            80
        """
        if text is None or (text == "" and self.kind != "text"):
            return self.default
        if self.kind == "choice":
            return self._require(str(text), str(text) in self.choices)
        if self.kind == "text":
            return self._require(str(text), len(str(text)) <= (self.high or 200))
        try:
            value = int(text) if self.kind == "int" else float(text)
        except (ValueError, OverflowError, TypeError):
            return self._require(text, is_allowed=False)
        is_inside = (self.low is None or value >= self.low) and (
            self.high is None or value <= self.high
        )
        return self._require(value, is_inside and math.isfinite(value))

    def _require(self, value: Any, is_allowed: bool) -> Any:
        if is_allowed:
            return value
        span = f"from {self.low:g} to {self.high:g}" if self.low is not None else ""
        allowed = {
            "choice": f"one of {', '.join(self.choices[:12])}",
            "text": f"at most {self.high or 200:g} characters",
        }
        raise InputError(
            f"the parameter '{self.name}' is not allowed",
            got=str(value)[:80],
            hint=allowed.get(self.kind, f"{self.kind} {span}"),
        )


class View(NamedTuple):
    """One view: `make(source, theme, **parameters)` gives what is shown.

    Attributes:
        name: In addresses.
        title: Heading.
        scope: What it is about; one over several runs gets a list of (label, source).
        parameters: All it takes besides.
        make: Makes it.
    """

    name: str
    title: str
    scope: Literal["run", "prompt", "group", "several"]
    parameters: tuple[Parameter, ...]
    make: Callable[..., Shown]


def checked(view: View, given: Mapping[str, Any]) -> dict[str, Any]:
    """Values of all parameters of a view; what is not given has its default.

    Args:
        view: The view.
        given: Texts or values by name.

    Raises:
        InputError: A name is unknown, or a value not allowed.
    """
    names = [each.name for each in view.parameters]
    unknown = [name for name in given if name not in names]
    if unknown:
        raise InputError(
            f"the view '{view.name}' has no such parameter",
            got=str(unknown[0])[:80],
            hint=f"parameters are {', '.join(names) or 'none'}",
        )
    return {each.name: each.read(given.get(each.name)) for each in view.parameters}
