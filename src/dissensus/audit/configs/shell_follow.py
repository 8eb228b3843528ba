"""Follow a shell script to the commands it would run, without running any."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from dissensus.audit.configs import shell_syntax as syntax
from dissensus.audit.configs.compose import find_upwards
from dissensus.audit.configs.scalars import unique
from dissensus.audit.configs.shell_assign import (
    DECLARING,
    declare,
    forget_changes,
    names_set,
    put_unknown,
    unset,
)
from dissensus.audit.configs.shell_expand import expand_text, expand_words
from dissensus.audit.configs.shell_parser import parse_shell
from dissensus.audit.configs.shell_syntax import Node, Simple, literal
from dissensus.audit.configs.shell_tests import Verdict, decide, fits, is_test, succeeds
from dissensus.audit.configs.shell_values import (
    HOLE,
    BudgetError,
    Field,
    Scalar,
    Scope,
    join_scopes,
    join_ways,
)
from dissensus.audit.configs.text import read_text

__all__ = ["FILE_STEP", "Command", "Followed", "follow_script"]

FILE_STEP = 10_000_000
"""Line numbers of the n-th sourced file are raised by n times this."""

_MAX_DEPTH = 8
_OUTER = "__outer"  # stands for what is unknown in a text that another shell is given
_RUNS_TEXT = re.compile(r"\b(python\d?|swift|trl|uv|accelerate|torchrun|megatron|deepspeed)\b")
_MAX_ROUNDS = 16
_ENVIRONMENT = re.compile(
    r"^/(?:etc|opt|usr)/|^(?:\$HOME|HOME)\b|activate$|conda|mamba|\.(?:bash|zsh)rc|ssh-agent|set_env\.sh"
)
"""Sourced files and `eval`s that prepare programs, and set no variable of the script."""
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
        absent: Line and name of sourced files that are not there.
        is_complete: It was followed to its end.
    """

    commands: list[Command]
    files: list[Path]
    written: dict[str, tuple[str, int]]
    lost: list[tuple[int, str]]
    absent: list[tuple[int, str]]
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
    return Followed(
        follower.commands,
        follower.files,
        follower.scope.written,
        follower.lost,
        follower.absent,
        is_complete,
    )


