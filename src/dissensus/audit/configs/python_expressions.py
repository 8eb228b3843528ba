"""The values of Python expressions, as far as the script itself decides them."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from typing import Any

from dissensus.audit.configs.arithmetic import combine
from dissensus.audit.configs.python_classes import Classes
from dissensus.audit.configs.python_values import (
    Known,
    Object,
    Unknown,
    Value,
    join_values,
    missing_of,
    plain,
)
from dissensus.audit.configs.scalars import unique

__all__ = ["CHANGING", "Expressions"]

_ENVIRONMENT = {"os.environ.get", "os.getenv", "environ.get", "getenv"}
_CASTS: Mapping[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
_METHODS = {
    "add_argument",
    "apply",
    "get",
    "items",
    "keys",
    "lower",
    "make",
    "make_from_argv",
    "parse_args",
    "parse_args_and_config",
    "parse_args_into_dataclasses",
    "parse_known_args",
    "set_defaults",
    "upper",
    "values",
}
CHANGING = {
    *("append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse"),
    *("setdefault", "sort", "update"),
}
"""Methods that change a dict or a list."""
_REPLACE = {"dataclasses.replace", "chz.replace", "replace"}
_MAX_TEXT = 20_000
_MAX_SIZE = 20_000


class Expressions(Classes):
    """Evaluates expressions against the names of the script."""

    def evaluate(self, node: ast.expr) -> Value:
        """Return the value of an expression; one that outgrew any use is unknown."""
        value = self.value_of(node)
        if isinstance(value, Known | Object) and value.size > _MAX_SIZE:
            return Unknown((f"{_shown(node)}, which keeps growing",), getattr(node, "lineno", 0))
        return value

    def value_of(self, node: ast.expr) -> Value:  # noqa: C901, PLR0912 - a case per kind
        """Return the value of an expression of any size."""
        self.spend()
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Constant(constant):
                return Known(constant, line)
            case ast.Name(name):
                return self.lookup(name, line)
            case ast.Attribute():
                return self.attribute(node)
            case ast.Call():
                return self.call(node)
            case ast.Dict():
                return self.dictionary(node)
            case ast.List(items) | ast.Tuple(items) | ast.Set(items):
                return Known(self.items(items), line)
            case ast.JoinedStr(parts):
                return self.formatted(parts, line)
            case ast.BinOp():
                return self.binary(node)
            case ast.UnaryOp(ast.USub(), operand):
                return _negative(self.evaluate(operand), line)
            case ast.IfExp():
                return self.choice(node)
            case ast.BoolOp() | ast.Compare() | ast.UnaryOp(ast.Not()):
                verdict, names = self.truth(node)
                return Known(verdict, line) if verdict is not None else Unknown(names, line)
            case ast.Subscript():
                return self.subscript(node)
            case ast.NamedExpr(target, inner):
                value = self.evaluate(inner)
                self.assign(target, value)
                return value
            case ast.Await(inner) | ast.Starred(inner):
                return self.evaluate(inner)
            case _:
                return Unknown((_shown(node),), line)

    def lookup(self, name: str, line: int) -> Value:
        """Return what a name is bound to."""
        found = self.names.get(name)
        if found is None:
            return Unknown((name,), line)
        return Known(found.value, line) if isinstance(found, Known) else found

    def items(self, nodes: list[ast.expr]) -> list[Value]:
        """Return the values of a list of expressions, `*` taken apart."""
        values: list[Value] = []
        for node in nodes[:5_000]:
            value = self.evaluate(node)
            if isinstance(node, ast.Starred) and isinstance(value, Known):
                inner = value.value
                values.extend(inner if isinstance(inner, list | tuple) else [value])
            else:
                values.append(value)
        return values

    def attribute(self, node: ast.Attribute) -> Value:
        """Return a field of an object."""
        owner = self.evaluate(node.value)
        if isinstance(owner, Object):
            found = owner.fields.get(node.attr)
            if found is not None:
                return found
            names = owner.open or (_shown(node),)
            return Unknown(names, node.lineno)
        if isinstance(owner, Unknown) and not isinstance(node.value, ast.Name):
            return Unknown(owner.missing, node.lineno)
        return Unknown((_shown(node),), node.lineno)

    def dictionary(self, node: ast.Dict) -> Value:
        """Return a dict; what `**` adds is taken apart where it is known."""
        made: dict[str, Value] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            item = self.evaluate(value)
            if key is None:
                if not (isinstance(item, Known) and isinstance(item.value, dict)):
                    names = missing_of(item) or (_shown(value),)
                    made = self.opened(made, names, node.lineno)
                else:
                    made.update(item.value)
                continue
            name = self.evaluate(key)
            if isinstance(name, Known) and isinstance(name.value, str | int):
                made[str(name.value)] = item
            else:
                made = self.opened(made, (_shown(key),), node.lineno)
        return Known(made, node.lineno)

    def opened(
        self, items: Mapping[str, Value], names: tuple[str, ...], line: int
    ) -> dict[str, Value]:
        """Return a dict to which `names` may add any item, or give it another value."""
        unknown = Unknown(names, line)
        return {**dict.fromkeys(items, unknown), f"**{len(items)}": unknown}

    def formatted(self, parts: list[ast.expr], line: int) -> Value:
        """Return an f-string without format specifications."""
        texts: list[str] = []
        missing: list[tuple[str, ...]] = []
        for part in parts:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            value = self.evaluate(inner)
            names = missing_of(value)
            if names or (isinstance(part, ast.FormattedValue) and part.format_spec is not None):
                missing.append(names or (_shown(inner),))
            else:
                texts.append(str(plain(value))[:_MAX_TEXT])
        if missing:
            return Unknown(unique(*missing), line)
        return Known("".join(texts)[:_MAX_TEXT], line)

    def binary(self, node: ast.BinOp) -> Value:
        """Return the result of an operator."""
        left, right = self.evaluate(node.left), self.evaluate(node.right)
        names = unique(missing_of(left), missing_of(right))
        if isinstance(left, Known) and isinstance(right, Known):
            result = _joined(node.op, left.value, right.value)
            if result is None and not names:
                result = combine(node.op, left.value, right.value)
            if result is not None:
                return Known(result, node.lineno)
        return Unknown(names or (_shown(node),), node.lineno)

    def choice(self, node: ast.IfExp) -> Value:
        """Return `a if condition else b`."""
        verdict, names = self.truth(node.test)
        if verdict is not None:
            return self.evaluate(node.body if verdict else node.orelse)
        values: list[Value | None] = [self.evaluate(node.body), self.evaluate(node.orelse)]
        return join_values(values, names[0] if names else _shown(node), names)

    def subscript(self, node: ast.Subscript) -> Value:
        """Return an item of a dict or a list."""
        owner, key = self.evaluate(node.value), self.evaluate(node.slice)
        if isinstance(owner, Known) and isinstance(key, Known):
            held = owner.value
            found = _item(held, key.value)
            if found is not None:
                return found
        dotted = self.dotted(node.value)
        if dotted in {"os.environ", "environ"} and isinstance(key, Known):
            return Unknown((str(key.value)[:60],), node.lineno)
        return Unknown((_shown(node),), node.lineno)

    def truth(self, node: ast.expr) -> tuple[bool | None, tuple[str, ...]]:
        """Return whether a condition holds, or None with the names that decide it."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            verdict, names = self.truth(node.operand)
            return (None if verdict is None else not verdict), names
        if isinstance(node, ast.BoolOp):
            decided = isinstance(node.op, ast.Or)
            verdicts = [self.truth(value) for value in node.values]
            if any(verdict is decided for verdict, _ in verdicts):
                return decided, ()
            names = unique(*(given for verdict, given in verdicts if verdict is None))
            return (None, names) if names else (not decided, ())
        if isinstance(node, ast.Compare):
            return self.comparison(node)
        value = self.evaluate(node)
        if isinstance(value, Known):
            return bool(value.value), ()
        if isinstance(value, Object):
            return None, (_shown(node),)
        return None, value.missing

    def comparison(self, node: ast.Compare) -> tuple[bool | None, tuple[str, ...]]:
        """Return whether a comparison holds, or None with the names that decide it."""
        if len(node.ops) > 1:  # a < b < c is a < b and b < c
            sides = [node.left, *node.comparators]
            links = zip(sides, node.ops, sides[1:], strict=False)
            pairs = [ast.Compare(left, [kind], [right]) for left, kind, right in links]
            return self.truth(ast.BoolOp(ast.And(), [ast.copy_location(p, node) for p in pairs]))
        left, right = self.evaluate(node.left), self.evaluate(node.comparators[0])
        names = unique(missing_of(left), missing_of(right))
        if isinstance(node.left, ast.Name) and node.left.id == "__name__":
            return True, ()
        is_object = isinstance(left, Object) and isinstance(right, Known) and right.value is None
        if is_object and isinstance(node.ops[0], ast.Is | ast.IsNot):
            return isinstance(node.ops[0], ast.IsNot), ()
        if names:
            return None, names
        verdict = _compare(node.ops[0], plain(left), plain(right))
        return verdict, (() if verdict is not None else (_shown(node),))

    # calls

    def call(self, node: ast.Call) -> Value:
        """Return what a call gives, following functions and classes of the script."""
        dotted = self.dotted(node.func)
        method = self.method(node)
        if method is not None:
            return method
        if dotted == "setattr":
            self.set_attribute(node)
            return Known(None, node.lineno)
        positional = self.items(node.args)
        keywords, opened = self.keywords(node)
        simple = _builtin(dotted, positional, keywords, opened, node.lineno)
        if simple is not None:
            return simple
        special = self.parser_call(dotted, positional, keywords, node.lineno)
        if special is not None:
            return special
        if dotted in self.functions:
            return self.enter(self.functions[dotted], positional, keywords, dotted)
        last = dotted.rsplit(".", 1)[-1]
        if not last[:1].isupper() and last not in self.classes:
            return Unknown((f"{dotted or 'a call'}(…)",), node.lineno)
        made = self.construct(dotted, positional, keywords, opened, node.lineno)
        self.on_call(dotted, positional, keywords, made)
        return made

    def keywords(self, node: ast.Call) -> tuple[dict[str, Value], tuple[str, ...]]:
        """Return the keyword arguments, and the names of `**` that cannot be read."""
        given: dict[str, Value] = {}
        opened: tuple[str, ...] = ()
        for keyword in node.keywords:
            value = self.evaluate(keyword.value)
            if keyword.arg is not None:
                line = keyword.value.lineno
                is_plain = isinstance(value, Known | Unknown)
                given[keyword.arg] = dataclasses.replace(value, line=line) if is_plain else value
            elif isinstance(value, Known) and isinstance(value.value, dict):
                for name, item in value.value.items():
                    if name.startswith("**"):
                        opened = unique(opened, missing_of(item))
                    else:
                        given[name] = item
            else:
                opened = unique(opened, (f"**{_shown(keyword.value)}",))
        return given, opened

    def method(self, node: ast.Call) -> Value | None:
        """Return the result of the few methods that change or read what is known."""
        if not isinstance(node.func, ast.Attribute):
            return None
        owner_node, name = node.func.value, node.func.attr
        if name not in _METHODS | CHANGING and not name.startswith("set_"):
            if isinstance(owner_node, ast.Call):
                self.evaluate(owner_node)  # Trainer(…).train() builds the trainer here
            return None
        owner = self.evaluate(owner_node)
        if isinstance(owner, Object):
            if (name in CHANGING or name.startswith("set_")) and name != "set_defaults":
                self.forget(owner_node)
                return Known(None, node.lineno)
            return self.object_method(owner, name, node, owner_node)
        if not isinstance(owner, Known):
            return None
        if name in CHANGING:
            is_changed = isinstance(owner.value, list | dict)
            return self.change_by_method(owner_node, owner, node) if is_changed else None
        arguments = [self.evaluate(argument) for argument in node.args]
        if isinstance(owner.value, dict):
            return _read_dict(owner.value, name, arguments, node.lineno)
        if name in {"lower", "upper"} and isinstance(owner.value, str):
            return Known(getattr(owner.value, name)(), node.lineno)
        return None


