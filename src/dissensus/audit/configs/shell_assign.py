"""What the commands of a shell script set: assignments, and commands that set variables."""

from __future__ import annotations

import re

from dissensus.audit.configs import shell_syntax as syntax
from dissensus.audit.configs.scalars import unique
from dissensus.audit.configs.shell_expand import expand_text, expand_word, expand_words
from dissensus.audit.configs.shell_syntax import Node, Simple, literal
from dissensus.audit.configs.shell_values import HOLE, Field, Scalar, Scope, as_fields

__all__ = ["DECLARING", "declare", "forget_changes", "names_set", "put_unknown", "unset"]

DECLARING = {"export", "declare", "local", "readonly", "typeset"}
"""Commands that are given assignments."""

_CHANGED = re.compile(
    r"([A-Za-z_]\w*)(?=\s*(?:(?:[-+*/%&|^]|<<|>>)?=(?!=)|\+\s*\+|-\s*-))|(?<=[-+]{2})\s*([A-Za-z_]\w*)"
)
"""Variables that an arithmetic command changes."""
_MAX_DEPTH = 8


def declare(name: str | None, node: Simple, scope: Scope) -> None:
    """Follow assignments: alone, or given to a command of `DECLARING`."""
    bare = [literal(word) or "" for word in node.words[1:]]
    names = [*(given.name for given in node.assigns), *bare]
    if scope.locals is not None and name in {"local", "declare", "typeset"}:
        for each in names:
            scope.locals.setdefault(each, scope.variables.get(each))
    for given in node.assigns:
        _assign(given, scope)
    if name == "export":
        scope.exported.update(names)


def _assign(assign: syntax.Assign, scope: Scope) -> None:
    old = scope.variables.get(assign.name)
    if isinstance(assign.value, syntax.Array):
        items = tuple(expand_words(assign.value.words, scope))
        scope.spend(len(items))
        if assign.append and old is not None:
            items = (*as_fields(old), *items)
        scope.put(assign.name, items)
    elif assign.subscript is not None:
        value = expand_text(assign.value, scope)
        if assign.append:
            value = Scalar(HOLE, (f"{assign.name}[{assign.subscript}]",))
        _assign_item(assign.name, assign.subscript, value, scope)
    else:
        value = expand_text(assign.value, scope)
        if assign.append and old is not None and not isinstance(old, Scalar):
            added = tuple(expand_word(assign.value, scope))
            scope.put(assign.name, (*old, *added))
            return
        if assign.append and isinstance(old, Scalar):
            value = Scalar(old.text + value.text, unique(old.missing, value.missing))
        scope.put(assign.name, value._replace(is_unset=False))


def _assign_item(name: str, subscript: str, value: Scalar, scope: Scope) -> None:
    """Set one item of an array."""
    old = scope.variables.get(name)
    if old is None or isinstance(old, Scalar):
        scope.put(f"{name}[{subscript.strip(chr(34))}]", value)
        return
    index = int(subscript) if subscript.isdigit() else len(old) + 1
    if index > len(old) or any(item.maybe for item in old):
        scope.put(name, Scalar(HOLE, (f"{name}[{subscript}]",)))
    else:
        item = Field(value.text, 0, value.missing)
        scope.put(name, (*old[:index], item, *old[index + 1 :]))


def put_unknown(names: list[str], scope: Scope) -> None:
    """Set variables to what is not known."""
    for name in names:
        if name.isidentifier():
            scope.put(name, Scalar(HOLE, (name,)))


def names_set(command: str | None, arguments: list[str]) -> list[str]:
    """Return the variables that a command of the shell itself gives a new value."""
    if command in {"read", "mapfile", "readarray"}:
        return arguments
    if command in {"((", "let"}:
        found = _CHANGED.findall(" ".join(arguments))
        return [name for names in found for name in names if name]
    return arguments[1:2] if command == "printf" and arguments[:1] == ["-v"] else []


def unset(names: list[str], scope: Scope) -> None:
    """Take variables away; an array of which an item is taken away is unknown."""
    for name in names:
        if scope.variables.pop(name, None) is None and "[" in name:
            put_unknown([name.partition("[")[0]], scope)


def forget_changes(body: tuple[Node, ...], scope: Scope, depth: int = 0) -> None:
    """Make unknown what rounds of a loop assign; what they append may or may not be there."""
    for node in syntax.walk(body):
        scope.spend()
        if not isinstance(node, Simple):
            continue
        for assign in node.assigns:
            if assign.name in scope.variables and not _appends(assign):
                scope.put(assign.name, Scalar(HOLE, (assign.name,)))
        name = literal(node.words[0]) if node.words else None
        arguments = [literal(word) or "" for word in node.words[1:]]
        changed = arguments if name == "unset" else names_set(name, arguments)
        put_unknown([each for each in changed if each in scope.variables], scope)
        if name in scope.functions and depth < _MAX_DEPTH:
            forget_changes(scope.functions[name], scope, depth + 1)


def _appends(assign: syntax.Assign) -> bool:
    """Return whether an assignment only adds to its own variable: `A+=x`, `A="$A x"`."""
    first = None
    if isinstance(assign.value, syntax.Array):
        first = next((part for word in assign.value.words[:1] for part in word.parts), None)
    else:
        first = next((part for part in assign.value.parts if part.text), None)
    is_own = first is not None and first.kind == "variable"
    return assign.append or (
        first is not None and is_own and first.text.partition("[")[0] == assign.name
    )
