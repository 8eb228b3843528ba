"""Which learning rate an arm is reported at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["choose_rate"]


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
