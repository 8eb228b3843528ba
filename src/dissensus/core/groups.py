"""Rewards by group: the one way this project holds them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.errors import InputError

__all__ = ["DEFAULT_TOL", "BoolArray", "FloatArray", "IntArray", "RewardGroups", "id_kinds"]

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]

DEFAULT_TOL = 1e-6
"""Rewards closer than this are equal. Constant float32 rewards such as 0.1 do not have zero std."""

_LARGEST = 1e150
"""Squares of larger rewards overflow: their standard deviation would be infinite."""


_INT8_MAX = 127
"""Flags of wider groups are not counted in bytes: the count could overflow."""


class _Deviation(NamedTuple):
    centered: FloatArray  # (N,)
    squares: FloatArray  # (P,) their sum of squares


class RewardGroups:
    """Rewards of N rollouts in P groups: any order of rows, any group sizes, float64 inside.

    A reward of NaN marks an unscored rollout: it belongs to its group, counts in `rollouts`, and is
    left out of every statistic. Groups are numbered by first appearance. A one-rollout group is
    unanimous, has std(ddof=0) = 0 and std(ddof=1) = NaN; a group without a scored rollout has size
    0, NaN statistics, and is neither unanimous nor split.

    Whether a rollout is *correct* is a declared property: a threshold on the reward or one flag per
    rollout. Without a declaration, rewards that take two values are read as wrong and correct (also
    a single value where that is 0, 1 or −1); anything else is unknown, and `correct` is None.

    Build with `from_flat` or `from_dense`. All arrays are read-only.

    Attributes:
        rewards: (N,) float64, in input order.
        tol: Rewards of a group are equal when max − min ≤ tol.
        ids: (P,) group ids, in order of first appearance.
        rollouts: (P,) rows of each group, unscored ones included.

    Example:
        >>> groups = RewardGroups.from_flat([1, 0, 1, 1], ["a", "a", "b", "b"])
        >>> groups.mean.tolist(), groups.std().tolist(), groups.is_unanimous().tolist()
        ([0.5, 1.0], [0.5, 0.0], [False, True])
        >>> groups.correct.tolist()
        [1, 2]

    Source: arXiv:2607.00152, section 2, for the words; unanimity by range is this project's.
    """

    def __init__(
        self,
        rewards: FloatArray,
        ids: NDArray[Any],
        rollouts: IntArray,
        *,
        index: IntArray | None,
        correct: float | BoolArray | Literal["unknown"] | None,
        tol: float,
    ) -> None:
        # `index` is the group of each row; None says that the rows of a group stand together, and
        # that the groups stand in order: then no index is needed, and everything is faster.
        self.rewards, self.ids, self.rollouts = _frozen(rewards), _frozen(ids), _frozen(rollouts)
        self.tol = tol
        self._declared, self._scattered_index = correct, index

    @classmethod
    def from_flat(
        cls,
        rewards: ArrayLike,
        group_ids: ArrayLike | Sequence[int] | Sequence[str],
        *,
        correct: float | ArrayLike | Literal["unknown"] | None = None,
        tol: float = DEFAULT_TOL,
    ) -> RewardGroups:
        """Group N rewards by their group id.

        Args:
            rewards: (N,) numbers or booleans; NaN or None marks an unscored rollout.
            group_ids: (N,) all integers or all strings, in any order.
            correct: Threshold (correct when reward ≥ correct − tol), or (N,) booleans, or
                "unknown", or None to read it from two-valued rewards.
            tol: Rewards closer than this are equal; in reward units.

        Raises:
            InputError: Empty input, lengths that differ, rewards that are infinite or above 1e150,
                ids of mixed types, or a tolerance below zero.
        """
        values = _as_rewards(rewards, ndim=1)
        ids = _as_ids(group_ids)
        if len(values) != len(ids):
            raise InputError(
                "rewards and group_ids must have one entry per rollout",
                where="RewardGroups.from_flat",
                got=(len(values), len(ids)),
            )
        names, rollouts, index = _factorize(ids)
        declared = _as_correct(correct, len(values))
        return cls(values, names, rollouts, index=index, correct=declared, tol=_as_tol(tol))

    @classmethod
    def from_dense(
        cls,
        rewards_P_G: ArrayLike,
        *,
        ids: ArrayLike | None = None,
        correct: float | ArrayLike | Literal["unknown"] | None = None,
        tol: float = DEFAULT_TOL,
    ) -> RewardGroups:
        """Group a (P, G) table of rewards: one row a group; ids default to 0 … P−1.

        Raises:
            InputError: As `from_flat`; also ids that repeat or do not match the rows, or flags of
                another shape than the rewards.

        Example:
            >>> RewardGroups.from_dense([[1, 0, 0, 0]]).std().round(4).tolist()
            [0.433]
        """
        table = _as_rewards(rewards_P_G, ndim=2)
        n_groups, size = table.shape
        names = np.arange(n_groups) if ids is None else _as_ids(ids).copy()
        if len(names) != n_groups or len(np.unique(names)) != n_groups:
            raise InputError(
                f"ids must name each of the {n_groups} groups once",
                where="RewardGroups.from_dense",
                got=names[:8].tolist(),
            )
        if correct is not None and np.ndim(correct) > 0:
            if np.shape(correct) != table.shape:
                raise InputError(
                    f"correct must be a threshold, or booleans of the rewards' shape {table.shape}",
                    where="RewardGroups.from_dense",
                    got=np.shape(correct),
                )
            correct = np.ravel(correct)
        declared = _as_correct(correct, table.size)
        rollouts = np.full(n_groups, size, dtype=np.int64)
        return cls(table.ravel(), names, rollouts, index=None, correct=declared, tol=_as_tol(tol))

    def with_correct(self, correct: float | ArrayLike | Literal["unknown"] | None) -> RewardGroups:
        """The same groups under another declaration of what is correct, as `from_flat` takes it."""
        return RewardGroups(
            self.rewards,
            self.ids,
            self.rollouts,
            index=self._scattered_index,
            correct=_as_correct(correct, self.n_rollouts),
            tol=self.tol,
        )

    def with_rewards(self, rewards: ArrayLike) -> RewardGroups:
        """The same groups under other rewards, (N,); unscored rollouts stay unscored."""
        values = _as_rewards(rewards, ndim=1)
        if len(values) != self.n_rollouts:
            raise InputError("rewards must have one entry per rollout", got=len(values))
        if not self._all_scored:
            values[~self.is_scored] = np.nan
        correct: BoolArray | Literal["unknown"]
        correct = "unknown" if self.is_correct is None else self.is_correct
        return RewardGroups(
            values,
            self.ids,
            self.rollouts,
            index=self._scattered_index,
            correct=correct,
            tol=self.tol,
        )

    def __len__(self) -> int:
        """Number of groups, P."""
        return len(self.ids)

    def __repr__(self) -> str:
        sizes = sorted({int(self.rollouts.min()), int(self.rollouts.max())})
        span = "…".join(map(str, sizes))
        return f"RewardGroups({len(self)} groups of {span}, {self.n_rollouts} rollouts)"

    @property
    def n_rollouts(self) -> int:
        """Number of rollouts, N, unscored ones included."""
        return len(self.rewards)

    # ---- per rollout, in input order -------------------------------------------------------------

    @cached_property
    def index(self) -> IntArray:
        """(N,) position in `ids` of each rollout's group."""
        if self._scattered_index is not None:
            return _frozen(self._scattered_index)
        return _frozen(np.repeat(np.arange(len(self)), self.rollouts))

    @cached_property
    def is_scored(self) -> BoolArray:
        """(N,) False where the reward is NaN."""
        return _frozen(~np.isnan(self.rewards))

    @cached_property
    def is_correct(self) -> BoolArray | None:
        """(N,) whether each rollout is correct (False where unscored), or None where unknown."""
        if isinstance(self._declared, np.ndarray):
            return _frozen(self._declared & self.is_scored)
        threshold = self._threshold()
        if threshold is None:
            return None
        flags: BoolArray = self.rewards >= threshold - self.tol
        return _frozen(flags)

    @cached_property
    def centered(self) -> FloatArray:
        """(N,) reward − group mean; exactly 0 in unanimous groups and for unscored rollouts."""
        return _frozen(self._deviation.centered)

    # ---- per group -------------------------------------------------------------------------------

    @cached_property
    def size(self) -> IntArray:
        """(P,) scored rollouts of each group."""
        if self._all_scored:
            return self.rollouts
        return _frozen(self._sum(self.is_scored).astype(np.int64))

    @cached_property
    def mean(self) -> FloatArray:
        """(P,) mean reward over scored rollouts; NaN for a group without any."""
        values = self.rewards if self._all_scored else np.nan_to_num(self.rewards)
        return _frozen(_divide(self._sum(values), self.size))

    def std(self, ddof: int = 0) -> FloatArray:
        """(P,) standard deviation of the rewards, σ for ddof 0.

            sqrt( Σ (r − mean)² / (size − ddof) )

        Exactly 0 for unanimous groups; NaN where size ≤ ddof.
        """
        return np.sqrt(_divide(self._deviation.squares, self.size - ddof))

    @cached_property
    def min(self) -> FloatArray:
        """(P,) smallest reward; NaN for a group without a scored rollout."""
        return _frozen(self._extreme(np.minimum, np.inf))

    @cached_property
    def max(self) -> FloatArray:
        """(P,) largest reward; NaN for a group without a scored rollout."""
        return _frozen(self._extreme(np.maximum, -np.inf))

    @cached_property
    def range(self) -> FloatArray:
        """(P,) max − min."""
        return _frozen(self.max - self.min)

    @cached_property
    def correct(self) -> IntArray | None:
        """(P,) number of correct rollouts, k, or None where correctness is unknown."""
        if self.is_correct is None:
            return None
        return _frozen(self._sum(self.is_correct).astype(np.int64))

    def is_unanimous(self, tol: float | None = None) -> BoolArray:
        """(P,) whether all rewards of a group are equal: max − min ≤ tol (default: self.tol)."""
        return self._is_unanimous if tol is None else self._range_within(_as_tol(tol))

    @property
    def is_all_correct(self) -> BoolArray | None:
        """(P,) unanimous, and every scored rollout correct; None where correctness is unknown."""
        return None if self.correct is None else self.is_unanimous() & (self.correct == self.size)

    @property
    def is_all_wrong(self) -> BoolArray | None:
        """(P,) unanimous, and no scored rollout correct; None where correctness is unknown."""
        return None if self.correct is None else self.is_unanimous() & (self.correct == 0)

    @cached_property
    def width(self) -> int | None:
        """Rows of every group where all have the same number and stand in order, else None."""
        first = int(self.rollouts[0])
        same = self._scattered_index is None and _every(self.rollouts == first)
        return first if same else None

    # ---- between the two -------------------------------------------------------------------------

    def expand(self, per_group: ArrayLike) -> NDArray[Any]:
        """(P,) → (N,): each rollout gets its group's value, in input order."""
        values = np.asarray(per_group)
        if values.shape != (len(self),):
            raise InputError(
                f"expand needs one value per group, shape ({len(self)},)", got=values.shape
            )
        if self._scattered_index is None:
            return np.repeat(values, self.width or self.rollouts)
        return np.asarray(values[self._scattered_index])

    def sum_by_group(self, per_rollout: ArrayLike) -> FloatArray:
        """(N,) → (P,): sum over all rows of each group, unscored ones included."""
        values = np.asarray(per_rollout, dtype=np.float64)
        if values.shape != (self.n_rollouts,):
            raise InputError(
                f"sum_by_group needs one value per rollout, shape ({self.n_rollouts},)",
                got=values.shape,
            )
        return self._sum(values)

    def mean_by_group(self, per_rollout: ArrayLike) -> FloatArray:
        """(N,) → (P,): mean over scored rollouts; NaN for a group without any."""
        values = np.asarray(per_rollout, dtype=np.float64)
        if not self._all_scored:
            values = np.where(self.is_scored, values, 0.0)
        return _divide(self.sum_by_group(values), self.size)

    def scored(self, per_rollout: NDArray[Any]) -> NDArray[Any]:
        """(N,) → values of the scored rollouts; the array itself where that is all of them."""
        return per_rollout if self._all_scored else per_rollout[self.is_scored]

    # ---- private ---------------------------------------------------------------------------------

    @cached_property
    def _all_scored(self) -> bool:
        # Infinities were refused, so only a NaN spoils the sum; one pass without a temporary.
        return not np.isnan(self.rewards.sum())

    @cached_property
    def _starts(self) -> IntArray:
        starts: IntArray = np.cumsum(self.rollouts) - self.rollouts
        return starts

    @cached_property
    def _low_high(self) -> tuple[float, float]:
        """Smallest and largest reward of all; NaN, NaN where none is scored."""
        return float(np.fmin.reduce(self.rewards)), float(np.fmax.reduce(self.rewards))

    def _sum(self, per_rollout: NDArray[Any]) -> FloatArray:
        if self.width and per_rollout.dtype == np.float64:
            # Four times faster than reduceat, which starts anew for every group.
            return np.asarray(np.einsum("pg->p", per_rollout.reshape(-1, self.width)))
        if self.width and self.width <= _INT8_MAX and per_rollout.dtype == np.bool_:
            flags = per_rollout.reshape(-1, self.width).view(np.int8)
            return np.asarray(np.einsum("pg->p", flags), dtype=np.float64)
        if self._scattered_index is None:
            return np.add.reduceat(per_rollout, self._starts, dtype=np.float64)
        total = np.bincount(self._scattered_index, weights=per_rollout, minlength=len(self))
        return np.asarray(total, dtype=np.float64)

    def _extreme(self, ufunc: np.ufunc, identity: float) -> FloatArray:
        values = self.rewards
        if not self._all_scored:
            values = np.where(self.is_scored, values, identity)
        if self._scattered_index is None:
            out = ufunc.reduceat(values, self._starts)
        else:
            out = np.full(len(self), identity)
            ufunc.at(out, self._scattered_index, values)
        if not self._all_scored:
            out[self.size == 0] = np.nan
        return np.asarray(out)

    @cached_property
    def _is_unanimous(self) -> BoolArray:
        return _frozen(self._range_within(self.tol))

    def _range_within(self, limit: float) -> BoolArray:
        """(P,) max − min ≤ limit."""
        # range²/2 ≤ Σ(r − mean)² ≤ size·range²/4 decides nearly every group without the two passes
        # that extremes cost, as long as rounding is far below the tolerance.
        squares, largest = self._raw_deviation.squares, max(-self._low_high[0], self._low_high[1])
        if not limit > 1e-12 * largest * float(self.rollouts.max()):
            return self.range <= limit  # NaN, of a group without scored rollouts, compares False
        unanimous: BoolArray = (squares < 0.49 * limit**2) & (self.size > 0)
        undecided = ~unanimous & (squares < 0.26 * limit**2 * self.size)
        if np.count_nonzero(undecided):
            unanimous |= undecided & (self.range <= limit)
        return unanimous

    @cached_property
    def _raw_deviation(self) -> _Deviation:
        # In place: at millions of rows, fresh memory costs more than the arithmetic.
        centered: FloatArray = self.expand(self.mean)
        np.subtract(self.rewards, centered, out=centered)
        if not self._all_scored:
            np.nan_to_num(centered, copy=False)
        if self.width:
            table = centered.reshape(-1, self.width)
            return _Deviation(centered, np.einsum("pg,pg->p", table, table))
        return _Deviation(centered, self._sum(np.square(centered)))

    @cached_property
    def _deviation(self) -> _Deviation:
        centered, squares = self._raw_deviation
        # A mean of equal numbers can miss them by a rounding error, which nobody may divide by.
        residue = self.is_unanimous() & (squares > 0)
        if np.count_nonzero(residue):
            centered = np.where(self.expand(residue), 0.0, centered)
            squares = np.where(residue, 0.0, squares)
        return _Deviation(centered, squares)

    def _threshold(self) -> float | None:
        """Smallest reward that counts as correct, declared or read from two-valued rewards."""
        if isinstance(self._declared, float):
            return self._declared
        if self._declared is not None:
            return None
        low, high = self._low_high
        if math.isnan(low):
            return None
        if high - low <= self.tol:
            if min(abs(low), abs(low - 1), abs(low + 1)) > self.tol:
                return None
            return 1.0 if low <= self.tol else low
        is_end = (self.rewards <= low + self.tol) | (self.rewards >= high - self.tol)
        n_scored = self.n_rollouts if self._all_scored else np.count_nonzero(self.is_scored)
        return high if np.count_nonzero(is_end) == n_scored else None


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


