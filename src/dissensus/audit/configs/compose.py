"""Put a YAML configuration together with the parents that it names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from dissensus.audit.configs.text import read_text
from dissensus.audit.configs.yaml_tree import Tree, YamlError, parse_yaml

__all__ = ["Composed", "compose", "find_upwards", "set_path"]

_OVERRIDE = "_override_"
"""In a section of the top level, NeMo-RL's mark that the parents' section is not merged in."""
_MAX_FILES = 60
_MAX_DEPTH = 12
_MAX_MERGES = 100_000
_OWN_DEFAULTS = re.compile(
    r"(?:.*/)?(?:_?generated_)?ppo(?:_\w+)?_trainer(?:\.ya?ml)?|(?:.*/)?ppo_base_config(?:\.ya?ml)?"
)
"""Names of the frameworks' own root configurations: where they are absent, defaults apply."""


@dataclass
class Composed:
    """A configuration with everything that it includes.

    Args:
        tree: The result; later files win.
        missing: Included files that are not there.
        files: Files that were read.
    """

    tree: Tree
    missing: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    merges: int = 0


def compose(path: Path, tree: Tree) -> Composed:
    """Return `tree`, read from `path`, on top of its `defaults`."""
    composed = Composed(tree)
    roots = [path.parent, *_search_roots(path, tree)]
    composed.tree = _with_parents(path, tree, roots, composed, 0)
    return composed


def find_upwards(start: Path, name: str, levels: int = 8) -> Path | None:
    """Return the file `name` relative to `start` or to a folder above it in its repository."""
    if not name or len(name) > 500:
        return None
    for folder in [start, *start.parents][:levels]:
        candidate = folder / name
        try:
            if candidate.is_file():
                return candidate
            if (folder / ".git").is_dir():
                return None
        except (OSError, ValueError):
            return None
    return None


def set_path(tree: Tree, key: str, node: Tree) -> None:
    """Put `node` at a dotted key, making the sections on the way.

    Sections on the way are copied: an alias may hold the same one in another place.
    """
    *parents, last = key.split(".")
    for part in parents:
        child = tree.get(part)
        if child is None or not isinstance(child.value, dict | list):
            child = Tree({}, node.where)
        child = Tree(child.value.copy(), child.where, child.missing)
        _put(tree, part, child)
        tree = child
    _put(tree, last, node)


def _put(tree: Tree, part: str, node: Tree) -> None:
    if isinstance(tree.value, dict):
        tree.value[part] = node
    elif isinstance(tree.value, list) and part.isdigit() and int(part) < len(tree.value):
        tree.value[int(part)] = node


def _with_parents(
    path: Path, tree: Tree, roots: list[Path], composed: Composed, depth: int
) -> Tree:
    if not isinstance(tree.value, dict) or "defaults" not in tree.value:
        return tree
    defaults = tree.value["defaults"]
    own = Tree({k: v for k, v in tree.value.items() if k != "defaults"}, tree.where)
    entries = defaults.value if isinstance(defaults.value, list) else [defaults]
    result = Tree({}, tree.where)
    has_self = False
    for entry in entries[:_MAX_FILES]:
        if entry.value == "_self_":
            result, has_self = _merge(result, own, composed), True
            continue
        for name, package in _entry(entry, tree):
            parent = _load(path, name, roots, composed, depth)
            if parent is None:
                continue
            if package:
                wrapped = Tree({}, parent.where)
                set_path(wrapped, package, parent)
                parent = wrapped
            result = _merge(result, parent, composed)
    return result if has_self else _merge(result, own, composed)


def _entry(entry: Tree, tree: Tree) -> list[tuple[str, str]]:
    """Return the (file, package) of one item of a defaults list."""
    if isinstance(entry.value, str):
        name, _, package = entry.value.partition("@")
        return [(name, "" if package in {"_here_", "_global_"} else package)]
    if not isinstance(entry.value, dict):
        return []
    found = []
    for key, option in entry.value.items():
        group = re.sub(r"^(?:override\s+|optional\s+)+", "", key)
        group, _, package = group.partition("@")
        if group.startswith("hydra/") or option.value is None:
            continue
        package = package or group.strip("/").replace("/", ".")
        text = _choose(str(option.value), tree)
        found.append((f"{group}/{text}", "" if package in {"_here_", "_global_"} else package))
    return found


def _choose(option: str, tree: Tree) -> str:
    """Fill in `${choice}` from the defaults list itself, as in `${model_engine}_actor`."""

    def value(match: re.Match[str]) -> str:
        defaults = tree.value["defaults"].value
        for entry in defaults if isinstance(defaults, list) else []:
            if isinstance(entry.value, dict) and match.group(1) in entry.value:
                return str(entry.value[match.group(1)].value)
        return match.group()

    return re.sub(r"\$\{([\w.]+)\}", value, option)


def _load(path: Path, name: str, roots: list[Path], composed: Composed, depth: int) -> Tree | None:
    found = _locate(path, name, roots)
    if found is None:
        if not _OWN_DEFAULTS.fullmatch(name):
            composed.missing.append(name)
        return None
    if depth >= _MAX_DEPTH or len(composed.files) >= _MAX_FILES:
        composed.missing.append(f"{name} (included too deep)")
        return None
    text = read_text(found)
    try:
        tree = parse_yaml(text, str(found)) if text is not None else None
    except YamlError:
        tree = None
    if tree is None:
        composed.missing.append(name)
        return None
    composed.files.append(found)
    more = [found.parent, *roots, *_search_roots(found, tree)]
    return _with_parents(found, tree, list(dict.fromkeys(more)), composed, depth + 1)


def _locate(path: Path, name: str, roots: list[Path]) -> Path | None:
    if "\0" in name or len(name) > 500:
        return None
    plain = name.lstrip("/")
    for folder in [path.parent, *roots]:
        for ending in ("", ".yaml", ".yml"):
            candidate = folder / (plain + ending)
            try:
                if candidate.is_file() and candidate != path:
                    return candidate
            except (OSError, ValueError):
                return None
    return None


def _search_roots(path: Path, tree: Tree) -> list[Path]:
    """Return the folders that `hydra.searchpath` names, where they can be found."""
    listed = tree.get("hydra.searchpath")
    roots: list[Path] = []
    for item in listed.value if listed is not None and isinstance(listed.value, list) else []:
        kind, _, place = str(item.value).partition("://")
        folder = place.replace(".", "/") if kind == "pkg" else place
        for above in list(path.parents)[:8]:
            choices = (above / folder, above / "verl" / folder)
            roots.extend(beside for beside in choices if _is_folder(beside))
    return roots[:20]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _merge(below: Tree, above: Tree, composed: Composed, depth: int = 0) -> Tree:
    """Return `above` on top of `below`; sections are merged, all else is replaced."""
    composed.merges += 1
    if depth > 60 or composed.merges > _MAX_MERGES:
        return above
    if not (isinstance(below.value, dict) and isinstance(above.value, dict)):
        return above
    merged = dict(below.value)
    for key, node in above.value.items():
        old = merged.get(key)
        if depth == 0 and (marker := node.get(_OVERRIDE)) is not None and marker.value:
            rest = {name: item for name, item in node.value.items() if name != _OVERRIDE}
            merged[key] = Tree(rest, node.where)
            continue
        merged[key] = node if old is None else _merge(old, node, composed, depth + 1)
    return Tree(merged, above.where)
