"""Decide the conditions of a shell script where the script itself decides them."""

from __future__ import annotations

import fnmatch
import operator
from collections.abc import Callable, Mapping
from typing import NamedTuple

from dissensus.audit.configs.scalars import unique
from dissensus.audit.configs.shell_expand import expand_text
from dissensus.audit.configs.shell_syntax import Array, Node, Simple, Word, literal
from dissensus.audit.configs.shell_values import HOLE, Scalar, Scope

__all__ = ["Verdict", "decide", "fits", "is_test", "succeeds"]

_SUCCEED = {
    *("", ".", "cd", "declare", "echo", "export", "local", "mkdir", "popd", "printf", "pushd"),
    *("readonly", "set", "shift", "sleep", "source", "unset"),
}
"""Commands of which a training script takes for granted that they succeed."""

_NUMERIC: Mapping[str, Callable[[int, int], bool]] = {
    "-eq": operator.eq,
    "-ne": operator.ne,
    "-lt": operator.lt,
    "-le": operator.le,
    "-gt": operator.gt,
    "-ge": operator.ge,
}


class Verdict(NamedTuple):
    """Whether a condition holds; None with the names that decide it."""

    holds: bool | None
    names: tuple[str, ...] = ()


def decide(command: Simple, scope: Scope) -> Verdict:
    """Return whether a command that serves as a condition succeeds.

    A variable that nothing in the script sets is empty when the script asks whether it is set;
    which text it equals is unknown.
    """
    if not command.words:
        return Verdict(True)
    name = literal(command.words[0])
    if name in {"true", ":"}:
        return Verdict(True)
    if name == "false":
        return Verdict(False)
    if name in {"[", "[[", "test"}:
        words = list(command.words[1:])
        if words and literal(words[-1]) in {"]", "]]"}:
            words.pop()
        return _any_of(words, scope)
    shown = " ".join(literal(word) or "…" for word in command.words[:3])
    return Verdict(None, (f"`{shown[:50]}`",))


def _any_of(words: list[Word], scope: Scope) -> Verdict:
    verdicts = [_all_of(part, scope) for part in _cut(words, {"||", "-o"})]
    return _combine(verdicts, winner=True)


def _all_of(words: list[Word], scope: Scope) -> Verdict:
    verdicts = [_single(part, scope) for part in _cut(words, {"&&", "-a"})]
    return _combine(verdicts, winner=False)


def _combine(verdicts: list[Verdict], *, winner: bool) -> Verdict:
    if any(verdict.holds is winner for verdict in verdicts):
        return Verdict(winner)
    names = unique(*(verdict.names for verdict in verdicts))
    return Verdict(None, names) if names else Verdict(not winner)


def _cut(words: list[Word], separators: set[str]) -> list[list[Word]]:
    parts: list[list[Word]] = [[]]
    for word in words:
        if literal(word) in separators and not any(part.quoted for part in word.parts):
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _single(words: list[Word], scope: Scope) -> Verdict:
    if words and literal(words[0]) == "!":
        inner = _single(words[1:], scope)
        return inner if inner.holds is None else Verdict(not inner.holds)
    written = [expand_text(word, scope) for word in words]
    values = [_when_unset(value) for value in written]
    names = unique(*(value.missing for value in values))
    if len(written) == 3 and written[0].text and written[2].text:
        names = unique(*(value.missing for value in written))
    texts = [value.text for value in values]
    match texts:
        case ["-v", name]:
            return Verdict(name in scope.variables)
        case [flag, path] if len(flag) == 2 and flag[0] == "-" and flag[1] in "defrswxL":
            return Verdict(None, names or (f"whether {path} exists",))
        case _ if names:
            return Verdict(None, names)
        case [text]:
            return Verdict(bool(text))
        case ["-z", text]:
            return Verdict(not text)
        case ["-n", text]:
            return Verdict(bool(text))
        case [left, comparison, right]:
            is_pattern = not any(part.quoted for part in words[2].parts)
            return _compare(left, comparison, right, is_pattern=is_pattern)
        case _:
            return Verdict(None, ("a condition",))


def _compare(left: str, comparison: str, right: str, *, is_pattern: bool) -> Verdict:
    if comparison in {"=", "==", "!="}:
        short = len(left) < 1_000 and len(right) < 200 and right.count("*") < 5
        equal = fnmatch.fnmatchcase(left, right) if is_pattern and short else left == right
        return Verdict(equal == (comparison != "!="))
    if comparison in _NUMERIC and _is_int(left or "0") and _is_int(right or "0"):
        return Verdict(_NUMERIC[comparison](int(left or "0"), int(right or "0")))
    return Verdict(None, (f"whether {left[:20]} {comparison} {right[:20]}",))


def _when_unset(value: Scalar) -> Scalar:
    if value.missing and value.is_unset:
        return Scalar(value.text.replace(HOLE, ""))
    return value


def _is_int(text: str) -> bool:
    return len(text) < 18 and text.lstrip("+-").isdigit() and text.isascii()


def fits(subject: Scalar, patterns: list[Scalar]) -> bool | None:
    """Return whether a text fits one of the patterns of a `case`; None when it is not known."""
    if any(pattern.text == "*" for pattern in patterns):
        return True
    if subject.missing:
        return None
    if any(
        not pattern.missing
        and len(pattern.text) < 200
        and fnmatch.fnmatchcase(subject.text[:1_000], pattern.text)
        for pattern in patterns
    ):
        return True
    return None if any(pattern.missing for pattern in patterns) else False


def succeeds(node: Node, scope: Scope) -> Verdict:
    """Return whether a command that is no test succeeds."""
    if isinstance(node, Simple):
        name = literal(node.words[0]) if node.words else ""
        holes = [
            part
            for assign in node.assigns
            if not isinstance(assign.value, Array)
            for part in assign.value.parts
        ]
        if name == "" and any(part.kind == "command" for part in holes):
            return Verdict(None, (f"whether {node.assigns[0].name}=$(…) succeeds",))
        if name in _SUCCEED and name not in scope.functions:
            return Verdict(True)
        return decide(node, scope)
    return Verdict(None, ("a condition",))


def is_test(node: Simple) -> bool:
    """Return whether a command is a condition and does nothing else."""
    return bool(node.words) and literal(node.words[0]) in {"[", "[[", "test", "true", "false", ":"}
