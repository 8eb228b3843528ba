"""Problems: reproducible, disjoint, and checked exactly."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissensus.errors import InputError
from dissensus.lab.tasks import (
    FAMILIES,
    LEVELS,
    MAX_COMPLETION_CHARS,
    check,
    exact_match_reward,
    iterate_problems,
    make_problems,
    split_of,
    to_dataset,
)
from dissensus.lab.tokenizer import ALPHABET


def solve(prompt: str) -> str:
    """The answer, worked out here from the prompt's text alone."""
    if prompt.startswith("s"):
        return "".join(sorted(prompt[1:-1]))
    return str(eval(prompt[:-1]))  # noqa: S307  # our own digits and operators


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_answers_are_right_and_demonstrations_earn_the_reward(split):
    for problem in make_problems(split, 1000, seed=3):
        assert problem.answer == solve(problem.prompt)
        assert check(problem.demonstration, problem.answer)
        assert len(problem.demonstration) <= MAX_COMPLETION_CHARS
        assert set(problem.prompt + problem.demonstration) <= set(ALPHABET)


def test_chains_write_every_intermediate_value():
    for problem in make_problems("train", 100, seed=0, families=["chain"]):
        operations = re.findall(r"[+-]\d+", problem.prompt)
        value, values = int(re.match(r"\d+", problem.prompt)[0]), []
        for operation in operations:
            value += int(operation)
            values.append(value)
        assert problem.demonstration == " ".join(map(str, values))
        assert all(0 <= v <= 99 for v in values)


def test_the_splits_share_no_prompt_whatever_the_seeds():
    train = {p.prompt for seed in range(3) for p in make_problems("train", 1500, seed=seed)}
    heldout = {p.prompt for seed in range(3) for p in make_problems("heldout", 500, seed=seed)}
    assert not train & heldout
    assert {split_of(prompt) for prompt in train} == {"train"}
    stream = iterate_problems("train", seed=5)
    assert not {next(stream).prompt for _ in range(5000)} & heldout


def test_prompts_and_ids_are_distinct_and_cells_are_even():
    problems = make_problems("train", 1280, seed=0)
    assert len({p.prompt for p in problems}) == len({p.prompt_id for p in problems}) == 1280
    cells = [(p.family, p.level) for p in problems]
    assert {cells.count((f, n)) for f in FAMILIES for n in LEVELS} == {64}


def test_same_seed_same_problems_and_other_seed_others():
    assert make_problems("train", 50, seed=1) == make_problems("train", 50, seed=1)
    assert make_problems("train", 50, seed=1) != make_problems("train", 50, seed=2)


def test_a_prompt_keeps_its_id_across_seeds():
    ids = {}
    for seed in range(4):
        for problem in make_problems("heldout", 400, seed=seed):
            assert ids.setdefault(problem.prompt, problem.prompt_id) == problem.prompt_id


def test_a_familys_problems_do_not_depend_on_which_others_are_asked_for():
    alone = make_problems("train", 8, seed=0, families=["sorting"], levels=[2])
    among = make_problems("train", 160, seed=0)
    assert {p.prompt for p in alone} == {
        p.prompt for p in among if (p.family, p.level) == ("sorting", 2)
    }


@pytest.mark.parametrize(
    ("completion", "right"),
    [
        ("18", True),
        ("12 9 18", True),
        ("", False),
        (" ", False),
        ("18 ", False),
        ("018", False),
        ("18\n", False),
        ("1 8", False),
        ("+18", False),
        ("１８", False),  # full-width digits
        ("18<eos>", False),
        (None, False),
        (18, False),
        ([{"role": "assistant", "content": "18"}], False),
    ],
)
def test_the_checker_takes_the_last_field_and_nothing_else(completion, right):
    assert check(completion, "18") is right


@given(st.text(), st.sampled_from(make_problems("train", 40, seed=0)))
def test_no_text_without_the_answer_earns_a_reward(text, problem):
    assert check(text, problem.answer) == (text.split(" ")[-1] == problem.answer)


def test_the_reward_is_one_number_per_completion_and_ignores_other_columns():
    rewards = exact_match_reward(["5", "x", "1 5"], answer=["5", "5", "5"], prompts=["?"] * 3)
    assert rewards == [1.0, 0.0, 1.0]
    with pytest.raises(ValueError, match="zip"):
        exact_match_reward(["5"], answer=["5", "5"])


def test_the_dataset_has_one_column_per_field_in_order():
    problems = make_problems("train", 30, seed=0)
    rows = to_dataset(problems)
    assert set(rows.column_names) == {
        *("prompt_id", "prompt", "answer", "demonstration", "family", "level")
    }
    assert rows["prompt"] == [p.prompt for p in problems]
    assert rows["level"] == [p.level for p in problems]


@pytest.mark.parametrize(
    "arguments",
    [
        {"split": "test"},
        {"count": 0},
        {"families": ["poetry"]},
        {"families": []},
        {"levels": [9]},
        {"count": 100_000, "families": ["modulo"], "levels": [1]},
    ],
)
def test_what_cannot_be_made_is_refused(arguments):
    with pytest.raises(InputError):
        make_problems(**{"split": "train", "count": 10, "seed": 0, **arguments})
