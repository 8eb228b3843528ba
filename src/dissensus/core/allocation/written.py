"""Strategies as they are written: `uniform`, or `contrast(least=4, most=16)`."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import Any

from dissensus.core.allocation.base import Allocator
from dissensus.core.allocation.pool import Prompts
from dissensus.core.allocation.registry import Strategy, describe, get
from dissensus.errors import InputError

__all__ = ["Written", "read", "read_list"]

_SEPARATOR = re.compile(r",(?![^(]*\))")


@dataclass(frozen=True)
class Written:
    """A strategy with the parameters that were written for it.

    Attributes:
        name: Registered name.
        parameters: Other values than the defaults.
    """

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """As `read` reads it."""
        listed = ", ".join(f"{key}={value!r}" for key, value in self.parameters.items())
        return f"{self.name}({listed})" if listed else self.name

    @property
    def strategy(self) -> Strategy:
        """What is known of it."""
        return describe(self.name)

    def build(self, prompts: Prompts, **defaults: Any) -> Allocator:
        """A new allocator.

        Args:
            prompts: Number of prompts, or their ids.
            **defaults: Parameters that it takes if it has them, nothing else was written, and the
                strategy does not fix them.
        """
        fixed = {name for name, _ in self.strategy.variant}
        known = set(self.strategy.parameters) - fixed
        taken = {name: value for name, value in defaults.items() if name in known}
        return get(self.name, prompts, **(taken | self.parameters))

    def fit(self, prompts: Prompts, *, rollouts: int, group_size: int) -> Allocator:
        """A new allocator whose steps fill a trainer's batch.

        Args:
            prompts: Number of prompts, or their ids.
            rollouts: What the trainer trains on in one step.
            group_size: Rollouts of each prompt, where the strategy does not decide otherwise.

        Example:
            >>> Written("pods").fit(100, rollouts=64, group_size=8).batch  # it draws 16 of each
            4
        """
        alone = self.build(2, batch=1, group_size=group_size)
        is_open = self.strategy.generated == "open"
        each = alone.trained_per_prompt if is_open else alone.group_size
        return self.build(prompts, batch=max(1, rollouts // each), group_size=group_size)


def read(text: str, *, where: str = "allocator") -> Written:
    """Read one strategy.

    Args:
        text: A name, or a call of it with keyword parameters.
        where: What the text was given to, for messages.

    Raises:
        InputError: It cannot be read, is unknown, or does not take these parameters.

    Example:
        >>> str(read("contrast(least=4,most=8)"))
        'contrast(least=4, most=8)'
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        parameters = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        call, parameters = ast.Call(ast.Constant(None), [], []), {}
    if not isinstance(call.func, ast.Name) or call.args:
        raise InputError(
            "an allocator is a name, or a name with parameters",
            where=where,
            got=text.strip(),
            hint="for example uniform, or contrast(least=4)",
        )
    written = Written(call.func.id, parameters)
    written.build(2, batch=1, group_size=2)  # parameters are checked here
    return written


def read_list(text: str, *, where: str = "allocators") -> list[Written]:
    """Read strategies that commas separate.

    Args:
        text: Strategies as `read` takes them.
        where: What the text was given to, for messages.

    Raises:
        InputError: One cannot be read, or stands there twice.

    Example:
        >>> [str(each) for each in read_list("uniform, contrast(least=4,most=8)")]
        ['uniform', 'contrast(least=4, most=8)']
    """
    found = [read(part, where=where) for part in _SEPARATOR.split(text)]
    names = [str(each) for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError("an allocator stands there twice", where=where, got=twice)
    return found
