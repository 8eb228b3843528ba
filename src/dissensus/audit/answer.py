"""The answer about one target of an audit: one shape for configurations, functions and logs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dissensus.audit.findings import Finding, Severity
from dissensus.errors import InputError

__all__ = ["DENOMINATORS", "KINDS", "NUMERATORS", "SILENT", "Answer", "EstimatorFacts"]

KINDS = ("config", "function", "log")
"""Ways to look at a pipeline."""

NUMERATORS = ("mean", "leave_one_out", "none", "running", "value_function")
"""What is subtracted from the reward."""

DENOMINATORS = (
    "group_std",
    "batch_std",
    "batch_centred_std",
    "leave_one_out_std",
    "group_mean",
    "none",
)
"""What the difference is divided by. `batch_centred_std` is the spread of centred rewards or of
advantages over the batch; `batch_std` is that of the raw rewards."""

SILENT = ("keep", "mask", "drop", "resample")
"""What silent groups get: trained as they are, masked in the loss, removed, or replaced."""


@dataclass(frozen=True)
class EstimatorFacts:
    """What becomes of a reward. None is unknown or does not apply (`unknown` of the answer says).

    Args:
        name: The framework's name for it.
        numerator: One of `NUMERATORS`.
        denominator: One of `DENOMINATORS`.
        ddof: Of the denominator's standard deviation: 0 population, 1 sample.
        eps: Added to the denominator; (low, high) where only an interval is known.

    Example:
        >>> EstimatorFacts("grpo", "mean", "group_std", 1, 1e-4).to_json()["denominator"]
        'group_std'
    """

    name: str | None = None
    numerator: str | None = None
    denominator: str | None = None
    ddof: int | None = None
    eps: float | tuple[float, float] | None = None

    def __post_init__(self) -> None:
        _check("numerator", self.numerator, NUMERATORS)
        _check("denominator", self.denominator, DENOMINATORS)

    def to_json(self) -> dict[str, Any]:
        """Plain values by field name; an interval is a list of two numbers, null where open."""
        eps: Any = self.eps
        if isinstance(eps, tuple):
            eps = [bound if math.isfinite(bound) else None for bound in eps]
        return {
            "name": self.name,
            "numerator": self.numerator,
            "denominator": self.denominator,
            "ddof": self.ddof,
            "eps": eps,
        }


@dataclass(frozen=True)
class Answer:
    """What one target does with disagreement.

    Args:
        target: Path, or `package.module:function`.
        kind: One of `KINDS`.
        framework: Name of the framework; None when it is not one that is known.
        version: Version the answer is about.
        version_source: How it is known: `configuration`, `installed`, or `facts` (nothing says
            which version runs: the one that the facts were read from).
        estimator: What becomes of a reward.
        silent: One of `SILENT`: what becomes of silent groups.
        silent_cost: What they still cost.
        refill: How they are replaced, and what bounds it.
        loss_aggregation: The framework's own name for it.
        sampling: Difficulty-aware sampling of prompts, in words.
        metrics: Name of a logged metric → what it really means.
        unknown: Fields that could not be resolved, each with what decides it.
        findings: Sorted by severity, the most severe first.
        extra: Further facts, written as they are.
    """

    target: str
    kind: str
    framework: str | None = None
    version: str | None = None
    version_source: str | None = None
    estimator: EstimatorFacts = field(default_factory=EstimatorFacts)
    silent: str | None = None
    silent_cost: str | None = None
    refill: str | None = None
    loss_aggregation: str | None = None
    sampling: str | None = None
    metrics: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check("kind", self.kind, KINDS)
        _check("silent", self.silent, SILENT)
        ordered = sorted(self.findings, key=lambda f: (-f.severity.rank, f.code))
        object.__setattr__(self, "findings", tuple(ordered))

    @property
    def worst(self) -> Severity | None:
        """Severity of the most severe finding; None without any."""
        return self.findings[0].severity if self.findings else None

    def to_json(self) -> dict[str, Any]:
        """One target of the JSON document: plain values only.

        Example:
            >>> Answer("run.sh", "config", framework="verl").to_json()["estimator"]["ddof"] is None
            True
        """
        return {
            "target": self.target,
            "kind": self.kind,
            "framework": self.framework,
            "version": self.version,
            "version_source": self.version_source,
            "estimator": self.estimator.to_json(),
            "silent": self.silent,
            "silent_cost": self.silent_cost,
            "refill": self.refill,
            "loss_aggregation": self.loss_aggregation,
            "sampling": self.sampling,
            "metrics": dict(self.metrics),
            "unknown": list(self.unknown),
            "findings": [finding.to_json() for finding in self.findings],
            **self.extra,
        }


def _check(name: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise InputError(f"'{name}' must be one of {', '.join(allowed)}", got=value)
