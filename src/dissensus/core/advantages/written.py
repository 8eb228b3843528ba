"""Estimators and weights as they are written: read from text, without running any of it.

grpo(ddof=1)
weighted(grpo(ddof=1), power(0.5))
schedule(grpo, weighted(dr_grpo, focal(2)), start=0, stop=200)
dr_grpo | clip(-1, 1)
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from dissensus.core.advantages.base import AdvantageEstimator
from dissensus.core.advantages.registry import chain, close_names, names, with_parameters
from dissensus.core.advantages.scheduling import schedule_estimators
from dissensus.core.advantages.transforms import Clip, Whiten
from dissensus.core.advantages.weights import WEIGHTS, Weight
from dissensus.core.advantages.weights import schedule as schedule_weights
from dissensus.errors import InputError

__all__ = ["read_estimator", "read_weight", "schedule", "weighted"]

_UNREADABLE = (
    AttributeError, TypeError, ValueError, SyntaxError, RecursionError, MemoryError,
)  # fmt: skip


def weighted(estimator: AdvantageEstimator | str, *weights: Weight | str) -> AdvantageEstimator:
    """An estimator whose advantages are multiplied by weights of mean one, each in turn.

    Args:
        estimator: The rule, or as it is written.
        weights: From `advantages.weights`, or as they are written.

    Raises:
        InputError: No weight, or something that is none; text that cannot be read.

    Example:
        >>> weighted("grpo", "power(0.5)")
        weighted(grpo(ddof=0, eps=0.0), power(alpha=0.5))
    """
    rule = read_estimator(estimator) if isinstance(estimator, str) else estimator
    steps = [read_weight(each) if isinstance(each, str) else each for each in weights]
    if not (isinstance(rule, AdvantageEstimator) and steps):
        raise InputError(
            "weighted() takes an estimator and at least one weight", got=(rule, *steps)
        )
    for step in steps:
        _require_weight(step)
    return chain(rule, *steps)


def schedule(
    first: AdvantageEstimator | Weight | str,
    second: AdvantageEstimator | Weight | str,
    *,
    start: float = 0,
    stop: float = 100,
) -> AdvantageEstimator | Weight:
    """Go from one estimator to another, or from one weight to another, over the training.

    The two kinds are described where they are made: `scheduling.schedule_estimators` and
    `weights.schedule`.

    Raises:
        InputError: One of each, or the steps do not rise.

    Example:
        >>> schedule("grpo", "dr_grpo", stop=200)
        schedule(first=grpo(ddof=0, eps=0.0), second=dr_grpo(), start=0, stop=200)
    """
    one: Any = _read(first) if isinstance(first, str) else first
    other: Any = _read(second) if isinstance(second, str) else second
    is_weight = isinstance(one, Weight) and isinstance(other, Weight)
    make = schedule_weights if is_weight else schedule_estimators
    return make(one, other, start=start, stop=stop)


def read_estimator(text: str, parameters: Mapping[str, Any] | None = None) -> AdvantageEstimator:
    """The estimator that a text writes.

    Args:
        text: One of the forms above.
        parameters: More parameters of a plain rule; they go before those in the text.

    Raises:
        InputError: The text cannot be read, names nothing, or writes a weight.
    """
    value = _read(text, parameters)
    if isinstance(value, AdvantageEstimator):
        return value
    if isinstance(value, Weight):
        raise InputError(
            "a weight is not an estimator by itself", got=text, hint=f"weighted(grpo, {value!r})"
        )
    raise _unreadable(text)


def read_weight(text: str) -> Weight:
    """The weight that a text writes.

    Raises:
        InputError: The text cannot be read, or writes no weight.

    Example:
        >>> read_weight("focal(gamma=2)")
        focal(gamma=2)
    """
    return _require_weight(_read(text))


def _require_weight(value: Any) -> Weight:
    if not isinstance(value, Weight):
        raise InputError("no weight of that name", got=value, hint=f"one of {', '.join(WEIGHTS)}")
    return value


def _read(text: str, parameters: Mapping[str, Any] | None = None) -> Any:
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if not parameters:
            return _value(node)
        name, arguments, keywords = _call(node)
        return _make(name, arguments, {**keywords, **parameters})
    except InputError:
        raise
    except _UNREADABLE as error:
        raise _unreadable(text) from error


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name | ast.Call):
        return _make(*_call(node))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _followed(_value(node.left), _value(node.right))
    return ast.literal_eval(node)


def _call(node: ast.expr) -> tuple[str, list[Any], dict[str, Any]]:
    """Name, arguments and keywords; only literals and further calls of known names are read."""
    if isinstance(node, ast.Name):
        return node.id, [], {}
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise TypeError(type(node))
    if any(each.arg is None for each in node.keywords):  # **mapping
        raise SyntaxError(node.func.id)
    name = node.func.id
    read = _value if name in ("schedule", "weighted") else _literal
    keywords = {str(each.arg): read(each.value) for each in node.keywords}
    return name, [read(each) for each in node.args], keywords


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        raise InputError("a parameter is a number, a text or another literal", got=node.id)
    return ast.literal_eval(node)


def _make(name: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
    makers: dict[str, Callable[..., Any]] = {
        **WEIGHTS, "schedule": schedule, "weighted": weighted, "clip": Clip, "whiten": Whiten,
    }  # fmt: skip
    if name not in makers:
        if arguments:
            raise ValueError(name)  # parameters of a rule have names
        return with_parameters(name, keywords)
    try:
        return makers[name](*arguments, **keywords)
    except TypeError as error:
        raise InputError(f"{name}() cannot be called so", got=str(error)) from error


def _followed(estimator: Any, step: Any) -> AdvantageEstimator:
    """`estimator | step`; the steps of a rule itself, which its `repr` writes, count once."""
    if not isinstance(estimator, AdvantageEstimator) or not isinstance(
        step, Clip | Whiten | Weight
    ):
        raise TypeError(type(step))
    own = with_parameters(estimator.name, {}).transforms if estimator.name in names() else ()
    return estimator if step in own else chain(estimator, step)


def _unreadable(text: str) -> InputError:
    close = close_names(text)
    return InputError(
        "an estimator is a name, or a name with parameters",
        got=text,
        hint=f"did you mean {' or '.join(close)}?"
        if close
        else "for example grpo(ddof=1, eps=1e-4) or weighted(grpo, power(0.5)); "
        "advantages.names() lists the rules",
    )
