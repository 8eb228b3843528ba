"""Allocators as they are written: `uniform`, or `contrast(least=4, most=16)`."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from dissensus.core import allocation
from dissensus.core.allocation import Allocator
from dissensus.core.allocation.contrast import Contrast
from dissensus.errors import InputError

__all__ = ["Entry", "everyone", "read_entries"]

_SEPARATOR = re.compile(r",(?![^(]*\))")


class Entry(NamedTuple):
    """An allocator of a replay.

    Attributes:
        written: As it was written, which names it in the results.
        name: Registered name.
        parameters: Other values than the defaults.
    """

    written: str
    name: str
    parameters: dict[str, Any]

    @property
    def is_bounded(self) -> bool:
        """Whether it has the bounds that an oracle obeys, too."""
        return issubclass(allocation.describe(self.name).allocator, Contrast)

    def build(self, prompts: int, **defaults: Any) -> Allocator:
        """A new allocator.

        Args:
            prompts: Number of prompts.
            **defaults: Parameters that it takes if it has them, nothing else was written, and the
                strategy does not fix them.
        """
        found = allocation.describe(self.name)
        fixed = {name for name, _ in found.variant} | (set(defaults) - set(found.parameters))
        taken = {name: value for name, value in defaults.items() if name not in fixed}
        return allocation.get(self.name, prompts, **(taken | self.parameters))


def read_entries(text: str) -> list[Entry]:
    """Read allocators, separated by commas.

    Raises:
        InputError: One cannot be read, is unknown, or stands there twice.

    Example:
        >>> [entry.written for entry in read_entries("uniform, contrast(least=4,most=8)")]
        ['uniform', 'contrast(least=4, most=8)']
    """
    entries = [_read(part) for part in _SEPARATOR.split(text)]
    names = [entry.written for entry in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError("an allocator stands there twice", where="--allocators", got=twice)
    return entries


def everyone() -> tuple[list[Entry], dict[str, str]]:
    """Every registered allocator that counts are enough for, and why the others are left out."""
    left_out, entries = {}, []
    for name in ("uniform", *(each for each in allocation.names() if each != "uniform")):
        if allocation.describe(name).allocator.needs_lengths:
            left_out[name] = NEEDS_LENGTHS
        else:
            entries.append(Entry(name, name, {}))
    return entries, left_out


NEEDS_LENGTHS = "it looks at the lengths of completions, which counts do not have"


def _read(text: str) -> Entry:
    try:
        node = ast.parse(text.strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        parameters = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        call, parameters = ast.Call(ast.Constant(None), [], []), {}
    if not isinstance(call.func, ast.Name) or call.args:
        raise InputError(
            "an allocator is a name, or a name with parameters",
            where="--allocators",
            got=text.strip(),
            hint="for example uniform,dapo,contrast(least=4)",
        )
    name = call.func.id
    if allocation.describe(name).allocator.needs_lengths:
        raise InputError(f"{name} cannot be replayed: {NEEDS_LENGTHS}", where="--allocators")
    listed: Sequence[str] = [f"{key}={value!r}" for key, value in parameters.items()]
    written = f"{name}({', '.join(listed)})" if listed else name
    Entry(written, name, parameters).build(2, batch=1, group_size=2)  # parameters are checked here
    return Entry(written, name, parameters)
