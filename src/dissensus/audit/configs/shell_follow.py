"""Follow a shell script to the commands it would run, without running any."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import NamedTuple

from dissensus.audit.configs.compose import find_upwards
from dissensus.audit.configs.scalars import unique
from dissensus.audit.configs.shell_expand import expand_text, expand_word, expand_words
from dissensus.audit.configs.shell_parser import parse_shell
from dissensus.audit.configs.shell_syntax import (
    AndOr,
    Array,
    Assign,
    Branch,
    Case,
    For,
    Function,
    Group,
    Heredoc,
    Loop,
    Node,
    Pipe,
    Simple,
    literal,
)
from dissensus.audit.configs.shell_tests import Verdict, decide
from dissensus.audit.configs.shell_values import (
    HOLE,
    BudgetError,
    Field,
    Scalar,
    Scope,
    join_scopes,
)
from dissensus.audit.configs.text import read_text

__all__ = ["FILE_STEP", "Command", "Followed", "follow_script"]

FILE_STEP = 10_000_000
"""Line numbers of the n-th sourced file are raised by n times this."""

_MAX_DEPTH = 8
_OUTER = "__outer"  # stands for what is unknown in a text that another shell is given
_RUNS_TEXT = re.compile(r"\b(python\d?|swift|trl|uv|accelerate|torchrun|megatron|deepspeed)\b")
_OPTIONS = re.compile(r"--[A-Za-z]|[+~]{0,2}[A-Za-z_]\w*(\.\w+)+=")


class Command(NamedTuple):
    """A command with its arguments after expansion."""

    fields: tuple[Field, ...]
    line: int


class Followed(NamedTuple):
    """What a script runs.

    Args:
        commands: Its commands, in the order in which they run.
        files: Files that were followed; `FILE_STEP` tells which of them a line belongs to.
        written: Texts that it writes, with their line, by the path as written.
        lost: Line and first word of commands that look like options of the command before.
        is_complete: It was followed to its end.
    """

    commands: list[Command]
    files: list[Path]
    written: dict[str, tuple[str, int]]
    lost: list[tuple[int, str]]
    is_complete: bool


def follow_script(path: Path, text: str, first_line: int = 1) -> Followed:
    """Return the commands of a script as it runs with nothing set around it.

    Conditions that the script decides itself are decided; after the others a variable is what all
    ways agree on, or unknown. A branch that ends the script (a usage message) is left out.
    """
    follower = _Follower(path)
    is_complete = True
    try:
        follower.run(parse_shell(text, first_line), follower.scope)
    except (BudgetError, RecursionError):
        is_complete = False
    scope = follower.scope
    return Followed(follower.commands, follower.files, scope.written, follower.lost, is_complete)


class _Follower:
    def __init__(self, path: Path) -> None:
        self.files = [path]
        self.scope = Scope(path)
        self.commands: list[Command] = []
        self.lost: list[tuple[int, str]] = []

    def run(self, nodes: tuple[Node, ...], scope: Scope) -> None:
        for node in nodes:
            if scope.has_ended:
                break
            self.step(node, scope)

    def step(self, node: Node, scope: Scope) -> None:  # noqa: C901 - one case per kind of node
        scope.spend()
        match node:
            case Simple():
                self.simple(node, scope)
            case AndOr(items):
                self.and_or(items, scope)
            case Pipe(items):
                for item in items:
                    self.step(item, scope)
            case Branch():
                self.branch(node, scope)
            case For():
                self.for_loop(node, scope)
            case Loop(condition, body):
                self.loop(condition, body, scope)
            case Case():
                self.case(node, scope)
            case Group(body, subshell):
                self.run(body, scope.copy() if subshell else scope)
            case Function(name, body):
                scope.functions[name] = body

    def verdict(self, condition: tuple[Node, ...], scope: Scope) -> Verdict:
        """Return whether a list of commands succeeds."""
        for node in condition[:-1]:
            self.step(node, scope)
        return self.node_verdict(condition[-1], scope) if condition else Verdict(True)

    def node_verdict(self, node: Node, scope: Scope) -> Verdict:
        if isinstance(node, Simple):
            return decide(node, scope)
        if isinstance(node, AndOr):
            result = self.node_verdict(node.items[0][1], scope)
            for operator, item in node.items[1:]:
                decided = operator == "||"
                if result.holds is decided:
                    continue
                later = self.node_verdict(item, scope)
                if result.holds is None:
                    same = later.holds is decided
                    result = later if same else Verdict(None, unique(result.names, later.names))
                else:
                    result = later
            return result
        return Verdict(None, ("a condition",))

    def and_or(self, items: tuple[tuple[str, Node], ...], scope: Scope) -> None:
        status = Verdict(True)
        for operator, node in items:
            if (operator == "&&" and status.holds is False) or (
                operator == "||" and status.holds is True
            ):
                continue
            if isinstance(node, Simple) and _is_test(node):
                later = self.node_verdict(node, scope)
                status = later if operator == "" or status.holds is not None else status
            elif operator and status.holds is None:
                inner = scope.copy()
                self.step(node, inner)
                join_scopes(scope, [scope.copy(), inner], status.names)
            else:
                self.step(node, scope)
                status = Verdict(True)

    def branch(self, node: Branch, scope: Scope) -> None:
        outcomes: list[Scope] = []
        names: tuple[str, ...] = ()
        is_certain = False
        for arm in node.arms:
            verdict = self.verdict(arm.condition, scope)
            if verdict.holds is False:
                continue
            is_certain = verdict.holds is True
            names = unique(names, verdict.names)
            self.run_apart(arm.body, scope, outcomes)
            if is_certain:
                break
        if not is_certain:
            self.run_apart(node.other or (), scope, outcomes)
        join_scopes(scope, outcomes, names)

    def run_apart(self, body: tuple[Node, ...], scope: Scope, outcomes: list[Scope]) -> None:
        inner = scope.copy()
        self.run(body, inner)
        outcomes.append(inner)

    def for_loop(self, node: For, scope: Scope) -> None:
        fields = expand_words(node.words, scope) if node.words is not None else []
        known = [field for field in fields if not field.missing and not field.maybe]
        if node.words is not None and not fields:
            return
        if len(fields) == 1 and known:
            scope.put(node.name, Scalar(known[0].text))
            self.run(node.body, scope)
            return
        options = tuple(dict.fromkeys(field.text for field in known))[:16]
        if node.name:
            scope.put(node.name, Scalar(HOLE, (node.name,), options=options))
        outcomes: list[Scope] = [] if known else [scope.copy()]
        self.run_apart(node.body, scope, outcomes)
        join_scopes(scope, outcomes, (node.name,) if node.name else ())

    def loop(self, condition: tuple[Node, ...], body: tuple[Node, ...], scope: Scope) -> None:
        verdict = self.verdict(condition, scope)
        if verdict.holds is False:
            return
        outcomes = [scope.copy()]
        self.run_apart(body, scope, outcomes)
        join_scopes(scope, outcomes, verdict.names)

    def case(self, node: Case, scope: Scope) -> None:
        subject = expand_text(node.subject, scope)
        is_known, text = not subject.missing, subject.text
        outcomes: list[Scope] = []
        for patterns, body in node.arms:
            texts = [expand_text(pattern, scope) for pattern in patterns]
            if is_known and not any(
                not pattern.missing
                and len(pattern.text) < 200
                and fnmatch.fnmatchcase(text[:1_000], pattern.text)
                for pattern in texts
            ):
                continue
            self.run_apart(body, scope, outcomes)
            if is_known:
                break
        if not is_known or not outcomes:
            outcomes.append(scope.copy())
        join_scopes(scope, outcomes, subject.missing)

    def simple(self, node: Simple, scope: Scope) -> None:
        name = literal(node.words[0]) if node.words else None
        is_lasting = not node.words or name in {
            "export",
            "declare",
            "local",
            "readonly",
            "typeset",
        }
        if is_lasting:
            for assign in node.assigns:
                self.assign(assign, scope)
            if name == "export":
                scope.exported.update(assign.name for assign in node.assigns)
                scope.exported.update(literal(word) or "" for word in node.words[1:])
        for heredoc in node.heredocs:
            self.heredoc(heredoc, node, scope)
        if is_lasting:
            return
        fields = expand_words(node.words, scope)
        if fields:
            self.command(fields, node, scope)
        for assign in node.assigns:  # a command line handed over in a variable, as to sbatch
            if not isinstance(assign.value, Array):
                value = expand_text(assign.value, scope)
                self.inner_script(Field(value.text, assign.line, value.missing), node, scope)

    def assign(self, assign: Assign, scope: Scope) -> None:
        old = scope.variables.get(assign.name)
        if isinstance(assign.value, Array):
            items = tuple(expand_words(assign.value.words, scope))
            scope.spend(len(items))
            if assign.append and old is not None:
                before = _items(old)
                items = (*before, *items)
            scope.put(assign.name, items)
        elif assign.subscript is not None:
            value = expand_text(assign.value, scope)
            scope.put(f"{assign.name}[{assign.subscript.strip(chr(34))}]", value)
        else:
            value = expand_text(assign.value, scope)
            if assign.append and old is not None and not isinstance(old, Scalar):
                added = tuple(expand_word(assign.value, scope))
                scope.put(assign.name, (*old, *added))
                return
            if assign.append and isinstance(old, Scalar):
                value = Scalar(old.text + value.text, unique(old.missing, value.missing))
            scope.put(assign.name, value._replace(is_unset=False))

    def heredoc(self, heredoc: Heredoc, node: Simple, scope: Scope) -> None:
        text = heredoc.text
        if not heredoc.verbatim:
            text = text.replace("\\$", "$").replace("\\\\", "\\").replace("\\`", "`")
        if node.words and literal(node.words[0]) == "read":
            target = literal(node.words[-1])
            if target:
                scope.put(target, Scalar(text))
            return
        if node.output is not None:
            written = expand_text(node.output, scope)
            if not written.missing and len(scope.written) < 200:
                scope.written[written.text] = (text, heredoc.line)
        if _RUNS_TEXT.search(text):
            self.run_text(text, heredoc.line, scope)

    def run_text(self, text: str, line: int, scope: Scope) -> None:
        """Follow text that another shell is given."""
        if scope.depth >= _MAX_DEPTH:
            return
        inner = scope.copy()
        inner.depth += 1
        inner.spend(1 + len(text) // 4)
        self.run(parse_shell(text, line), inner)

    def command(self, fields: list[Field], node: Simple, scope: Scope) -> None:
        name, rest = fields[0].text, fields[1:]
        if name in scope.functions:
            self.call(scope.functions[name], tuple(rest), scope)
        elif name in {"source", "."} and rest:
            self.source(rest[0], scope)
        elif name in {"bash", "sh"} and any(item.text.endswith(".sh") for item in rest):
            self.launch(rest, node, scope)
        elif _OPTIONS.match(name):
            self.lost.append((node.line, name[:60].replace(HOLE, "…")))
        elif not self.builtin(name, rest, node, scope):
            self.commands.append(Command(tuple(fields), node.line))
            for field in fields[1:]:
                self.inner_script(field, node, scope)

    def builtin(self, name: str, rest: list[Field], node: Simple, scope: Scope) -> bool:
        """Do what a command of the shell itself does to the scope; False for other commands."""
        if name in {"exit", "return", "exec"} and not rest[1:]:
            scope.has_ended = True
        elif name == "set" and rest and rest[0].text == "--":
            scope.arguments = tuple(rest[1:])
        elif name == "shift" and scope.arguments is not None:
            scope.arguments = scope.arguments[1:]
        elif name == "unset":
            for field in rest:
                scope.variables.pop(field.text, None)
        elif name in {"read", "mapfile", "readarray"} and not node.heredocs and rest:
            scope.put(rest[-1].text, Scalar(HOLE, (rest[-1].text,)))
        else:
            return False
        return True

    def inner_script(self, field: Field, node: Simple, scope: Scope) -> None:
        """Follow `bash -c "…"` and the like: an argument that is itself a command line."""
        is_text = " " in field.text.strip() and not _OPTIONS.match(field.text)
        if not is_text or not _RUNS_TEXT.search(field.text):
            return
        inner = scope.copy()
        inner.variables[_OUTER] = Scalar(HOLE, field.missing, field.is_unset)
        self.run_text(field.text.replace(HOLE, f"${{{_OUTER}}}"), field.line or node.line, inner)

    def launch(self, fields: list[Field], node: Simple, scope: Scope) -> None:
        """Follow another script that this one runs, with the arguments it is given."""
        at = next(index for index, item in enumerate(fields) if item.text.endswith(".sh"))
        path = None
        if not fields[at].missing:
            path = find_upwards(scope.script.parent, fields[at].text)
        text = read_text(path) if path is not None else None
        if path is None or text is None or scope.depth >= _MAX_DEPTH or len(self.files) > 20:
            return
        inner = scope.child(path, tuple(fields[at + 1 :]))
        for assign in node.assigns:
            if not isinstance(assign.value, Array):
                inner.put(assign.name, expand_text(assign.value, scope))
        self.files.append(path)
        self.run(parse_shell(text, (len(self.files) - 1) * FILE_STEP + 1), inner)

    def call(self, body: tuple[Node, ...], arguments: tuple[Field, ...], scope: Scope) -> None:
        if scope.depth >= _MAX_DEPTH:
            return
        kept, scope.arguments = scope.arguments, arguments
        scope.depth += 1
        self.run(body, scope)
        scope.depth -= 1
        scope.arguments, scope.has_ended = kept, False

    def source(self, field: Field, scope: Scope) -> None:
        if field.missing or scope.depth >= _MAX_DEPTH or len(self.files) > 20:
            return
        path = Path(field.text)
        path = path if path.is_absolute() else scope.script.parent / path
        text = read_text(path)
        if text is None:
            return
        self.files.append(path)
        first = (len(self.files) - 1) * FILE_STEP + 1
        kept, scope.depth = (scope.script, scope.has_ended), scope.depth + 1
        self.run(parse_shell(text, first), scope)
        scope.depth -= 1
        scope.script, scope.has_ended = kept[0], kept[1]


def _is_test(node: Simple) -> bool:
    return bool(node.words) and literal(node.words[0]) in {"[", "[[", "test", "false"}


def _items(value: Scalar | tuple[Field, ...]) -> tuple[Field, ...]:
    if isinstance(value, Scalar):
        return (Field(value.text, 0, value.missing),) if value.text else ()
    return value
