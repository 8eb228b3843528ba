"""Tell flags, dotted overrides and positions of a command line apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dissensus.audit.configs.scalars import parse_scalar, unique
from dissensus.audit.configs.shell_values import HOLE, Field

__all__ = ["Argument", "Arguments", "read_arguments"]

_FLAG = re.compile(r"--?[A-Za-z_]")
_OVERRIDE = re.compile(r"(?P<plus>\+{0,2})(?P<key>[A-Za-z_][\w/-]*(?:[.@:][\w/-]+)*)=")
_DELETE = re.compile(r"~(?P<key>[A-Za-z_][\w.]*)")
_ENDS = {"&&", "||", ";", "|", "&"}


@dataclass(frozen=True)
class Argument:
    """The value of a flag or an override; `missing` names what decides it."""

    value: Any
    line: int
    missing: tuple[str, ...] = ()


@dataclass
class Arguments:
    """A command line taken apart.

    Args:
        flags: `--flag` by name with `_` for `-`; True without a value, a list with several.
        overrides: `dotted.key=value` by key.
        words: Arguments at their position.
        launch: Where arguments can be added when the script is launched.
        missing: Names of variables that may hold whole arguments.
    """

    flags: dict[str, Argument] = field(default_factory=dict)
    overrides: dict[str, Argument] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    launch: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    def flag(self, *names: str) -> str | None:
        """Return the text of the first of `names` that is given and known."""
        for name in names:
            found = self.flags.get(name)
            if found is not None and not found.missing and isinstance(found.value, str):
                return found.value
        return None


def read_arguments(fields: Sequence[Field], *, dotted: bool) -> Arguments:
    """Take the arguments after the entry point apart.

    Args:
        fields: The arguments.
        dotted: The program takes `key=value` overrides, so such a word is never a flag's value.
    """
    found = Arguments()
    at = 0
    while at < len(fields):
        item = fields[at]
        at += 1
        if item.text in _ENDS:
            break
        if item.is_hole:
            _note(found, item)
        elif _FLAG.match(item.text):
            at = _take_flag(found, fields, at, dotted=dotted)
        elif override := _OVERRIDE.match(item.text):
            value = item.text[override.end() :]
            _put(found.overrides, override.group("key"), [item._replace(text=value)], item)
        elif delete := _DELETE.fullmatch(item.text):
            _put(found.overrides, delete.group("key"), [item._replace(text="null")], item)
        else:
            found.words.append(item.text)
    return found


def _note(found: Arguments, item: Field) -> None:
    """Remember a variable that may hold any argument; unset ones hold nothing as it stands."""
    if item.is_unset:
        found.launch = unique(found.launch, item.missing)
    else:
        found.missing = unique(found.missing, item.missing)


def _take_flag(found: Arguments, fields: Sequence[Field], at: int, *, dotted: bool) -> int:
    item = fields[at - 1]
    name, equals, value = item.text.partition("=")
    key = name.lstrip("-").replace("-", "_")
    if HOLE in key:
        _note(found, item._replace(is_unset=False))
        return at
    values = [item._replace(text=value)] if equals else []
    while not equals and at < len(fields) and _is_value(fields[at], values, dotted=dotted):
        values.append(fields[at])
        at += 1
    _put(found.flags, key, values, item)
    return at


def _is_value(item: Field, values: list[Field], *, dotted: bool) -> bool:
    if item.text in _ENDS or _FLAG.match(item.text):
        return False
    if item.is_hole and item.is_unset and values:
        return False  # one more optional argument, as in `--lr 1 $EXTRA`
    if item.is_hole and item.missing[:1] == ('"$@"',):
        return False
    return not dotted or not (values or _OVERRIDE.match(item.text))


def _put(into: dict[str, Argument], key: str, values: list[Field], item: Field) -> None:
    missing = unique(*(value.missing for value in values))
    known = [parse_scalar(value.text) for value in values]
    result = True if not known else known[0] if len(known) == 1 else known
    maybe = unique(item.maybe, *(value.maybe for value in values))
    before = into.get(key)
    if maybe and not missing and before is not None and before.value == result:
        return
    missing = unique(missing, maybe)
    into.pop(key, None)
    into[key] = Argument(None if missing else result, item.line, missing)
