"""One call of record() as arrays: copied, and checked to fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dissensus.core.groups import BoolArray, FloatArray, id_kinds
from dissensus.errors import InputError

__all__ = ["Ids", "Record", "Texts", "capture", "integer", "pick"]

Ids: TypeAlias = NDArray[Any] | list[Any]
Texts: TypeAlias = list[str | None]


@dataclass(slots=True)
class Record:
    """One generation as the training loop gave it: copies, so that the caller may reuse its own.

    Every array has N entries, one per rollout of the gathered batch; the text columns have one per
    row of `local`.
    """

    step: int
    generation: int
    split: str
    round: int
    epoch: float | None
    policy_version: int | None
    time_s: float
    group_ids: Ids
    prompt_ids: Ids
    rewards: FloatArray
    local: slice
    correct: float | BoolArray | Literal["unknown"] | None = None
    trained: BoolArray | None = None
    lengths: FloatArray | None = None
    truncated: BoolArray | None = None
    advantages_used: FloatArray | None = None
    advantages_framework: FloatArray | None = None
    rewards_by_function: dict[str, FloatArray] | None = None
    prompts: Texts | None = None
    references: Texts | None = None
    completions: Texts | None = None
    has_rollouts: bool = True

    @property
    def n_rollouts(self) -> int:
        """Rollouts of the gathered batch, N."""
        return len(self.rewards)

    @property
    def n_local(self) -> int:
        """Rollouts that this rank writes."""
        return len(range(*self.local.indices(self.n_rollouts)))

    def drop_text(self) -> int:
        """Let the text go; returns how many rollouts lose their completion."""
        lost = sum(text is not None for text in self.completions or ())
        self.prompts = self.references = self.completions = None
        return lost


def capture(
    *,
    step: Any,
    generation: int,
    group_ids: Any,
    prompt_ids: Any,
    rewards: Any,
    time_s: float,
    split: str = "train",
    round: int = 0,  # noqa: A002 - the column's name
    epoch: Any = None,
    policy_version: Any = None,
    local: slice | None = None,
    correct: Any = None,
    trained: Any = None,
    lengths: Any = None,
    truncated: Any = None,
    advantages_used: Any = None,
    advantages_framework: Any = None,
    rewards_by_function: Mapping[str, Any] | None = None,
    prompts: Sequence[str | None] | None = None,
    references: Sequence[str | None] | None = None,
    completions: Sequence[str | None] | None = None,
) -> Record:
    """Copy what record() was given, and check that it fits together.

    Raises:
        InputError: Nothing to record, lengths that differ, ids of mixed types, infinite rewards.
    """
    values = _rewards(rewards)
    n = len(values)
    rows = slice(None) if local is None else local
    n_local = n if local is None else len(range(*rows.indices(n)))
    functions = (rewards_by_function or {}).items()
    return Record(
        step=integer("step", step),
        generation=generation,
        split=str(split),
        round=integer("round", round),
        epoch=None if epoch is None else float(epoch),
        policy_version=None
        if policy_version is None
        else integer("policy_version", policy_version),
        time_s=time_s,
        group_ids=_ids("group_ids", group_ids, n),
        prompt_ids=_ids("prompt_ids", prompt_ids, n),
        rewards=values,
        local=rows,
        correct=_correct(correct, n),
        trained=_flags("trained", trained, n),
        lengths=_optional_floats("lengths", lengths, n),
        truncated=_flags("truncated", truncated, n),
        advantages_used=_optional_floats("advantages_used", advantages_used, n),
        advantages_framework=_optional_floats("advantages_framework", advantages_framework, n),
        rewards_by_function={str(f): _floats(str(f), v, n) for f, v in functions} or None,
        prompts=_texts("prompts", prompts, n_local),
        references=_texts("references", references, n_local),
        completions=_texts("completions", completions, n_local),
    )


def pick(ids: Ids, rows: Sequence[int] | NDArray[np.int64]) -> Ids:
    """The ids of some rows."""
    return ids[rows] if isinstance(ids, np.ndarray) else [ids[row] for row in rows]


# ---- checks ----------------------------------------------------------------------------------


def _rewards(rewards: Any) -> FloatArray:
    values = _floats("rewards", rewards, None)
    if len(values) == 0:
        raise InputError("there must be at least one rollout", where="record")
    if np.isinf(values).any():
        raise InputError(
            "rewards must be finite, or NaN for an unscored rollout",
            where="record(rewards=…)",
            got=float(values[np.isinf(values)][0]),
        )
    return values


def integer(name: str, value: Any) -> int:
    """The value as an int that a column can hold.

    Raises:
        InputError: It is not a whole number, or does not fit into 64 bits.
    """
    try:
        number = int(value)
        if number == value and -(2**63) <= number < 2**63:
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"{name} must be an integer of 64 bits", where=f"{name}=…", got=value)


def _check_length(name: str, got: int, expected: int | None) -> None:
    if expected is not None and got != expected:
        raise InputError(
            f"{name} must have one entry per rollout ({expected})",
            where=f"record({name}=…)",
            got=got,
        )


def _floats(name: str, values: Any, n: int | None) -> FloatArray:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} must be numbers", where=f"record({name}=…)", got=str(error)
        ) from error
    if array.ndim != 1:
        raise InputError(
            f"{name} must be one-dimensional", where=f"record({name}=…)", got=array.shape
        )
    _check_length(name, len(array), n)
    return array


def _optional_floats(name: str, values: Any, n: int) -> FloatArray | None:
    return None if values is None else _floats(name, values, n)


def _flags(name: str, values: Any, n: int) -> BoolArray | None:
    if values is None:
        return None
    array = np.array(values)
    if array.ndim != 1 or array.dtype.kind not in "biu":
        raise InputError(
            f"{name} must be one boolean per rollout",
            where=f"record({name}=…)",
            got=(array.shape, str(array.dtype)),
        )
    _check_length(name, len(array), n)
    return array.astype(np.bool_, copy=False)


def _correct(correct: Any, n: int) -> float | BoolArray | Literal["unknown"] | None:
    if correct is None:
        return None
    if isinstance(correct, str) and correct == "unknown":
        return "unknown"
    if np.ndim(correct) > 0:
        return _flags("correct", correct, n)
    if isinstance(correct, (bool, np.bool_, str)) or not np.isfinite(correct):
        raise InputError(
            "correct must be a finite threshold, or one boolean per rollout",
            where="record(correct=…)",
            got=correct,
        )
    return float(correct)


def _ids(name: str, ids: Any, n: int) -> Ids:
    if hasattr(ids, "dtype"):  # numpy, or a framework's tensor
        array = np.array(ids)
        _check_length(name, array.shape[0] if array.ndim == 1 else -1, n)
        if array.dtype.kind in "iuU":
            return array
        ids = array.tolist()
    else:
        ids = list(ids)
        _check_length(name, len(ids), n)
    kinds = id_kinds(ids)
    if kinds == {str}:
        return list(ids)
    if kinds != {int}:
        raise InputError(
            f"{name} must be all integers or all strings",
            where=f"record({name}=…)",
            got=sorted(kind.__name__ for kind in kinds),
        )
    try:
        return np.array(ids, dtype=np.int64)
    except OverflowError:  # hashes wider than 64 bits
        return [str(i) for i in ids]


def _texts(name: str, texts: Sequence[str | None] | None, n_local: int) -> Texts | None:
    if texts is None:
        return None
    if isinstance(texts, str):
        raise InputError(
            f"{name} must be a sequence of texts", where=f"record({name}=…)", got=texts
        )
    copied = list(texts)
    if len(copied) != n_local:
        raise InputError(
            f"{name} must have one entry per row this rank writes ({n_local})",
            where=f"record({name}=…)",
            got=len(copied),
        )
    return copied
