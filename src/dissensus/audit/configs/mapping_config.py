"""Settings from YAML and TOML configurations."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from dissensus.audit.configs.compose import compose
from dissensus.audit.configs.detect import Detected, detect_tree
from dissensus.audit.configs.interpolation import Root, resolve_value
from dissensus.audit.configs.text import read_text
from dissensus.audit.configs.yaml_tree import Tree, YamlError, flatten, parse_yaml
from dissensus.audit.settings import ConfigProblem, Setting, Settings

__all__ = ["load_tree", "read_toml", "read_yaml", "settings_from_tree"]

_MAX_TOML = 300_000
_MAX_DEPTH = 60
_LONG_KEY = re.compile(r"(?:[\w\"'-]+[ \t]*\.[ \t]*){50}")
_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?\Z")
_KEY = re.compile(r"\s*([\w\"'.\s-]+?)\s*=")
_GROUP_SIZE = {"group_size", "rollouts_per_example"}
_ORCHESTRATOR = {"train", "env", "renderer", "buffer", "algo"}


class _Lines(NamedTuple):
    path: str
    places: dict[str, int]


def read_yaml(path: Path, text: str, problems: list[ConfigProblem]) -> list[Settings]:
    """Return the configuration in a YAML file; none when it is not a training configuration."""
    try:
        tree = parse_yaml(text, str(path))
    except YamlError as error:
        problems.append(ConfigProblem(str(path), error.line, str(error)))
        return []
    return _composed(path, tree)


def _composed(path: Path, tree: Tree) -> list[Settings]:
    if not isinstance(tree.value, dict):
        return []
    composed = compose(path, tree)
    found = detect_tree(composed.tree)
    if found is None or found.framework == "prime_rl":  # which is written in TOML
        return []
    return [settings_from_tree(path, composed.tree, found, tuple(composed.missing), kind="yaml")]


def load_tree(path: Path) -> tuple[Tree, tuple[str, ...]] | None:
    """Return a YAML or TOML file with its parents, and the parents that are not there."""
    text = read_text(path)
    if text is None:
        return None
    try:
        if path.suffix == ".toml":
            tree = _toml_tree(path, text)
            return (tree, ()) if tree is not None else None
        composed = compose(path, parse_yaml(text, str(path)))
    except (YamlError, tomllib.TOMLDecodeError):
        return None
    return composed.tree, tuple(composed.missing)


def settings_from_tree(
    path: Path, tree: Tree, found: Detected, missing: tuple[str, ...], *, kind: str, line: int = 1
) -> Settings:
    """Flatten a tree into settings, with its interpolations filled in."""
    values: dict[str, Setting] = {}
    root = Root(tree)
    for key, node in flatten(tree):
        if key.startswith("hydra."):
            continue
        value, names = resolve_value(node, key, root)
        values[key] = Setting(key, value, _plain_place(node.where), names)
    return Settings(found.framework, kind, str(path), found.entry, values, missing, line=line)


def _plain_place(where: str) -> str:
    return os.path.normpath(where) if ".." in where else where


def read_toml(path: Path, text: str, problems: list[ConfigProblem]) -> list[Settings]:
    """Return the configuration in a TOML file; none when it is not a training configuration."""
    try:
        tree = _toml_tree(path, text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        where = int(line.group(1)) if line else 0
        problems.append(ConfigProblem(str(path), where, f"not TOML: {str(error)[:100]}"))
        return []
    if tree is None:
        problems.append(ConfigProblem(str(path), 0, "larger or deeper than any configuration"))
        return []
    tree, missing = _with_orchestrator(path, tree)
    found = detect_tree(tree)
    if found is None or found.framework != "prime_rl":
        return []
    return [settings_from_tree(path, tree, found, missing, kind="toml")]


def _with_orchestrator(path: Path, tree: Tree) -> tuple[Tree, tuple[str, ...]]:
    """Bring the orchestrator's settings under `orchestrator`, where prime-rl has them."""
    inner = tree.get("orchestrator")
    if inner is not None and isinstance(inner.value, str):
        loaded = load_tree(path.parent / inner.value) if len(inner.value) < 500 else None
        if loaded is None:
            empty = Tree({}, inner.where)
            return Tree({**tree.value, "orchestrator": empty}, tree.where), (inner.value,)
        return Tree({**tree.value, "orchestrator": loaded[0]}, tree.where), ()
    if inner is None and tree.keys & _GROUP_SIZE and tree.keys & _ORCHESTRATOR:
        return Tree({"orchestrator": tree}, tree.where), ()
    return tree, ()


def _toml_tree(path: Path, text: str) -> Tree | None:
    if len(text) > _MAX_TOML or _LONG_KEY.search(text):
        return None
    try:
        loaded = tomllib.loads(text)
    except RecursionError:
        return None
    return _tree(loaded, (), _Lines(str(path), _places(text)), 1)


def _tree(value: Any, key: tuple[str, ...], lines: _Lines, line: int) -> Tree:
    line = lines.places.get(".".join(key), line)
    where = f"{lines.path}:{line}"
    if isinstance(value, dict) and len(key) < _MAX_DEPTH:
        inner = {
            str(name).replace("-", "_"): _tree(item, (*key, name), lines, line)
            for name, item in value.items()
        }
        return Tree(inner, where)
    if isinstance(value, list) and len(key) < _MAX_DEPTH:
        items = [_tree(item, (*key, str(index)), lines, line) for index, item in enumerate(value)]
        return Tree(items, where)
    if isinstance(value, str | int | float | bool):
        return Tree(value, where)
    return Tree(str(value)[:200], where)


def _places(text: str) -> dict[str, int]:
    """Return the line of each dotted key; tables in a list are counted."""
    places: dict[str, int] = {}
    prefix = ""
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > 1_000:
            continue
        if header := _HEADER.match(line):
            prefix = _bare(header.group(1))
            if line.lstrip().startswith("[["):
                counts[prefix] = counts.get(prefix, -1) + 1
                prefix = f"{prefix}.{counts[prefix]}"
            else:
                prefix = _within(prefix, counts)
            places.setdefault(prefix, number)
        elif key := _KEY.match(line):
            name = _bare(key.group(1))
            places.setdefault(f"{prefix}.{name}" if prefix else name, number)
    return places


def _within(prefix: str, counts: dict[str, int]) -> str:
    parts = prefix.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        above = ".".join(parts[:cut])
        if above in counts:
            return ".".join([above, str(counts[above]), *parts[cut:]])
    return prefix


def _bare(key: str) -> str:
    return re.sub(r"[\"'\s]", "", key)
