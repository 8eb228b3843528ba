"""The strategies by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from dissensus.core.allocation.base import Allocator
from dissensus.core.allocation.pool import Prompts
from dissensus.errors import InputError

__all__ = ["Cost", "Strategy", "describe", "get", "names", "strategy"]

Cost: TypeAlias = Literal["fixed", "open"]
Built = TypeVar("Built", bound=type[Allocator])


@dataclass(frozen=True)
class Strategy:
    """What is known of a strategy before it is built.

    Attributes:
        name: What `get` finds it by.
        allocator: The class.
        source: Paper, section, and the code it was checked against.
        generated: Whether a step asks for about batch · group_size rollouts (`fixed`), or goes on
            until it has what it wants (`open`).
        extra: Passes besides sampling and training that the published method makes.
        variant: Parameters that this name fixes.
    """

    name: str
    allocator: type[Allocator]
    source: str
    generated: Cost = "fixed"
    extra: str = ""
    variant: tuple[tuple[str, Any], ...] = ()

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.allocator) or "").partition("\n")[0]

    @property
    def parameters(self) -> dict[str, Any]:
        """Keyword parameters with their defaults, those of the base classes first."""
        own = [each.__dict__.get("__init__") for each in reversed(self.allocator.__mro__[:-1])]
        found = [
            each for init in own if init for each in inspect.signature(init).parameters.values()
        ]
        defaults = {each.name: each.default for each in found if each.kind is each.KEYWORD_ONLY}
        return defaults | dict(self.variant)


_STRATEGIES: dict[str, Strategy] = {}


def strategy(
    name: str, *, source: str, generated: Cost = "fixed", extra: str = "", **variant: Any
) -> Callable[[Built], Built]:
    """Register an allocator class under a name; `variant` fixes parameters of it.

    Raises:
        InputError: The name is taken.
    """
    if name in _STRATEGIES:
        raise InputError("a strategy needs a new name", got=name)

    def register(allocator: Built) -> Built:
        _STRATEGIES[name] = Strategy(
            name, allocator, source, generated, extra, tuple(variant.items())
        )
        if "name" not in allocator.__dict__:
            allocator.name = name
        return allocator

    return register


def names() -> tuple[str, ...]:
    """Registered strategies, in alphabetical order.

    Example:
        >>> "dapo" in names()
        True
    """
    return tuple(sorted(_STRATEGIES))


def describe(name: str) -> Strategy:
    """What is known of the strategy of that name.

    Raises:
        InputError: No such strategy.

    Example:
        >>> describe("dapo").generated
        'open'
    """
    if name not in _STRATEGIES:
        close = difflib.get_close_matches(name, names())
        raise InputError(
            "no allocation strategy of that name",
            got=name,
            hint=f"did you mean {' or '.join(close)}?" if close else f"one of {', '.join(names())}",
        )
    return _STRATEGIES[name]


def get(name: str, prompts: Prompts, **parameters: Any) -> Allocator:
    """A new allocator over these prompts.

    Args:
        name: A registered name.
        prompts: Number of prompts, or their ids.
        **parameters: Values other than the defaults of `describe(name).parameters`.

    Raises:
        InputError: No such strategy, or it has no such parameter.

    Example:
        >>> get("uniform", 100, batch=4).batch
        4
    """
    found = describe(name)
    unknown = sorted(set(parameters) - set(found.parameters))
    if unknown:
        raise InputError(
            f"{name} has no parameter {unknown[0]!r}",
            hint=f"it has {', '.join(found.parameters)}",
        )
    built = found.allocator(prompts, **{**dict(found.variant), **parameters})
    built.name = name  # type: ignore[misc]  # a class may be registered under several names
    return built
