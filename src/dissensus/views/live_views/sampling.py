"""Fewer points that look the same: of every pixel the smallest and the largest value are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["extremes", "extremes_of_cells"]


def extremes(series: Sequence[ArrayLike], points: int) -> NDArray[np.int64]:
    """Which places of several series over one axis to draw.

    The axis is cut into `points` pixels of equally many places. Of each pixel the places where any
    series is smallest or largest are kept, and the first and the last place of all.

    Args:
        series: (N,) each; NaN is neither small nor large.
        points: Pixels.

    Returns:
        Places in order; all of them where there are no more than two to a pixel.

    Example:
        >>> extremes([[0, 9, 1, 0, -5, 0, 0, 0]], points=2).tolist()
        [0, 1, 4, 5, 7]
    """
    columns = [np.asarray(each, dtype=np.float64) for each in series]
    count = len(columns[0]) if columns else 0
    if count <= 2 * points:
        return np.arange(count)
    starts = np.linspace(0, count, points, endpoint=False).astype(np.int64)
    pixel = np.zeros(count, dtype=np.int64)
    pixel[starts[1:]] = 1
    pixel = np.cumsum(pixel)
    kept = [np.array([0, count - 1])]
    for values in columns:
        for sign in (1.0, -1.0):
            key = np.where(np.isnan(values), np.inf, sign * values)
            order = np.lexsort((key, pixel))
            kept.append(order[starts][np.isfinite(key[order[starts]])])
    return np.unique(np.concatenate(kept))


def extremes_of_cells(x: ArrayLike, y: ArrayLike, cells: int) -> NDArray[np.int64]:
    """Which points of a cloud to draw: in each of `cells` columns and rows the outermost ones.

    Of every cell of a `cells` × `cells` raster one point is kept, of every column those with the
    smallest and the largest y, and the two ends of x, so that no outlier is lost.

    Args:
        x: (N,) finite.
        y: (N,) finite.
        cells: Columns, and rows.

    Example:
        >>> extremes_of_cells([0, 0, 0, 1], [0, 0.01, 1, 1], cells=2).tolist()
        [0, 2, 3]
    """
    across, up = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(across) <= cells:
        return np.arange(len(across))
    column, row = _binned(across, cells), _binned(up, cells)
    one_per_cell = np.unique(column * cells + row, return_index=True)[1]
    order = np.lexsort((up, column))
    first = np.flatnonzero(np.diff(column[order], prepend=-1))
    last = np.append(first[1:], len(order)) - 1
    ends = np.array([across.argmin(), across.argmax()])
    return np.unique(np.concatenate([one_per_cell, order[first], order[last], ends]))


def _binned(values: NDArray[np.float64], cells: int) -> NDArray[np.int64]:
    low, high = values.min(), values.max()
    if not high > low:
        return np.zeros(len(values), dtype=np.int64)
    place = (values - low) / (high - low) * cells  # divided first: the span can be subnormal
    binned: NDArray[np.int64] = np.minimum(place, cells - 1).astype(np.int64)
    return binned
