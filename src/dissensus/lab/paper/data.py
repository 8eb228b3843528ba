"""The data that the paper rests on."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dissensus.core.groups import FloatArray

__all__ = ["ROLLOUTS", "SolveCounts", "big_math"]

ROLLOUTS = 64
"""Rollouts of each Big-Math problem."""


class SolveCounts(NamedTuple):
    """How many problems were solved how often.

    Attributes:
        correct_of_64: (65,) 0 … 64 rollouts were correct.
        problems: (65,) so many problems.
    """

    correct_of_64: NDArray[np.int64]
    problems: NDArray[np.int64]

    @property
    def solve_rate(self) -> FloatArray:
        """(65,) k/64."""
        return self.correct_of_64 / ROLLOUTS


@functools.cache
def big_math() -> SolveCounts:
    """Solve counts of Llama-3.1-8B on Big-Math: 215,608 problems, 64 rollouts each.

    Example:
        >>> int(big_math().problems.sum())
        215608

    Source: figure of arXiv:2607.00152, CC BY 4.0; annotations: Big-Math, Albalak et al. 2025.
    """
    file = files("dissensus.lab") / "data" / "big_math_solve_rates.csv"
    rows = np.loadtxt(
        file.read_text(encoding="utf-8").splitlines(), delimiter=",", skiprows=1, dtype=np.int64
    )
    counts, problems = rows.T.copy()
    for column in (counts, problems):
        column.setflags(write=False)  # every caller shares them
    return SolveCounts(counts, problems)
