"""Numbers in the texts of findings, computed by the core when a text is made, never typed.

A text holds `{= name argument parameter=value}`. `positive 1 grpo ddof=1 eps=1e-4` is the
advantage of a lone correct rollout of a group under that rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dissensus.core import advantages, laws
from dissensus.core.advantages import Context, Whiten
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import InputError

__all__ = ["fill", "leave_one_out_standardised", "number"]

_PLACEHOLDER = re.compile(r"\{(=?)\s*([^{}]+?)\s*\}")
_DEFAULT_GROUP_SIZE = 8
_MAX_GROUP_SIZE = 4096


def fill(template: str, values: Mapping[str, Any], group_size: int | None = None) -> str:
    """Put values and computed numbers into a text.

    Args:
        template: `{key}` is a value, `{= …}` a number; `@field` inside one is a value, too.
        values: Key → value.
        group_size: G of the numbers; 8 where it is unknown, or no group (below 2).

    Raises:
        InputError: A placeholder names nothing.

    Example:
        >>> fill("of {G}: {= positive 1 grpo ddof=1 eps=1e-4}", {}, 8)
        'of 8: +2.47'
    """
    usable = group_size is not None and 2 <= group_size <= _MAX_GROUP_SIZE
    size = group_size if usable and group_size is not None else _DEFAULT_GROUP_SIZE

    def replacement(match: re.Match[str]) -> str:
        if match[1]:
            expression = re.sub(r"@\w+", lambda name: str(values[name[0]]), match[2])
            return number(expression, size)
        if match[2] == "G":
            return str(size)
        if match[2] not in values:
            raise InputError("a text names a value that is not there", got=match[2])
        return str(values[match[2]])

    return _PLACEHOLDER.sub(replacement, template)


def number(expression: str, group_size: int) -> str:
    """Compute one number and write it as findings do.

    Raises:
        InputError: No such number.

    Example:
        >>> number("unanimous_rate p=0.5", 2), number("negative 1 dr_grpo", 8)
        ('50.0 %', '−0.125')
    """
    name, *rest = expression.split()
    words = [word for word in rest if "=" not in word]
    pairs = (word.partition("=") for word in rest if "=" in word)
    parameters: dict[str, float] = {
        key: int(text) if text.lstrip("-").isdigit() else float(text) for key, _, text in pairs
    }
    if name not in _NUMBERS:
        raise InputError("no such number", got=name, hint=", ".join(sorted(_NUMBERS)))
    return _NUMBERS[name](group_size, words, parameters)


def leave_one_out_standardised(groups: RewardGroups, *, eps: float = 1e-6) -> FloatArray:
    """Each reward against mean and sample std of the *others*; undivided where their std is 0.

        A_i = (r_i − mean_{j≠i}) / (std_{j≠i} + eps) where std_{j≠i} > 0, else r_i − mean_{j≠i}

    Source: NeMo-RL, `calculate_baseline_and_std_per_prompt` with its defaults.
    """
    rewards, index = groups.rewards, groups.index
    result = np.zeros_like(rewards)
    for row in range(len(rewards)):
        others = rewards[(index == index[row]) & (np.arange(len(rewards)) != row)]
        if len(others) == 0:
            continue
        std = others.std(ddof=1) if len(others) > 1 else 0.0
        result[row] = (rewards[row] - others.mean()) / (std + eps if std > 0 else 1.0)
    return result


def _rule(words: list[str], parameters: Mapping[str, Any]) -> Callable[..., FloatArray]:
    if words and words[0] == "leave_one_out_standardised":
        return lambda groups: leave_one_out_standardised(groups, **parameters)
    return advantages.get(words[0], **parameters)


def _side(is_positive: bool) -> Callable[[int, list[str], Mapping[str, Any]], str]:
    def compute(group_size: int, words: list[str], parameters: Mapping[str, Any]) -> str:
        correct = int(words[0]) if int(words[0]) >= 0 else group_size + int(words[0])
        drawn = advantages.signature(_rule(words[1:], parameters), group_size)
        return _signed(float((drawn.positive if is_positive else drawn.negative)[correct]))

    return compute


def _noise(group_size: int, _: list[str], parameters: Mapping[str, Any]) -> str:
    """Advantage of equal float32 rewards whose mean is off by one rounding step."""
    step = float(np.spacing(np.float32(parameters.get("reward", 0.7))))
    ddof = int(parameters.get("ddof", 1))
    std = step * np.sqrt(group_size / (group_size - ddof))
    return f"{step / (std + parameters['eps']):.1g}"


def _lone_noise(_: int, __: list[str], parameters: Mapping[str, Any]) -> str:
    """As `noise`, where the std is exactly 0: torch's row-wise std is, the mean of a row is not."""
    step = float(np.spacing(np.float32(parameters.get("reward", 0.7))))
    return f"{step / parameters['eps']:.2g}"


