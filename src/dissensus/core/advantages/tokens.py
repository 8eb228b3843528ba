"""Between rollouts and their tokens in flat arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.advantages.base import Context
from dissensus.core.groups import FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError

__all__ = ["log_likelihood_per_token", "max_over_tokens", "mean_over_tokens", "sum_over_tokens"]


def sum_over_tokens(tokens: ArrayLike, offsets: IntArray) -> FloatArray:
    """(N,) sum of the (T,) values of each rollout's tokens, from `offsets` (N+1,)."""
    totals: Any = np.concatenate([[0.0], np.cumsum(tokens, dtype=np.float64)])
    return np.asarray(totals[offsets[1:]] - totals[offsets[:-1]], dtype=np.float64)


def mean_over_tokens(tokens: ArrayLike, offsets: IntArray) -> FloatArray:
    """(N,) mean of each rollout's token values; 0 for a rollout without tokens."""
    return sum_over_tokens(tokens, offsets) / np.maximum(np.diff(offsets), 1)


def max_over_tokens(tokens: ArrayLike, offsets: IntArray) -> FloatArray:
    """(N,) largest of each rollout's token values; 0 for a rollout without tokens."""
    largest = np.zeros(len(offsets) - 1)
    has_tokens = np.diff(offsets) > 0
    if has_tokens.any():  # reduceat takes an empty segment for the value that follows it
        largest[has_tokens] = np.maximum.reduceat(tokens, offsets[:-1][has_tokens])
    return largest


def log_likelihood_per_token(groups: RewardGroups, context: Context) -> FloatArray:
    """(N,) log-likelihood of each completion over its length, in nats.

    Raises:
        InputError: A scored rollout without a finite log-likelihood.
    """
    lengths: FloatArray = np.maximum(np.asarray(context.lengths), 1.0, dtype=np.float64)
    values: FloatArray = np.divide(np.asarray(context.log_likelihoods), lengths, out=lengths)
    if not np.isfinite(values.sum()):  # one pass says that all is well
        values = np.where(groups.is_scored, values, 0.0)
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise InputError(
                "log-likelihoods of scored rollouts must be finite",
                where=f"context field 'log_likelihoods', row {row}",
                got=float(values[row]),
            )
    return values
