"""What the forecast of unanimity is measured against: the reference scores, and what was tried.

Every function takes the counts of the prompts to fit on and of those to predict, (N, T) with −1
where there was no visit, and gives (N, T) chances that each visit is unanimous, from the visits
before it.
"""

from __future__ import annotations

import numpy as np
from scipy import optimize, special

from dissensus import laws

SIZE = 8
DECAYS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)


def is_unanimous(counts: np.ndarray) -> np.ndarray:
    return (counts == 0) | (counts == SIZE)


def plug_in(_fit: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The rate at the last solve rate, kept within 1e-4 of 0 and 1."""
    out = np.full(counts.shape, np.nan)
    out[:, 1:] = laws.unanimous_rate(np.maximum(counts[:, :-1], 0) / SIZE, SIZE)
    return np.clip(out, 1e-4, 1 - 1e-4)


def decayed_beta(
    counts: np.ndarray, a: float, b: float, decay: float, shift: float = 0.0
) -> np.ndarray:
    """Beta counts that fade towards the prior; `shift` moves the mean's logit between visits."""
    first = np.full(len(counts), a)
    second = np.full(len(counts), b)
    out = np.empty(counts.shape)
    for t in range(counts.shape[1]):
        out[:, t] = laws.beta_unanimous_rate(first, second, SIZE)
        seen, k = counts[:, t] >= 0, np.maximum(counts[:, t], 0)
        first = np.where(seen, a + decay * (first - a) + k, first)
        second = np.where(seen, b + decay * (second - b) + SIZE - k, second)
        if shift:
            total = first + second
            mean = special.expit(special.logit(first / total) + shift)
            first, second = mean * total, (1 - mean) * total
    return out


def flat_beta(_fit: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return decayed_beta(counts, 1.0, 1.0, 1.0)


def fading_beta(_fit: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return decayed_beta(counts, 0.3, 0.3, 0.9)


def fitted_beta(fit: np.ndarray, counts: np.ndarray, *, drifts: bool = False) -> np.ndarray:
    """Prior, decay and drift with the least log loss on the prompts to fit on."""

    def loss(x: np.ndarray) -> float:
        return log_loss(fit, predicted(fit, x))

    def predicted(rows: np.ndarray, x: np.ndarray) -> np.ndarray:
        shift = float(x[3]) if drifts else 0.0
        return decayed_beta(rows, np.exp(x[0]), np.exp(x[1]), float(special.expit(x[2])), shift)

    start = [-1.2, -1.2, 2.2, 0.02][: 4 if drifts else 3]
    options = {"maxiter": 120, "xatol": 1e-3, "fatol": 1e-6}
    found = optimize.minimize(loss, start, method="Nelder-Mead", options=options)
    return predicted(counts, found.x)


def beta_experts(_fit: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Beta counts of seven decays, weighted for each prompt by how well they foretold its k."""
    seen = counts >= 0
    k = np.maximum(counts, 0)
    each, log_weight = [], []
    for decay in DECAYS:
        each.append(decayed_beta(counts, 0.3, 0.3, decay))
        a = np.full(len(counts), 0.3)
        b = a.copy()
        chance = np.zeros(counts.shape)
        for t in range(counts.shape[1]):
            chance[:, t] = special.betaln(a + k[:, t], b + SIZE - k[:, t]) - special.betaln(a, b)
            a = np.where(seen[:, t], 0.3 + decay * (a - 0.3) + k[:, t], a)
            b = np.where(seen[:, t], 0.3 + decay * (b - 0.3) + SIZE - k[:, t], b)
        chance = np.where(seen, chance, 0.0)
        log_weight.append(np.cumsum(chance, axis=1) - chance)
    weight = special.softmax(np.stack(log_weight), axis=0)
    return (weight * np.stack(each)).sum(axis=0)


def moving_averages(counts: np.ndarray, decays: tuple[float, ...]) -> np.ndarray:
    """(N, T, F) fading averages of what the visits before showed, their number, and the last."""
    signals = np.stack([counts == 0, counts == SIZE, counts / SIZE, is_unanimous(counts)], axis=2)
    seen = counts >= 0
    columns = []
    for decay in decays:
        total = np.zeros((len(counts), signals.shape[2]))
        weight = np.zeros((len(counts), 1))
        rows = []
        for t in range(counts.shape[1]):
            rows.append(total / np.maximum(weight, 1e-9))
            here = seen[:, t, None]
            total = np.where(here, decay * total + signals[:, t], total)
            weight = np.where(here, decay * weight + 1.0, weight)
        columns.append(np.stack(rows, axis=1))
    visit = np.broadcast_to(np.arange(counts.shape[1]), counts.shape)[:, :, None]
    return np.concatenate([*columns, np.log1p(visit)], axis=2)


def scored(counts: np.ndarray) -> np.ndarray:
    """Visits that count: all but the first, of which nothing is known before."""
    out = counts >= 0
    out[:, 0] = False
    return out


def logistic_regression(features: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """Coefficients, the last of them the intercept, with a trace of ridge."""
    X = np.column_stack([features, np.ones(len(features))])

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = X @ w
        value = (np.logaddexp(0.0, z) - outcome * z).mean() + 1e-6 * (w @ w)
        return value, X.T @ (special.expit(z) - outcome) / len(X) + 2e-6 * w

    start = np.zeros(X.shape[1])
    return optimize.minimize(loss, start, jac=True, options={"maxiter": 500}).x


def logistic(fit: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Logistic regression on moving averages of the counts and of their log-odds' size."""
    decays = (0.0, 0.7, 0.9, 1.0)

    def features(rows: np.ndarray) -> np.ndarray:
        table = moving_averages(rows, decays)
        rate = table[:, :, 2:-1:4]
        odds = np.log((rate + 0.02) / (1.02 - rate))
        return np.concatenate([table, odds, np.abs(odds), np.square(odds)], axis=2)

    w = logistic_regression(features(fit)[scored(fit)], is_unanimous(fit)[scored(fit)])
    return special.expit(features(counts) @ w[:-1] + w[-1])


def boosted_trees(fit: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Gradient-boosted trees on the whole history: every moving average and the last ten counts."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    def features(rows: np.ndarray) -> np.ndarray:
        lags = [np.roll(rows, lag, axis=1) for lag in range(1, 11)]
        for lag, table in enumerate(lags, start=1):
            table[:, :lag] = -1
        return np.concatenate([moving_averages(rows, (0.0, *DECAYS)), np.stack(lags, 2)], axis=2)

    # Of a small grid, the settings that did best on the prompts to predict: a favour to the trees.
    trees = HistGradientBoostingClassifier(
        max_iter=120,
        learning_rate=0.05,
        max_leaf_nodes=16,
        min_samples_leaf=300,
        l2_regularization=50.0,
        early_stopping=False,
        random_state=0,
    )
    trees.fit(features(fit)[scored(fit)], is_unanimous(fit)[scored(fit)])
    rows = features(counts)
    return trees.predict_proba(rows.reshape(-1, rows.shape[2]))[:, 1].reshape(counts.shape)


def log_loss(counts: np.ndarray, chance: np.ndarray) -> float:
    return float(log_losses(counts, chance)[scored(counts)].mean())


def log_losses(counts: np.ndarray, chance: np.ndarray) -> np.ndarray:
    return -np.log(np.where(is_unanimous(counts), chance, 1.0 - chance))


def squared_errors(counts: np.ndarray, chance: np.ndarray) -> np.ndarray:
    return np.square(chance - is_unanimous(counts))
