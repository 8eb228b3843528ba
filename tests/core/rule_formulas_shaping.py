"""A₊ and A₋ of the rules that reshape GRPO, in plain arithmetic from their papers.

As in `rule_formulas`. In the neutral context all rollouts are equally likely and equally long, all
completions mean something else, the reference policy is right half of the time, and the batch that
a batch rule looks at is one group of each k = 0 … G.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Formula = Callable[[int, int], tuple[float, float]]


def grpo(k: int, size: int) -> tuple[float, float]:
    m = k / size
    sigma = math.sqrt(m * (1 - m))
    return ((1 - m) / sigma, -m / sigma) if 0 < k < size else (0.0, 0.0)


def pass_at_4(k: int, size: int) -> tuple[float, float]:
    """The published formula; silent where all or no draws of 4 hold a correct answer."""
    rho = 1 - math.comb(size - k, 4) / math.comb(size, 4)
    if rho in (0, 1):
        return 0.0, 0.0
    sigma = math.sqrt(rho * (1 - rho))
    others = math.comb(size - k - 1, 3) / math.comb(size - 1, 3)
    return (1 - rho) / sigma, (1 - rho - others) / sigma


def pkpo_4(k: int, size: int) -> tuple[float, float]:
    """Credit of each correct rollout minus the mean credit of the others."""
    if k == 0:
        return 0.0, 0.0
    credit = [math.comb(size - k, 3) / math.comb(size - 1, 3)] * k + [0.0] * (size - k)
    plus, minus = credit[0], credit[-1]
    return plus - (sum(credit) - plus) / (size - 1), minus - (sum(credit) - minus) / (size - 1)


def lead_of_the_best(k: int, size: int) -> tuple[float, float]:
    """One correct of G has sample variance (1/G)(1 − 1/G)·G/(G−1) = 1/G."""
    return (1 / (math.sqrt(1 / size) + 1e-6), 0.0) if k == 1 else (0.0, 0.0)


def quantile_04(k: int, size: int) -> tuple[float, float]:
    """0.4-quantile of G − k zeros and k ones, between the two order statistics around it."""
    if k in (0, size):
        return 0.0, 0.0
    ascending = [0.0] * (size - k) + [1.0] * k
    position = 0.4 * (size - 1)
    low = math.floor(position)
    baseline = ascending[low] + (position - low) * (ascending[low + 1] - ascending[low])
    sigma = math.sqrt(k * (size - k)) / size
    return (1 - baseline) / sigma, -baseline / sigma


def enough_variance(k: int, size: int) -> tuple[float, float]:
    """Variance k(G−k)/(G(G−1)) over the largest one, G/(4(G−1)) for even G, at least 0.3."""
    largest = size / (4 * (size - 1))
    share = k * (size - k) / (size * (size - 1)) / largest
    return grpo(k, size) if share >= 0.3 else (0.0, 0.0)


def virtual_rewards(k: int, size: int) -> tuple[float, float]:
    """2 of the G + 1 reference groups are unanimous, so ⌈2G/(G+1)⌉ = 2 virtual rewards."""
    if 0 < k < size:
        return grpo(k, size)
    total = size + 2
    sigma = math.sqrt(size * 2) / total
    return (2 / total) / sigma, -(2 / total) / sigma


SHAPING_FORMULAS: dict[str, Formula] = {
    "avspo": virtual_rewards,
    "daro": grpo,
    "grpo_passk": lead_of_the_best,
    "lens": grpo,
    "pass_at_k": pass_at_4,
    "pkpo": pkpo_4,
    "pvpo": lambda k, n: (0.5, -0.5),
    "quantile": quantile_04,
    "rank": lambda k, n: ((n - k) / (n - 1), -k / (n - 1)),
    "rl_zvp": lambda k, n: grpo(k, n) if 0 < k < n else (0.1, 0.0),
    "seed_grpo": lambda k, n: (0.5 * (1 - k / n), -0.5 * k / n),
    "surrogate": grpo,
    "unlikeliness": grpo,
    "vcrl": enough_variance,
    "xrpo": grpo,
}
