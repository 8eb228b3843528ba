"""Disagreement metrics in TRL's own log, exact over everything between two log calls."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from dissensus.core.disagreement import GroupSummary, disagreement_metrics
from dissensus.core.groups import IntArray

__all__ = ["PREFIX", "MetricWindow"]

PREFIX = "disagreement/"

_PER_SCORED_GROUP = ("unanimous_frac", "all_wrong_frac", "all_correct_frac", "group_std_mean")
_PER_ROLLOUT = ("effective_rollout_frac", "contrast_per_1000_rollouts")


class MetricWindow:
    """Sums the metrics of the generations between two calls of TRL's `log`.

    TRL averages what was appended per generation batch, which is wrong for ratios of batches of
    unequal size (refill rounds, last evaluation batch). So this keeps numerators and denominators,
    and puts a single value per metric into TRL's `_metrics` just before they are logged.
    """

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, list[float]]] = {}

    def add(
        self,
        split: str,
        summary: GroupSummary,
        *,
        trained: IntArray | None,
        rollouts_generated: int,
        more: Mapping[str, float] | None = None,
    ) -> None:
        """Add one generation with its refill rounds.

        Args:
            split: "train", or the name of an evaluation set.
            summary: All groups that were sampled, discarded ones included.
            trained: (P,) rollouts of each group that are trained on; None in evaluation.
            rollouts_generated: R.
            more: Further numbers, averaged over generations.
        """
        sums = self._sums.setdefault(split, {})
        values = disagreement_metrics(
            summary, trained=trained, rollouts_generated=rollouts_generated
        )
        n_scored = int(np.count_nonzero(summary.size))
        for name, value in values.items():
            if name in _PER_ROLLOUT and trained is None:
                continue  # nothing of an evaluation is trained on
            weight = (
                n_scored
                if name in _PER_SCORED_GROUP
                else rollouts_generated
                if name in _PER_ROLLOUT
                else len(summary.size)
            )
            _add(sums, name, value * weight, weight)
        if trained is not None:
            _add(sums, "rollouts_generated", rollouts_generated, 1)
        for name, value in (more or {}).items():
            _add(sums, name, value, 1)

    def flush_into(self, metrics: MutableMapping[str, Any], split: str) -> None:
        """Put the window's values where TRL's `log` will find them, and begin a new window."""
        for name, (total, weight) in self._sums.pop(split, {}).items():
            metrics[PREFIX + name] = [total / weight]

    def discard(self, split: str) -> None:
        """Forget what nothing has logged."""
        self._sums.pop(split, None)


def _add(sums: dict[str, list[float]], name: str, value: float, weight: float) -> None:
    pair = sums.setdefault(name, [0.0, 0.0])
    pair[0] += value
    pair[1] += weight
