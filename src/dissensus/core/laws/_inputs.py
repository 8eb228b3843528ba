"""What the laws accept: checked once, at the public boundary."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.core.groups import FloatArray
from dissensus.errors import InputError

__all__ = [
    "SignatureLike",
    "as_counts",
    "as_group_size",
    "as_positive",
    "as_probability",
    "broadcast",
    "contrast_of",
    "positive_negative_of",
]


class SignatureLike(Protocol):
    """The advantages a rule gives to correct and wrong rollouts, by the number k of correct ones.

    Arrays of length G+1, indexed by k. `positive[0]` and `negative[G]` belong to nobody: NaN.
    """

    @property
    def group_size(self) -> int:
        """G, the rollouts of one group."""

    @property
    def positive(self) -> FloatArray:
        """A₊(k), advantage of each correct rollout."""

    @property
    def negative(self) -> FloatArray:
        """A₋(k), advantage of each wrong rollout."""

    @property
    def contrast(self) -> FloatArray:
        """W(k) = m(1−m)(A₊ − A₋), m = k/G; 0 at k = 0 and k = G."""

    @property
    def push(self) -> FloatArray:
        """B(k) = m·A₊ + (1−m)·A₋, the mean advantage."""


def _as_numbers(values: ArrayLike, name: str) -> FloatArray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"The '{name}' parameter must hold numbers", got=values) from error


def _first_bad(values: NDArray[Any], good: NDArray[np.bool_]) -> Any:
    return np.ravel(values)[int(np.flatnonzero(~np.ravel(good))[0])].item()


def as_probability(p: ArrayLike, name: str = "p") -> FloatArray:
    """Numbers in [0, 1] as float64; NaN is refused."""
    values = _as_numbers(p, name)
    good = (values >= 0) & (values <= 1)
    if not good.all():
        raise InputError(f"The '{name}' parameter must lie in [0, 1]", got=_first_bad(values, good))
    return values


def as_positive(x: ArrayLike, name: str) -> FloatArray:
    """Finite numbers above 0 as float64."""
    values = _as_numbers(x, name)
    good = (values > 0) & np.isfinite(values)
    if not good.all():
        raise InputError(
            f"The '{name}' parameter must be finite and > 0", got=_first_bad(values, good)
        )
    return values


def as_counts(x: ArrayLike, name: str, *, least: int = 0) -> FloatArray:
    """Whole numbers ≥ `least` as float64 (exact up to 2^53)."""
    values = _as_numbers(x, name)
    good = (values >= least) & (values <= 2.0**53) & (values == np.floor(values))
    if not good.all():
        raise InputError(
            f"The '{name}' parameter must be a whole number ≥ {least}",
            got=_first_bad(values, good),
        )
    return values


def as_group_size(group_size: ArrayLike) -> FloatArray:
    """Whole numbers ≥ 1 as float64."""
    return as_counts(group_size, "group_size", least=1)


def broadcast(**arrays: FloatArray) -> tuple[FloatArray, ...]:
    """Arrays brought to one shape, or one line that names the shapes."""
    try:
        return tuple(np.broadcast_arrays(*arrays.values()))
    except ValueError as error:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise InputError(f"Shapes do not broadcast: {shapes}") from error


def _column(signature: SignatureLike, name: str) -> FloatArray:
    try:
        group_size = int(as_group_size(signature.group_size))
        values = np.asarray(getattr(signature, name), dtype=np.float64)
    except (AttributeError, TypeError) as error:
        raise InputError(
            "signature must have group_size, positive, negative, contrast and push",
            got=type(signature).__name__,
            hint="make one with advantages.signature(estimator, group_size)",
        ) from error
    if values.shape != (group_size + 1,):
        raise InputError(
            f"signature.{name} must have one entry per count 0 … {group_size}", got=values.shape
        )
    return values


def _refuse_nan(values: FloatArray, name: str) -> None:
    if not np.isfinite(values).all():
        k = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(f"signature.{name} is not finite at k = {k}", got=float(values[k]))


def contrast_of(signature: SignatureLike) -> FloatArray:
    """(G+1,) W(k), finite everywhere."""
    contrast = _column(signature, "contrast")
    _refuse_nan(contrast, "contrast")
    return contrast


def positive_negative_of(signature: SignatureLike) -> tuple[FloatArray, FloatArray]:
    """(G+1,) A₊ and A₋, with 0 in the two places that belong to nobody."""
    positive = _column(signature, "positive").copy()
    negative = _column(signature, "negative").copy()
    positive[0] = 0.0
    negative[-1] = 0.0
    _refuse_nan(positive, "positive")
    _refuse_nan(negative, "negative")
    return positive, negative
