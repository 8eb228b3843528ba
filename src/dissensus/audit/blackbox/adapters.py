"""How functions that take numpy arrays or `RewardGroups` are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dissensus.audit.blackbox.batch import Batch
from dissensus.audit.blackbox.subject import Adapter, seed_numpy
from dissensus.core.advantages import AdvantageEstimator, Context
from dissensus.core.groups import RewardGroups
from dissensus.errors import InputError, UnsupportedError

__all__ = [
    "NUMPY_ADAPTERS",
    "call_sized",
    "choose_adapter",
    "parameter_names",
    "required_names",
    "size_names",
]


@dataclass(frozen=True)
class DenseAdapter:
    """`function(rewards (P, G)) → (P, G)` on numpy arrays."""

    name: str = "dense"
    reads: tuple[str, ...] = ()
    ragged: bool = False

    def accepts(self, function: Callable[..., Any]) -> bool:
        """One required parameter, or only parameters with defaults."""
        return len(required_names(function)) == 1

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call it on (P, G) float64 rewards."""
        return function(batch.passed(batch.dense))

    def reseed(self, seed: int) -> None:
        """Seed numpy."""
        seed_numpy(seed)


@dataclass(frozen=True)
class FlatAdapter:
    """`function(rewards (N,), group_ids (N,)) → (N,)` on numpy arrays."""

    name: str = "flat"
    reads: tuple[str, ...] = ()
    ragged: bool = True

    def accepts(self, function: Callable[..., Any]) -> bool:
        """Two required parameters, none of which is evidently the group size."""
        names = required_names(function)
        return len(names) == 2 and not set(names) & set(_SIZES)

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call it on float64 rewards and integer group ids."""
        return function(batch.passed(batch.rewards), batch.group_ids.copy())

    def reseed(self, seed: int) -> None:
        """Seed numpy."""
        seed_numpy(seed)


@dataclass(frozen=True)
class FlatSizedAdapter:
    """`function(rewards (N,), num_generations) → (N,)` on numpy arrays."""

    name: str = "flat_sized"
    reads: tuple[str, ...] = ()
    ragged: bool = False

    def accepts(self, function: Callable[..., Any]) -> bool:
        """Rewards, and a parameter named as the group size is."""
        return size_names(function) is not None

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call it on float64 rewards in blocks of one group each, and the size of a group."""
        return call_sized(function, batch.passed(batch.rewards), batch.group_size)

    def reseed(self, seed: int) -> None:
        """Seed numpy."""
        seed_numpy(seed)


@dataclass(frozen=True)
class GroupsAdapter:
    """An estimator of this package, or any function of `RewardGroups`."""

    name: str = "groups"
    reads: tuple[str, ...] = ()
    ragged: bool = True

    def accepts(self, function: Callable[..., Any]) -> bool:
        """An `AdvantageEstimator`, or a first parameter named `groups`."""
        if isinstance(function, AdvantageEstimator):
            return True
        return required_names(function)[:1] == ("groups",)

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call it on groups, with the lengths as context where it takes one."""
        groups = RewardGroups.from_flat(batch.rewards, batch.group_ids)
        if isinstance(function, AdvantageEstimator) or len(required_names(function)) > 1:
            return function(groups, Context(lengths=batch.lengths))
        return function(groups)

    def reseed(self, seed: int) -> None:
        """Seed numpy."""
        seed_numpy(seed)


NUMPY_ADAPTERS: tuple[Adapter, ...] = (
    GroupsAdapter(),
    FlatSizedAdapter(),
    FlatAdapter(),
    DenseAdapter(),
)
"""Adapters that need no framework, the most specific first."""


def parameter_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of all parameters; empty where Python cannot say."""
    return tuple(_parameters(function))


def required_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the parameters without a default, in order.

    Example:
        >>> required_names(lambda rewards, ids, eps=1e-4: None)
        ('rewards', 'ids')
    """
    usual = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(
        name
        for name, parameter in _parameters(function).items()
        if parameter.default is inspect.Parameter.empty
        and (parameter.kind in usual or parameter.kind is inspect.Parameter.KEYWORD_ONLY)
    )


_SIZES = ("num_generations", "group_size", "n_samples_per_prompt")
_SHORT_SIZES = ("n", "G")  # with a default they may be anything


def size_names(function: Callable[..., Any]) -> tuple[str, str] | None:
    """Names of the rewards and of the group size, where these are all that must be given.

    Example:
        >>> size_names(lambda rewards, num_generations=8: None)
        ('rewards', 'num_generations')
        >>> size_names(lambda rewards, group_ids: None) is None
        True
    """
    required = required_names(function)
    sizes = [name for name in parameter_names(function) if name in _SIZES]
    sizes += [name for name in required if name in _SHORT_SIZES]
    others = [name for name in required if name not in sizes[:1]]
    return (others[0], sizes[0]) if sizes and len(others) == 1 else None


def call_sized(function: Callable[..., Any], rewards: Any, size: int) -> Any:
    """Call a function that `size_names` knows."""
    names = size_names(function)
    if names is None:
        raise UnsupportedError("no parameter of this function is named as a group size is")
    given = dict(zip(names, (rewards, size), strict=True))
    first = [
        given.pop(name)
        for name, parameter in _parameters(function).items()
        if name in names and parameter.kind is inspect.Parameter.POSITIONAL_ONLY
    ]
    return function(*first, **given)


def choose_adapter(
    function: Callable[..., Any], adapters: Sequence[Adapter], name: str | None = None
) -> Adapter:
    """The adapter of that name, or the first that accepts the function.

    Raises:
        InputError: No such adapter, or none that fits the function's parameters.
    """
    if name is not None:
        for adapter in adapters:
            if adapter.name == name:
                return adapter
        known = ", ".join(adapter.name for adapter in adapters)
        raise InputError("no adapter of that name", got=name, hint=f"one of {known}")
    for adapter in adapters:
        if adapter.accepts(function):
            return adapter
    raise InputError(
        "no adapter knows how to call this function",
        got=f"parameters {_described(function)}",
        hint="write rewards (P, G) → advantages, or (rewards, group_ids) → advantages around it",
    )


def _described(function: Callable[..., Any]) -> str:
    try:
        inspect.signature(function)
    except (TypeError, ValueError):
        return "unknown"
    return ", ".join(parameter_names(function)) or "none"


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return {}