def _every(flags: BoolArray) -> bool:
    # Several times faster than flags.all() for the few groups of one training step.
    return bool(np.count_nonzero(flags) == flags.size)


def _divide(total: NDArray[Any], count: NDArray[Any]) -> FloatArray:
    """Quotient total / count, NaN where count ≤ 0."""
    is_defined = count > 0
    if _every(is_defined):
        return np.asarray(total / count, dtype=np.float64)
    out = np.full(len(total), np.nan)
    np.divide(total, count, out=out, where=is_defined)
    return out


def _as_tol(tol: float) -> float:
    if not 0 <= tol < np.inf:
        raise InputError("The 'tol' parameter must be a finite number ≥ 0", got=tol)
    return float(tol)


def _as_rewards(rewards: ArrayLike, *, ndim: int) -> FloatArray:
    try:
        # Always a copy: no caller's array is frozen here, and none changes ours later.
        values = np.array(rewards, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise InputError(
            "rewards must be numbers", where="RewardGroups", hint="use NaN for an unscored rollout"
        ) from error
    if values.ndim != ndim or values.size == 0:
        raise InputError(
            f"rewards must be a non-empty {ndim}-D array",
            where="RewardGroups",
            got=values.shape,
        )
    flat = values.ravel()
    # The sum of squares is finite only if all is well: the costly search runs when it is not.
    with np.errstate(over="ignore", invalid="ignore"):
        is_sound = math.isfinite(flat.dot(flat))
    if not is_sound:
        _refuse_too_large(flat)
    return values


def _refuse_too_large(flat: FloatArray) -> None:
    is_too_large = np.abs(flat) > _LARGEST
    if is_too_large.any():
        row = int(np.argmax(is_too_large))
        raise InputError(
            f"rewards must be finite or NaN, and at most {_LARGEST:g} in size",
            where=f"RewardGroups, row {row}",
            got=float(flat[row]),
            hint="clip the reward, or give NaN for a rollout without a score",
        )


def _as_ids(group_ids: Any) -> NDArray[Any]:
    if not isinstance(group_ids, np.ndarray):
        group_ids = np.array(list(group_ids), dtype=object)
    ids: NDArray[Any] = group_ids
    if ids.ndim != 1:
        raise InputError("group ids must be one-dimensional", where="RewardGroups", got=ids.shape)
    if ids.dtype == object:
        return _object_ids(ids)
    if ids.dtype.kind not in "iuU":
        raise InputError(
            "group ids must be integers or strings", where="RewardGroups", got=str(ids.dtype)
        )
    return ids


def id_kinds(ids: list[Any]) -> set[type]:
    """Types of the ids, with numpy's own counted as Python's; booleans are no integers here."""
    return {
        int if issubclass(kind, np.integer) else str if issubclass(kind, str) else kind
        for kind in set(map(type, ids))
    }


def _object_ids(ids: NDArray[Any]) -> NDArray[Any]:
    kinds = id_kinds(ids.tolist())
    if len(kinds) > 1 or kinds - {int, str}:
        raise InputError(
            "group ids must be all integers or all strings",
            where="RewardGroups",
            got=sorted(kind.__name__ for kind in kinds),
        )
    if kinds == {int}:
        with contextlib.suppress(OverflowError):  # wider ones are grouped as the objects they are
            return ids.astype(np.int64)
    return ids


def _as_correct(correct: Any, n_rollouts: int) -> float | BoolArray | Literal["unknown"] | None:
    if correct is None:
        return None
    if isinstance(correct, str):
        if correct != "unknown":
            raise InputError("The 'correct' parameter as text can only be 'unknown'", got=correct)
        return "unknown"
    if np.ndim(correct) == 0 and not isinstance(correct, (bool, np.bool_)):
        if not np.isfinite(correct):
            raise InputError("The 'correct' threshold must be finite", got=correct)
        return float(correct)
    flags = np.asarray(correct)
    if flags.shape != (n_rollouts,) or flags.dtype != np.bool_:
        raise InputError(
            f"The 'correct' parameter must be a threshold or {n_rollouts} booleans",
            where="RewardGroups",
            got=(flags.shape, str(flags.dtype)),
        )
    return flags.copy()


def _factorize(ids: NDArray[Any]) -> tuple[NDArray[Any], IntArray, IntArray | None]:
    """Names by first appearance, rows of each, and each row's group (None: rows stand in order)."""
    is_last = np.ones(len(ids), dtype=bool)
    np.not_equal(ids[1:], ids[:-1], out=is_last[:-1])
    ends = is_last.nonzero()[0] + 1
    names = ids[ends - 1]
    if _all_different(names):
        ends[1:] -= ends[:-1].copy()
        return names, ends, None
    index, first = _codes_of_objects(ids) if ids.dtype == object else _codes(ids)
    return ids[first], np.bincount(index, minlength=len(first)), index


def _all_different(names: NDArray[Any]) -> bool:
    if names.dtype == object:
        return len(set(names.tolist())) == len(names)
    if _every(names[1:] > names[:-1]):  # the usual case, and by far the cheapest to see
        return True
    if _is_narrow(names):
        return bool(np.bincount(_above_least(names)).max() == 1)
    return len(np.unique(names)) == len(names)


def _is_narrow(ids: NDArray[Any]) -> bool:
    """Whether a table as wide as the range of the ids is no larger than a few copies of them."""
    return ids.dtype.kind in "iu" and int(ids.max()) - int(ids.min()) < 4 * len(ids) + 1024


def _above_least(ids: NDArray[Any]) -> IntArray:
    """The ids minus their minimum; the difference of two int8 need not fit into an int8."""
    wide = ids.astype(np.int64, copy=False) if ids.dtype.kind == "i" else ids
    above: IntArray = (wide - wide.min()).astype(np.int64, copy=False)
    return above


def _codes_of_objects(ids: NDArray[Any]) -> tuple[IntArray, IntArray]:
    # Hashing beats sorting for strings: dict keeps the order of first appearance.
    position: dict[Any, int] = {}
    listed = ids.tolist()
    codes = np.fromiter(
        (position.setdefault(name, len(position)) for name in listed), np.int64, len(listed)
    )
    return codes, np.unique(codes, return_index=True)[1]


def _codes(ids: NDArray[Any]) -> tuple[IntArray, IntArray]:
    """Number of each row's group and first row of each group, by first appearance."""
    if _is_narrow(ids):  # no sort: a table as wide as the range holds the first rows
        slot = _above_least(ids)
        first_of = np.full(int(slot.max()) + 1, len(ids), dtype=np.int64)
        first_of[slot[::-1]] = np.arange(len(ids) - 1, -1, -1)
        present = np.flatnonzero(first_of < len(ids))
        first = np.sort(first_of[present])
        rank = np.empty(len(first_of), dtype=np.int64)
        rank[slot[first]] = np.arange(len(first))
        return rank[slot], first
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    by_appearance = np.argsort(first)
    rank = np.empty_like(by_appearance)
    rank[by_appearance] = np.arange(len(rank))
    return rank[inverse.ravel()], first[by_appearance]
