"""Follow a Python script's syntax tree to the trainers it builds, without executing anything."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dissensus.audit.configs.python_expressions import Expressions
from dissensus.audit.configs.python_values import Known, Object, Unknown, Value, join_values
from dissensus.audit.configs.scalars import unique

__all__ = ["CommandLine", "Found", "Site", "follow_python"]

_MAX_STEPS = 150_000
_MAX_DEPTH = 8


@dataclass(frozen=True)
class CommandLine:
    """Flags and overrides that a script is launched with; None of both when it is unknown."""

    flags: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """A call of interest: a trainer, or a configuration."""

    cls: str
    positional: tuple[Value, ...]
    keywords: Mapping[str, Value]
    result: Object
    line: int


class Found(NamedTuple):
    """The calls of interest, and the command lines that may change what the script sets."""

    sites: list[Site]
    command_lines: tuple[str, ...]


class _Return(Exception):  # noqa: N818 - control flow, as `return` is
    def __init__(self, value: Value) -> None:
        self.value = value


class BudgetError(Exception):
    """The script takes more steps to follow than a training script needs."""


def follow_python(
    module: ast.Module, is_site: Callable[[str], bool], command_line: CommandLine | None
) -> Found:
    """Return the calls for which `is_site(dotted class)` holds, in the order of execution.

    Functions are entered where they are called; those that hold such a call and are never
    called are entered last, with the defaults of their parameters.
    """
    follower = _Follower(module, is_site, command_line)
    with contextlib.suppress(BudgetError, RecursionError):  # what was found so far still holds
        follower.run_module()
    return Found(follower.sites, tuple(follower.command_lines))


class _Follower(Expressions):
    def __init__(
        self,
        module: ast.Module,
        is_site: Callable[[str], bool],
        command_line: CommandLine | None,
    ) -> None:
        flags = None if command_line is None else command_line.flags
        super().__init__(flags)
        self.module, self.is_site = module, is_site
        self.sites: list[Site] = []
        self.steps = _MAX_STEPS
        self.depth = 0
        self.entered: set[int] = set()

    def run_module(self) -> None:
        """Follow the script from its first line, then what was never called."""
        self.block(self.module.body)
        for function in ast.walk(self.module):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if id(function) not in self.entered and self.holds_site(function):
                self.enter(function, [], {}, function.name)

    def holds_site(self, function: ast.AST) -> bool:
        """Return whether a call of interest lies inside."""
        return any(
            isinstance(node, ast.Call) and self.is_site(self.dotted(node.func))
            for node in ast.walk(function)
        )

    def spend(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise BudgetError

    def charge(self, steps: int) -> None:
        """Count work that grows with the script."""
        self.steps -= steps
        if self.steps < 0:
            raise BudgetError

    def on_call(
        self, cls: str, positional: list[Value], keywords: dict[str, Value], made: Object
    ) -> None:
        """Remember a call of interest."""
        if self.is_site(cls) and len(self.sites) < 200:
            site = Site(cls, tuple(positional), keywords, made, made.line)
            if site not in self.sites:
                self.sites.append(site)

    def enter(
        self,
        function: ast.FunctionDef | ast.AsyncFunctionDef,
        positional: list[Value],
        keywords: dict[str, Value],
        name: str,
    ) -> Value:
        """Follow a function of the script and return what it returns."""
        if self.depth >= _MAX_DEPTH:
            return Unknown((f"{name}(…)",))
        self.entered.add(id(function))
        kept = self.names
        self.names = {**kept, **self.bind(function, positional, keywords)}
        self.depth += 1
        try:
            self.block(function.body)
        except _Return as returned:
            return returned.value
        finally:
            self.depth -= 1
            self.names = kept
        return Known(None)

    def bind(
        self,
        function: ast.FunctionDef | ast.AsyncFunctionDef,
        positional: list[Value],
        keywords: dict[str, Value],
    ) -> dict[str, Value]:
        """Return the parameters of a call: given, by default, or unknown by their name."""
        spec = function.args
        parameters = [*spec.posonlyargs, *spec.args]
        bound: dict[str, Value] = {}
        defaults = dict(
            zip([p.arg for p in parameters[::-1]], spec.defaults[::-1], strict=False)
        ) | {
            p.arg: default
            for p, default in zip(spec.kwonlyargs, spec.kw_defaults, strict=True)
            if default is not None
        }
        for index, parameter in enumerate([*parameters, *spec.kwonlyargs]):
            name = parameter.arg
            if name in keywords:
                bound[name] = keywords[name]
            elif index < len(positional) and index < len(parameters):
                bound[name] = positional[index]
            elif name in defaults:
                bound[name] = self.evaluate(defaults[name])
            else:
                bound[name] = self.instance_of(parameter.annotation, name)
        return bound

    def instance_of(self, annotation: ast.expr | None, name: str) -> Value:
        """Return an instance with defaults when the annotation is a class of the script."""
        dotted = self.dotted(annotation) if annotation is not None else ""
        if dotted in self.classes:
            return self.from_command_line(dotted, f"{name}: {dotted}")
        return Unknown((name,))

    # statements

    def block(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.spend()
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:  # noqa: C901, PLR0912 - a case per kind
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.functions[node.name] = node
            case ast.ClassDef():
                self.define_class(node)
            case ast.Import() | ast.ImportFrom():
                self.import_names(node)
            case ast.Assign():
                value = self.evaluate(node.value)
                for target in node.targets:
                    self.assign(target, value)
            case ast.AnnAssign():
                if node.value is not None:
                    self.assign(node.target, self.evaluate(node.value))
            case ast.AugAssign():
                self.augment(node)
            case ast.Expr():
                self.evaluate(node.value)
            case ast.Return():
                raise _Return(self.evaluate(node.value) if node.value else Known(None))
            case ast.If():
                self.branch(node)
            case ast.For() | ast.AsyncFor() | ast.While():
                self.loop(node)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    value = self.evaluate(item.context_expr)
                    if item.optional_vars is not None:
                        self.assign(item.optional_vars, value)
                self.block(node.body)
            case ast.Try():
                self.block(node.body)
                self.block(node.orelse)
                self.block(node.finalbody)
            case ast.Delete():
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self.names.pop(target.id, None)
            case _:
                pass

    def augment(self, node: ast.AugAssign) -> None:
        operation = ast.BinOp(left=_loaded(node.target), op=node.op, right=node.value)
        self.assign(node.target, self.evaluate(ast.copy_location(operation, node)))

    def assign(self, target: ast.expr, value: Value) -> None:
        """Bind a name, a field of an object or an item of a dict to a value."""
        match target:
            case ast.Name(name):
                self.names[name] = value
            case ast.Tuple(elements) | ast.List(elements):
                self.unpack(elements, value)
            case ast.Attribute(ast.Name(owner), name):
                held = self.names.get(owner)
                if isinstance(held, Object):
                    self.names[owner] = held.put(name, _at(value, target.lineno))
            case ast.Subscript(ast.Name(owner), key):
                held, index = self.names.get(owner), self.evaluate(key)
                if isinstance(held, Known) and isinstance(held.value, dict):
                    if isinstance(index, Known) and isinstance(index.value, str):
                        changed = {**held.value, index.value: value}
                        self.names[owner] = Known(changed, held.line)
                    else:
                        self.names[owner] = Unknown((owner,), held.line)
            case _:
                pass

    def unpack(self, elements: list[ast.expr], value: Value) -> None:
        items = value.value if isinstance(value, Known) else None
        if isinstance(items, list | tuple) and len(items) == len(elements):
            for element, item in zip(elements, items, strict=True):
                self.assign(element, item)
            return
        for element in elements:
            name = element.id if isinstance(element, ast.Name) else "a tuple"
            missing = value.missing if isinstance(value, Unknown) else ()
            self.assign(element, Unknown(missing or (name,)))

    def branch(self, node: ast.If) -> None:
        verdict, names = self.truth(node.test)
        if verdict is not None:
            self.block(node.body if verdict else node.orelse)
            return
        self.apart([node.body, node.orelse], names)

    def loop(self, node: ast.For | ast.AsyncFor | ast.While) -> None:
        if isinstance(node, ast.While):
            verdict, names = self.truth(node.test)
            if verdict is False:
                return
        else:
            items = self.evaluate(node.iter)
            names = (ast.unparse(node.target)[:40],)
            known = items.value if isinstance(items, Known) else None
            if isinstance(known, list | tuple) and len(known) == 1:
                self.assign(node.target, known[0])
            else:
                self.assign(node.target, Unknown(names))
            if known:
                self.apart([node.body], names)  # at least once
                return
        self.apart([node.body, []], names)

    def apart(self, bodies: list[list[ast.stmt]], names: tuple[str, ...]) -> None:
        """Follow several ways and keep what they agree on."""
        before = self.names
        outcomes: list[dict[str, Value]] = []
        returned: list[Value] = []
        for body in bodies:
            self.names = dict(before)
            self.charge(len(before))
            try:
                self.block(body)
            except _Return as result:
                returned.append(result.value)
                continue
            if not (body and isinstance(body[-1], ast.Raise | ast.Continue | ast.Break)):
                outcomes.append(self.names)
        if not outcomes:
            self.names = before
            if returned:
                raise _Return(join_values(list(returned), "a returned value", names))
            return
        keys = dict.fromkeys(key for outcome in outcomes for key in outcome)
        self.names = {
            key: join_values([outcome.get(key) for outcome in outcomes], key, unique(names))
            for key in keys
        }


def _loaded(target: ast.expr) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.copy_location(ast.Name(target.id, ast.Load()), target)
    return target


def _at(value: Value, line: int) -> Value:
    if isinstance(value, Known):
        return Known(value.value, line)
    return Unknown(value.missing, line) if isinstance(value, Unknown) else value
