"""A₊ and A₋ of each rule in plain arithmetic, written from the papers and not from the package.

`FORMULAS[name](k, G)` gives (A₊, A₋) of k correct of G rewards 0 and 1, at the rule's default
parameters and in `advantages.neutral_context`. What does not exist (A₊ at k = 0, A₋ at k = G) is
whatever the formula happens to give; the tests do not look at it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rule_formulas_of_rewards import RULES_OF_REWARDS
from rule_formulas_shaping import SHAPING_FORMULAS

Formula = Callable[[int, int], tuple[float, float]]


def over_population_std(k: int, size: int) -> tuple[float, float]:
    """(r − m)/σ with σ² = m(1−m)."""
    if k in (0, size):
        return 0.0, 0.0
    return math.sqrt((size - k) / k), -math.sqrt(k / (size - k))


def centred(k: int, size: int) -> tuple[float, float]:
    return 1 - k / size, -k / size


def scaled(formula: Formula, factor: Callable[[int, int], float]) -> Formula:
    def scaled_formula(k: int, size: int) -> tuple[float, float]:
        plus, minus = formula(k, size)
        return plus * factor(k, size), minus * factor(k, size)

    return scaled_formula


def evenly_spread_std(_: int, size: int) -> float:
    """1/(std + 1e-4) of the rewards of one group of each k = 0 … G: half of them are 1."""
    n = size * (size + 1)
    return 1 / (math.sqrt(0.25 * n / (n - 1)) + 1e-4)


def whitened_centred(_: int, size: int) -> float:
    """1/sqrt(var + 1e-8) of r − m over one group of each k, whose squares sum to Σ k(G−k)/G."""
    n = size * (size + 1)
    squares = sum(k * (size - k) / size for k in range(size + 1))
    return 1 / math.sqrt(squares / (n - 1) + 1e-8)


FORMULAS: dict[str, Formula] = {
    "dapo": over_population_std,
    "disco": lambda k, n: (n / k, -n / (n - k)) if 0 < k < n else (0.0, 0.0),
    "dr_grpo": centred,
    "grpo": over_population_std,
    "lite_ppo": scaled(centred, evenly_spread_std),
    "maxrl": lambda k, n: ((n - k) / k, -1.0) if 0 < k < n else (0.0, 0.0),
    "reinforce_pp_baseline": scaled(centred, whitened_centred),
    **RULES_OF_REWARDS,
    "rloo": lambda k, n: ((n - k) / (n - 1), -k / (n - 1)),
    **SHAPING_FORMULAS,
}
