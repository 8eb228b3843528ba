"""YAML as a tree whose nodes know their line; bounded in size, depth and aliases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from dissensus.audit.configs.scalars import parse_scalar

__all__ = ["Tree", "YamlError", "flatten", "parse_yaml"]

MAX_DEPTH = 60
MAX_NODES = 200_000
MAX_SETTINGS = 20_000
_BOOLEANS = {"yes": True, "no": False, "on": True, "off": False}
_TEXT_TAGS = {"tag:yaml.org,2002:str", "!"}
_PLAIN_TAG = "tag:yaml.org,2002:"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(Exception):
    """The text is no YAML that a configuration would use."""

    def __init__(self, line: int, text: str) -> None:
        self.line = line
        super().__init__(text)


@dataclass
class Tree:
    """A mapping, a list or a scalar, with the place (`file:line`) that holds it.

    Args:
        value: A dict of trees, a list of trees, or a scalar.
        where: `file:line`.
        missing: Names that decide the value, when it is unknown.
    """

    value: Any
    where: str
    missing: tuple[str, ...] = ()

    def get(self, key: str) -> Tree | None:
        """Return the tree below a dotted key, or None."""
        node: Tree | None = self
        for part in key.split("."):
            if node is None:
                return None
            if isinstance(node.value, dict):
                node = node.value.get(part)
            elif isinstance(node.value, list) and part.isdigit() and int(part) < len(node.value):
                node = node.value[int(part)]
            else:
                return None
        return node

    @property
    def keys(self) -> set[str]:
        """Names of the sections and settings right below."""
        return set(self.value) if isinstance(self.value, dict) else set()


def parse_yaml(text: str, path: str, first_line: int = 1) -> Tree:
    """Return the first document of a YAML text.

    Raises:
        YamlError: Not YAML, or nested deeper, or larger, than any configuration.
    """
    builder = _Builder(path, first_line)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if builder.take(event):
                break
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + first_line if mark is not None else 0
        problem = getattr(error, "problem", None) or "not YAML"
        raise YamlError(line, f"not YAML: {problem}") from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise YamlError(0, f"not YAML: {str(error)[:80]}") from None
    return builder.root or Tree(None, f"{path}:{first_line}")


class _Builder:
    """Builds the tree from events, without recursion."""

    def __init__(self, path: str, first_line: int) -> None:
        self.path, self.first_line = path, first_line
        self.root: Tree | None = None
        self.stack: list[tuple[Tree, list[Tree]]] = []
        self.anchors: dict[str, Tree] = {}
        self.count = 0

    def take(self, event: Any) -> bool:
        """Use one event; return whether the document is complete."""
        line = event.start_mark.line + self.first_line
        where = f"{self.path}:{line}"
        if isinstance(event, yaml.ScalarEvent):
            return self.add(_scalar(event, where), event.anchor, line)
        if isinstance(event, yaml.AliasEvent):
            target = self.anchors.get(event.anchor)
            if target is None or any(target is node for node, _ in self.stack):
                raise YamlError(line, f"the alias *{event.anchor} has no finished anchor")
            return self.add(target, None, line)
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            is_map = isinstance(event, yaml.MappingStartEvent)
            node = Tree({} if is_map else [], where)
            if len(self.stack) >= MAX_DEPTH:
                raise YamlError(line, f"nested deeper than {MAX_DEPTH} levels")
            if event.anchor:
                self.anchors[event.anchor] = node
            self.stack.append((node, []))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            node, items = self.stack.pop()
            if isinstance(node.value, list):
                node.value = items
            else:
                node.value = _mapping(items)
            return self.add(node, None, line)
        return False

    def add(self, node: Tree, anchor: str | None, line: int) -> bool:
        self.count += 1
        if self.count > MAX_NODES:
            raise YamlError(line, f"more than {MAX_NODES:,} values")
        if anchor:
            self.anchors[anchor] = node
        if self.stack:
            self.stack[-1][1].append(node)
            return False
        self.root = node
        return True


def _mapping(items: list[Tree]) -> dict[str, Tree]:
    merged: dict[str, Tree] = {}
    own: dict[str, Tree] = {}
    for key, value in zip(items[::2], items[1::2], strict=False):
        name = str(key.value) if not isinstance(key.value, dict | list) else "?"
        if name == "<<":
            parents = value.value if isinstance(value.value, list) else [value]
            for parent in reversed(parents):
                if isinstance(parent.value, dict):
                    merged.update(parent.value)
        else:
            own[name] = value
    return {**merged, **own}


def _scalar(event: Any, where: str) -> Tree:
    text = event.value
    tag = event.tag
    if tag and not tag.startswith(_PLAIN_TAG) and tag not in _TEXT_TAGS:
        return Tree(None, where, missing=(f"{tag} {text}"[:60],))
    if event.style or tag in _TEXT_TAGS:  # quoted or a block: plain has no style
        return Tree(text, where)
    if text in {"", "~"}:
        return Tree(None, where)
    if text == "None":  # YAML has no None: the framework gets the text
        return Tree(text, where)
    if text.lower() in _BOOLEANS:
        return Tree(_BOOLEANS[text.lower()], where)
    return Tree(parse_scalar(text) if text[0] not in "['\"" else text, where)


def flatten(tree: Tree, limit: int = MAX_SETTINGS) -> Iterator[tuple[str, Tree]]:
    """Yield (dotted key, scalar or list of scalars) in order; stop at `limit` settings.

    A mapping or a list without content is yielded itself. A list that holds sections is yielded
    item by item, the position as a part of the key.
    """
    stack: list[tuple[str, Tree, int]] = [("", tree, 0)]
    while stack and limit > 0:
        prefix, node, depth = stack.pop()
        children = _children(node) if depth <= MAX_DEPTH else []
        if not children:
            if prefix:
                limit -= 1
                yield prefix, node
            continue
        if len(stack) + len(children) > 4 * MAX_SETTINGS:
            break
        dotted = f"{prefix}." if prefix else ""
        stack.extend((dotted + name, child, depth + 1) for name, child in reversed(children))


def _children(node: Tree) -> list[tuple[str, Tree]]:
    if isinstance(node.value, dict):
        return list(node.value.items())
    if isinstance(node.value, list) and any(
        isinstance(item.value, dict | list) for item in node.value
    ):
        return [(str(index), item) for index, item in enumerate(node.value)]
    return []
