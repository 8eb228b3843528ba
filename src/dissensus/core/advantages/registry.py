"""The rules by name."""

from __future__ import annotations

import difflib
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from dissensus.core.advantages.base import AdvantageEstimator, Context, Scope, Transform
from dissensus.core.advantages.profile import Limit, Profile
from dissensus.core.groups import FloatArray
from dissensus.errors import InputError

__all__ = ["chain", "close_names", "get", "limit", "names", "profile", "rule", "with_parameters"]

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


def limit(estimator: AdvantageEstimator) -> Limit | None:
    """The large-group objective of an estimator, where it is known in closed form.

    That of its rule at default parameters, or with another `ddof`, which large groups do not feel;
    under weights, with the slope multiplied by each, up to the one factor that brings the weights
    to mean one. None for other parameters or other steps.

    Example:
        >>> limit(get("weighted(dr_grpo, focal(2))")).slope(0.5)
        array(0.25)
    """
    if estimator.name not in _RULES:
        return None
    plain, found = _RULES[estimator.name], _PROFILES[estimator.name].limit
    own = len(plain.transforms)
    different = {k for k, v in estimator.parameters.items() if v != plain.parameters[k]}
    if found is None or different - {"ddof"} or estimator.transforms[:own] != plain.transforms:
        return None
    for step in estimator.transforms[own:]:
        at, formula = getattr(step, "at", None), getattr(step, "formula", "")
        if at is None or at(np.array([0.5])) is None:
            return None
        found = found.times(formula, at)
    return found


def get(name: str, **parameters: Any) -> AdvantageEstimator:
    """The estimator of that name, with parameters other than its defaults where given.

    Args:
        name: A name, or an estimator as it is written: with parameters, weights and steps.
        **parameters: Values by name; they go before those that `name` holds.

    Raises:
        InputError: No such rule, or it has no such parameter, or the text cannot be read.

    Example:
        >>> get("grpo", ddof=1, eps=1e-4)
        grpo(ddof=1, eps=0.0001)
        >>> get("weighted(grpo(ddof=1), power(0.5))")
        weighted(grpo(ddof=1, eps=0.0), power(alpha=0.5))
    """
    if name in _RULES:
        return with_parameters(name, parameters)
    from dissensus.core.advantages.written import read_estimator  # it builds with this module

    return read_estimator(name, parameters)


def with_parameters(name: str, parameters: Mapping[str, Any]) -> AdvantageEstimator:
    """The registered rule of that name, with these parameters instead of its defaults.

    Raises:
        InputError: No such rule, it has no such parameter, or one is no number that should be.
    """
    default = _RULES[_require_known(name)]
    unknown = sorted(set(parameters) - set(default.parameters))
    if unknown:
        raise InputError(
            f"{name} has no parameter {unknown[0]!r}",
            hint=f"it has {', '.join(default.parameters) or 'none'}",
        )
    for key, value in parameters.items():
        _check_number(f"{name}'s {key}", value, default.parameters[key], from_zero=key == "eps")
    return replace(default, parameters={**default.parameters, **parameters})


def chain(estimator: AdvantageEstimator | str, *steps: Transform) -> AdvantageEstimator:
    """Compose: the estimator, then each transform in turn.

    Example:
        >>> from dissensus.core.advantages import Clip
        >>> chain("dr_grpo", Clip(-0.5, 0.5))
        dr_grpo() | clip(-0.5, 0.5)
    """
    first = get(estimator) if isinstance(estimator, str) else estimator
    return first.with_transforms(steps)


def close_names(text: str) -> list[str]:
    """Rules that a text may mean: by name or title, whatever the case and the marks between.

    Example:
        >>> close_names("Dr. GRPO")
        ['dr_grpo']
    """
    key = _letters(text)
    same = [name for name in names() if key in (_letters(name), _letters(_PROFILES[name].title))]
    return same or difflib.get_close_matches(text, names())


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", text.lower())


def _check_number(name: str, value: Any, default: Any, *, from_zero: bool) -> None:
    if isinstance(default, bool) or not isinstance(default, Real):
        return
    if not isinstance(value, Real) or not math.isfinite(value) or (from_zero and value < 0):
        least = " ≥ 0" if from_zero else ""
        raise InputError(f"{name} must be a finite number{least}", got=value)


def _require_known(name: str) -> str:
    if name not in _RULES:
        close = close_names(name)
        raise InputError(
            "no advantage rule of that name",
            got=name,
            hint=f"did you mean {' or '.join(close)}?" if close else f"one of {', '.join(names())}",
        )
    return name
