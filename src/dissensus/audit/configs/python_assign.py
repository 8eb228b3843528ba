"""What the statements of a Python script change: names, fields, items of dicts and lists."""

from __future__ import annotations

import ast
import dataclasses

from dissensus.audit.configs.python_expressions import CHANGING, Expressions
from dissensus.audit.configs.python_values import Known, Object, Unknown, Value, missing_of, plain
from dissensus.audit.configs.scalars import unique

__all__ = ["Assignments", "pattern_matches"]


class Assignments(Expressions):
    """Binds names, and changes the values that names hold."""

    def assign(self, target: ast.expr, value: Value) -> None:
        """Bind a name, a field of an object or an item of a dict to a value."""
        match target:
            case ast.Name(name):
                self.names[name] = value
            case ast.Starred(inner):
                self.assign(inner, Unknown(missing_of(value) or (ast.unparse(inner)[:40],)))
            case ast.Tuple(elements) | ast.List(elements):
                self.unpack(elements, value)
            case ast.Attribute(owner, name) if _root(owner):
                held = self.evaluate(owner)
                if isinstance(held, Object):
                    self.change(owner, held, held.put(name, _at(value, target.lineno)))
            case ast.Subscript(owner, key) if _root(owner):
                held, index = self.evaluate(owner), self.evaluate(key)
                if isinstance(held, Known) and isinstance(held.value, list | tuple | dict):
                    self.change(owner, held, self.with_item(held, index, value, owner))
            case _:
                pass

    def change(self, owner: ast.expr, held: Value, changed: Value) -> None:
        """Change what an expression holds, wherever else the same object is held."""
        if isinstance(owner, ast.Name):
            self.replace(held, changed)
            self.names[owner.id] = changed
        else:
            self.assign(owner, changed)

    def replace(self, old: Value, new: Value) -> None:
        """Give every name that holds `old` itself (not an equal value) the value `new`."""
        for name, value in self.names.items():
            if self.is_shared(value, old):
                self.names[name] = new

    @staticmethod
    def is_shared(left: Value, right: Value) -> bool:
        """Return whether two values are one object that can be changed."""
        if isinstance(left, Known) and isinstance(right, Known):
            return left.value is right.value and isinstance(left.value, list | dict)
        return isinstance(left, Object) and left is right

    def with_item(self, held: Known, index: Value, value: Value, owner: ast.expr) -> Value:
        """Return a dict or list with one item changed; unknown where which one is."""
        key = plain(index)
        if isinstance(held.value, dict) and isinstance(key, str | int):
            return Known({**held.value, str(key): value}, held.line)
        if isinstance(key, int) and -len(held.value) <= key < len(held.value):
            items = list(held.value)
            items[key] = value
            return Known(items, held.line)
        return Unknown((ast.unparse(owner)[:40],), held.line)

    def unpack(self, elements: list[ast.expr], value: Value) -> None:
        """Bind the elements of a tuple."""
        items = value.value if isinstance(value, Known) else None
        is_plain = not any(isinstance(element, ast.Starred) for element in elements)
        if is_plain and isinstance(items, list | tuple) and len(items) == len(elements):
            for element, item in zip(elements, items, strict=True):
                self.assign(element, item)
            return
        for element in elements:
            name = element.id if isinstance(element, ast.Name) else "a tuple"
            missing = value.missing if isinstance(value, Unknown) else ()
            self.assign(element, Unknown(missing or (name,)))

    def augment(self, node: ast.AugAssign) -> None:
        """Follow `target += value` and the like."""
        operation = ast.BinOp(left=_loaded(node.target), op=node.op, right=node.value)
        self.assign(node.target, self.evaluate(ast.copy_location(operation, node)))

    def delete(self, target: ast.expr) -> None:
        """Follow `del target`."""
        match target:
            case ast.Name(name):
                self.names.pop(name, None)
            case ast.Subscript(owner, key):
                held, index = self.evaluate(owner), plain(self.evaluate(key))
                if isinstance(held, Known) and isinstance(held.value, dict):
                    if isinstance(index, str):
                        kept = {k: v for k, v in held.value.items() if k != index}
                        self.change(owner, held, Known(kept, held.line))
                    else:
                        self.forget(owner)
            case ast.Attribute(owner, _):
                self.forget(owner)
            case _:
                pass

    def forget(self, owner: ast.expr) -> None:
        """Make what an expression holds unknown: something changes it, and what is not known."""
        if not _root(owner):
            return
        held = self.evaluate(owner)
        names = (ast.unparse(owner)[:40],)
        if isinstance(held, Object):
            opened = dataclasses.replace(held, fields={}, open=unique(held.open, names))
            self.change(owner, held, opened)
        elif isinstance(held, Known):
            self.change(owner, held, Unknown(names, held.line))

    def forget_changes(self, body: list[ast.stmt]) -> None:
        """Make unknown what some statements may change."""
        for statement in body:
            for node in ast.walk(statement):
                self.spend()
                match node:
                    case ast.Name(name, ast.Store() | ast.Del()):
                        if name in self.names:
                            self.names[name] = Unknown((name,))
                    case ast.Attribute(_, _, ast.Store()) | ast.Subscript(_, _, ast.Store()):
                        self.assign(node, Unknown((ast.unparse(node)[:40],)))
                    case ast.Attribute(owner, _, ast.Del()) | ast.Subscript(owner, _, ast.Del()):
                        self.forget(owner)
                    case ast.Call(ast.Attribute(owner, name)) if name in CHANGING:
                        self.forget(owner)
                    case ast.Call(ast.Name("setattr"), [owner, *_]):
                        self.forget(owner)
                    case _:
                        pass

    def set_attribute(self, node: ast.Call) -> None:
        """Follow `setattr(owner, name, value)`."""
        if len(node.args) != 3:
            return
        owner, name = node.args[0], plain(self.evaluate(node.args[1]))
        if isinstance(name, str) and name.isidentifier():
            target = ast.Attribute(owner, name, ast.Store())
            self.assign(ast.copy_location(target, node), self.evaluate(node.args[2]))
        else:
            self.forget(owner)

    def change_by_method(self, owner_node: ast.expr, held: Known, node: ast.Call) -> Value:
        """Follow a method that changes a dict or a list."""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        given = [self.evaluate(argument) for argument in node.args]
        items, key = held.value, plain(given[0]) if given else None
        result: Value = Known(None, node.lineno)
        match name:
            case "update" if isinstance(items, dict):
                items = self.updated(held, node)
            case "clear":
                items = type(items)()
            case "pop" if isinstance(items, dict) and isinstance(key, str):
                default = given[1] if len(given) > 1 else Unknown((key,), node.lineno)
                result = items.get(key, default)
                items = {k: v for k, v in items.items() if k != key}
            case "setdefault" if isinstance(items, dict) and isinstance(key, str):
                result = items.get(key, given[1] if len(given) > 1 else result)
                items = {**items, key: result}
            case "append" if isinstance(items, list) and len(given) == 1:
                items = [*items, given[0]]
            case "extend" if isinstance(items, list) and isinstance(key, list):
                items = [*items, *_items(given[0])]
            case _:
                self.forget(owner_node)
                return Unknown((f"{ast.unparse(node.func)[:40]}(…)",), node.lineno)
        if _root(owner_node):
            self.change(owner_node, held, Known(items, held.line))
        return result

    def updated(self, held: Known, node: ast.Call) -> dict[str, Value]:
        """Return a dict after `update`."""
        keywords, opened = self.keywords(node)
        added: dict[str, Value] = {}
        for argument in [self.evaluate(argument) for argument in node.args]:
            if isinstance(argument, Known) and isinstance(argument.value, dict):
                added.update(argument.value)
            else:
                opened = unique(opened, missing_of(argument) or ("update(…)",))
        added.update(keywords)
        before = self.opened(held.value, opened, node.lineno) if opened else held.value
        return {**before, **added}


def pattern_matches(pattern: ast.pattern, subject: Value) -> bool | None:
    """Return whether a `case` fits; None when that is not decided."""
    match pattern:
        case ast.MatchAs(None):
            return True
        case ast.MatchOr(patterns):
            verdicts = [pattern_matches(each, subject) for each in patterns]
            return True if True in verdicts else None if None in verdicts else False
        case ast.MatchValue(ast.Constant(constant)):
            is_known = isinstance(subject, Known) and not missing_of(subject)
            return bool(plain(subject) == constant) if is_known else None
        case _:
            return None


def _items(value: Value) -> list[Value]:
    items = value.value if isinstance(value, Known) else []
    return list(items) if isinstance(items, list | tuple) else []


def _root(node: ast.expr) -> bool:
    """Return whether an expression starts at a name, so that what it holds can be changed."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return isinstance(node, ast.Name)


def _loaded(target: ast.expr) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.copy_location(ast.Name(target.id, ast.Load()), target)
    return target


def _at(value: Value, line: int) -> Value:
    if isinstance(value, Known):
        return Known(value.value, line)
    return Unknown(value.missing, line) if isinstance(value, Unknown) else value
