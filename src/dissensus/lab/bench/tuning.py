"""Which learning rate an arm is reported at, and which trainings that leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dissensus.lab.bench.records import Arm, TrainingRecord

__all__ = ["choose_rate", "reported", "tuning_table"]


def choose_rate(finals: Mapping[float, Sequence[float]]) -> float | None:
    """The learning rate with the best mean held-out rate at the full budget.

    Rates with fewer seeds than another are left out; of equally good ones the smallest is taken.

    Args:
        finals: Learning rate → held-out rate of each tuning seed.

    Returns:
        None where there is no training.

    Example:
        >>> choose_rate({1e-4: [0.4, 0.5], 2e-4: [0.5, 0.6], 4e-4: [0.9]})
        0.0002
    """
    most = max(map(len, finals.values()), default=0)
    full = {rate: float(np.mean(each)) for rate, each in finals.items() if len(each) == most > 0}
    return min(full, key=lambda rate: (-full[rate], rate)) if full else None


def tuning_table(records: Iterable[TrainingRecord]) -> dict[Arm, dict[float, list[float]]]:
    """What tuning found: arm → learning rate, ascending → held-out rate of each tuning seed."""
    found: dict[Arm, dict[float, list[float]]] = {}
    for record in sorted(records, key=lambda each: (each.learning_rate, each.seed)):
        if record.purpose == "tune":
            by_rate = found.setdefault(record.arm, {})
            by_rate.setdefault(record.learning_rate, []).append(record.final)
    return found


def reported(records: Sequence[TrainingRecord]) -> list[TrainingRecord]:
    """The trainings that count: of each arm those at the rate that its tuning chose.

    Others are there when a grid was widened after an arm had been reported. An arm that was tuned
    by another one has no tuning of its own: all of its trainings count.
    """
    chosen = {arm: choose_rate(by_rate) for arm, by_rate in tuning_table(records).items()}
    return [
        record
        for record in records
        if record.purpose == "report"
        and chosen.get(record.arm, record.learning_rate) == record.learning_rate
    ]
