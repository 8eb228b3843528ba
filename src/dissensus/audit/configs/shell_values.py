"""What is known about the variables of a shell script while it is followed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dissensus.audit.configs.scalars import unique
from dissensus.audit.configs.shell_syntax import Node

__all__ = [
    "HOLE",
    "BudgetError",
    "Field",
    "Scalar",
    "Scope",
    "Variable",
    "as_fields",
    "join_scopes",
    "join_ways",
]

HOLE = "\0"
"""Stands in a text where an unknown piece belongs; input is cleared of it."""

_MAX_TEXT = 60_000
_MAX_ITEMS = 4_000


class BudgetError(Exception):
    """Following the script takes more steps than a training script needs."""


class Field(NamedTuple):
    """One argument of a command after expansion.

    Args:
        text: The argument, with a `HOLE` for each unknown piece.
        line: Where it is written.
        missing: Names that decide the holes.
        is_unset: Every hole is a variable that nothing in the script sets.
        maybe: Names that decide whether the argument is there at all.
    """

    text: str
    line: int
    missing: tuple[str, ...] = ()
    is_unset: bool = False
    maybe: tuple[str, ...] = ()

    @property
    def is_hole(self) -> bool:
        """Whether nothing of the argument is known."""
        return self.text == HOLE


class Scalar(NamedTuple):
    """The value of a variable; `options` are texts it may have when it is unknown."""

    text: str
    missing: tuple[str, ...] = ()
    is_unset: bool = False
    options: tuple[str, ...] = ()


Variable = Scalar | tuple[Field, ...]


@dataclass
class Scope:
    """Variables, functions and files of a script at one point.

    Args:
        script: Path of the script.
        variables: Scalars, and arrays as tuples of fields.
        functions: Bodies by name.
        arguments: Positional arguments inside a function; None at the level of the script.
        written: Texts that the script writes to files, by their path as written.
        steps: Steps left, shared by all copies.
        depth: Nesting of functions, sourced files and launched scripts.
        leaves: How the commands end here: `exit`, `return`, `break` or `continue`.
        exported: Names that launched scripts see.
        returns: Ways out of the function under conditions that nothing decides.
        skips: Ways out of the loop under such conditions.
        absent: Sourced files that are not there; they may set any variable.
        source: The sourced file that is followed; None in the script itself.
        locals: What variables of the function's own stood for before; None outside of functions.
    """

    script: Path
    variables: dict[str, Variable] = field(default_factory=dict)
    functions: dict[str, tuple[Node, ...]] = field(default_factory=dict)
    arguments: tuple[Field, ...] | None = None
    written: dict[str, tuple[str, int]] = field(default_factory=dict)
    steps: list[int] = field(default_factory=lambda: [400_000])
    depth: int = 0
    leaves: str = ""
    exported: set[str] = field(default_factory=set)
    returns: list[Way] = field(default_factory=list)
    skips: list[Way] = field(default_factory=list)
    absent: tuple[str, ...] = ()
    source: Path | None = None
    locals: dict[str, Variable | None] | None = None

    def spend(self, steps: int = 1) -> None:
        """Count work; raise BudgetError when the script is not worth more."""
        self.steps[0] -= steps
        if self.steps[0] < 0:
            raise BudgetError

    def copy(self) -> Scope:
        """Return a scope whose assignments stay inside."""
        self.spend(1 + len(self.variables))
        return Scope(
            self.script,
            dict(self.variables),
            dict(self.functions),
            self.arguments,
            self.written,
            self.steps,
            self.depth,
            exported=self.exported,
            returns=self.returns,
            skips=self.skips,
            absent=self.absent,
            source=self.source,
            locals=self.locals,
        )

    def child(self, script: Path, arguments: tuple[Field, ...]) -> Scope:
        """Return the scope of another script that this one launches: exported variables only."""
        self.spend(1 + len(self.exported))
        kept = {name: self.variables[name] for name in self.exported if name in self.variables}
        return Scope(
            script,
            kept,
            arguments=arguments,
            written=self.written,
            steps=self.steps,
            depth=self.depth + 1,
            exported=set(self.exported),
        )

    def put(self, name: str, value: Variable) -> None:
        """Assign, unless the value grew beyond any use."""
        is_huge = (
            len(value.text) > _MAX_TEXT if isinstance(value, Scalar) else len(value) > _MAX_ITEMS
        )
        self.variables[name] = Scalar(HOLE, (name,)) if is_huge else value

    def restore(self, variables: dict[str, Variable | None]) -> None:
        """Give variables the values back that they had before a function."""
        for name, value in variables.items():
            if value is None:
                self.variables.pop(name, None)
            else:
                self.variables[name] = value

    def forget(self, names: tuple[str, ...]) -> None:
        """Make every variable unknown: something that is not there may set it."""
        self.spend(1 + len(self.variables))
        self.variables = {name: _doubted(old, names) for name, old in self.variables.items()}
        self.absent = unique(self.absent, names)


def _doubted(value: Variable, names: tuple[str, ...]) -> Variable:
    if isinstance(value, Scalar):
        options = value.options if value.missing else (value.text,)
        return Scalar(HOLE, unique(value.missing, names), options=options)
    return tuple(item._replace(maybe=unique(item.maybe, names)) for item in value)


class Way(NamedTuple):
    """The variables where a function or loop was left, and what decides that."""

    scope: Scope
    names: tuple[str, ...]


def join_scopes(base: Scope, outcomes: list[Scope], names: tuple[str, ...]) -> None:
    """Make `base` what is certain after one of several `outcomes`, decided by `names`.

    One that left the function or the loop goes on behind it. One that ends the script (a usage
    message) is left out; where all end it, the reader goes on with what was known before.
    """
    alive = [scope for scope in outcomes if not scope.leaves]
    left = [scope for scope in outcomes if scope.leaves and scope.leaves != "exit"]
    kept = alive or left
    if not kept:
        return
    if not alive:
        base.leaves = min(scope.leaves for scope in left)  # the way that goes on earliest
    for scope in left if alive or len({scope.leaves for scope in left}) > 1 else ():
        ways = base.returns if scope.leaves == "return" else base.skips
        ways.append(Way(scope, names))
    base.functions = {**base.functions, **kept[-1].functions}
    base.absent = unique(*(scope.absent for scope in kept))
    keys = dict.fromkeys(key for scope in kept for key in scope.variables)
    base.spend(1 + len(keys))
    joined: dict[str, Variable] = {}
    for key in keys:
        values = [scope.variables.get(key) for scope in kept]
        joined[key] = _join(key, values, names)
    base.variables = joined


def join_ways(base: Scope, ways: list[Way]) -> None:
    """Take up what left a function or a loop earlier."""
    if ways:
        here = base.copy()
        outcomes = [here, *(_alive(way.scope) for way in ways)]
        join_scopes(base, outcomes, unique(*(way.names for way in ways)))


def _alive(scope: Scope) -> Scope:
    copied = scope.copy()
    copied.leaves = ""
    return copied


def _join(name: str, values: Iterable[Variable | None], names: tuple[str, ...]) -> Variable:
    distinct = list(dict.fromkeys(values))
    if len(distinct) == 1 and distinct[0] is not None:
        return distinct[0]
    if any(isinstance(value, tuple) and not isinstance(value, Scalar) for value in distinct):
        return _join_arrays([as_fields(value) for value in distinct], names or (name,))
    texts: list[str] = []
    for value in distinct:
        if isinstance(value, Scalar):
            texts.extend((value.text,) if not value.missing else value.options)
    return Scalar(HOLE, unique((name,), names), options=tuple(dict.fromkeys(texts))[:16])


def as_fields(value: Variable | None) -> tuple[Field, ...]:
    """Return the items of an array; of a plain value one, unless it is empty."""
    if value is None:
        return ()
    if isinstance(value, Scalar):
        return (Field(value.text, 0, value.missing, value.is_unset),) if value.text else ()
    return value


def _join_arrays(arrays: list[tuple[Field, ...]], names: tuple[str, ...]) -> Variable:
    shared = 0
    for column in zip(*arrays, strict=False):
        if any(item != column[0] for item in column):
            break
        shared += 1
    tails = [
        item._replace(maybe=unique(item.maybe, names))
        for array in arrays
        for item in array[shared:]
    ]
    return (*arrays[0][:shared], *dict.fromkeys(tails))
