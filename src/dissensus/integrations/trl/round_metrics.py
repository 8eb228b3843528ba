"""TRL's own metrics over the rounds of one step: one value per metric, of all its rollouts."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissensus.core.groups import FloatArray
from dissensus.integrations.trl.sampling import Sampling

__all__ = ["RoundMetrics"]

_CUMULATIVE = "num_tokens"


class RoundMetrics:
    """What TRL appended to its metrics since this was made, joined.

    Means are weighted by rollouts, minima and maxima taken. What TRL computes from groups or from
    a spread of rewards is computed again: it saw parts of the groups.
    """

    def __init__(self, trainer: Any) -> None:
        self._metrics = trainer._metrics["train"]  # noqa: SLF001 - TRL has no public name for it
        self._before = {name: len(values) for name, values in self._metrics.items()}
        self._rollouts: list[int] = []

    def add_round(self, rollouts: int) -> None:
        """TRL has appended the metrics of a round."""
        self._rollouts.append(rollouts)

    def merge(self, generated: Sampling) -> None:
        """Leave one value per metric.

        Args:
            generated: All rollouts of the step, by prompt.
        """
        anew = _reward_metrics(generated)
        for name, values in self._metrics.items():
            if name == _CUMULATIVE:
                continue
            start = self._before.get(name, 0)
            rounds = np.asarray(values[start:], dtype=np.float64)
            if len(rounds):
                values[start:] = [anew.get(name, self._joined(name, rounds))]

    def _joined(self, name: str, rounds: FloatArray) -> float:
        last = name.rpartition("/")[2]
        if last.startswith("min"):
            return float(rounds.min())
        if last.startswith("max"):
            return float(rounds.max())
        # What only some rounds have (a metric of a reward function) says nothing of their sizes.
        weights = self._rollouts if len(rounds) == len(self._rollouts) else None
        return float(np.average(rounds, weights=weights))


def _reward_metrics(generated: Sampling) -> dict[str, float]:
    groups = generated.groups
    constant = groups.is_unanimous() | (groups.size == 0)
    found = {
        "reward": _mean(generated.rewards),
        "reward_std": _std(generated.rewards),
        "frac_reward_zero_std": float(groups.expand(constant).mean()),
    }
    for name, values in generated.rewards_by_function.items():
        found |= {f"rewards/{name}/mean": _mean(values), f"rewards/{name}/std": _std(values)}
    return found


def _mean(values: FloatArray) -> float:
    scored = values[~np.isnan(values)]
    return float(scored.mean()) if len(scored) else float("nan")


def _std(values: FloatArray) -> float:
    scored = values[~np.isnan(values)]
    return float(scored.std(ddof=1)) if len(scored) > 1 else float("nan")
