"""Expand the words of a shell script as far as the script itself decides them."""

from __future__ import annotations

import fnmatch
import os
import re
from pathlib import Path

from dissensus.audit.configs.arithmetic import calculate
from dissensus.audit.configs.scalars import unique
from dissensus.audit.configs.shell_lexer import Token, tokenize
from dissensus.audit.configs.shell_syntax import Part, Word
from dissensus.audit.configs.shell_values import HOLE, Field, Scalar, Scope, Variable

__all__ = ["SCRIPT_ARGUMENTS", "expand_text", "expand_word", "expand_words"]

SCRIPT_ARGUMENTS = '"$@"'
"""Name of the arguments that the script itself is given."""

_PARAMETER = re.compile(r"(!|#)?([A-Za-z_]\w*|[0-9]+|[@*?$!#-])(\[[^\]]*\])?(.*)\Z", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*")
_CD_PWD = re.compile(
    r"\s*cd\s+(?:--\s+)?(.+?)\s*(?:(?:&>|\d?>)\s*\S+\s*)*&&\s*pwd(?:\s+-P)?\s*", re.DOTALL
)
_MAX_DEPTH = 12


def expand_words(words: tuple[Word, ...], scope: Scope) -> list[Field]:
    """Return the arguments that `words` become."""
    return [item for word in words for item in expand_word(word, scope)]


def expand_word(word: Word, scope: Scope) -> list[Field]:
    """Return the arguments that one word becomes: none, one, or several."""
    scope.spend(1 + len(word.parts))
    done: list[Field] = []
    open_field: Field | None = None
    for part in word.parts:
        pieces = _expand_part(part, scope, word.line)
        if part.quoted and not pieces and part.kind == "literal":
            pieces = [Field("", word.line)]
        for index, (piece, joins) in enumerate(zip(pieces, _joins(part, pieces), strict=True)):
            if open_field is not None and index == 0 and joins:
                open_field = _append(open_field, piece)
            else:
                if open_field is not None:
                    done.append(open_field)
                open_field = piece
    if open_field is not None:
        done.append(open_field)
    return done


def expand_text(word: Word, scope: Scope, depth: int = 0) -> Scalar:
    """Return a word as one text, without cutting it at blanks."""
    scope.spend(1 + len(word.parts))
    result = Scalar("", is_unset=True)
    for part in word.parts:
        result = _add(result, _part_text(part, scope, depth))
    single = len(word.parts) == 1 and result.missing
    options = _part_text(word.parts[0], scope, depth).options if single else ()
    return result._replace(is_unset=bool(result.missing) and result.is_unset, options=options)


def _add(left: Scalar, right: Scalar) -> Scalar:
    is_unset = left.is_unset and (right.is_unset or not right.missing)
    if len(left.text) + len(right.text) > 200_000:
        return Scalar(HOLE, unique(left.missing, right.missing, ("a text that keeps growing",)))
    return Scalar(left.text + right.text, unique(left.missing, right.missing), is_unset)


def _append(left: Field, right: Field) -> Field:
    is_unset = (left.is_unset or not left.missing) and (right.is_unset or not right.missing)
    missing = unique(left.missing, right.missing)
    text = (left.text + right.text)[:200_000]
    maybe = unique(left.maybe, right.maybe)
    return Field(text, left.line, missing, bool(missing) and is_unset, maybe)


def _joins(part: Part, pieces: list[Field]) -> list[bool]:
    """Say for each piece whether it continues the word before it."""
    starts_blank = not part.quoted and part.kind != "literal" and bool(pieces)
    return [not (starts_blank and pieces[0].text[:1].isspace()) for _ in pieces]


def _expand_part(part: Part, scope: Scope, line: int) -> list[Field]:
    if part.kind == "literal":
        text = part.text
        if not part.quoted and text.startswith("~"):
            text = "$HOME" + text[1:]
        return [Field(text, line)] if text or part.quoted else []
    if part.kind == "variable":
        array = _array_fields(part.text, scope)
        if array is not None:
            scope.spend(len(array))
            return [item._replace(line=item.line or line) for item in array]
    value = _part_text(part, scope, 0)
    if part.quoted:
        return [Field(value.text, line, value.missing, value.is_unset)]
    return _split(value, line)


def _split(value: Scalar, line: int) -> list[Field]:
    """Cut an unquoted value at blanks; an unknown one with options gives what may be there."""
    if value.text == HOLE and value.options:
        choices = [word for option in value.options for word in option.split()]
        return [Field(word, line, maybe=value.missing) for word in choices] or []
    words = value.text.split()
    return [
        Field(word, line, value.missing, value.is_unset) if HOLE in word else Field(word, line)
        for word in words
    ]


def _array_fields(expression: str, scope: Scope) -> tuple[Field, ...] | None:
    """Return the elements of `@`, `*` or `NAME[@]`, or None when it is a plain value."""
    found = _PARAMETER.match(expression)
    if found is None or found.group(1):
        return None
    name, index, rest = found.group(2), found.group(3), found.group(4)
    if name in {"@", "*"}:
        if scope.arguments is None:
            return (Field(HOLE, 0, (SCRIPT_ARGUMENTS,), is_unset=True),)
        return _changed_fields(name, (Field(str(scope.script), 0), *scope.arguments), rest, scope)
    if index not in {"[@]", "[*]"}:
        return None
    value = scope.variables.get(name)
    if value is None and scope.absent:
        return (Field(HOLE, 0, scope.absent),)
    if value is None or value == ():
        if rest.startswith((":-", "-")):
            return tuple(_split(_nested(rest.lstrip(":")[1:], scope, 1), 0))
        if rest.startswith((":+", "+")) or value is not None:
            return ()
        return (Field(HOLE, 0, (name,), is_unset=True),)
    fields = _as_fields(value)
    if rest.startswith((":+", "+")):
        return _alternative(name, fields, rest.lstrip(":")[1:], scope)
    return fields if rest.startswith((":-", "-")) else _changed_fields("", fields, rest, scope)


def _alternative(
    name: str, fields: tuple[Field, ...], other: str, scope: Scope
) -> tuple[Field, ...]:
    """Return what `${NAME[@]:+other}` gives in place of an array with content."""
    if f"{name}[" in other:  # the guarded form "${NAME[@]+"${NAME[@]}"}"
        return fields
    maybe = () if any(not item.maybe for item in fields) else fields[0].maybe
    words = _split(_nested(other, scope, 1), 0)
    return tuple(item._replace(maybe=unique(item.maybe, maybe)) for item in words)


def _changed_fields(
    name: str, fields: tuple[Field, ...], rest: str, scope: Scope
) -> tuple[Field, ...]:
    """Return a part of an array, `:start:length`, or its elements each changed.

    The arguments of a script are counted from 1, so that a slice of them sees the script before.
    """
    cut = re.fullmatch(r":\s*(-?\d+)(?::(\d+))?", rest)
    if cut and not any(item.maybe for item in fields):
        start = int(cut[1]) if cut[1][0] != "-" else max(len(fields) + int(cut[1]), 0)
        return fields[start : start + int(cut[2])] if cut[2] else fields[start:]
    if name:
        fields = fields[1:]
    if not rest:
        return fields
    if rest[0] == ":":
        missing = unique(*(item.missing + item.maybe for item in fields), (f"${{…{rest[:20]}}}",))
        return (Field(HOLE, 0, missing),)
    changed: list[Field] = []
    for item in fields:
        text = Scalar(HOLE, item.missing)
        if not item.missing:
            text = _edited(name or "an array", item.text, rest, scope, 1)
        changed.append(Field(text.text, item.line, text.missing, item.is_unset, item.maybe))
    return tuple(changed)


def _as_fields(value: Variable) -> tuple[Field, ...]:
    if isinstance(value, Scalar):
        return (Field(value.text, 0, value.missing, value.is_unset),)
    return value


def _part_text(part: Part, scope: Scope, depth: int) -> Scalar:
    if part.kind == "literal":
        return Scalar(part.text)
    if depth > _MAX_DEPTH:
        return Scalar(HOLE, ("a deeply nested expression",))
    if part.kind == "variable":
        return _parameter(part.text, scope, depth)
    if part.kind == "arithmetic":
        return _arithmetic(part.text, scope, depth)
    return _command_output(part.text, scope, depth)


def _lookup(name: str, scope: Scope) -> Scalar | None:
    """Return the value of a variable, or None when nothing in the script sets it."""
    if not name.isidentifier() or name in {"BASH_SOURCE", "PWD"}:
        special = _special(name, scope)
        if special is not None or not name.isidentifier():
            return special
    value = scope.variables.get(name)
    if value is None:
        return Scalar(HOLE, scope.absent) if scope.absent else None
    return value if isinstance(value, Scalar) else _joined(value[:1])


def _special(name: str, scope: Scope) -> Scalar | None:
    """Return the script's arguments, its path, and where it is launched."""
    if name in {"@", "*"}:
        if scope.arguments is None:
            return None
        return _joined(scope.arguments)
    if name == "#":
        if scope.arguments is None:
            return Scalar("0")  # the script as it stands, launched without arguments
        return Scalar(str(len(scope.arguments)))
    if name in {"0", "BASH_SOURCE"}:
        return Scalar(str(scope.script if name == "0" else scope.source or scope.script))
    if name.isdigit() and scope.arguments is not None:
        index = int(name) - 1
        if index < len(scope.arguments):
            item = scope.arguments[index]
            return Scalar(item.text, item.missing, item.is_unset)
        return Scalar("")
    if name == "PWD" and name not in scope.variables:
        return Scalar(".")
    return None


def _joined(fields: tuple[Field, ...]) -> Scalar:
    missing = unique(*(item.missing + item.maybe for item in fields))
    return Scalar(" ".join(item.text for item in fields), missing)


def _unknown(name: str) -> Scalar:
    return Scalar(HOLE, (f"${name}" if name.isdigit() else name,), is_unset=True)


def _parameter(expression: str, scope: Scope, depth: int) -> Scalar:
    """Return `${expression}`: the value of a variable, or what stands in for it."""
    found = _PARAMETER.match(expression)
    if found is None:
        return Scalar(HOLE, (expression[:40],))
    prefix, name, index, rest = found.groups()
    value = _indexed(name, index, scope) if index else _lookup(name, scope)
    if prefix == "#":
        return _length(name, index, value, scope)
    if prefix == "!":
        if value is None or value.missing or not _NAME.fullmatch(value.text):
            return _unknown(name)
        name = value.text
        value = _lookup(name, scope)
    if not rest:
        if value is None and name == "@":
            return Scalar(HOLE, (SCRIPT_ARGUMENTS,), is_unset=True)
        return _unknown(name) if value is None else value
    return _operated(name, value, rest, scope, depth)


def _indexed(name: str, index: str, scope: Scope) -> Scalar | None:
    value = scope.variables.get(name)
    if name == "BASH_SOURCE":
        return Scalar(str(scope.source or scope.script)) if index == "[0]" else None
    if index in {"[@]", "[*]"}:
        return None if value is None else _joined(_as_fields(value))
    key = _nested(index[1:-1], scope, 1)
    if value is None:
        stored = scope.variables.get(f"{name}[{key.text}]")
        return stored if isinstance(stored, Scalar) and not key.missing else None
    if isinstance(value, Scalar):
        return value if index == "[0]" else Scalar(HOLE, (name + index,))
    number = _arithmetic(index[1:-1], scope, 1)
    if number.missing or not _is_int(number.text) or any(item.maybe for item in value):
        return Scalar(HOLE, (name + index,))
    position = int(number.text)
    return _joined(value[position : position + 1] if position >= 0 else value[position:][:1])


def _is_int(text: str) -> bool:
    return len(text) < 10 and text.removeprefix("-").isdigit()


def _length(name: str, index: str | None, value: Scalar | None, scope: Scope) -> Scalar:
    stored = scope.variables.get(name)
    if index in {"[@]", "[*]"} and isinstance(stored, tuple) and not isinstance(stored, Scalar):
        if any(item.maybe for item in stored):
            return Scalar(HOLE, (name,))
        return Scalar(str(len(stored)))
    if value is None or value.missing:
        return Scalar(HOLE, (name,))
    return Scalar(str(len(value.text)))


def _nested(text: str, scope: Scope, depth: int) -> Scalar:
    """Expand the text inside an operator, as in `${X:-${Y}/z}`."""
    if depth > _MAX_DEPTH:
        return Scalar(HOLE, ("a deeply nested expression",))
    scope.spend(1 + len(text) // 16)
    result = Scalar("")
    for token in tokenize('"' + text.replace('"', "") + '"'):
        if token.word is not None:
            result = _add(result, expand_text(token.word, scope, depth + 1))
    return result


def _operated(name: str, value: Scalar | None, rest: str, scope: Scope, depth: int) -> Scalar:
    operator = rest[:2] if rest[0] == ":" and rest[1:2] in {"-", "=", "+", "?"} else rest[0]
    argument = rest[len(operator) :]
    is_empty = value is None or (operator[0] == ":" and value.text == "")
    kind = operator[-1]
    if operator in {":-", "-", ":=", "="}:
        if not is_empty and value is not None:
            return value
        result = _nested(argument, scope, depth + 1)
        if kind == "=" and _NAME.fullmatch(name):
            scope.put(name, result)
        return result
    if operator in {":+", "+"}:
        if is_empty:
            return Scalar("")
        other = _nested(argument, scope, depth + 1)
        is_open = operator == ":+" and value is not None and value.missing
        if not (is_open and value) or value.text.replace(HOLE, ""):
            return other
        options = () if other.missing else (other.text,)
        return Scalar(HOLE, unique(value.missing, other.missing), options=options)
    if value is None:
        return _unknown(name)
    if operator in {":?", "?"}:
        return value
    if value.missing:
        return Scalar(HOLE, value.missing)
    return _edited(name, value.text, rest, scope, depth)


def _edited(name: str, text: str, rest: str, scope: Scope, depth: int) -> Scalar:
    """Apply `%`, `#`, `/`, `^`, `,` and `:` to a known text."""
    if rest in {"^^", "^", ",,", ","}:
        changed = text.upper() if rest[0] == "^" else text.lower()
        return Scalar(changed if len(rest) == 2 else changed[:1] + text[1:])
    cut = re.fullmatch(r":\s*(\d+)(?::(\d+))?", rest)
    if cut:
        start = int(cut.group(1))
        return Scalar(text[start : start + int(cut.group(2))] if cut.group(2) else text[start:])
    if rest[0] == "/":
        return _replaced(name, text, rest[1:], scope, depth)
    if rest[0] in "%#":
        pattern_text = _nested(rest.lstrip(rest[0]), scope, depth + 1)
        if pattern_text.missing or len(text) > 2_000:
            return Scalar(HOLE, pattern_text.missing or (name,))
        longest = rest[:2] in {"%%", "##"}
        return Scalar(_strip(text, pattern_text.text, ending=rest[0] == "%", longest=longest))
    return Scalar(HOLE, (name,))


def _replaced(name: str, text: str, rest: str, scope: Scope, depth: int) -> Scalar:
    """Return `${NAME/old/new}`; `//` replaces all, `/#` at the start and `/%` at the end only."""
    kind = rest[:1] if rest[:1] in {"/", "#", "%"} else ""
    found = re.match(r"((?:\\.|[^/\\])*)/?(.*)", rest[len(kind) :], re.DOTALL)
    pattern, new = (found[1].replace("\\/", "/"), found[2]) if found else ("", "")
    old, put = _nested(pattern, scope, depth + 1), _nested(new, scope, depth + 1)
    if old.missing or put.missing or any(char in old.text for char in "*?[\\") or not old.text:
        return Scalar(HOLE, unique(old.missing, put.missing) or (name,))
    if kind == "#":
        changed = put.text + text[len(old.text) :] if text.startswith(old.text) else text
    elif kind == "%":
        changed = text.removesuffix(old.text) + put.text if text.endswith(old.text) else text
    else:
        changed = text.replace(old.text, put.text, -1 if kind == "/" else 1)
    return Scalar(changed[:60_000])


def _strip(text: str, pattern: str, *, ending: bool, longest: bool) -> str:
    cuts = range(len(text) + 1)
    ordered = cuts if ending == longest else reversed(cuts)
    if len(pattern) > 200 or pattern.count("*") > 4:
        return text
    matches = re.compile(fnmatch.translate(pattern)).match
    for cut in ordered:
        if ending and matches(text[cut:]):
            return text[:cut]
        if not ending and matches(text[:cut]):
            return text[cut:]
    return text


def _arithmetic(text: str, scope: Scope, depth: int) -> Scalar:
    expanded = _nested(text, scope, depth + 1)
    missing: list[str] = list(expanded.missing)

    def number(found: re.Match[str]) -> str:
        value = _lookup(found.group(), scope)
        if value is None or value.missing:
            missing.extend(value.missing if value is not None else (found.group(),))
            return "0"
        return value.text or "0"

    result = calculate(_NAME.sub(number, expanded.text.replace(HOLE, "0")))
    if missing or result is None:
        return Scalar(HOLE, tuple(dict.fromkeys(missing)) or (f"$(({text.strip()[:40]}))",))
    return Scalar(str(result))


def _command_output(text: str, scope: Scope, depth: int) -> Scalar:
    """Return the output of the few commands that only rearrange paths and texts."""
    unknown = Scalar(HOLE, (f"$({' '.join(text.split())[:60]})",))
    if len(text) > 2_000 or depth > _MAX_DEPTH:
        return unknown
    if entered := _CD_PWD.fullmatch(text):
        folder = _nested(entered[1], scope, depth + 1)
        if not folder.missing and folder.text.startswith("/"):
            return Scalar(os.path.normpath(folder.text))
    if re.search(r"BASH_SOURCE|\$0|\$\{0\}", text) and "dirname" in text and "pwd" in text:
        up = re.search(r"dirname[^)]*\)(?:\"?)((?:/\.\.)+)", text)
        script = scope.script if "BASH_SOURCE" not in text else scope.source or scope.script
        return Scalar(str(_climb(script.parent, up.group(1) if up else "")))
    tokens = [token for token in tokenize(text) if token.kind != "newline"]
    piped = [index for index, token in enumerate(tokens) if token.text == "|"]
    if len(piped) == 1:
        text_in = _command_output(_written(tokens[: piped[0]], text), scope, depth + 1)
        return _sed(text_in, tokens[piped[0] + 1 :], scope, depth) or unknown
    words = [token.word for token in tokens if token.kind == "word" and token.word]
    if len(words) != len(tokens):
        return unknown
    values = [expand_text(word, scope, depth + 1) for word in words]
    if not values or any(value.missing for value in values):
        return unknown
    return _known_command([value.text for value in values]) or unknown


def _written(tokens: list[Token], text: str) -> str:
    return " ".join(token.text for token in tokens) if tokens else text[:0]


def _sed(value: Scalar, tokens: list[Token], scope: Scope, depth: int) -> Scalar | None:
    """Apply `sed 's/old/new/'` when both are plain text."""
    words = [expand_text(token.word, scope, depth + 1) for token in tokens if token.word]
    texts = [word.text for word in words if not word.missing]
    if value.missing or len(texts) != len(words) or texts[:1] != ["sed"]:
        return None
    script = texts[-1]
    parts = script[2:].split(script[1]) if script[:1] == "s" and len(script) > 3 else []
    if len(parts) != 3 or parts[2] not in {"", "g"} or re.search(r"[\\^$*\[\]&]", script):
        return None
    return Scalar(value.text.replace(parts[0], parts[1], -1 if parts[2] else 1)[:60_000])


def _climb(folder: Path, ups: str) -> Path:
    for _ in range(ups.count("..")):
        folder = folder.parent
    return folder


def _known_command(words: list[str]) -> Scalar | None:
    match [word for word in words if word != "--"]:
        case ["dirname", path]:
            return Scalar(str(Path(path).parent))
        case ["basename", path]:
            return Scalar(Path(path).name)
        case ["basename", path, ending]:
            return Scalar(Path(path).name.removesuffix(ending))
        case ["realpath" | "readlink", *_, path] if ".." in path:
            folder, _, ups = path.partition("/..")
            return Scalar(str(_climb(Path(folder), ".." + ups)))
        case ["echo", *rest]:
            return Scalar(" ".join(rest))
        case ["pwd"]:
            return Scalar(".")
        case _:
            return None
