"""Whether a function changes what it was given."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["watched"]


def watched(function: Callable[..., Any], changed: set[str]) -> Callable[..., Any]:
    """The same function, which adds the names of arguments that it changed to `changed`.

    Objects that are not plainly called (trainers, estimators with methods) come back as they are.

    Example:
        >>> changed = set()
        >>> watched(lambda rewards: rewards.fill(0), changed)(np.ones(2))
        >>> changed
        {'rewards'}
    """
    plain = inspect.isroutine(function) or isinstance(function, functools.partial)
    if not plain and not _has_only_call(function):
        return function
    try:
        bound_to = inspect.signature(function)
    except (TypeError, ValueError):
        return function

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            given = dict(bound_to.bind(*args, **kwargs).arguments)
        except TypeError:
            return function(*args, **kwargs)
        before = {name: _copy(value) for name, value in given.items()}
        result = function(*args, **kwargs)
        changed.update(
            n for n, kept in before.items() if kept is not None and _differ(kept, given[n])
        )
        return result

    same: Any = functools.update_wrapper(call, function)
    same.__signature__ = bound_to
    return call


def _has_only_call(function: Any) -> bool:
    """An instance of a class whose one public attribute is that it can be called."""
    if isinstance(function, type) or not callable(function):
        return False
    return all(name.startswith("_") for name in dir(function))


def _copy(value: Any) -> Any:
    """A copy of an array, tensor or list of them; None for everything else."""
    if isinstance(value, (list, tuple)):
        return [_copy(each) for each in value]
    array = _array(value)
    return None if array is None else array.copy()


def _differ(before: Any, value: Any) -> bool:
    if isinstance(before, list):
        if len(before) != len(value):
            return True
        pairs = zip(before, value, strict=True)
        return any(kept is not None and _differ(kept, each) for kept, each in pairs)
    now = _array(value)
    return now is None or not np.array_equal(now, before, equal_nan=before.dtype.kind in "fc")


def _array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value
    if hasattr(value, "detach"):  # a tensor
        return value.detach().cpu().numpy()
    return None
