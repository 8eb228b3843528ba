"""Classes, imports and command line parsers of a Python script."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from typing import Any

from dissensus.audit.configs.python_values import Known, Object, Unknown, Value, missing_of, plain

__all__ = ["Classes"]

_PARSERS = {"TrlParser", "HfArgumentParser", "H4ArgumentParser"}
_ENTRYPOINTS = {
    "chz.entrypoint",
    "chz.nested_entrypoint",
    "chz.Blueprint",
    "tyro.cli",
    "pydra.main",
}
_MARKERS = {"field", "dataclasses.field", "chz.field", "Field"}


class Classes:
    """Knows the classes that a script defines, imports, and fills from a command line."""

    def __init__(self, flags: Mapping[str, Value] | None) -> None:
        self.flags = flags
        self.names: dict[str, Value] = {}
        self.functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        self.classes: dict[str, ast.ClassDef] = {}
        self.imports: dict[str, str] = {}
        self.command_lines: dict[str, None] = {}

    # what the subclasses provide

    def evaluate(self, node: ast.expr) -> Value:
        """Return the value of an expression."""
        raise RuntimeError(node)

    def spend(self, steps: int = 1) -> None:
        """Count work."""

    def enter(
        self,
        function: ast.FunctionDef | ast.AsyncFunctionDef,
        positional: list[Value],
        keywords: dict[str, Value],
        name: str,
    ) -> Value:
        """Follow a function of the script."""
        raise RuntimeError(function, positional, keywords, name)

    def assign(self, target: ast.expr, value: Value) -> None:
        """Bind a name, a field or an item."""
        raise RuntimeError(target, value)

    def forget(self, owner: ast.expr) -> None:
        """Make what an expression holds unknown."""
        raise RuntimeError(owner)

    def set_attribute(self, node: ast.Call) -> None:
        """Follow `setattr`."""
        raise RuntimeError(node)

    def change_by_method(self, owner_node: ast.expr, held: Known, node: ast.Call) -> Value:
        """Follow a method that changes a dict or a list."""
        raise RuntimeError(owner_node, held, node)

    def on_call(
        self, cls: str, positional: list[Value], keywords: dict[str, Value], made: Object
    ) -> None:
        """Take note of a call."""

    # names

    def dotted(self, node: ast.AST) -> str:
        """Return a name as imported: `train.Config` may be `tinker_cookbook.rl.train.Config`."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute) and len(parts) < 20:
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        parts.append(self.imports.get(node.id, node.id))
        return ".".join(reversed(parts))

    def import_names(self, node: ast.Import | ast.ImportFrom) -> None:
        """Remember what imported names stand for."""
        for alias in node.names:
            if isinstance(node, ast.ImportFrom):
                module = node.module or ""
                self.imports[alias.asname or alias.name] = f"{module}.{alias.name}".lstrip(".")
            elif alias.asname:
                self.imports[alias.asname] = alias.name

    def define_class(self, node: ast.ClassDef) -> None:
        """Remember a class of the script."""
        self.classes[node.name] = node
        self.imports.pop(node.name, None)

    def base_of(self, dotted: str, depth: int = 0) -> str:
        """Return the first class above `dotted` that the script does not define itself."""
        node = self.classes.get(dotted)
        if node is None or depth > 10:
            return dotted
        bases = [self.dotted(base) for base in node.bases]
        known = [base for base in bases if base and base != dotted]
        return self.base_of(known[-1], depth + 1) if known else dotted

    def class_fields(self, dotted: str, depth: int = 0) -> dict[str, Value]:
        """Return the defaults of a dataclass or chz class of the script, parents first."""
        node = self.classes.get(dotted)
        if node is None or depth > 10:
            return {}
        fields: dict[str, Value] = {}
        for base in node.bases:
            fields.update(self.class_fields(self.dotted(base), depth + 1))
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                default = self.default_of(item)
                if default is not None:
                    fields[item.target.id] = default
                else:
                    fields[item.target.id] = Unknown((item.target.id,), item.lineno)
            elif isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
                fields[item.targets[0].id] = self.evaluate(item.value)
            elif isinstance(item, ast.FunctionDef) and item.name == "__post_init__":
                fields.update(_changed_fields(item, f"{node.name}.__post_init__"))
        return fields

    def default_of(self, item: ast.AnnAssign) -> Value | None:
        """Return the default of a field, also where `field(default=…)` gives it."""
        if item.value is None:
            return None
        if isinstance(item.value, ast.Call) and _last(self.dotted(item.value.func)) in {
            _last(marker) for marker in _MARKERS
        }:
            for keyword in item.value.keywords:
                if keyword.arg == "default":
                    return self.evaluate(keyword.value)
                if keyword.arg in {"default_factory", "munger"}:
                    inner = keyword.value
                    if isinstance(inner, ast.Lambda):
                        return self.evaluate(inner.body)
                    made = self.dotted(inner)
                    if made in self.classes:
                        return self.construct(made, [], {}, (), item.lineno)
                    return {"list": Known([]), "dict": Known({})}.get(made)
            return None
        return self.evaluate(item.value)

    def construct(
        self,
        dotted: str,
        positional: list[Value],
        keywords: dict[str, Value],
        opened: tuple[str, ...],
        line: int,
    ) -> Object:
        """Return an instance: fields given, then the defaults of a class of the script."""
        fields = self.class_fields(dotted)
        if self.base_of(dotted) == dotted:  # else its parent's fields come first
            fields.update(zip(list(fields), positional, strict=False))
        return Object(dotted, {**fields, **keywords}, opened, line)

    # command lines

    def note_command_line(self, parser: str) -> None:
        """Remember that a command line may change what the script sets."""
        if self.flags is None:
            self.command_lines[f"the command line ({parser})"] = None

    def from_command_line(self, dotted: str, parser: str) -> Object:
        """Return an instance whose fields a command line may set.

        The defaults that the script writes down hold when nothing is given. The fields of a class
        from elsewhere are decided by the command line alone.
        """
        fields = self.class_fields(dotted)
        is_local = dotted in self.classes and self.base_of(dotted) == dotted
        if self.flags is None:
            self.note_command_line(parser)
            opened = () if is_local else (f"the command line ({parser})",)
            return Object(dotted, fields, opened)
        given = _switched(self.flags)
        relevant = {k: v for k, v in given.items() if not is_local or k in fields}
        return Object(dotted, {**fields, **relevant})

    def parser_call(
        self, dotted: str, positional: list[Value], keywords: dict[str, Value], line: int
    ) -> Value | None:
        """Return a parser, or what a one-call parser returns."""
        short = _last(dotted)
        if short in _PARSERS:
            given = positional[0] if positional else keywords.get("dataclass_types")
            return Object(short, {"types": given or Known([])}, line=line)
        if short == "ArgumentParser":
            return Object("ArgumentParser", line=line)
        if dotted in _ENTRYPOINTS and positional:
            cls = self.class_name(positional[0])
            if short == "nested_entrypoint":
                return None
            if cls:
                made = self.from_command_line(cls, dotted)
                # what a blueprint is given holds as it stands; see `command_lines`
                opened = () if short == "Blueprint" else made.open
                return dataclasses.replace(made, open=opened, line=line)
        return None

    def class_name(self, value: Value) -> str:
        """Return the class that a value names (a bare name that is no variable)."""
        names = missing_of(value)
        if not isinstance(value, Unknown) or len(names) != 1:
            return ""
        head, _, rest = names[0].partition(".")
        full = self.imports.get(head, head)
        return f"{full}.{rest}" if rest else full

    def object_method(
        self, owner: Object, name: str, node: ast.Call, owner_node: ast.expr
    ) -> Value | None:
        """Return the result of a method of a parser or a blueprint."""
        if name in {"add_argument", "set_defaults"} and owner.cls == "ArgumentParser":
            if isinstance(owner_node, ast.Name):
                self.names[owner_node.id] = self.add_argument(owner, name, node)
            return Known(None)
        if name in {"parse_args", "parse_known_args"} and owner.cls == "ArgumentParser":
            if node.args:  # other arguments than those of the command line
                return Object("Namespace", {}, (ast.unparse(node.args[0])[:40],))
            self.note_command_line("argparse")
            made = Object("Namespace", self.namespace(owner))
            return Known([made, Known([])]) if name == "parse_known_args" else made
        if name.startswith("parse_args") and owner.cls in _PARSERS:
            return self.parsed_types(owner, name)
        if name == "apply":
            changed = owner
            for argument in node.args[:1]:
                value = self.evaluate(argument)
                if isinstance(value, Known) and isinstance(value.value, dict):
                    changed = dataclasses.replace(owner, fields={**owner.fields, **value.value})
            placed = dataclasses.replace(changed, line=node.lineno)
            self.on_call(changed.cls, [], dict(changed.fields), placed)
            return changed
        return owner if name in {"make", "make_from_argv"} else None

    def parsed_types(self, owner: Object, name: str) -> Value:
        """Return an instance for each class that a parser fills."""
        types = owner.fields.get("types", Known([]))
        listed = types.value if isinstance(types, Known) else [types]
        items = listed if isinstance(listed, list | tuple) else [types]
        made: list[Value] = [
            self.from_command_line(self.class_name(item), owner.cls)
            if self.class_name(item)
            else Unknown((f"the command line ({owner.cls})",))
            for item in items
        ]
        if name == "parse_args" and len(made) == 1:
            return made[0]
        return Known(made)

    def add_argument(self, owner: Object, name: str, node: ast.Call) -> Object:
        """Return a parser with one argument more."""
        keywords = {item.arg: item.value for item in node.keywords if item.arg}
        if name == "set_defaults":
            for key, value in keywords.items():
                owner = owner.put(key, self.evaluate(value))
            return owner
        flags = [plain(self.evaluate(argument)) for argument in node.args]
        texts = [flag for flag in flags if isinstance(flag, str)]
        long = next((flag for flag in texts if flag.startswith("--")), texts[0] if texts else "")
        target = plain(self.evaluate(keywords["dest"])) if "dest" in keywords else None
        key = target if isinstance(target, str) else long.lstrip("-").replace("-", "_")
        action = plain(self.evaluate(keywords["action"])) if "action" in keywords else None
        default: Value = Unknown((long or key,), node.lineno)
        if "default" in keywords:
            default = self.evaluate(keywords["default"])
        elif action in {"store_true", "store_false"}:
            default = Known(action == "store_false", node.lineno)
        return owner.put(key, default)

    def namespace(self, owner: Object) -> dict[str, Any]:
        """Return what a parser gives: flags given, else defaults."""
        given = _switched(self.flags or {})
        return {key: given.get(key, value) for key, value in owner.fields.items()}


def _last(dotted: str) -> str:
    return dotted.rsplit(".", 1)[-1]


def _switched(flags: Mapping[str, Value]) -> dict[str, Value]:
    """Return flags with `--no-x` as what it says about x, too."""
    off = {
        name.removeprefix("no_"): Known(value=False, line=value.line)
        for name, value in flags.items()
        if name.startswith("no_") and isinstance(value, Known) and value.value is True
    }
    return {**off, **flags}


def _changed_fields(function: ast.FunctionDef, name: str) -> dict[str, Value]:
    """Return the fields that a method of a class sets, unknown by its name."""
    return {
        node.attr: Unknown((name,), node.lineno)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
