"""Arrange the words of a shell script into commands, branches and loops."""

from __future__ import annotations

import re

from dissensus.audit.configs.shell_lexer import Token, tokenize
from dissensus.audit.configs.shell_syntax import (
    AndOr,
    Arm,
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
    Not,
    Part,
    Pipe,
    Simple,
    Word,
    literal,
)

__all__ = ["parse_shell"]

_ASSIGN = re.compile(r"([A-Za-z_]\w*)(?:\[([^\]]*)\])?(\+?)=")
_MAX_DEPTH = 60
_CLOSERS = {"fi", "done", "esac", "then", "else", "elif", "do", "}"}


def parse_shell(text: str, first_line: int = 1) -> tuple[Node, ...]:
    """Return the statements of a script. Text that fits no rule is passed over."""
    parser = _Parser(tokenize(text, first_line))
    nodes: list[Node] = []
    while not parser.is_done:
        nodes.extend(parser.statements(frozenset()))
        parser.at += 1  # a closing word without its opening one
    return tuple(nodes)


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens, self.at, self.depth = tokens, 0, 0

    @property
    def is_done(self) -> bool:
        return self.at >= len(self.tokens)

    def peek(self, ahead: int = 0) -> Token:
        index = self.at + ahead
        return self.tokens[index] if index < len(self.tokens) else Token("end", "", 0)

    def reserved(self) -> str:
        token = self.peek()
        return token.text if token.kind == "word" else ""

    def skip_blank(self) -> None:
        while self.peek().kind == "newline" or self.peek().text in {";", "&"}:
            if self.peek().kind not in {"newline", "operator"}:
                break
            self.at += 1

    def expect(self, word: str) -> None:
        self.skip_blank()
        if self.reserved() == word:
            self.at += 1

    def statements(self, stops: frozenset[str]) -> tuple[Node, ...]:
        nodes: list[Node] = []
        while not self.is_done:
            self.skip_blank()
            token = self.peek()
            if token.kind == "end" or token.text in stops:
                break
            if token.kind == "operator" and token.text in {")", "array)", ";;", ";&", ";;&"}:
                break
            if token.kind == "word" and token.text in _CLOSERS:
                break
            before = self.at
            node = self.and_or()
            if node is not None:
                nodes.append(node)
            if self.at == before:
                self.at += 1
        return tuple(nodes)

    def and_or(self) -> Node | None:
        items: list[tuple[str, Node]] = []
        operator = ""
        while True:
            node = self.pipeline()
            if node is not None:
                items.append((operator, node))
            token = self.peek()
            if token.kind != "operator" or token.text not in {"&&", "||"}:
                break
            operator = token.text
            self.at += 1
            self.skip_blank()
        if len(items) > 1:
            return AndOr(tuple(items))
        return items[0][1] if items else None

    def pipeline(self) -> Node | None:
        items: list[Node] = []
        is_negated = False
        while True:
            negated = False
            while self.reserved() in {"!", "time"}:
                negated ^= self.reserved() == "!"
                self.at += 1
            is_negated = is_negated or (negated and not items)
            node = self.command()
            if node is not None:
                items.append(node)
            if self.peek().kind != "operator" or self.peek().text not in {"|", "|&"}:
                break
            self.at += 1
            self.skip_blank()
        if not items:
            return None
        whole = Pipe(tuple(items)) if len(items) > 1 else items[0]
        return Not(whole) if is_negated else whole

    def command(self) -> Node | None:
        self.depth += 1
        try:
            if self.depth > _MAX_DEPTH:
                self.at += 1
                return None
            return self.compound() or self.simple()
        finally:
            self.depth -= 1

    def compound(self) -> Node | None:
        token = self.peek()
        if token.kind == "operator" and token.text == "(":
            if self.peek(1).text == "(":
                return self.arithmetic()
            self.at += 1
            body = self.statements(frozenset({")"}))
            self.at += 1
            return self.redirected(Group(body, subshell=True))
        handlers = {
            "if": self.branch,
            "for": self.for_loop,
            "select": self.for_loop,
            "while": self.loop,
            "until": self.loop,
            "case": self.case,
            "{": self.group,
            "function": self.function,
            "[[": self.test,
        }
        handler = handlers.get(self.reserved())
        if handler is not None:
            return handler()
        if token.kind == "word" and self.peek(1).text == "(" and self.peek(2).text == ")":
            return self.function()
        return None

    def redirected(self, node: Node) -> Node:
        while self.peek().kind == "redirect":
            self.at += 1
        return node

    def arithmetic(self) -> Node:
        line, depth = self.peek().line, 0
        inside: list[str] = []
        while not self.is_done:
            text = self.peek().text
            depth += (text == "(") - (text in {")", "array)"})
            inside.append(text)
            self.at += 1
            if depth == 0:
                break
        return Simple((_text("((", line), _text(" ".join(inside), line)), (), line)

    def test(self) -> Node:
        line, words = self.peek().line, []
        while not self.is_done and self.peek().kind != "newline":
            token = self.peek()
            self.at += 1
            if token.word is not None and token.kind == "redirect":
                words.extend([_text(token.text, token.line), token.word])
            else:
                words.append(token.word or _text(token.text, token.line))
            if token.text == "]]":
                break
        return Simple(tuple(words), (), line)

    def branch(self) -> Node:
        arms: list[Arm] = []
        other: tuple[Node, ...] | None = None
        while self.reserved() in {"if", "elif"}:
            self.at += 1
            condition = self.statements(frozenset({"then"}))
            self.expect("then")
            arms.append(Arm(condition, self.statements(frozenset({"elif", "else", "fi"}))))
        if self.reserved() == "else":
            self.at += 1
            other = self.statements(frozenset({"fi"}))
        self.expect("fi")
        return self.redirected(Branch(tuple(arms), other))

    def for_loop(self) -> Node:
        self.at += 1
        words: list[Word] | None = None
        name = ""
        if self.peek().text == "(" and self.peek(1).text == "(":
            self.arithmetic()
        else:
            name = self.reserved()
            self.at += 1
            self.skip_blank()
            if self.reserved() == "in":
                self.at += 1
                words = []
                while self.peek().kind in {"word", "redirect"}:
                    words.append(self.peek().word or _text("", self.peek().line))
                    self.at += 1
        body = self.do_done()
        return For(name, None if words is None else tuple(words), body)

    def loop(self) -> Node:
        self.at += 1
        condition = self.statements(frozenset({"do"}))
        return self.redirected(Loop(condition, self.do_done()))

    def do_done(self) -> tuple[Node, ...]:
        self.expect("do")
        body = self.statements(frozenset({"done"}))
        self.expect("done")
        while self.peek().kind == "redirect":
            self.at += 1
        return body

    def case(self) -> Node:
        self.at += 1
        subject = self.peek().word or _text("", self.peek().line)
        self.at += 1
        self.expect("in")
        arms: list[tuple[tuple[Word, ...], tuple[Node, ...]]] = []
        while not self.is_done:
            self.skip_blank()
            if self.reserved() == "esac":
                break
            before, patterns = self.at, []
            while not self.is_done and self.peek().text not in {")", "array)"}:
                if self.peek().word is not None:
                    patterns.append(self.peek().word)
                if self.peek().kind == "newline":
                    break
                self.at += 1
            self.at += 1
            body = self.statements(frozenset({"esac"}))
            arms.append((tuple(p for p in patterns if p is not None), body))
            if self.peek().text in {";;", ";&", ";;&"}:
                self.at += 1
            self.at = max(self.at, before + 1)
        self.expect("esac")
        return self.redirected(Case(subject, tuple(arms)))

    def group(self) -> Node:
        self.at += 1
        body = self.statements(frozenset({"}"}))
        self.expect("}")
        return self.redirected(Group(body, subshell=False))

    def function(self) -> Node:
        if self.reserved() == "function":
            self.at += 1
        name = self.reserved()
        self.at += 1
        if self.peek().text == "(":
            self.at += 2
        self.skip_blank()
        body = self.command()
        return Function(name, (body,) if body is not None else ())

    def simple(self) -> Node | None:
        words: list[Word] = []
        assigns: list[Assign] = []
        heredocs: list[Heredoc] = []
        output: Word | None = None
        line = self.peek().line
        while not self.is_done:
            token = self.peek()
            if token.kind == "array":
                assigns.append(self.array())
                continue
            if token.kind == "redirect":
                if token.heredoc is not None:
                    heredocs.append(token.heredoc)
                elif token.text in {">", ">>", "&>", ">|"}:
                    output = token.word
            elif token.kind == "word" and token.word is not None:
                made = _assignment(token) if not words or _declares(words[0]) else None
                if made is not None:
                    assigns.append(made)
                else:
                    words.append(token.word)
            else:
                break
            self.at += 1
        if not (words or assigns or heredocs or output):
            return None
        return Simple(tuple(words), tuple(assigns), line, tuple(heredocs), output)

    def array(self) -> Assign:
        token = self.peek()
        self.at += 1
        words: list[Word] = []
        while not self.is_done and self.peek().text != "array)":
            if self.peek().word is not None and self.peek().kind == "word":
                words.append(self.peek().word or _text("", token.line))
            self.at += 1
        self.at += 1
        found = _ASSIGN.match(token.text)
        name, append = (found.group(1), bool(found.group(3))) if found else (token.text, False)
        return Assign(name, Array(tuple(words)), append, None, token.line)


def _assignment(token: Token) -> Assign | None:
    found = _ASSIGN.match(token.text)
    if found is None or token.word is None:
        return None
    head, length = list(token.word.parts), found.end()
    while head and length > 0 and head[0].kind == "literal":  # take the name off the first parts
        part = head.pop(0)
        if len(part.text) > length:
            head.insert(0, part._replace(text=part.text[length:]))
        length -= len(part.text)
    if length > 0:
        return None
    value = Word(tuple(head), token.line)
    return Assign(found.group(1), value, bool(found.group(3)), found.group(2), token.line)


def _declares(word: Word) -> bool:
    return literal(word) in {"export", "declare", "local", "readonly", "typeset"}


def _text(text: str, line: int) -> Word:
    return Word((Part("literal", text, quoted=False),), line)
