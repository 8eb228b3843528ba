"""The rules by name."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any

from dissensus.core.advantages.base import AdvantageEstimator, Context, Scope, Transform
from dissensus.core.advantages.profile import Profile
from dissensus.core.groups import FloatArray
from dissensus.errors import InputError

__all__ = ["chain", "get", "names", "profile", "rule"]

_RULES: dict[str, AdvantageEstimator] = {}
_PROFILES: dict[str, Profile] = {}


def rule(
    name: str,
    *,
    source: str,
    scope: Scope = "group",
    needs: tuple[str, ...] = (),
    then: tuple[Transform, ...] = (),
    profile: Profile | None = None,
) -> Callable[[Callable[..., FloatArray]], Callable[..., FloatArray]]:
    """Register `function(groups, context, *, parameter=default, …)` as an advantage rule.

    Keyword parameters and their defaults are read from the function; its docstring documents it.

    Args:
        name: What `get` finds it by; lower case with underscores.
        source: Paper id and section, or the code it was read in.
        scope: `group`, `batch` (statistics over the batch) or `history` (memory over batches).
        needs: Fields of `Context` the rule cannot do without.
        then: Transforms that belong to the published rule.
        profile: What the rule says about itself; None: that it behaves as `r − mean` does.

    Raises:
        InputError: The name is taken, or `needs` names no context field.
    """
    unknown = set(needs) - set(Context.field_names())
    if name in _RULES or unknown:
        raise InputError("a rule needs a new name and known context fields", got=(name, unknown))

    def register(function: Callable[..., FloatArray]) -> Callable[..., FloatArray]:
        parameters = {
            key: parameter.default
            for key, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        estimator = AdvantageEstimator(name, function, parameters, source, scope, needs)
        _RULES[name] = estimator.with_transforms(then)
        _PROFILES[name] = profile or Profile()
        return function

    return register


def names() -> tuple[str, ...]:
    """Registered rules, in alphabetical order.

    Example:
        >>> "grpo" in names()
        True
    """
    return tuple(sorted(_RULES))


def profile(name: str) -> Profile:
    """What the rule of that name says about itself, at its default parameters.

    Raises:
        InputError: No such rule.

    Example:
        >>> profile("dr_grpo").scale
        'proportional'
    """
    return _PROFILES[_require_known(name)]


def get(name: str, **parameters: Any) -> AdvantageEstimator:
    """The estimator of that name, with parameters other than its defaults where given.

    Args:
        name: A name, or an estimator as it is written, with its parameters.
        **parameters: Values by name; they go before those that `name` holds.

    Raises:
        InputError: No such rule, or it has no such parameter, or the text cannot be read.

    Example:
        >>> get("grpo", ddof=1, eps=1e-4)
        grpo(ddof=1, eps=0.0001)
        >>> get("grpo(ddof=1)")
        grpo(ddof=1, eps=0.0)
    """
    name, written = _read_call(name)
    parameters = {**written, **parameters}
    default = _RULES[_require_known(name)]
    unknown = sorted(set(parameters) - set(default.parameters))
    if unknown:
        raise InputError(
            f"{name} has no parameter {unknown[0]!r}",
            hint=f"it has {', '.join(default.parameters) or 'none'}",
        )
    return AdvantageEstimator(
        name,
        default.function,
        {**default.parameters, **parameters},
        default.source,
        default.scope,
        default.needs,
        default.transforms,
    )


def chain(estimator: AdvantageEstimator | str, *steps: Transform) -> AdvantageEstimator:
    """Compose: the estimator, then each transform in turn.

    Example:
        >>> from dissensus.core.advantages import Clip
        >>> chain("dr_grpo", Clip(-0.5, 0.5))
        dr_grpo() | clip(-0.5, 0.5)
    """
    first = get(estimator) if isinstance(estimator, str) else estimator
    return first.with_transforms(steps)


def _require_known(name: str) -> str:
    if name not in _RULES:
        raise InputError(
            "no advantage rule of that name", got=name, hint=f"one of {', '.join(names())}"
        )
    return name


def _read_call(text: str) -> tuple[str, dict[str, Any]]:
    """Name and parameters of an estimator as it is written: `grpo(ddof=1, eps=1e-4)`."""
    if text in _RULES:
        return text, {}
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Name):
            return node.id, {}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
            values = {str(each.arg): ast.literal_eval(each.value) for each in node.keywords}
            return node.func.id, values
    except (AttributeError, TypeError, ValueError, SyntaxError, RecursionError, MemoryError):
        pass
    raise InputError(
        "an estimator is a name, or a name with parameters",
        got=text,
        hint=f"for example grpo(ddof=1, eps=1e-4); names are {', '.join(names())}",
    )
