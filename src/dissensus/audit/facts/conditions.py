"""Conditions on settings in three values: true, false, or open until something missing is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from dissensus.errors import InputError

__all__ = ["Truth", "Value", "ValueSource", "check_condition", "evaluate", "normalise", "same"]


class Value(NamedTuple):
    """A setting as the conditions see it.

    Args:
        value: Normalised value; None when null or unknown.
        where: `file:line`, or "" for a default.
        given: Whether the configuration says it, so that it is not the framework's default.
        missing: What decides it and is not there; empty when known.
    """

    value: Any
    where: str = ""
    given: bool = False
    missing: tuple[str, ...] = ()


class Truth(NamedTuple):
    """Whether a condition holds. `missing` is not empty where that is open; `holds` is then False.

    Example:
        >>> Truth(False, ("ADV",)).is_open
        True
    """

    holds: bool
    missing: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it depends on something that is not there."""
        return bool(self.missing)


class ValueSource(Protocol):
    """Where the value of a key comes from."""

    def __call__(self, key: str) -> Value:
        """Return the setting, its default, or what is missing."""


def normalise(value: Any) -> Any:
    """Give one spelling to values that shells, YAML and Python write differently.

    Example:
        >>> normalise("True"), normalise("1e-6"), normalise("null"), normalise(" GRPO ")
        (True, 1e-06, None, 'GRPO')
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    lowered = text.lower()
    if lowered in ("true", "yes"):
        return True
    if lowered in ("false", "no"):
        return False
    if lowered in ("null", "~"):
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text) if any(c.isdigit() for c in text) else text
    except ValueError:
        return text


def same(left: Any, right: Any) -> bool:
    """Whether two values say the same: texts without case, and True is not 1.

    Example:
        >>> same("GRPO", "grpo"), same(True, "true"), same(1, True), same(0, "0.0")
        (True, True, False, True)
    """
    left, right = normalise(left), normalise(right)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, str) and isinstance(right, str):
        return left.casefold() == right.casefold()
    return bool(left == right)


def evaluate(when: Mapping[str, Any], look_up: ValueSource) -> Truth:
    """Whether all conditions hold. One that is false decides, whatever else is missing.

    Args:
        when: Key → a value, a list of allowed values, or a table of tests: `not`, `not_in`, `gt`,
            `ge`, `lt`, `le`, `contains`, `lacks`, `given`, `same_as`, `differs_from` (another
            key).
        look_up: Gives the value of a key.

    Example:
        >>> evaluate({"beta": {"gt": 0}}, lambda key: Value(0.04)).holds
        True
    """
    missing: dict[str, None] = {}
    for key, condition in when.items():
        truth = _one(key, condition, look_up)
        if truth.is_open:
            missing.update(dict.fromkeys(truth.missing))
        elif not truth.holds:
            return Truth(False)
    return Truth(not missing, tuple(missing))


def _one(key: str, condition: Any, look_up: ValueSource) -> Truth:
    found = look_up(key)
    if isinstance(condition, dict) and set(condition) == {"given"}:
        return Truth(found.given is condition["given"])
    if found.missing:
        return Truth(False, found.missing)
    if not isinstance(condition, dict):
        return Truth(_is_among(found.value, condition))
    missing: tuple[str, ...] = ()
    for name, argument in condition.items():
        operand = argument
        if name == "given":
            holds = found.given is argument
        else:
            if name in ("same_as", "differs_from"):
                other = look_up(argument)
                missing += other.missing
                operand = other.value
            holds = bool(missing) or _TESTS[name](found.value, operand)
        if not holds:
            return Truth(False)
    return Truth(not missing, missing)


def _is_among(value: Any, allowed: Any) -> bool:
    options = allowed if isinstance(allowed, list) else [allowed]
    return any(same(value, option) for option in options)


def _number(test: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    def compare(value: Any, bound: Any) -> bool:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and test(float(value), float(bound))

    return compare


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "not": lambda value, other: not same(value, other),
    "not_in": lambda value, options: not _is_among(value, options),
    "gt": _number(lambda value, bound: value > bound),
    "ge": _number(lambda value, bound: value >= bound),
    "lt": _number(lambda value, bound: value < bound),
    "le": _number(lambda value, bound: value <= bound),
    "contains": lambda value, text: text.casefold() in str(value or "").casefold(),
    "lacks": lambda value, text: text.casefold() not in str(value or "").casefold(),
    "same_as": same,
    "differs_from": lambda value, other: not same(value, other),
}


def check_condition(when: Mapping[str, Any], where: str) -> None:
    """Refuse a test that does not exist, when the facts are loaded.

    Raises:
        InputError: Unknown test.
    """
    for key, condition in when.items():
        unknown = set(condition) - {*_TESTS, "given"} if isinstance(condition, dict) else set()
        if unknown:
            raise InputError(f"no such test on {key!r}", where=where, got=sorted(unknown))
