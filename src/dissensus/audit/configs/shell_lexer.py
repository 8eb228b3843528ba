"""Cut a shell script into words and operators."""

from __future__ import annotations

import re
from typing import NamedTuple

from dissensus.audit.configs.shell_syntax import Heredoc, Part, Word

__all__ = ["Token", "tokenize"]

_PLAIN = re.compile(r"[^\s\\'\"$`;&|()<>#]+")
_BLANKS = re.compile(r"(?:[ \t\r\f\v]|\\\r?\n)+")
_OPERATOR = re.compile(r"&&|\|\||;;&|;;|;&|\|&|[;&|()]")
_REDIRECT = re.compile(r"\d*(?:&>>|&>|<<<|<<-|<<|>>|>&|<&|<>|>\||>|<)")
_NAME = re.compile(r"[A-Za-z_]\w*|[0-9@*#?$!-]")
_ARRAY = re.compile(r"[A-Za-z_]\w*\+?=\Z")
_PAIRS = {"(": ")", "{": "}"}


class Token(NamedTuple):
    """A word, an operator, a newline, or the start and end of an array value."""

    kind: str
    text: str
    line: int
    word: Word | None = None
    heredoc: Heredoc | None = None


def tokenize(text: str, first_line: int = 1) -> list[Token]:
    """Return the tokens of a script; unfinished quotes reach to the end of the text."""
    return _Lexer(text, first_line).run()


