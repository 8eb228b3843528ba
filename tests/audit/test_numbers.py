"""Numbers in findings against values worked out by hand or measured on the real frameworks."""

from __future__ import annotations

import numpy as np
import pytest

from dissensus.audit.numbers import fill, leave_one_out_standardised, number
from dissensus.core.groups import RewardGroups
from dissensus.errors import InputError


@pytest.mark.parametrize(
    ("expression", "group_size", "expected"),
    [
        # executed: ddof 1 → +2.474/−0.353, ddof 0 → +2.646/−0.378, NeMo-RL → +1.0/−0.378, +2.27
        ("positive 1 grpo ddof=1 eps=1e-4", 8, "+2.47"),
        ("negative 1 grpo ddof=1 eps=1e-6", 8, "−0.354"),
        ("positive 1 grpo ddof=0 eps=1e-8", 8, "+2.65"),
        ("positive 1 leave_one_out_standardised", 8, "+1.00"),
        ("negative 1 leave_one_out_standardised", 8, "−0.378"),
        ("positive 2 leave_one_out_standardised", 8, "+2.27"),
        ("positive 1 dr_grpo", 8, "+0.875"),
        ("positive 1 rloo", 8, "+1.00"),
        ("positive 1 grpo ddof=1 eps=0", 2, "+0.707"),
        # W(1)/W(4) of 8: sqrt(7)/8 ÷ 1/2 and 7/64 ÷ 1/4
        ("ratio_to_even grpo ddof=0 eps=0", 8, "0.66×"),
        ("ratio_to_even dr_grpo", 8, "0.44×"),
        ("contrast 4 grpo ddof=1 eps=0", 8, "0.468"),
        # 0.9^8 + 0.1^8
        ("unanimous_rate p=0.9", 8, "43.0 %"),
        ("unanimous_rate p=0.9 G=2", 8, "82.0 %"),
        # measured: OpenRLHF +0.92, verl up to 5.6e-2, TRL 6e-4
        ("noise eps=1e-9 ddof=1 reward=0.7", 8, "0.9"),
        ("noise eps=1e-6 ddof=1 reward=0.7", 8, "0.06"),
        ("noise eps=1e-4 ddof=1 reward=0.7", 8, "0.0006"),
        # slime's own method: 8 zeros and 7 ones as one group
        ("one_group wrong", 8, "−0.904"),
        ("one_group correct", 8, "+1.03"),
    ],
)
def test_numbers(expression, group_size, expected):
    assert number(expression, group_size) == expected


def test_a_silent_group_beside_a_long_correct_answer_pays_for_the_token_mean():
    # 8 + 10 + 7 tokens; centred rewards 0 (8 tokens), 7/8 (10 tokens), −1/8 (7 tokens)
    mean = (10 * 7 / 8 - 7 / 8) / 25
    squares = 8 * mean**2 + 10 * (7 / 8 - mean) ** 2 + 7 * (-1 / 8 - mean) ** 2
    expected = -mean / np.sqrt(squares / 24)
    assert number("whitened_silence dr_grpo long=10", 8) == f"−{-expected:.3f}"


def test_leave_one_out_statistics_are_of_the_others():
    groups = RewardGroups.from_dense([[1.0, 0.0, 0.5, 0.0], [1.0, 1.0, 1.0, 1.0]])
    others = np.array([0.0, 0.5, 0.0])
    first = (1.0 - others.mean()) / (others.std(ddof=1) + 1e-6)
    values = leave_one_out_standardised(groups, eps=1e-6)
    assert values[0] == pytest.approx(first)
    assert values[4:].tolist() == [0.0] * 4
    assert leave_one_out_standardised(RewardGroups.from_dense([[1.0]])).tolist() == [0.0]


def test_texts_are_filled_once_and_what_they_are_filled_with_stays_as_it_is():
    assert fill("{a} of {G}", {"a": "{= nonsense}"}, 4) == "{= nonsense} of 4"
    assert fill("{G}", {}, None) == "8"
    assert fill("{G}", {}, 1) == "8"
    assert fill("{= noise eps=@eps ddof=1}", {"@eps": 1e-9}, 8) == "0.9"


@pytest.mark.parametrize("template", ["{missing}", "{= nothing}", "{= positive 1 nothing}"])
def test_a_placeholder_that_names_nothing_is_an_error(template):
    with pytest.raises(InputError):
        fill(template, {}, 8)
