"""Between rollouts and their tokens in flat arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray, IntArray

__all__ = ["mean_over_tokens", "sum_over_tokens"]


def sum_over_tokens(tokens: ArrayLike, offsets: IntArray) -> FloatArray:
    """(N,) sum of the (T,) values of each rollout's tokens, from `offsets` (N+1,)."""
    totals: Any = np.concatenate([[0.0], np.cumsum(tokens, dtype=np.float64)])
    return np.asarray(totals[offsets[1:]] - totals[offsets[:-1]], dtype=np.float64)


def mean_over_tokens(tokens: ArrayLike, offsets: IntArray) -> FloatArray:
    """(N,) mean of each rollout's token values; 0 for a rollout without tokens."""
    return sum_over_tokens(tokens, offsets) / np.maximum(np.diff(offsets), 1)