def _read_dict(
    items: Mapping[str, Value], name: str, arguments: list[Value], line: int
) -> Value | None:
    """Return the result of a method that reads a dict; one with unknown keys has no list."""
    if name == "get" and arguments:
        key = plain(arguments[0])
        default = arguments[1] if len(arguments) > 1 else Known(None, line)
        unknown = next((item for key, item in items.items() if key.startswith("**")), default)
        return items.get(key, unknown) if isinstance(key, str) else None
    if any(key.startswith("**") for key in items):
        return None
    if name == "items":
        return Known([Known([Known(key, line), item]) for key, item in items.items()], line)
    if name == "keys":
        return Known([Known(key, line) for key in items], line)
    return Known(list(items.values()), line) if name == "values" else None


def _builtin(
    dotted: str,
    positional: list[Value],
    keywords: dict[str, Value],
    opened: tuple[str, ...],
    line: int,
) -> Value | None:
    """Return the result of the few functions that a configuration is written with."""
    first = positional[0] if positional else None
    if dotted in _ENVIRONMENT and positional:
        return _environment(positional, keywords, line)
    if dotted == "dict" and not opened and not positional:
        return Known(keywords, line)
    if first is None:
        return None
    if dotted in _CASTS and len(positional) == 1:
        return _cast(dotted, first, line)
    if dotted == "range" and all(isinstance(plain(item), int) for item in positional):
        numbers = range(*[plain(item) for item in positional[:3]]) if plain(positional[-1]) else ()
        return Known([Known(item, line) for item in numbers[:64]], line)
    if dotted == "len" and isinstance(first, Known) and isinstance(first.value, list | dict | str):
        return Known(len(first.value), line)
    if dotted in _REPLACE and isinstance(first, Object):
        fields = {**first.fields, **keywords}
        return dataclasses.replace(first, fields=fields, open=unique(first.open, opened))
    return None


