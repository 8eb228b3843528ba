"""A₊ and A₋ of rules that look at rewards only, as `rule_formulas` has them.

The reference batch of a batch rule is one group of each j = 0 … G correct of G.
"""

from __future__ import annotations

import math
import statistics


def split(k: int, n: int) -> bool:
    return 0 < k < n


def sample_std(rewards: list[float]) -> float:
    return statistics.stdev(rewards)


def rewards_of(k: int, n: int) -> list[float]:
    return [1.0] * k + [0.0] * (n - k)


def normalised(k: int, n: int) -> tuple[float, float]:
    """GRPO with ddof 1 and eps 0."""
    if not split(k, n):
        return 0.0, 0.0
    std = sample_std(rewards_of(k, n))
    return (1 - k / n) / std, -k / n / std


def bnpo(k: int, n: int) -> tuple[float, float]:
    if not split(k, n):
        return 0.0, 0.0
    rates = [j / n for j in range(n + 1)]
    mu, v = statistics.mean(rates), statistics.variance(rates)
    alpha = max(1, 1 + (mu * (1 - mu) / v - 1) * mu / 3)
    beta = max(1, 1 + (mu * (1 - mu) / v - 1) * (1 - mu) / 3)
    normaliser = math.gamma(alpha) * math.gamma(beta) / math.gamma(alpha + beta)
    p = k / n
    weight = normaliser / (p ** (alpha - 1) * (1 - p) ** (beta - 1))
    return weight * (1 - p), -weight * p


def f_grpo(k: int, n: int) -> tuple[float, float]:
    plus, minus = normalised(k, n)
    return (1 - k / n) * plus, (1 - k / n) * minus


def gdpo(k: int, n: int) -> tuple[float, float]:
    """One reward function; the token-whitening of one group of each j, where all lengths are 1."""

    def one(j: int) -> tuple[float, float]:
        if not split(j, n):
            return 0.0, 0.0
        std = sample_std(rewards_of(j, n)) + 1e-6
        return (1 - j / n) / std, -j / n / std

    squares = sum(j * one(j)[0] ** 2 + (n - j) * one(j)[1] ** 2 for j in range(n + 1))
    std = math.sqrt(squares / (n * (n + 1) - 1) + 1e-8)
    return one(k)[0] / std, one(k)[1] / std


def gpg(k: int, n: int) -> tuple[float, float]:
    alpha = (n + 1) / (n - 1)  # of the n + 1 groups of the reference two are unanimous
    return alpha * (1 - k / n), -alpha * k / n


def grpo_lead(k: int, n: int) -> tuple[float, float]:
    def w(x: float) -> float:
        return 0.4 + 1.1 / (1 + math.exp(10 * (x - 0.75)))

    plus, minus = normalised(k, n)
    return w(k / n) * plus, w(1 - k / n) * minus


def ha_dw(k: int, n: int) -> tuple[float, float]:
    """The one batch in memory is the reference, whose mean reward is ½."""
    plus, minus = normalised(k, n)
    away = k / n - 0.5
    up, down = (math.exp(s * math.copysign(1, away) * abs(away)) for s in (-1, 1))
    return 1.5 * up * plus, 1.5 * down * minus


def maclaurin(k: int, n: int) -> tuple[float, float]:
    wrong = n - k
    terms = (math.comb(wrong - 1, j - 1) / math.comb(n - 1, j - 1) for j in range(2, wrong + 1))
    return 1.0, -sum(terms)


def maclaurin_baseline(k: int, n: int) -> tuple[float, float]:
    wrong = n - k
    plus, minus = 1.0, -1.0 if k == 0 else 0.0
    for j in range(2, min(n - 1, wrong) + 1):
        ratio = math.comb(wrong, j) / (math.comb(n, j) - 1)
        plus += ratio
        minus += ratio * (1 - n / wrong)
    return plus, minus


def mcpo(k: int, n: int) -> tuple[float, float]:
    if not split(k, n):
        return 0.0, 0.0
    m = k / n
    s = math.sqrt(m * (1 - m))
    scale = 1.0 if m <= 0.5 else 2 * s
    return (1 - m) / (s * scale), -m / (s * scale)


def nemo_rl_loo(k: int, n: int) -> tuple[float, float]:
    def against(reward: float, others: list[float]) -> float:
        away, std = reward - statistics.mean(others), sample_std(others)
        return away / (std + 1e-6) if std > 0 else away

    plus = against(1.0, rewards_of(k - 1, n - 1)) if k else 0.0
    minus = against(0.0, rewards_of(k, n - 1)) if k < n else 0.0
    return plus, minus


def ngrpo(k: int, n: int) -> tuple[float, float]:
    if k == n:
        return 0.0, 0.0
    joined = [*rewards_of(k, n), 1.0]
    mean, std = statistics.mean(joined), sample_std(joined)
    return (1 - mean) / std, -mean / std


def one_sided_grpo(k: int, n: int) -> tuple[float, float]:
    return ((1 - k / n) / math.sqrt(k / n), -math.sqrt(k / n)) if k else (0.0, 0.0)


def reinforce_pp(_: int, n: int) -> tuple[float, float]:
    count = n * (n + 1)  # half of them are 1
    std = math.sqrt(0.25 * count / (count - 1) + 1e-8)
    return 0.5 / std, -0.5 / std


def scale_rl(k: int, n: int) -> tuple[float, float]:
    squares = sum(j * (n - j) / n for j in range(n + 1))
    std = math.sqrt(squares / (n * (n - 1) - 1))  # the n − 1 split groups
    return (1 - k / n) / std, -k / n / std


RULES_OF_REWARDS = {
    "bnpo": bnpo,
    "f_grpo": f_grpo,
    "gdpo": gdpo,
    "gpg": gpg,
    "grpo_lead": grpo_lead,
    "ha_dw": ha_dw,
    "maclaurin": maclaurin,
    "maclaurin_baseline": maclaurin_baseline,
    "mcpo": mcpo,
    "nemo_rl_loo": nemo_rl_loo,
    "ngrpo": ngrpo,
    "one_sided_grpo": one_sided_grpo,
    "opo": lambda k, n: (1 - k / n, -k / n),  # all lengths equal
    "reinforce_pp": reinforce_pp,
    "scale_rl": scale_rl,
    "sign": lambda k, n: (1.0, -1.0),
    "vr_cond": lambda k, n: ((n - k) / k if k else 0.0, -1.0),
}
