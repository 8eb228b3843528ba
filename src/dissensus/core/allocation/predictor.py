"""Solve rates of prompts from their features and the rates of others."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray, IntArray
from dissensus.errors import InputError

__all__ = ["as_features", "attend", "regress"]

_LEAST_NOISE = 0.01


def as_features(features: ArrayLike | None, prompts: int, where: str) -> FloatArray | None:
    """(n, d) finite numbers, one row per prompt, or None.

    Raises:
        InputError: Another shape, or a number that is not finite.
    """
    if features is None:
        return None
    table = np.array(features, dtype=np.float64)
    if table.ndim != 2 or len(table) != prompts or not np.isfinite(table).all():
        raise InputError(
            f"features must be finite, with one row for each of {prompts} prompts",
            where=where,
            got=table.shape,
        )
    return table


def regress(
    features: FloatArray, known: IntArray, rate: FloatArray, size: FloatArray, wanted: IntArray
) -> FloatArray:
    """Posterior mean of a Gaussian process with a squared-exponential kernel.

        p̂ = m + K_*(K + D)⁻¹(rate − m),   D_i = max(rate_i(1 − rate_i), .01)/n_i,   m = mean rate

    The length scale is the median distance of known prompts, the amplitude the variance of their
    rates. Clipped to [0, 1].

    Args:
        features: (n, d) of all prompts.
        known: (K,) prompts whose rate was seen.
        rate: (K,) it.
        size: (K,) rollouts it is of.
        wanted: (W,) prompts to predict.
    """
    apart = _squared_distances(features[known], features[known])
    others = apart[~np.eye(len(known), dtype=np.bool_)]
    scale = float(np.median(others)) if others.size else 1.0
    scale = scale if scale > 0 else 1.0
    mean, amplitude = float(rate.mean()), max(float(rate.var()), _LEAST_NOISE)
    noise = np.maximum(rate * (1 - rate), _LEAST_NOISE) / size
    kernel = amplitude * np.exp(-0.5 * apart / scale) + np.diag(noise)
    cross = amplitude * np.exp(-0.5 * _squared_distances(features[wanted], features[known]) / scale)
    return np.clip(mean + cross @ np.linalg.solve(kernel, rate - mean), 0.0, 1.0)


def attend(features: FloatArray, known: IntArray, rate: FloatArray, wanted: IntArray) -> FloatArray:
    """Attention over known prompts.

    p̂ = Σ_j softmax_j(z · z_j / √d) rate_j
    """
    scores = features[wanted] @ features[known].T / np.sqrt(features.shape[1])
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(weights @ rate / weights.sum(axis=1))


def _squared_distances(first: FloatArray, second: FloatArray) -> FloatArray:
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :]
    return np.asarray(np.maximum(squares - 2 * first @ second.T, 0.0))
