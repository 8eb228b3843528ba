"""Follow a Python script's syntax tree to the trainers it builds, without executing anything."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dissensus.audit.configs.python_assign import Assignments, pattern_matches
from dissensus.audit.configs.python_values import (
    Known,
    Object,
    Unknown,
    Value,
    join_values,
    missing_of,
)
from dissensus.audit.configs.scalars import unique

__all__ = ["CommandLine", "Found", "Site", "follow_python"]

_MAX_STEPS = 150_000
_MAX_DEPTH = 8
_MAX_ROUNDS = 16
_MAX_UNROLLED = 2_000  # nodes of a loop's body times its rounds
_EXITS = {"sys.exit", "exit", "quit", "os._exit"}

Names = dict[str, Value]
Function = ast.FunctionDef | ast.AsyncFunctionDef


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
    is_complete: bool = True


class _Return(Exception):  # noqa: N818 - control flow, as `return` is
    def __init__(self, value: Value) -> None:
        self.value = value


class _Skip(Exception):  # noqa: N818 - control flow: `break` and `continue`
    def __init__(self, *, is_break: bool) -> None:
        self.is_break = is_break


class _Stop(Exception):  # noqa: N818 - control flow: `raise` and `sys.exit`
    pass


class _Way(NamedTuple):
    """How a function or a loop was left under a condition that nothing decides."""

    value: Value
    names: Names
    deciding: tuple[str, ...]


@dataclass
class _Frame:
    """What is open while a function is followed.

    Args:
        outer: What the names around the function stand for; empty for the module.
        local: Names of the function's own.
        returns: Ways out of the function so far.
        skips: Ways out of the loop so far.
        is_undecided: A branch is followed that may not be taken.
    """

    outer: Names = field(default_factory=dict)
    local: frozenset[str] = frozenset()
    returns: list[_Way] = field(default_factory=list)
    skips: list[_Way] = field(default_factory=list)
    is_undecided: bool = False

    def around(self, names: Names) -> Names:
        """Of the names that hold here those that hold outside of the function, too."""
        hidden = {name: self.outer[name] for name in self.local if name in self.outer}
        return {name: names[name] for name in names.keys() - self.local} | hidden


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
    is_complete = False
    with contextlib.suppress(BudgetError, RecursionError):  # what was found so far still holds
        follower.run_module()
        is_complete = True
    return Found(follower.sites, tuple(follower.command_lines), is_complete)


class _Follower(Assignments):
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
        self.frame = _Frame()
        self.nested = {id(inner) for outer in _functions(module) for inner in _functions(outer)}

    def run_module(self) -> None:
        """Follow the script from its first line, then what was never called."""
        self.block(self.module.body)
        for function in _functions(self.module):
            if id(function) not in self.entered and self.holds_site(function):
                self.enter(function, [], {}, function.name)

    def holds_site(self, function: ast.AST) -> bool:
        """Return whether a call of interest lies inside."""
        return any(
            isinstance(node, ast.Call) and self.is_site(self.dotted(node.func))
            for node in ast.walk(function)
        )

    def spend(self, steps: int = 1) -> None:
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
        function: Function,
        positional: list[Value],
        keywords: dict[str, Value],
        name: str,
    ) -> Value:
        """Follow a function of the script and return what it returns."""
        if self.depth >= _MAX_DEPTH:
            return Unknown((f"{name}(…)",))
        self.entered.add(id(function))
        kept, frame, bound = self.names, self.frame, self.bind(function, positional, keywords)
        outer = kept if id(function) in self.nested else frame.around(kept)
        inside = _Frame(outer, _local_names(function) | bound.keys())
        self.names, self.frame = {**outer, **bound}, inside
        self.depth += 1
        value: Value = Known(None)
        try:
            self.block(function.body)
        except _Return as returned:
            value = returned.value
        finally:
            last, self.frame, self.names = self.names, frame, kept
            self.depth -= 1
        return self.leave(function, bound, inside, _Way(value, last, ()))

    def leave(
        self,
        function: Function,
        bound: Names,
        frame: _Frame,
        last: _Way,
    ) -> Value:
        """Bring what a function changed outside of it to its caller; return what it returns."""
        ways = [*frame.returns, last]
        names = unique(*(way.deciding for way in ways))
        inner = self.agree([way.names for way in ways], names)
        for name in inner.keys() - frame.local:
            before, final = frame.outer.get(name), inner[name]
            if final is not before:
                if before is not None:
                    self.replace(before, final)
                if self.names.get(name) is before:
                    self.names[name] = final
        stored = _stored_names(function)
        for parameter, given in bound.items():
            final = inner.get(parameter, given)
            if parameter not in stored:
                self.replace(given, final)
            elif final != given and parameter in _changed_names(function):
                self.replace(given, Unknown((parameter,)))
        return join_values([way.value for way in ways], "a returned value", names)

    def bind(
        self,
        function: Function,
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
            try:
                self.statement(statement)
            except _Stop:  # an example often stops where the user has to fill something in
                if self.frame.is_undecided:
                    raise

    def statement(self, node: ast.stmt) -> None:  # noqa: C901, PLR0912 - a case per kind
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.functions[node.name] = node
                self.names[node.name] = Unknown((node.name,))
            case ast.ClassDef():
                self.define_class(node)
                self.names[node.name] = Unknown((node.name,))
            case ast.Import() | ast.ImportFrom():
                self.import_names(node)
                for alias in node.names:
                    bound = alias.asname or alias.name.partition(".")[0]
                    self.names[bound] = Unknown((bound,))
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
                if isinstance(node.value, ast.Call) and self.dotted(node.value.func) in _EXITS:
                    raise _Stop
            case ast.Return():
                raise _Return(self.evaluate(node.value) if node.value else Known(None))
            case ast.Raise():
                raise _Stop
            case ast.Break() | ast.Continue():
                raise _Skip(is_break=isinstance(node, ast.Break))
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
            case ast.Try() | ast.TryStar():
                self.attempt(node)
            case ast.Match():
                self.match(node)
            case ast.Delete():
                for target in node.targets:
                    self.delete(target)
            case _:
                pass

    def branch(self, node: ast.If) -> None:
        verdict, names = self.truth(node.test)
        if verdict is not None:
            self.block(node.body if verdict else node.orelse)
            return
        self.apart([lambda: self.block(node.body), lambda: self.block(node.orelse)], names)

    def attempt(self, node: ast.Try | ast.TryStar) -> None:
        """Follow a `try`: its body, or a part of the body and then one of the handlers."""

        def body() -> None:
            self.block([*node.body, *node.orelse])

        def handle(handler: ast.ExceptHandler) -> None:
            self.forget_changes(node.body)
            if handler.name:
                self.names[handler.name] = Unknown((handler.name,))
            self.block(handler.body)

        try:
            if node.handlers:
                handlers = [lambda h=h: handle(h) for h in node.handlers]
                line = node.lineno
                self.apart([body, *handlers], (f"whether the try of line {line} succeeds",))
            else:
                body()
        finally:
            self.block(node.finalbody)

    def match(self, node: ast.Match) -> None:
        subject = self.evaluate(node.subject)
        names = missing_of(subject) or (ast.unparse(node.subject)[:40],)
        ways: list[Callable[[], None]] = []
        for case in node.cases:
            verdict = pattern_matches(case.pattern, subject)
            if verdict is False:
                continue

            def follow(case: ast.match_case = case) -> None:
                for part in ast.walk(case.pattern):
                    name = getattr(part, "name", None) or getattr(part, "rest", None)
                    if isinstance(name, str):
                        self.names[name] = Unknown((name,))
                self.block(case.body)

            if verdict and case.guard is None:
                if not ways:
                    follow()
                    return
                ways.append(follow)
                break
            ways.append(follow)
        else:
            ways.append(lambda: None)
        self.apart(ways, names)

    def loop(self, node: ast.For | ast.AsyncFor | ast.While) -> None:
        outer, self.frame.skips = self.frame.skips, []
        is_broken = False
        try:
            if isinstance(node, ast.While):
                verdict, names = self.truth(node.test)
                if verdict is not False:
                    self.any_rounds(node, names, is_certain=bool(verdict))
            else:
                is_broken = self.for_loop(node)
        finally:
            self.frame.skips = outer
        may_break = any(isinstance(inner, ast.Break) for inner in ast.walk(node))
        if node.orelse and may_break and not is_broken:
            decides = f"whether the loop of line {node.lineno} breaks"
            self.apart([lambda: self.block(node.orelse), lambda: None], (decides,))
        elif not is_broken:
            self.block(node.orelse)

    def for_loop(self, node: ast.For | ast.AsyncFor) -> bool:
        """Follow a `for`; return whether it certainly ends by `break`."""
        items = self.evaluate(node.iter)
        names = (ast.unparse(node.target)[:40],)
        known = items.value if isinstance(items, Known) else None
        if isinstance(known, dict):
            known = None if any(key.startswith("**") for key in known) else [*map(Known, known)]
        size = sum(1 for _ in ast.walk(node))
        if not isinstance(known, list | tuple) or (
            len(known) > 1 and (len(known) > _MAX_ROUNDS or len(known) * size > _MAX_UNROLLED)
        ):
            self.any_rounds(node, names, is_certain=bool(known), target=node.target)
            return False
        for item in known:
            self.assign(node.target, item)
            if not self.round(node.body, names):
                return True
        return False

    def any_rounds(
        self,
        node: ast.For | ast.AsyncFor | ast.While,
        names: tuple[str, ...],
        *,
        is_certain: bool,
        target: ast.expr | None = None,
    ) -> None:
        """Follow a loop of any number of rounds: what a round changes is unknown before it."""

        def some() -> None:
            self.forget_changes(node.body)
            if target is not None:
                self.assign(target, Unknown(names))
            self.round(node.body, names)

        self.apart([some] if is_certain else [some, lambda: None], names)

    def round(self, body: list[ast.stmt], names: tuple[str, ...]) -> bool:
        """Follow a loop's body once; return False when the loop certainly ends by it."""
        goes_on = True
        try:
            self.block(body)
        except _Skip as skip:
            goes_on = not skip.is_break
        ways = [self.names, *(way.names for way in self.frame.skips)]
        deciding = unique(names, *(way.deciding for way in self.frame.skips))
        self.names = self.agree(ways, deciding)
        return goes_on

    def apart(self, ways: Sequence[Callable[[], None]], names: tuple[str, ...]) -> None:
        """Follow several ways and keep what they agree on."""
        before, functions, frame = self.names, self.functions, self.frame
        alive: list[Names] = []
        defined: list[Mapping[str, ast.AST]] = []
        returned: list[_Way] = []
        skipped: list[_Way] = []
        is_break = True
        outer, frame.is_undecided = frame.is_undecided, frame.is_undecided or len(ways) > 1
        for way in ways:
            self.names, self.functions = dict(before), dict(functions)
            self.spend(len(before))
            try:
                way()
            except _Return as result:
                returned.append(_Way(result.value, self.names, names))
            except _Skip as skip:
                skipped.append(_Way(Known(None), self.names, names))
                is_break = is_break and skip.is_break
            except _Stop:
                continue
            else:
                alive.append(self.names)
                defined.append(self.functions)
                functions = {**functions, **self.functions}
        frame.is_undecided = outer
        self.functions = {
            name: node
            for name, node in functions.items()
            if all(other.get(name, node) is node for other in defined)
        }
        if alive or skipped:
            frame.returns += returned
        if alive:
            frame.skips += skipped
            self.names = self.agree(alive, names)
        elif skipped:
            self.names = self.agree([way.names for way in skipped], names)
            raise _Skip(is_break=is_break)
        elif returned:
            self.names = self.agree([way.names for way in returned], names)
            values: list[Value | None] = [way.value for way in returned]
            raise _Return(join_values(values, "a returned value", names))
        else:
            self.names = before
            raise _Stop

    def agree(self, outcomes: Sequence[Names], names: tuple[str, ...]) -> Names:
        """Return what several ways agree on.

        A way that leaves a name unbound has no say in it: its use would be an error there.
        """
        if len(outcomes) == 1:
            return outcomes[0]
        keys = dict.fromkeys(key for outcome in outcomes for key in outcome)
        self.spend(len(keys))
        return {
            key: join_values([out[key] for out in outcomes if key in out], key, unique(names))
            for key in keys
        }


def _functions(node: ast.AST) -> list[Function]:
    """Return the functions inside a function or a module."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [inner for inner in ast.walk(node) if inner is not node and isinstance(inner, kinds)]


def _local_names(function: ast.AST) -> frozenset[str]:
    """Return the names that are bound in a function and are not those of its surroundings."""
    declared = [
        node.names for node in ast.walk(function) if isinstance(node, ast.Global | ast.Nonlocal)
    ]
    return frozenset(_stored_names(function).difference(*declared))


def _stored_names(function: ast.AST) -> set[str]:
    """Return the names that a function binds anew."""
    return {
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _changed_names(function: ast.AST) -> set[str]:
    """Return the names whose fields, items or methods a function uses."""
    return {
        node.value.id
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.value, ast.Name)
    }
