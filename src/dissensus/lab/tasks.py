"""Verifiable character-level tasks in graded difficulty, with an exact checker.

| family     | prompt      | demonstration | a level adds                                   |
|------------|-------------|---------------|------------------------------------------------|
| `addition` | `47+85=`    | `132`         | digits in the operands                         |
| `product`  | `47*6=`     | `282`         | digits in the factors                          |
| `modulo`   | `473%7=`    | `4`           | digits in the dividend                         |
| `sorting`  | `s40917=`   | `01479`       | digits to sort                                 |
| `chain`    | `7+5-3+9:`  | `12 9 18`     | operations, then the size of the operands      |

A chain writes every intermediate value, so its completions differ in length. Whether a prompt is a
training or a held-out prompt is decided by a hash of its text alone: no seed can mix the two.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from dissensus._optional import require
from dissensus.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = [
    "FAMILIES",
    "LEVELS",
    "MAX_COMPLETION_CHARS",
    "Problem",
    "Split",
    "check",
    "exact_match_reward",
    "iterate_problems",
    "make_problems",
    "split_of",
    "to_dataset",
]

Split = Literal["train", "heldout"]

FAMILIES = ("addition", "product", "modulo", "sorting", "chain")
LEVELS = (1, 2, 3, 4)
MAX_COMPLETION_CHARS = 12  # the longest demonstration of any level; tested
_HELDOUT_ONE_IN = 4
_MAX_CHAIN_VALUE = 99
# A prompt of these cells without an operand this large could come from an easier level, and
# belongs there: every prompt has one level.
_LARGEST_OPERAND_FROM = {("addition", 2): 30, ("product", 2): 60, ("chain", 4): 10}
_GIVE_UP_AFTER = 5000  # draws in a row without a new prompt: the cell is used up


@dataclass(frozen=True)
class Problem:
    """One prompt with the answer that the checker wants.

    Attributes:
        prompt_id: Stable name, a function of the prompt alone.
        prompt: What the model reads.
        answer: The exact final answer.
        demonstration: A completion that solves it, with its intermediate steps.
        family: One of `FAMILIES`.
        level: One of `LEVELS`; higher is harder.
    """

    prompt_id: str
    prompt: str
    answer: str
    demonstration: str
    family: str
    level: int


def check(completion: object, answer: str) -> bool:
    """Whether the last space-separated field of a completion is exactly the answer.

    Anything else is wrong: text around the answer, other digits (full-width, Arabic), leading
    zeros, trailing spaces, an empty completion, or something that is not text.

    Example:
        >>> check("12 9 18", "18"), check("18 ", "18"), check("018", "18"), check(None, "18")
        (True, False, False, False)
    """
    return isinstance(completion, str) and completion.rpartition(" ")[2] == answer


def exact_match_reward(
    completions: Sequence[object], answer: Sequence[str], **_: object
) -> list[float]:
    """The reward function given to the trainer: 1.0 for a right completion, else 0.0.

    Args:
        completions: (N,) sampled texts.
        answer: (N,) the data set's `answer` column.

    Example:
        >>> exact_match_reward(["12 9 18", "x"], ["18", "3"])
        [1.0, 0.0]
    """
    return [float(check(text, right)) for text, right in zip(completions, answer, strict=True)]


def split_of(prompt: str) -> Split:
    """The split a prompt belongs to, for ever: one in four is held out.

    Example:
        >>> split_of("1+1=") == split_of("1+1=")
        True
    """
    return "heldout" if _digest(prompt)[0] % _HELDOUT_ONE_IN == 0 else "train"


def make_problems(
    split: Split,
    count: int,
    *,
    seed: int,
    families: Sequence[str] = FAMILIES,
    levels: Sequence[int] = LEVELS,
) -> list[Problem]:
    """Distinct problems, spread evenly over families × levels, in a shuffled order.

    Args:
        split: `"train"` or `"heldout"`.
        count: How many; every family × level gets `count // cells`, the first ones one more.
        seed: Same seed, same list.
        families: Which families.
        levels: Which levels.

    Raises:
        InputError: Unknown split, family or level, or more problems wanted than a cell has.

    Example:
        >>> [p.prompt for p in make_problems("train", 2, seed=0, families=["modulo"], levels=[1])]
        ['89%8=', '11%8=']
    """
    _validate(split, count, families, levels)
    cells = [(family, level) for level in levels for family in families]
    problems: list[Problem] = []
    for position, (family, level) in enumerate(cells):
        wanted = count // len(cells) + (position < count % len(cells))
        # One stream per cell: asking for other families does not change this family's problems.
        rng = np.random.default_rng([seed, split == "heldout", FAMILIES.index(family), level])
        problems += _distinct(rng, split, family, level, wanted)
    order = np.random.default_rng([seed, count]).permutation(len(problems))
    return [problems[i] for i in order]


def iterate_problems(split: Split, *, seed: int) -> Iterator[Problem]:
    """An endless stream of problems, families × levels drawn uniformly, for supervised training.

    Prompts come back, and an easy one can also come under a harder level of its family.

    Example:
        >>> next(iterate_problems("train", seed=0)).family in FAMILIES
        True
    """
    rng = np.random.default_rng([seed, split == "heldout"])
    while True:
        family = FAMILIES[int(rng.integers(len(FAMILIES)))]
        level = LEVELS[int(rng.integers(len(LEVELS)))]
        problem = _draw(rng, family, level)
        if split_of(problem.prompt) == split:
            yield problem


def to_dataset(problems: Sequence[Problem]) -> Dataset:
    """The problems as a Hugging Face data set, one column per field of `Problem`.

    Raises:
        MissingDependencyError: `datasets` is not installed.
    """
    datasets = require("datasets", "lab")
    rows = [asdict(problem) for problem in problems]
    columns = {name: [row[name] for row in rows] for name in Problem.__dataclass_fields__}
    return datasets.Dataset.from_dict(columns)


def _distinct(
    rng: np.random.Generator, split: Split, family: str, level: int, count: int
) -> list[Problem]:
    found: dict[str, Problem] = {}
    fruitless = 0
    while len(found) < count and fruitless < _GIVE_UP_AFTER:
        problem = _draw(rng, family, level)
        is_new = (
            split_of(problem.prompt) == split
            and problem.prompt not in found
            and _has_its_level(problem)
        )
        fruitless = 0 if is_new else fruitless + 1
        if is_new:
            found[problem.prompt] = problem
    if len(found) < count:
        raise InputError(
            f"level {level} of {family} does not have {count} distinct {split} prompts",
            where="make_problems",
            hint="ask for fewer problems, or for more families and levels",
        )
    return list(found.values())


def _has_its_level(problem: Problem) -> bool:
    least = _LARGEST_OPERAND_FROM.get((problem.family, problem.level), 0)
    return not least or max(map(int, re.findall(r"\d+", problem.prompt))) >= least


def _draw(rng: np.random.Generator, family: str, level: int) -> Problem:
    prompt, demonstration = _MAKERS[family](rng, level)
    return Problem(
        prompt_id=f"{family}-{_digest(prompt).hex()}",
        prompt=prompt,
        answer=demonstration.rpartition(" ")[2],
        demonstration=demonstration,
        family=family,
        level=level,
    )


def _addition(rng: np.random.Generator, level: int) -> tuple[str, str]:
    low, high = ((1, 30), (10, 100), (100, 1000), (1000, 10000))[level - 1]
    a, b = (int(value) for value in rng.integers(low, high, size=2))
    return f"{a}+{b}=", str(a + b)


def _product(rng: np.random.Generator, level: int) -> tuple[str, str]:
    (low_a, high_a), (low_b, high_b) = (
        ((1, 60), (1, 10)),
        ((11, 100), (3, 10)),
        ((100, 1000), (3, 10)),
        ((11, 100), (11, 100)),
    )[level - 1]
    a, b = int(rng.integers(low_a, high_a)), int(rng.integers(low_b, high_b))
    return f"{a}*{b}=", str(a * b)


def _modulo(rng: np.random.Generator, level: int) -> tuple[str, str]:
    low, high = ((2, 100), (100, 300), (300, 1000), (1000, 10000))[level - 1]
    a, b = int(rng.integers(low, high)), int(rng.integers(2, 10))
    return f"{a}%{b}=", str(a % b)


def _sorting(rng: np.random.Generator, level: int) -> tuple[str, str]:
    digits = rng.integers(0, 10, size=(4, 6, 8, 10)[level - 1])
    return "s" + "".join(map(str, digits)) + "=", "".join(map(str, sorted(digits)))


def _chain(rng: np.random.Generator, level: int) -> tuple[str, str]:
    operations, largest = ((2, 10), (3, 10), (4, 10), (3, 50))[level - 1]
    value = int(rng.integers(1, largest))
    prompt, steps = str(value), []
    for _ in range(operations):
        operand = int(rng.integers(1, largest))
        subtract = value >= operand and (value + operand > _MAX_CHAIN_VALUE or rng.random() < 0.5)
        if not subtract and value + operand > _MAX_CHAIN_VALUE:
            operand = _MAX_CHAIN_VALUE - value
        value += -operand if subtract else operand
        prompt += f"{'-' if subtract else '+'}{operand}"
        steps.append(str(value))
    return f"{prompt}:", " ".join(steps)


_MAKERS: dict[str, Callable[[np.random.Generator, int], tuple[str, str]]] = {
    "addition": _addition,
    "product": _product,
    "modulo": _modulo,
    "sorting": _sorting,
    "chain": _chain,
}


def _digest(prompt: str) -> bytes:
    return hashlib.blake2s(prompt.encode(), digest_size=5).digest()


def _validate(split: str, count: int, families: Sequence[str], levels: Sequence[int]) -> None:
    if split not in get_args(Split):
        raise InputError("split must be 'train' or 'heldout'", where="make_problems", got=split)
    if count < 1:
        raise InputError("count must be at least 1", where="make_problems", got=count)
    for value in families:
        if value not in FAMILIES:
            raise InputError(f"family must be one of {FAMILIES}", where="make_problems", got=value)
    for number in levels:
        if number not in LEVELS:
            raise InputError(f"level must be one of {LEVELS}", where="make_problems", got=number)
    if not families or not levels:
        raise InputError("families and levels must not be empty", where="make_problems")
