"""What a verl configuration says to Dissensus: the node `algorithm.dissensus`, checked once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from dissensus.core.groups import DEFAULT_TOL
from dissensus.errors import InputError
from dissensus.runs.recorder import TEXT_BUDGET_BYTES

__all__ = ["NODE", "Correct", "Options"]

NODE = "dissensus"
"""verl hands `config.algorithm` to every estimator as it is, so what stands under it arrives."""

Correct: TypeAlias = float | tuple[str, float] | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """The node `algorithm.dissensus`; every key may be left out.

    Attributes:
        estimator: An estimator as it is written, for `adv_estimator=dissensus`.
        parameters: Parameters of the rule that `adv_estimator=dissensus_<name>` names.
        run_dir: Folder of the recorded run. None: nothing is recorded.
        correct: Reward from which a rollout is correct, or the name of a reward extra (from 0.5
            on), or both. None: rewards that take two values are wrong and correct. For advantage
            rules a name is as None, because verl hands rewards only to them.
        tol: Rewards closer than this are equal.
        text_budget_bytes: Bytes of text the run may keep. None: no limit.
    """

    estimator: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    run_dir: str | None = None
    correct: Correct = None
    tol: float = DEFAULT_TOL
    text_budget_bytes: float | None = TEXT_BUDGET_BYTES

    @classmethod
    def of(cls, algorithm: Any) -> Options:
        """Read the node from verl's `algorithm` configuration, whatever type holds it.

        Raises:
            InputError: An unknown key, or a value that cannot be used.

        Example:
            >>> Options.of({"adv_estimator": "dissensus_grpo"}).run_dir is None
            True
            >>> Options.of({"dissensus": {"correct": "acc"}}).correct
            ('acc', 0.5)
        """
        node = _plain(_member(algorithm, NODE))
        if node is None:
            return cls()
        if not isinstance(node, dict):
            raise InputError("must be a mapping", where=f"algorithm.{NODE}", got=node)
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(node) - known)
        if unknown:
            raise InputError(
                f"there is no key {unknown[0]!r}",
                where=f"algorithm.{NODE}",
                hint=f"one of {', '.join(sorted(known))}",
            )
        node["correct"] = _correct(node.get("correct"))
        node["parameters"] = node.get("parameters") or {}
        return cls(**node)

    def __post_init__(self) -> None:
        _require(isinstance(self.parameters, Mapping), "a mapping", "parameters", self.parameters)
        _require(
            isinstance(self.estimator, str | None), "an estimator", "estimator", self.estimator
        )
        is_number = isinstance(self.tol, (int, float)) and 0 <= self.tol < math.inf
        _require(is_number, "a finite number ≥ 0", "tol", self.tol)


def _correct(given: Any) -> Correct:
    if isinstance(given, str):
        return given, 0.5
    if isinstance(given, (list, tuple)) and len(given) == 2 and isinstance(given[0], str):
        return given[0], _threshold(given[1])
    return None if given is None else _threshold(given)


def _threshold(given: Any) -> float:
    is_number = isinstance(given, (int, float)) and not isinstance(given, bool)
    _require(is_number and math.isfinite(given), "a reward or a name", "correct", given)
    return float(given)


def _member(node: Any, name: str) -> Any:
    """A key of a mapping or of a dataclass, as verl's configurations are either."""
    if node is None:
        return None
    return node.get(name, None) if hasattr(node, "get") else getattr(node, name, None)


def _plain(node: Any) -> Any:
    """OmegaConf's containers as dicts and lists, without importing OmegaConf."""
    if isinstance(node, Mapping):
        return {str(key): _plain(node[key]) for key in node}
    if hasattr(node, "items") and hasattr(node, "keys"):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, (str, bytes)) or not hasattr(node, "__iter__"):
        return node
    return [_plain(value) for value in node]


def _require(is_fine: bool, what: str, name: str, value: object) -> None:
    if not is_fine:
        raise InputError(f"must be {what}", where=f"algorithm.{NODE}.{name}", got=value)
