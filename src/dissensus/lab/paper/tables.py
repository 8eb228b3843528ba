"""The paper's exact numbers: group sizes, and the closed forms on Big-Math's solve rates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dissensus.core import laws
from dissensus.core.groups import FloatArray
from dissensus.lab.paper.data import ROLLOUTS, big_math

__all__ = [
    "FIDELITIES",
    "GROUP_SIZES",
    "SOLVE_RATES",
    "BigMathFacts",
    "GroupSizes",
    "big_math_facts",
    "group_sizes",
]

SOLVE_RATES = (0.5, 0.3, 0.1, 0.05)
FIDELITIES = (0.90, 0.95, 0.99)
GROUP_SIZES = (4, 8, 16, 32, 64)
BINS = 10


class GroupSizes(NamedTuple):
    """Group size for a wanted fidelity, rows by solve rate and columns by fidelity.

    Attributes:
        exact: Smallest G that reaches it.
        closed_form: 1/(8εp(1−p)), unrounded.
    """

    exact: FloatArray
    closed_form: FloatArray


def group_sizes() -> GroupSizes:
    """The table of group sizes.

    Example:
        >>> group_sizes().exact[0].tolist()      # p = ½
        [7.0, 11.0, 51.0]
    """
    p = np.array(SOLVE_RATES)
    return GroupSizes(
        np.stack([laws.required_group_size(p, fidelity=f) for f in FIDELITIES], axis=1),
        np.stack([laws.group_size_law(p, fidelity=f) for f in FIDELITIES], axis=1),
    )


class BigMathFacts(NamedTuple):
    """What the closed forms say on Big-Math, with p̂ = k/64 for p.

    Attributes:
        never: Share of problems never solved.
        always: Share always solved.
        unanimous: (5,) mean of p̂^G + (1−p̂)^G for the five group sizes.
        unanimous_drawn: (5,) the same for G of the 64 logged rollouts, drawn without replacement.
        extreme: Share of gradient mass on 0 < p̂ < .1 and .9 < p̂ < 1, by rule and group size;
            None is the large-group limit.
        medium: The same on .4 ≤ p̂ ≤ .6.
        mass: By rule, (10,) share of mass in tenths of p̂, large groups.
    """

    never: float
    always: float
    unanimous: FloatArray
    unanimous_drawn: FloatArray
    extreme: dict[tuple[str, int | None], float]
    medium: dict[tuple[str, int | None], float]
    mass: dict[str, FloatArray]


def big_math_facts() -> BigMathFacts:
    """Every number of the paper's two Big-Math tables, and the mass at G = 8."""
    counts = big_math()
    k, p, problems = counts.correct_of_64, counts.solve_rate, counts.problems
    share = problems / problems.sum()
    is_extreme = (p < 0.1) | (p > 0.9)
    is_medium = (p >= 0.4) & (p <= 0.6)
    keys = [(rule, size) for rule in ("grpo", "dr_grpo") for size in (None, 8)]

    def shares(
        mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    ) -> dict[tuple[str, int | None], float]:
        return {
            (rule, size): laws.mass_share(p, mask, problems, rule=rule, group_size=size)
            for rule, size in keys
        }

    tenth = np.minimum((p * BINS).astype(int), BINS - 1)
    mass = {}
    for rule in ("grpo", "dr_grpo"):
        weight = problems * laws.gradient_mass(p, rule)
        mass[rule] = np.bincount(tenth, weight, minlength=BINS) / weight.sum()
    return BigMathFacts(
        never=float(share[0]),
        always=float(share[-1]),
        unanimous=np.array([laws.unanimous_rate(p, G) @ share for G in GROUP_SIZES]),
        unanimous_drawn=np.array(
            [laws.unbiased_unanimous_rate(k, ROLLOUTS, G) @ share for G in GROUP_SIZES]
        ),
        extreme=shares(is_extreme),
        medium=shares(is_medium),
        mass=mass,
    )
