"""The parts of a shell script: words with their holes, and the statements that hold them.

Enough of the language to follow how training scripts build their command lines; everything that
is not understood becomes text. Nothing is executed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

__all__ = [
    "AndOr",
    "Arm",
    "Array",
    "Assign",
    "Branch",
    "Case",
    "For",
    "Function",
    "Group",
    "Heredoc",
    "Loop",
    "Node",
    "Not",
    "Part",
    "Pipe",
    "Simple",
    "Word",
    "literal",
    "walk",
]


class Part(NamedTuple):
    """A piece of a word: `kind` is literal, variable, command or arithmetic."""

    kind: str
    text: str
    quoted: bool


class Word(NamedTuple):
    """One word of a command, as written."""

    parts: tuple[Part, ...]
    line: int


class Array(NamedTuple):
    """The parenthesised value of `NAME=( … )`."""

    words: tuple[Word, ...]


class Assign(NamedTuple):
    """`NAME=value`, `NAME+=value`, `NAME[index]=value`, or with an array as the value."""

    name: str
    value: Word | Array
    append: bool
    subscript: str | None
    line: int


class Heredoc(NamedTuple):
    """The text fed to a command; variables in it are expanded unless `verbatim`."""

    text: str
    verbatim: bool
    line: int


@dataclass(frozen=True)
class Simple:
    """A command with its words, the assignments before it, and its redirections."""

    words: tuple[Word, ...]
    assigns: tuple[Assign, ...]
    line: int
    heredocs: tuple[Heredoc, ...] = ()
    output: Word | None = None


@dataclass(frozen=True)
class AndOr:
    """Commands joined by `&&` and `||`; the first operator is empty."""

    items: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class Pipe:
    """Commands joined by `|`."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Not:
    """`! command`."""

    item: Node


class Arm(NamedTuple):
    """One `if`/`elif` with its condition."""

    condition: tuple[Node, ...]
    body: tuple[Node, ...]


@dataclass(frozen=True)
class Branch:
    """`if … elif … else … fi`; `other` is None without an `else`."""

    arms: tuple[Arm, ...]
    other: tuple[Node, ...] | None


@dataclass(frozen=True)
class For:
    """`for name in words`; `words` is None for a counting or positional loop."""

    name: str
    words: tuple[Word, ...] | None
    body: tuple[Node, ...]


@dataclass(frozen=True)
class Loop:
    """`while` or `until`."""

    condition: tuple[Node, ...]
    body: tuple[Node, ...]


@dataclass(frozen=True)
class Case:
    """`case subject in pattern) … ;; esac`."""

    subject: Word
    arms: tuple[tuple[tuple[Word, ...], tuple[Node, ...]], ...]


@dataclass(frozen=True)
class Group:
    """`{ … }` or a subshell, whose assignments do not come out."""

    body: tuple[Node, ...]
    subshell: bool


@dataclass(frozen=True)
class Function:
    """The definition of a function."""

    name: str
    body: tuple[Node, ...]


Node = Simple | AndOr | Pipe | Not | Branch | For | Loop | Case | Group | Function


def literal(word: Word) -> str | None:
    """Return the text of a word without holes, or None.

    Example:
        >>> literal(Word((Part("literal", "a", False), Part("literal", "b", True)), 1))
        'ab'
    """
    if all(part.kind == "literal" for part in word.parts):
        return "".join(part.text for part in word.parts)
    return None


def walk(nodes: tuple[Node, ...]) -> Iterator[Node]:  # noqa: C901 - a case per kind
    """Yield the statements and all that are inside them."""
    for node in nodes:
        yield node
        match node:
            case AndOr(items):
                yield from walk(tuple(item for _, item in items))
            case Pipe(items):
                yield from walk(items)
            case Not(item):
                yield from walk((item,))
            case Branch(arms, other):
                for arm in arms:
                    yield from walk(arm.condition + arm.body)
                yield from walk(other or ())
            case Case(_, choices):
                for _, body in choices:
                    yield from walk(body)
            case Loop(condition, body):
                yield from walk(condition + body)
            case For(body=body) | Group(body=body):
                yield from walk(body)
            case _:
                pass
