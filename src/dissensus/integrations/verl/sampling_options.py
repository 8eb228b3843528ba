"""What `trainer.v1.sampler.sampler_kwargs` says to Dissensus, checked once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dissensus.core.allocation import Written, read
from dissensus.core.groups import DEFAULT_TOL
from dissensus.errors import InputError

__all__ = ["GENERATED", "METRICS", "REWARD", "SamplingOptions"]

_WHERE = "trainer.v1.sampler.sampler_kwargs"

METRICS = "training/dissensus"
"""Before the names of what our samplers count, in verl's metrics."""

GENERATED = f"{METRICS}/rollouts_generated"

REWARD = "reward"
"""verl's name for a rollout's own reward; any other metric is a reward extra."""


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """The node `trainer.v1.sampler.sampler_kwargs`; every key may be left out.

    Attributes:
        allocator: A strategy. None: prompts come from verl's data loader, unanimous groups are
            replaced.
        group_size: Rollouts of a prompt, where the strategy does not decide otherwise:
            `${actor_rollout_ref.rollout.n}`.
        estimator: What computes advantages: `${algorithm.adv_estimator}`.
        metric: `reward`, or the name of a reward extra to judge groups by.
        correct: Metric from which a rollout is correct. None: two values are wrong and correct.
        tol: Metrics closer than this are equal.
        most_batches: What one step may generate, in training batches, the first one included.
        seed: Of the allocator's random numbers.
    """

    allocator: Written | None = None
    group_size: int | None = None
    estimator: str | None = None
    metric: str = REWARD
    correct: float | None = None
    tol: float = DEFAULT_TOL
    most_batches: int = 16
    seed: int = 0

    @classmethod
    def of(cls, node: Any) -> SamplingOptions:
        """Read the node.

        Raises:
            InputError: An unknown key, or a value that cannot be used.

        Example:
            >>> options = SamplingOptions.of({"allocator": "contrast(least=4)", "group_size": 8})
            >>> str(options.allocator), options.tol
            ('contrast(least=4)', 1e-06)
        """
        given = {str(key): node[key] for key in node} if isinstance(node, Mapping) else {}
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(given) - known)
        if unknown:
            raise InputError(
                f"there is no key {unknown[0]!r}",
                where=_WHERE,
                hint=f"one of {', '.join(sorted(known))}",
            )
        if isinstance(given.get("allocator"), str):
            given["allocator"] = read(given["allocator"], where=f"{_WHERE}.allocator")
        return cls(**given)

    def __post_init__(self) -> None:
        _require(isinstance(self.allocator, Written | None), "a strategy", "allocator", self)
        _require(isinstance(self.metric, str), "a name", "metric", self)
        _require(_is_number(self.tol) and self.tol >= 0, "a finite number ≥ 0", "tol", self)
        is_fine = self.correct is None or _is_number(self.correct)
        _require(is_fine, "a finite number", "correct", self)
        _require(_is_whole(self.most_batches), "a whole number ≥ 1", "most_batches", self)
        if self.allocator is not None:
            _require(
                _is_whole(self.group_size), "${actor_rollout_ref.rollout.n}", "group_size", self
            )


def _is_number(value: object) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value)  # type: ignore[arg-type]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _require(is_fine: bool, what: str, name: str, options: SamplingOptions) -> None:
    if not is_fine:
        raise InputError(f"must be {what}", where=f"{_WHERE}.{name}", got=getattr(options, name))