def _unanimous(group_size: int, _: list[str], parameters: Mapping[str, Any]) -> str:
    size = int(parameters.get("G", group_size))
    return f"{100 * float(laws.unanimous_rate(parameters['p'], size)):.1f} %"


def _whitened_silence(group_size: int, words: list[str], parameters: Mapping[str, Any]) -> str:
    """What a silent group of short answers gets next to a split one with one long correct answer.

    Token-weighted mean of the centred rewards is then above 0, and the silent group pays for it.
    """
    rows = np.zeros((2, group_size))
    rows[1, 0] = 1.0
    lengths = np.ones(2 * group_size, dtype=np.int64)
    lengths[group_size] = int(parameters.get("long", 10))
    groups = RewardGroups.from_dense(rows)
    first = advantages.get(words[0] if words else "dr_grpo", **_only(parameters, "ddof", "eps"))
    whiten = Whiten(ddof=int(parameters.get("whiten_ddof", 1)), eps=1e-8, by="token")
    rule = advantages.chain(first, whiten)
    return _signed(float(rule(groups, Context(lengths=lengths))[0]))


def _one_group(group_size: int, words: list[str], _: Mapping[str, Any]) -> str:
    """An all-wrong and an all-correct group (one rollout short), normalised as one group."""
    wrong = words[0] == "wrong"
    rewards = np.r_[np.zeros(group_size), np.ones(group_size - 1)]
    groups = RewardGroups.from_flat(rewards, np.zeros(len(rewards), dtype=np.int64))
    values = advantages.get("grpo", ddof=1, eps=1e-6)(groups)
    return _signed(float(values[0] if wrong else values[-1]))


def _ratio_to_even(group_size: int, words: list[str], parameters: Mapping[str, Any]) -> str:
    """Contrast of a lone correct answer against that of an even split: the weight by difficulty."""
    contrast = advantages.signature(_rule(words, parameters), group_size).contrast
    return f"{float(contrast[1] / contrast[group_size // 2]):.2f}×"


def _contrast(group_size: int, words: list[str], parameters: Mapping[str, Any]) -> str:
    drawn = advantages.signature(_rule(words[1:], parameters), group_size)
    return f"{float(drawn.contrast[int(words[0])]):.3f}"


def _only(parameters: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: parameters[name] for name in names if name in parameters}


def _signed(value: float) -> str:
    digits = f"{abs(value):.3f}" if abs(value) < 1 else f"{abs(value):.2f}"
    return ("−" if value < 0 else "+") + digits if float(digits) else "0"


_NUMBERS: dict[str, Callable[[int, list[str], Mapping[str, Any]], str]] = {
    "positive": _side(is_positive=True),
    "negative": _side(is_positive=False),
    "contrast": _contrast,
    "ratio_to_even": _ratio_to_even,
    "noise": _noise,
    "lone_noise": _lone_noise,
    "unanimous_rate": _unanimous,
    "whitened_silence": _whitened_silence,
    "one_group": _one_group,
}