def _compare(kind: ast.cmpop, left: Any, right: Any) -> bool | None:
    is_same = left is right or (left == right and left is not None)
    match kind:
        case ast.Is() | ast.IsNot():
            return is_same == isinstance(kind, ast.Is)
        case ast.Eq() | ast.NotEq():
            return bool(left == right) == isinstance(kind, ast.Eq)
        case ast.In() | ast.NotIn():
            if isinstance(right, str) and not isinstance(left, str):
                return None
            if isinstance(right, list | dict | str) and isinstance(left, str | int | float):
                return (left in right) == isinstance(kind, ast.In)
            return None
        case _:
            result = combine(kind, left, right)
            return result if isinstance(result, bool) else None


def _environment(positional: list[Value], keywords: dict[str, Value], line: int) -> Value:
    default = positional[1] if len(positional) > 1 else keywords.get("default")
    if default is not None and not (isinstance(default, Known) and default.value is None):
        return default
    name = plain(positional[0])
    return Unknown((str(name)[:60],), line)


def _joined(kind: ast.operator, left: Any, right: Any) -> Any:
    """Return two lists or two dicts as one, or None."""
    if isinstance(left, list) and isinstance(right, list) and isinstance(kind, ast.Add):
        return [*left, *right] if len(left) + len(right) < 5_000 else None
    if isinstance(left, dict) and isinstance(right, dict) and isinstance(kind, ast.BitOr):
        return {**left, **right}
    return None


