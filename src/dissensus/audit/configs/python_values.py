"""What is known about the values of a Python script while it is followed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dissensus.audit.configs.scalars import unique

__all__ = ["Known", "Object", "Unknown", "Value", "join_values", "missing_of", "plain"]

_MAX_ITEMS = 5_000


@dataclass(frozen=True)
class Known:
    """A constant, or a list, tuple or dict whose items are values themselves.

    `size` counts the constants inside, those that are shared each time.
    """

    value: Any
    line: int = 0
    size: int = field(init=False, compare=False, default=1)

    def __post_init__(self) -> None:
        if isinstance(self.value, list | tuple):
            object.__setattr__(self, "size", _size(self.value))
        elif isinstance(self.value, dict):
            object.__setattr__(self, "size", _size(self.value.values()))


@dataclass(frozen=True)
class Unknown:
    """A value decided by something that is not in the script."""

    missing: tuple[str, ...]
    line: int = 0


@dataclass(frozen=True)
class Object:
    """An instance of a class, as far as its fields are given.

    Args:
        cls: Name of the class, dotted as imported.
        fields: Values by field.
        open: Names that may set any other field (`**kwargs`, the command line of a parser).
        line: Line of the call.
    """

    cls: str
    fields: Mapping[str, Value] = field(default_factory=dict)
    open: tuple[str, ...] = ()
    line: int = 0
    size: int = field(init=False, compare=False, default=1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _size(self.fields.values()))

    def put(self, name: str, value: Value) -> Object:
        """Return the object with one field changed."""
        if len(self.fields) > _MAX_ITEMS:
            return self
        return replace(self, fields={**self.fields, name: value})


Value = Known | Unknown | Object


def _size(items: Iterable[Any]) -> int:
    return 1 + sum(getattr(item, "size", 1) for item in items)


def missing_of(value: Value) -> tuple[str, ...]:
    """Return the names that keep a value from being plain."""
    if isinstance(value, Unknown):
        return value.missing
    if isinstance(value, Object):
        return (f"{value.cls}(…)",)
    items: Iterable[Value] = ()
    if isinstance(value.value, list | tuple):
        items = value.value
    elif isinstance(value.value, dict):
        items = value.value.values()
    return unique(*(missing_of(item) for item in list(items)[:_MAX_ITEMS]))


def plain(value: Value, depth: int = 0) -> Any:
    """Return the Python value of a known value; what is unknown inside becomes None."""
    if not isinstance(value, Known) or depth > 20:
        return None
    if isinstance(value.value, list | tuple):
        return [plain(item, depth + 1) for item in value.value]
    if isinstance(value.value, dict):
        return {key: plain(item, depth + 1) for key, item in value.value.items()}
    return value.value


def join_values(values: list[Value | None], name: str, names: tuple[str, ...]) -> Value:
    """Return what several possible values agree on; the rest is unknown, decided by `names`."""
    first = values[0]
    if first is not None and all(value == first for value in values):
        return first
    objects = [value for value in values if isinstance(value, Object)]
    if len(objects) == len(values) and len({item.cls for item in objects}) == 1:
        return _join_objects(objects, names)
    if (
        first is not None
        and isinstance(first, Known)
        and all(isinstance(value, Known) and _same(value, first) for value in values)
    ):
        return first
    dicts = [value.value for value in values if isinstance(value, Known)]
    if len(dicts) == len(values) and all(isinstance(item, dict) for item in dicts):
        return _join_dicts(dicts, names)
    line = max((value.line for value in values if value is not None), default=0)
    return Unknown(unique((name,), names), line)


def _join_dicts(dicts: list[dict[str, Value]], names: tuple[str, ...]) -> Known:
    keys = dict.fromkeys(key for item in dicts for key in item)
    return Known({key: join_values([item.get(key) for item in dicts], key, names) for key in keys})


def _same(left: Value, right: Value) -> bool:
    return not missing_of(left) and not missing_of(right) and plain(left) == plain(right)


def _join_objects(objects: list[Object], names: tuple[str, ...]) -> Object:
    keys = dict.fromkeys(key for item in objects for key in item.fields)
    fields = {
        key: join_values([item.fields.get(key) for item in objects], key, names) for key in keys
    }
    return replace(
        objects[-1],
        fields=fields,
        open=unique(*(item.open for item in objects)),
    )