class _Follower:
    def __init__(self, path: Path) -> None:
        self.files = [path]
        self.scope = Scope(path)
        self.commands: list[Command] = []
        self.lost: list[tuple[int, str]] = []
        self.absent: list[tuple[int, str]] = []

    def run(self, nodes: tuple[Node, ...], scope: Scope) -> None:
        for node in nodes:
            if scope.leaves:
                break
            self.step(node, scope)

    def step(self, node: Node, scope: Scope) -> None:  # noqa: C901 - one case per kind of node
        scope.spend()
        match node:
            case Simple():
                self.simple(node, scope)
            case syntax.AndOr(items):
                self.and_or(items, scope)
            case syntax.Pipe(items):
                for item in items:  # each in a shell of its own
                    self.step(item, scope.copy())
            case syntax.Not(item):
                self.step(item, scope)
            case syntax.Branch():
                self.branch(node, scope)
            case syntax.For():
                self.for_loop(node, scope)
            case syntax.Loop(condition, body):
                self.loop(condition, body, scope)
            case syntax.Case():
                self.case(node, scope)
            case syntax.Group(body, subshell):
                self.run(body, scope.copy() if subshell else scope)
            case syntax.Function(name, body):
                scope.functions[name] = body

    def verdict(self, condition: tuple[Node, ...], scope: Scope) -> Verdict:
        """Return whether a list of commands succeeds."""
        for node in condition[:-1]:
            self.step(node, scope)
        return self.node_verdict(condition[-1], scope) if condition else Verdict(True)

    def node_verdict(self, node: Node, scope: Scope) -> Verdict:
        """Return whether a command succeeds, after what it does."""
        match node:
            case Simple() if is_test(node):
                return decide(node, scope)
            case syntax.Not(item):
                inner = self.node_verdict(item, scope)
                return inner if inner.holds is None else Verdict(not inner.holds)
            case syntax.AndOr(items):
                return self.and_or(items, scope)
            case _:
                self.step(node, scope)
                return succeeds(node, scope)

    def and_or(self, items: tuple[tuple[str, Node], ...], scope: Scope) -> Verdict:
        """Follow commands joined by `&&` and `||`; return whether they succeed."""
        status = self.node_verdict(items[0][1], scope)
        if [operator for operator, _ in items[1:]] == ["&&", "||"]:
            then, other = items[1][1], items[2][1]
            if status.holds is None and succeeds(then, scope).holds:  # as if … else
                outcomes: list[Scope] = []
                self.run_apart((then,), scope, outcomes)
                self.run_apart((other,), scope, outcomes)
                join_scopes(scope, outcomes, status.names)
                return Verdict(None, status.names)
        for operator, node in items[1:]:
            decided = operator == "||"
            if scope.leaves:
                break
            if status.holds is decided:
                continue
            if status.holds is not None:
                status = self.node_verdict(node, scope)
                continue
            inner = scope.copy()
            later = self.node_verdict(node, inner)
            join_scopes(scope, [scope.copy(), inner], status.names)
            if later.holds is decided:
                status = later
            else:
                status = Verdict(None, unique(status.names, later.names))
        return status

    def branch(self, node: syntax.Branch, scope: Scope) -> None:
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

    def for_loop(self, node: syntax.For, scope: Scope) -> None:
        fields = expand_words(node.words, scope) if node.words is not None else []
        known = [field for field in fields if not field.missing and not field.maybe]
        if node.words is not None and not fields:
            return
        names = (node.name,) if node.name else ()
        outer, scope.skips = scope.skips, []
        if known == fields and 0 < len(known) <= _MAX_ROUNDS:
            for field in known:
                scope.put(node.name, Scalar(field.text))
                if not self.round(node.body, scope):
                    break
        else:
            options = tuple(dict.fromkeys(field.text for field in known))[:16]
            before = scope.copy()
            forget_changes(node.body, scope)
            if node.name:
                scope.put(node.name, Scalar(HOLE, names, options=options))
            self.any_rounds(node.body, scope, [] if known else [before], names)
        scope.skips = outer

    def loop(self, condition: tuple[Node, ...], body: tuple[Node, ...], scope: Scope) -> None:
        before = scope.copy()
        verdict = self.verdict(condition, before)
        if verdict.holds is False:
            return
        outer, scope.skips = scope.skips, []
        forget_changes((*condition, *body), scope)
        self.any_rounds(body, scope, [] if verdict.holds else [before], verdict.names)
        scope.skips = outer

    def any_rounds(
        self,
        body: tuple[Node, ...],
        scope: Scope,
        outcomes: list[Scope],
        names: tuple[str, ...],
    ) -> None:
        inner = scope.copy()
        self.round(body, inner)
        outcomes.append(inner)
        join_scopes(scope, outcomes, names)

    def round(self, body: tuple[Node, ...], scope: Scope) -> bool:
        """Follow a loop's body once; return False when the loop certainly ends by it."""
        self.run(body, scope)
        left = scope.leaves if scope.leaves != "continue" else ""
        if left in {"", "break"}:
            scope.leaves = ""
        if not scope.leaves:
            join_ways(scope, scope.skips)
        return not left

    def case(self, node: syntax.Case, scope: Scope) -> None:
        subject = expand_text(node.subject, scope)
        outcomes: list[Scope] = []
        names = subject.missing
        is_certain = False
        for patterns, body in node.arms:
            texts = [expand_text(pattern, scope) for pattern in patterns]
            verdict = fits(subject, texts)
            if verdict is False:
                continue
            names = unique(names, *(text.missing for text in texts))
            self.run_apart(body, scope, outcomes)
            if verdict:
                is_certain = True
                break
        if not is_certain:
            outcomes.append(scope.copy())
        join_scopes(scope, outcomes, names)

    def simple(self, node: Simple, scope: Scope) -> None:
        name = literal(node.words[0]) if node.words else None
        is_lasting = not node.words or name in DECLARING
        if is_lasting:
            declare(name, node, scope)
        for heredoc in node.heredocs:
            self.heredoc(heredoc, node, scope)
        if is_lasting:
            return
        fields = expand_words(node.words, scope)
        if fields:
            self.command(fields, node, scope)
        for assign in node.assigns:  # a command line handed over in a variable, as to sbatch
            if not isinstance(assign.value, syntax.Array):
                value = expand_text(assign.value, scope)
                self.inner_script(Field(value.text, assign.line, value.missing), node, scope)

    def heredoc(self, heredoc: syntax.Heredoc, node: Simple, scope: Scope) -> None:
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
            self.source(rest[0], node.line, scope)
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
        if name in {"exit", "return", "break", "continue"}:
            scope.leaves = name
        elif name == "exec":
            if rest and not rest[0].text.startswith(("-", "{")):  # else redirections only
                self.command(rest, node, scope)
                scope.leaves = "exit"
        elif name == "set" and rest and rest[0].text == "--":
            scope.arguments = tuple(rest[1:])
        elif name == "shift" and scope.arguments is not None:
            count = rest[0].text if rest else "1"
            scope.arguments = scope.arguments[int(count) if count.isdigit() else 1 :]
        elif name == "eval" and rest:
            self.evaluate(rest, node, scope)
        elif name == "unset":
            unset([field.text for field in rest], scope)
        elif (changed := names_set(name, [field.text for field in rest])) and not node.heredocs:
            put_unknown(changed, scope)
        elif name not in {"((", "let"}:
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
            if not isinstance(assign.value, syntax.Array):
                inner.put(assign.name, expand_text(assign.value, scope))
        self.files.append(path)
        self.run(parse_shell(text, (len(self.files) - 1) * FILE_STEP + 1), inner)

    def evaluate(self, fields: list[Field], node: Simple, scope: Scope) -> None:
        """Follow `eval`: known text runs here; unknown text may set any variable."""
        text = " ".join(field.text for field in fields)
        missing = unique(*(field.missing + field.maybe for field in fields))
        if not missing:
            if scope.depth < _MAX_DEPTH:
                scope.depth += 1
                scope.spend(1 + len(text) // 4)
                self.run(parse_shell(text, node.line), scope)
                scope.depth -= 1
        elif text.startswith(HOLE) and not _ENVIRONMENT.search(" ".join(missing)):
            scope.forget(missing)
        else:
            self.inner_script(Field(text, node.line, missing), node, scope)

    def call(self, body: tuple[Node, ...], arguments: tuple[Field, ...], scope: Scope) -> None:
        if scope.depth >= _MAX_DEPTH:
            return
        kept = scope.arguments, scope.returns, scope.skips, scope.locals
        scope.arguments, scope.returns, scope.skips, scope.locals = arguments, [], [], {}
        scope.depth += 1
        self.run(body, scope)
        scope.depth -= 1
        scope.leaves = ""
        join_ways(scope, scope.returns)
        scope.restore(scope.locals)
        scope.arguments, scope.returns, scope.skips, scope.locals = kept

    def source(self, field: Field, line: int, scope: Scope) -> None:
        if scope.depth >= _MAX_DEPTH or len(self.files) > 20:
            return
        path = None if field.missing else _beside(scope.script.parent, field.text)
        text = read_text(path) if path is not None else None
        if path is None or text is None:
            if not _ENVIRONMENT.search(field.text.replace(HOLE, " ".join(field.missing))):
                name = field.text.replace(HOLE, f"${{{', '.join(field.missing)}}}")[:80]
                scope.forget((name,))
                self.absent.append((line, name))
            return
        self.files.append(path)
        first = (len(self.files) - 1) * FILE_STEP + 1
        kept = scope.returns, scope.source
        scope.returns, scope.source = [], path
        scope.depth += 1
        self.run(parse_shell(text, first), scope)
        scope.depth -= 1
        scope.leaves = ""
        join_ways(scope, scope.returns)
        scope.returns, scope.source = kept


def _beside(folder: Path, name: str) -> Path | None:
    """Return a file named from a folder; for a path of another machine one that ends alike."""
    path = Path(name)
    if not path.is_absolute():
        return folder / path
    if path.is_file() or folder in path.parents:
        return path
    ends = ("/".join(path.parts[at:]) for at in range(2, len(path.parts) - 1))
    return next(filter(None, (find_upwards(folder, end) for end in ends)), None)
