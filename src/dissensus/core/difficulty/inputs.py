"""What the difficulty posterior accepts: checked once, at the public boundary."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dissensus.core.groups import FloatArray, IntArray
from dissensus.core.laws._inputs import as_counts, broadcast
from dissensus.errors import InputError

__all__ = ["checked_indices", "checked_visits"]


def checked_indices(prompts: ArrayLike, where: str, count: int | None = None) -> IntArray:
    """(N,) whole numbers from 0, below `count` where one is given."""
    index = np.asarray(prompts)
    if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
        raise InputError(
            "prompts must be a list of whole numbers",
            where=where,
            got=(index.dtype.name, index.shape),
            hint="number the prompts from 0, for example in the order of the data set",
        )
    index = index.astype(np.int64, copy=False)
    if index.size and (index.min() < 0 or (count is not None and index.max() >= count)):
        bad = index.min() if index.min() < 0 else index.max()
        top = "" if count is None else f" and below {count}"
        raise InputError(
            f"prompts must be ≥ 0{top}",
            where=where,
            got=int(bad),
            hint="prompts that appear later are added with grow()",
        )
    return index


def checked_visits(
    prompts: ArrayLike, correct: ArrayLike, size: ArrayLike, where: str, count: int | None = None
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Visits with at least one scored rollout, as prompts, k and n."""
    index = checked_indices(prompts, where, count)
    k, n = broadcast(correct=as_counts(correct, "correct"), size=as_counts(size, "size"))
    if k.ndim and k.shape != index.shape:
        raise InputError("one count per prompt is needed", where=where, got=(index.shape, k.shape))
    k, n = np.broadcast_to(k, index.shape), np.broadcast_to(n, index.shape)
    if (k > n).any():
        raise InputError("correct must not exceed size", where=where, got=float(k[k > n][0]))
    scored = n > 0
    return index[scored], k[scored], n[scored]
