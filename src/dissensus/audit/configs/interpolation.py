"""OmegaConf's `${…}` inside values: other keys, environment variables with defaults, arithmetic."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

from dissensus.audit.configs.arithmetic import combine
from dissensus.audit.configs.scalars import parse_scalar, unique
from dissensus.audit.configs.yaml_tree import Tree

__all__ = ["Resolved", "Root", "resolve_value"]

_MAX_DEPTH = 16
_MAX_TEXT = 20_000
_RESOLVER = re.compile(r"([A-Za-z_][\w.]*)\s*:(.*)\Z", re.DOTALL)
_ARITHMETIC: dict[str, ast.operator] = {
    "mul": ast.Mult(),
    "add": ast.Add(),
    "sub": ast.Sub(),
    "div": ast.Div(),
}


class Resolved(NamedTuple):
    """A value, or the names that decide it."""

    value: Any
    missing: tuple[str, ...] = ()


@dataclass
class Root:
    """A configuration whose values refer to each other; each is resolved once."""

    tree: Tree
    done: dict[str, Resolved] = field(default_factory=dict)

    def select(self, key: str, name: str, depth: int) -> Resolved:
        """Return the value at a dotted key; unknown by `name` when it is absent or circular."""
        if key not in self.done:
            self.done[key] = Resolved(None, (f"${{{name[:60]}}}",))  # stays when it is circular
            target = self.tree.get(key)
            if target is not None and not isinstance(target.value, dict) and depth < _MAX_DEPTH:
                self.done[key] = resolve_value(target, key, self, depth + 1)
        return self.done[key]


def resolve_value(node: Tree, key: str, root: Root, depth: int = 0) -> Resolved:
    """Return the value of a scalar or a list of scalars with its interpolations filled in."""
    if node.missing:
        return Resolved(None, node.missing)
    if isinstance(node.value, list):
        items = [resolve_value(item, key, root, depth + 1) for item in node.value[:2_000]]
        missing = unique(*(item.missing for item in items))
        return Resolved(None if missing else [item.value for item in items], missing)
    if isinstance(node.value, dict):
        return Resolved({})
    if not isinstance(node.value, str) or "${" not in node.value:
        return Resolved(node.value)
    return _resolve_text(node.value, key, root, depth)


def _resolve_text(text: str, key: str, root: Root, depth: int) -> Resolved:
    if depth > _MAX_DEPTH or len(text) > _MAX_TEXT:
        return Resolved(None, (f"{text[:42]}…",))
    values = [
        _expression(piece, key, root, depth) if is_hole else Resolved(piece)
        for is_hole, piece in _pieces(text)
    ]
    missing = unique(*(value.missing for value in values))
    if missing:
        return Resolved(None, missing)
    if len(values) == 1:
        return values[0]
    joined = "".join("" if value.value is None else str(value.value) for value in values)
    return Resolved(joined) if len(joined) < _MAX_TEXT else Resolved(None, (key,))


def _pieces(text: str) -> list[tuple[bool, str]]:
    """Cut a text into literal pieces and the insides of `${…}`."""
    pieces: list[tuple[bool, str]] = []
    at = 0
    while at < len(text) and len(pieces) < 200:
        start = text.find("${", at)
        if start < 0:
            break
        if start > at:
            pieces.append((False, text[at:start]))
        end, depth = start + 2, 1
        while end < len(text) and depth:
            depth += (text[end] == "{") - (text[end] == "}")
            end += 1
        pieces.append((True, text[start + 2 : end - (depth == 0)]))
        at = end
    if at < len(text):
        pieces.append((False, text[at:]))
    return pieces


def _expression(inner: str, key: str, root: Root, depth: int) -> Resolved:
    found = _RESOLVER.match(inner.strip())
    if found:
        return _resolver(found.group(1), _arguments(found.group(2)), key, root, depth)
    path = inner.strip()
    if "${" in path:
        resolved = _resolve_text(path, key, root, depth + 1)
        if resolved.missing:
            return resolved
        path = str(resolved.value)
    return _select(path, key, root, depth)


def _select(path: str, key: str, root: Root, depth: int) -> Resolved:
    absolute = _absolute(path.replace("[", ".").replace("]", ""), key)
    return root.select(absolute, path, depth)


def _absolute(path: str, key: str) -> str:
    dots = len(path) - len(path.lstrip("."))
    if dots == 0:
        return path
    return ".".join([*key.split(".")[:-dots], path[dots:]])


def _arguments(text: str) -> list[str]:
    """Cut at the commas outside of braces, brackets and quotes."""
    parts, depth, start, quote = [], 0, 0, ""
    for index, char in enumerate(text[:_MAX_TEXT]):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "{[(":
            depth += 1
        elif char in "}])":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    parts.append(text[start:].strip())
    return parts


def _resolver(name: str, arguments: list[str], key: str, root: Root, depth: int) -> Resolved:
    if name in {"oc.env", "env"}:
        if len(arguments) > 1:
            return _argument(arguments[1], key, root, depth)
        return Resolved(None, (arguments[0],))
    if name == "oc.select":
        path = _absolute(arguments[0], key)
        found = root.tree.get(path)
        if found is not None and not isinstance(found.value, dict):
            return root.select(path, path, depth)
        return _argument(arguments[1], key, root, depth) if len(arguments) > 1 else Resolved(None)
    if name == "oc.decode":
        return _argument(arguments[0], key, root, depth)
    if name in _ARITHMETIC and len(arguments) > 1:
        values = [_argument(argument, key, root, depth) for argument in arguments]
        missing = unique(*(value.missing for value in values))
        result = None
        if not missing:
            kind = _ARITHMETIC[name]
            result = reduce(lambda a, b: combine(kind, a, b), [value.value for value in values])
        return Resolved(result, missing or (() if result is not None else (f"${{{name}:…}}",)))
    return Resolved(None, (f"${{{name}:{','.join(arguments)[:40]}}}",))


def _argument(text: str, key: str, root: Root, depth: int) -> Resolved:
    if "${" in text:
        return _resolve_text(text, key, root, depth + 1)
    return Resolved(parse_scalar(text))
