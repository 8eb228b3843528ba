"""What each framework does, as data: one versioned TOML file per framework in this folder.

A file has a head (`name`, `title`, `distribution`, `version`, `repository`, `extends`) and rows,
each with the versions it is true for (`since` ≤ version < `until`), its `source` (file and symbol)
and its `status`: `run` (the real code was executed) or `read`:

- `[[default]]` `values`: what a key is when nothing sets it; `when` may narrow it.
- `[[alias]]` `key`, `of`: another spelling of a key.
- `[[fact]]` `when` → `set`: fields of the answer. Later rows win. `"$key"` takes a key's value,
  `"?key"` leaves the field unknown unless a later row knows the value of that key.
- `[[metric]]` `name`, `meaning`: what a logged number really is.
- `[[trap]]` `when` → `code`, `key`, `evidence`, `fix`, `consequence`: a finding. `fix` may be a
  table by framework.

A condition on `@entry` (its last part), `@module`, `@target`, `@version` or `@framework` looks at
what is launched, on `@field` at a resolved field, on `@has:section` at whether a section is there,
on `@any:ending` at the first key that ends so. Of a list of sections, `@share:list:key` says
whether `all`, `some` or `none` set a key, and `@items:list:key` is what they set it to. Texts name
them the same way: `{key}`, `{@field}`, `{= number}`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from dissensus.audit.facts.conditions import check_condition
from dissensus.audit.findings import Severity, entry
from dissensus.errors import InputError

__all__ = ["FIELDS", "FrameworkFacts", "Row", "load_facts", "names", "version_key"]

FIELDS = (
    "estimator",
    "numerator",
    "denominator",
    "ddof",
    "eps",
    "silent",
    "silent_cost",
    "refill",
    "loss_aggregation",
    "sampling",
    "group_size",
    "kl_coefficient",
    "whitening",
    "silence_test",
)
"""What `set` of a fact may hold."""

_HEAD = {"name", "title", "distribution", "version", "repository", "extends", "parent_version"}
_KINDS = ("default", "alias", "fact", "metric", "trap")
_REQUIRED = {
    "default": {"values"},
    "alias": {"key", "of"},
    "fact": {"set"},
    "metric": {"name", "meaning"},
    "trap": {"code", "evidence", "fix"},
}
_OPTIONAL = {
    "default": {"when"},
    "alias": set[str](),
    "fact": {"when"},
    "metric": {"when"},
    "trap": {"when", "key", "consequence", "severity"},
}
_COMMON = {"since", "until", "source", "status"}
_STATUS = ("run", "read")


@dataclass(frozen=True)
class Row:
    """One row of a facts file.

    Args:
        kind: `default`, `alias`, `fact`, `metric` or `trap`.
        body: What it says, without the fields below.
        when: Its conditions.
        source: File and symbol it is known from.
        status: `run` or `read`.
        since: First version it holds for; "" for any.
        until: First version it no longer holds for; "" for none.
        is_common: Whether it is a cross-check that holds for every framework.
    """

    kind: str
    body: Mapping[str, Any]
    when: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    status: str = "read"
    since: str = ""
    until: str = ""
    is_common: bool = False

    def holds_in(self, version: str) -> bool:
        """Whether it is true for that version.

        Example:
            >>> Row("fact", {}, since="0.9", until="1.0").holds_in("0.10.2")
            True
        """
        key = version_key(version)
        return (not self.since or version_key(self.since) <= key) and (
            not self.until or key < version_key(self.until)
        )


@dataclass(frozen=True)
class FrameworkFacts:
    """The facts of one framework.

    Args:
        name: As in `Settings.framework`.
        title: As people write it.
        distribution: Name of the installed package; "" where none is published.
        version: Version (or date) that the facts were read from.
        repository: Where its source is.
        rows: In the order of the file, after those of the framework it extends.
        parent: Name of the framework whose rows it has, too.
        parent_version: Version of the parent that those rows are taken for.
    """

    name: str
    title: str
    distribution: str
    version: str
    repository: str
    rows: tuple[Row, ...]
    parent: str = ""
    parent_version: str = ""

    def rows_of(self, kind: str, version: str) -> Iterator[Row]:
        """Yield the rows of one kind that hold for a version, in order."""
        return (row for row in self.rows if row.kind == kind and row.holds_in(version))


def version_key(version: str) -> tuple[int, ...]:
    """Order of versions and dates: leading numbers, a pre-release as its release.

    Example:
        >>> version_key("1.10.0.dev0") > version_key("1.9"), version_key("2026-03-20")
        (True, (2026, 3, 20))
    """
    numbers = re.match(r"\D{0,2}(\d+(?:[.-]\d+)*)", version)
    return tuple(int(part) for part in re.findall(r"\d+", numbers[1])) if numbers else ()


def names() -> tuple[str, ...]:
    """Frameworks there are facts about.

    Example:
        >>> "verl" in names()
        True
    """
    found = (item.name for item in files("dissensus.audit.facts").iterdir())
    stems = (name.removesuffix(".toml") for name in found if name.endswith(".toml"))
    return tuple(sorted(stem for stem in stems if stem != "common"))


@cache
def load_facts(name: str) -> FrameworkFacts:
    """Return the facts of one framework, with the cross-checks that are common to all.

    Raises:
        InputError: There is no such file, or a row is malformed.

    Example:
        >>> load_facts("trl").title
        'TRL'
    """
    if name not in names():
        raise InputError("no facts about that framework", got=name, hint=", ".join(names()))
    head, rows = _read(name)
    parent = head.get("extends", "")
    if parent:
        parent_rows = [row for row in _read(parent)[1] if row.holds_in(head["parent_version"])]
        rows = [_always(row) for row in parent_rows] + rows
    rows = rows + _read("common")[1]
    return FrameworkFacts(
        name,
        head["title"],
        head.get("distribution", ""),
        str(head["version"]),
        head["repository"],
        tuple(rows),
        parent,
        head.get("parent_version", ""),
    )


def _always(row: Row) -> Row:
    """A parent's row, already chosen by the parent's version."""
    return Row(row.kind, row.body, row.when, row.source, row.status)


def _read(name: str) -> tuple[dict[str, Any], list[Row]]:
    where = f"facts/{name}.toml"
    text = files("dissensus.audit.facts").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    document = tomllib.loads(text)
    head = {key: value for key, value in document.items() if key not in _KINDS}
    if set(head) - _HEAD:
        raise InputError("unknown keys in the head", where=where, got=sorted(set(head) - _HEAD))
    rows = [
        _row(kind, values, f"{where}, {kind} {position + 1}", is_common=name == "common")
        for kind in _KINDS
        for position, values in enumerate(document.get(kind, []))
    ]
    return head, rows


def _check_fix(fix: Any, where: str) -> None:
    if isinstance(fix, dict) and "any" not in fix and set(names()) - set(fix):
        raise InputError(
            "a fix is missing for some frameworks", where=where, got=sorted(set(names()) - set(fix))
        )


def _row(kind: str, values: Mapping[str, Any], where: str, *, is_common: bool) -> Row:
    keys = set(values)
    lacking = _REQUIRED[kind] - keys
    unknown = keys - _REQUIRED[kind] - _OPTIONAL[kind] - _COMMON
    if lacking or unknown:
        raise InputError("a row is malformed", where=where, got=(sorted(lacking), sorted(unknown)))
    if kind != "alias" and ("source" not in values or values.get("status") not in _STATUS):
        raise InputError("a row needs its source and a status", where=where, hint="run or read")
    if kind == "fact" and set(values["set"]) - set(FIELDS):
        raise InputError("no such field", where=where, got=sorted(set(values["set"]) - set(FIELDS)))
    if kind == "trap":
        _check_fix(values["fix"], where)
        Severity(values.get("severity", entry(values["code"]).severity))
    check_condition(values.get("when", {}), where)
    body = {key: value for key, value in values.items() if key not in _COMMON | {"when"}}
    return Row(
        kind,
        body,
        values.get("when", {}),
        values.get("source", ""),
        values.get("status", "read"),
        str(values.get("since", "")),
        str(values.get("until", "")),
        is_common,
    )
