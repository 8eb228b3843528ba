"""What a log does not say but its numbers show: which columns make up the reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

__all__ = [
    "RewardColumns",
    "choose_reward_columns",
    "misfit",
    "reward_map_sql",
    "reward_sum_sql",
]

_MIN_CORRELATION = 1 - 1e-6


class RewardColumns(NamedTuple):
    """Columns whose sum is the reward.

    Attributes:
        names: The columns.
        is_shown: Whether the advantages show that it is they; `None` where there is nothing to see.
    """

    names: tuple[str, ...]
    is_shown: bool | None


def choose_reward_columns(
    columns: Mapping[str, Sequence[float | None]],
    advantages: Sequence[float | None],
    groups: Sequence[object],
) -> RewardColumns:
    """Find the leading columns whose sum, centred in its group, is proportional to the advantage.

    Frameworks write their reward functions first and other logged numbers behind them, all as
    plain columns; weights of the functions are nowhere. Where weights or batch-wide rules hide the
    relation, all columns are taken and `is_shown` is False.

    Args:
        columns: Values of each candidate, in the order of the log.
        advantages: What the framework computed.
        groups: Group of each row.
    """
    names = tuple(columns)
    if len(names) <= 1:
        return RewardColumns(names, None)
    values = np.array([_floats(columns[name]) for name in names])
    credit = _floats(advantages)
    index = np.unique([str(group) for group in groups], return_inverse=True)[1]
    split = False
    for count in range(len(names), 0, -1):
        found = _explains(values[:count], credit, index)
        if found:
            return RewardColumns(names[:count], True)
        split = split or found is False
    return RewardColumns(names, False if split else None)


def misfit(rewards: RewardColumns) -> str:
    """What to add to a note where the advantages contradict the sum of the columns."""
    return ", and the advantages do not fit this sum" if rewards.is_shown is False else ""


def reward_sum_sql(columns: Sequence[str]) -> str:
    """SQL of the sum of the columns that gave a reward; null where none did."""
    finite = [f"CASE WHEN isfinite({column}) THEN {column} END" for column in columns]
    if len(finite) == 1:
        return finite[0]
    total = " + ".join(f"coalesce({each}, 0)" for each in finite)
    return f"CASE WHEN coalesce({', '.join(finite)}) IS NOT NULL THEN {total} END"


def reward_map_sql(columns: Mapping[str, str]) -> str:
    """SQL of the map from the name of each reward function to its value.

    Args:
        columns: Name → SQL of the value.
    """
    pairs = [
        f"'{name.replace(chr(39), chr(39) * 2)}': CASE WHEN isfinite({sql}) THEN {sql} END"
        for name, sql in columns.items()
    ]
    return "MAP {" + ", ".join(pairs) + "}"


def _floats(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _explains(rewards: np.ndarray, credit: np.ndarray, index: np.ndarray) -> bool | None:
    """Whether credit is centred reward up to a factor in every group; None when all are silent."""
    scored = ~np.isnan(rewards).all(axis=0) & ~np.isnan(credit)
    total = np.nansum(rewards, axis=0)
    answer: bool | None = None
    for group in np.unique(index):
        rows = (index == group) & scored
        if rows.sum() < 2:
            continue
        centred, given = total[rows] - total[rows].mean(), credit[rows]
        size, weight = float(np.linalg.norm(centred)), float(np.linalg.norm(given))
        if size <= 1e-9 and weight <= 1e-6:
            continue
        if size <= 1e-9 or weight <= 1e-6 or centred @ given < _MIN_CORRELATION * size * weight:
            return False
        answer = True
    return answer