class _Lexer:
    def __init__(self, text: str, first_line: int) -> None:
        self.text, self.at, self.line = text, 0, first_line
        self.tokens: list[Token] = []
        self.waiting: list[tuple[int, str, bool, bool]] = []  # heredocs whose text comes next
        self.arrays = 0

    def run(self) -> list[Token]:
        text, size = self.text, len(self.text)
        while self.at < size:
            if blanks := _BLANKS.match(text, self.at):
                self._advance(blanks.end())
                continue
            char = text[self.at]
            if char == "\n":
                self.tokens.append(Token("newline", "\n", self.line))
                self._advance(self.at + 1)
                self._read_heredocs()
            elif char == "#":
                end = text.find("\n", self.at)
                self.at = size if end < 0 else end
            elif self._operator():
                continue
            else:
                self._word()
        return self.tokens

    def _advance(self, end: int) -> None:
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def _operator(self) -> bool:
        text = self.text
        found = _REDIRECT.match(text, self.at)
        if found and text[found.end() : found.end() + 1] != "(":
            self._redirect(found)
            return True
        if found is None and (found := _OPERATOR.match(text, self.at)):
            operator = found.group()
            if self.arrays and operator == "(":
                self.arrays += 1
            elif self.arrays and operator == ")":
                self.arrays -= 1
                operator = "array)" if self.arrays == 0 else operator
            self.tokens.append(Token("operator", operator, self.line))
            self._advance(found.end())
            return True
        return False

    def _redirect(self, found: re.Match[str]) -> None:
        operator, line = found.group().lstrip("0123456789"), self.line
        self._advance(found.end())
        if blanks := _BLANKS.match(self.text, self.at):
            self._advance(blanks.end())
        word = self._parts()
        index = len(self.tokens)
        self.tokens.append(Token("redirect", operator, line, word))
        if operator in {"<<", "<<-"}:
            ending = "".join(part.text for part in word.parts)
            quoted = any(part.quoted for part in word.parts)
            self.waiting.append((index, ending, quoted, operator == "<<-"))

    def _read_heredocs(self) -> None:
        for index, ending, verbatim, tabs in self.waiting:
            start, lines = self.line, []
            while self.at < len(self.text):
                end = self.text.find("\n", self.at)
                end = len(self.text) if end < 0 else end
                line = self.text[self.at : end]
                self._advance(min(end + 1, len(self.text)))
                if (line.lstrip("\t") if tabs else line).rstrip("\r") == ending:
                    break
                lines.append(line)
            heredoc = Heredoc("\n".join(lines), verbatim, start)
            self.tokens[index] = self.tokens[index]._replace(heredoc=heredoc)
        self.waiting.clear()

    def _word(self) -> None:
        start, line = self.at, self.line
        word = self._parts()
        if self.at == start:  # a character that starts nothing
            word = Word((Part("literal", self.text[start], quoted=False),), line)
            self._advance(start + 1)
        written = self.text[start : self.at]
        if self.text[self.at : self.at + 1] == "(" and _ARRAY.match(written) and not self.arrays:
            self.tokens.append(Token("array", written, line))
            self.at, self.arrays = self.at + 1, 1
        else:
            self.tokens.append(Token("word", written, line, word))

    def _parts(self) -> Word:
        parts: list[Part] = []
        line = self.line
        while self.at < len(self.text):
            char = self.text[self.at]
            if plain := _PLAIN.match(self.text, self.at):
                parts.append(Part("literal", plain.group(), quoted=False))
                self.at = plain.end()
            elif char == "#" and parts:
                parts.append(Part("literal", "#", quoted=False))
                self.at += 1
            elif char in "'\"$`\\" or self.text[self.at : self.at + 2] in {"<(", ">("}:
                self._quoting(char, parts)
            else:
                break
        return Word(tuple(parts), line)

    def _quoting(self, char: str, parts: list[Part]) -> None:
        text = self.text
        if char == "'":
            end = self._find("'", self.at + 1)
            parts.append(Part("literal", text[self.at + 1 : end], quoted=True))
            self._advance(min(end + 1, len(text)))
        elif char == '"':
            self._advance(self.at + 1)
            self._double(parts)
        elif char == "\\":
            if text[self.at + 1 : self.at + 2] != "\n":
                parts.append(Part("literal", text[self.at + 1 : self.at + 2], quoted=True))
            self._advance(min(self.at + 2, len(text)))
        elif text.startswith("$'", self.at):
            end = self._find("'", self.at + 2)
            parts.append(Part("literal", text[self.at + 2 : end], quoted=True))
            self._advance(min(end + 1, len(text)))
        elif text.startswith('$"', self.at):
            self._advance(self.at + 2)
            self._double(parts)
        else:
            parts.append(self._hole(quoted=False))

    def _double(self, parts: list[Part]) -> None:
        text, chunk = self.text, []
        while self.at < len(text) and text[self.at] != '"':
            char = text[self.at]
            if char == "\\" and text[self.at + 1 : self.at + 2] in {"\\", '"', "$", "`", "\n"}:
                chunk.append("" if text[self.at + 1] == "\n" else text[self.at + 1])
                self._advance(self.at + 2)
            elif char in "$`":
                parts.append(Part("literal", "".join(chunk), quoted=True))
                chunk = []
                parts.append(self._hole(quoted=True))
            else:
                chunk.append(char)
                self._advance(self.at + 1)
        parts.append(Part("literal", "".join(chunk), quoted=True))
        self._advance(min(self.at + 1, len(text)))

    def _hole(self, *, quoted: bool) -> Part:
        text, at = self.text, self.at
        if text[at] == "`":
            end = self._find("`", at + 1)
            self._advance(min(end + 1, len(text)))
            return Part("command", text[at + 1 : end], quoted)
        if text[at] in "<>":
            return Part("command", self._inside(at + 1, "("), quoted)
        if text.startswith("$((", at):
            inner = self._inside(at + 1, "(")
            if inner.endswith(")"):
                return Part("arithmetic", inner[1:-1], quoted)
            return Part("command", inner, quoted)
        if text.startswith("$(", at):
            return Part("command", self._inside(at + 1, "("), quoted)
        if text.startswith("${", at):
            return Part("variable", self._inside(at + 1, "{"), quoted)
        name = _NAME.match(text, at + 1)
        self._advance(name.end() if name else at + 1)
        if name is None:
            return Part("literal", "$", quoted)
        return Part("variable", name.group(), quoted)

    def _inside(self, start: int, opening: str) -> str:
        """Return what the bracket at `start` encloses, and move behind it."""
        text, closing, depth, at = self.text, _PAIRS[opening], 0, start
        quote = ""
        while at < len(text):
            char = text[at]
            if char == "\\" and quote != "'":
                at += 1
            elif quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
            elif char == opening:
                depth += 1
            elif char == closing:
                depth -= 1
                if depth == 0:
                    break
            at += 1
        at = min(at, len(text))
        self._advance(min(at + 1, len(text)))
        return text[start + 1 : at]

    def _find(self, ending: str, start: int) -> int:
        end = self.text.find(ending, start)
        return len(self.text) if end < 0 else end