def _item(held: Any, key: Any) -> Value | None:
    """Return an item of a dict or a list that is a value itself."""
    item = None
    if isinstance(held, dict) and isinstance(key, str | int):
        item = held.get(str(key))
    elif isinstance(held, list | tuple) and isinstance(key, int) and -len(held) <= key < len(held):
        item = held[key]
    return item if isinstance(item, Known | Unknown | Object) else None


def _cast(name: str, value: Value, line: int) -> Value:
    names = missing_of(value)
    if names or not isinstance(value, Known) or isinstance(value.value, list | dict):
        return Unknown(names or (f"{name}(…)",), line)
    try:
        return Known(_CASTS[name](value.value), line)
    except (ValueError, TypeError, OverflowError):
        return Unknown((f"{name}({str(value.value)[:30]})",), line)


def _negative(value: Value, line: int) -> Value:
    if isinstance(value, Known) and isinstance(value.value, int | float):
        return Known(-value.value, line)
    return Unknown(missing_of(value) or ("a negative value",), line)


def _shown(node: ast.AST) -> str:
    """Return an expression as written, shortened; only its kind when it is large."""
    for size, _ in enumerate(ast.walk(node)):
        if size > 60:
            return f"a long {type(node).__name__.lower()} expression"
    return ast.unparse(node)[:60]
