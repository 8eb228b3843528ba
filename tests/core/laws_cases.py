"""Rules by hand and populations that the tests of the laws share."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

GRID = [1e-9, 1e-6, 1e-3, 0.05, 0.3, 0.5, 0.7, 0.95, 1 - 1e-3, 1 - 1e-9]


class Rule(NamedTuple):
    """A signature written down by hand."""

    group_size: int
    positive: np.ndarray
    negative: np.ndarray
    contrast: np.ndarray
    push: np.ndarray
    is_silent: np.ndarray


def rule(positive, negative) -> Rule:
    """A rule from its two columns; undefined entries become NaN as in a real signature."""
    positive, negative = np.array(positive, float), np.array(negative, float)
    size = len(positive) - 1
    contrast, push = np.zeros(size + 1), np.zeros(size + 1)
    for k in range(size + 1):
        m = k / size
        if 0 < k < size:
            # 1 − k/G would lose the digits that the tests of the laws look at.
            contrast[k] = k * (size - k) / size**2 * (positive[k] - negative[k])
        push[k] = (m * positive[k] if k else 0.0) + ((1 - m) * negative[k] if k < size else 0.0)
    positive[0] = negative[size] = np.nan
    silent = (np.nan_to_num(positive) == 0) & (np.nan_to_num(negative) == 0)
    return Rule(size, positive, negative, contrast, push, silent)


def grpo(size: int) -> Rule:
    k = np.arange(size + 1)
    positive = [0.0] + [float(np.sqrt((size - i) / i)) for i in k[1:]]
    negative = [-float(np.sqrt(i / (size - i))) for i in k[:-1]] + [0.0]
    return rule(positive, negative)


def dr_grpo(size: int) -> Rule:
    k = np.arange(size + 1)
    return rule((size - k) / size, -k / size)


def random_rule(size: int, seed: int) -> Rule:
    """Any advantages at all: pushes, is never silent, has no symmetry."""
    rng = np.random.default_rng(seed)
    return rule(rng.normal(size=size + 1), rng.normal(size=size + 1))


def big_math(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """k of 64 and the number of problems with that k."""
    table = np.loadtxt(folder / "big_math_solve_rates.csv", delimiter=",", skiprows=1)
    return table[:, 0], table[:, 1]
