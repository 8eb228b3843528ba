"""Which columns are the reward: those whose sum, centred, is the advantage up to a factor."""

from __future__ import annotations

import math

import pytest

from dissensus.readers.inference import choose_reward_columns

A = [1.0, 0.0, 1.0, 0.0]
B = [0.5, 0.0, 0.0, 0.5]
GROUPS = ["x"] * 4


def centred(values: list[float]) -> list[float]:
    mean = sum(values) / len(values)
    return [7 * (value - mean) for value in values]


def test_leading_columns_are_found():
    total = [a + b for a, b in zip(A, B, strict=True)]
    found = choose_reward_columns({"a": A, "b": B, "c": [1, 2, 3, 4]}, centred(total), GROUPS)
    assert found == (("a", "b"), True)
    assert choose_reward_columns({"a": A, "b": B}, centred(A), GROUPS) == (("a",), True)


def test_nothing_fits_or_nothing_is_seen():
    assert choose_reward_columns({"a": A, "b": B}, [1.0, 2.0, 4.0, -9.0], GROUPS) == (
        ("a", "b"),
        False,
    )
    same = [1.0] * 4
    assert choose_reward_columns({"a": same, "b": same}, [0.0] * 4, GROUPS) == (("a", "b"), None)


@pytest.mark.parametrize("hole", [None, math.nan])
def test_what_one_function_left_out_counts_as_zero(hole):
    first = [hole, 0.0, 1.0, 0.0]
    given = [0.5, 0.0, 1.0, 0.5]
    assert choose_reward_columns({"a": first, "b": B}, centred(given), GROUPS).is_shown
