"""One training batch of verl as plain arrays, from either of its trainers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dissensus.core.groups import BoolArray, FloatArray, IntArray
from dissensus.integrations.verl.estimators import is_padding
from dissensus.runs.rows import as_text, prompt_id, reference_text

__all__ = ["Rollouts", "Say", "read_rollouts"]

Say = Callable[[str, str], None]
"""`say(about, text)`: a warning that is given once per subject."""


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """One entry per rollout: rows that verl added to fill the batch are gone.

    Attributes:
        group_ids: uid of each rollout's prompt: new for every sampling.
        prompt_ids: Hash of the prompt and its reference answer.
        rewards: (N,) total scores, before any KL penalty; NaN where one is not finite.
        advantages: (N,) mean over the tokens of the policy; None: of a validation.
        lengths: (N,) tokens of the policy.
        truncated: (N,) whether the response was cut at the longest length; None: not known.
        extras: Numbers that the reward function returned besides, by name; NaN where it gave none.
        prompts: Text or messages of each prompt; None where verl kept none.
        references: Reference answers.
        prompt_tokens: Token ids of each prompt, for its text where `prompts` is None.
        response_tokens: Token ids of each response.
    """

    group_ids: list[str]
    prompt_ids: list[str]
    rewards: FloatArray
    advantages: FloatArray | None
    lengths: IntArray
    truncated: BoolArray | None
    extras: Mapping[str, FloatArray]
    prompts: Sequence[Any] | None
    references: Sequence[str | None] | None
    prompt_tokens: Sequence[Any] | None
    response_tokens: Sequence[Any] | None


def read_rollouts(
    tables: Mapping[str, Any],
    columns: Mapping[str, Sequence[Any]],
    *,
    extras: Sequence[Mapping[str, Any]] | None = None,
    rows: IntArray | None = None,
    max_length: int | None = None,
    end: int | None = None,
    say: Say,
) -> Rollouts:
    """Read what both trainers call by the same names.

    Args:
        tables: (B, T) arrays `scores`, `response_mask` and, in training, `advantages`.
        columns: B entries each: `prompt_tokens` and `response_tokens`, without padding; where there
            are, `uid`, `raw_prompt`, `reward_model`.
        extras: What the reward function returned besides, for each row.
        rows: Rows that are rollouts. None: all but those that verl added to fill the batch.
        max_length: Longest response that verl lets through.
        end: Token that ends a response.
        say: Where to say what is odd.

    Raises:
        KeyError: A table is missing.
    """
    mask = np.asarray(tables["response_mask"]).astype(np.bool_)
    tokens, prompts = columns.get("prompt_tokens"), columns.get("raw_prompt")
    ids = _group_ids(columns.get("uid"), tokens, len(mask), say)
    kept = np.flatnonzero(~is_padding(ids)) if rows is None else rows
    mask, pick = mask[kept], kept.tolist()
    references = _taken(_references(columns.get("reward_model")), pick)
    groups, lengths = [ids[i] for i in pick], mask.sum(axis=1)
    named = _prompt_ids(_taken(tokens if prompts is None else prompts, pick), references, pick)
    _check_groups(groups, named, say, trained="advantages" in tables)
    responses, advantages = _taken(columns.get("response_tokens"), pick), tables.get("advantages")
    return Rollouts(
        group_ids=groups,
        prompt_ids=named,
        rewards=_rewards(np.asarray(tables["scores"], dtype=np.float64)[kept].sum(axis=1), say),
        advantages=None if advantages is None else _means(advantages[kept], mask),
        lengths=lengths,
        truncated=_truncated(responses, max_length, end),
        extras=_numbers([extras[i] for i in pick], say) if extras else {},
        prompts=_taken(prompts, pick),
        references=references,
        prompt_tokens=_taken(tokens, pick),
        response_tokens=responses,
    )


def _taken(column: Sequence[Any] | None, rows: list[int]) -> list[Any] | None:
    return None if column is None else [column[row] for row in rows]


def _means(tokens: Any, mask: BoolArray) -> FloatArray:
    """(N,) mean over the tokens of the policy; 0 where there are none."""
    sums = np.where(mask, np.asarray(tokens, dtype=np.float64), 0.0).sum(axis=1)
    means: FloatArray = sums / np.maximum(mask.sum(axis=1), 1)
    return means


def _references(models: Sequence[Any] | None) -> list[str | None] | None:
    if models is None:
        return None
    return [reference_text(model) if isinstance(model, Mapping) else None for model in models]


def _truncated(
    responses: list[Any] | None, max_length: int | None, end: int | None
) -> BoolArray | None:
    if responses is None or max_length is None:
        return None
    cut = [len(each) >= max_length and int(each[-1]) != end for each in responses]
    return np.array(cut, dtype=np.bool_)


def _group_ids(uid: Any, tokens: Any, count: int, say: Say) -> list[str]:
    if uid is not None:
        return [str(i) for i in uid]
    if tokens is None:
        say("uid", "the batch has neither uid nor prompts; every rollout is recorded as a group")
        return [str(i) for i in range(count)]
    say("uid", "the batch has no uid; rollouts are grouped by equal prompts")
    number: dict[tuple[int, ...], int] = {}
    keys = [tuple(np.asarray(row).tolist()) for row in tokens]
    return [str(number.setdefault(key, len(number))) for key in keys]


def _prompt_ids(
    prompts: list[Any] | None, references: list[str | None] | None, rows: list[int]
) -> list[str]:
    if prompts is None:
        return [""] * len(rows)
    answers = references or [None] * len(rows)
    texts = [as_text(each.tolist() if hasattr(each, "tolist") else each) for each in prompts]
    return [
        prompt_id({"prompt": text, "answer": answer})
        for text, answer in zip(texts, answers, strict=True)
    ]


def _check_groups(groups: list[str], named: list[str], say: Say, *, trained: bool) -> None:
    prompts: dict[str, set[str]] = {}
    for group, name in zip(groups, named, strict=True):
        prompts.setdefault(group, set()).add(name)
    mixed = [group for group, found in prompts.items() if len(found) > 1]
    if mixed:
        say(
            "mixed",
            f"{len(mixed)} uids hold different prompts (first {mixed[0]!r}); they are recorded as "
            "the groups verl takes them for, so their standard deviation mixes prompts",
        )
    alone = sum(size == 1 for size in Counter(groups).values())
    if alone and trained:  # a validation of one answer per prompt is the usual one
        say(
            "alone",
            f"{alone} of {len(prompts)} groups have one rollout, so nothing to disagree with: "
            "verl's own grpo gives such a group its raw reward, ours 0",
        )


def _rewards(rewards: FloatArray, say: Say) -> FloatArray:
    bad = ~np.isfinite(rewards)
    if bad.any():
        say(
            "rewards",
            f"{int(bad.sum())} of {len(rewards)} rewards are not finite; those rollouts are "
            "recorded as unscored",
        )
    return np.where(bad, np.nan, rewards)


def _numbers(extras: Sequence[Mapping[str, Any] | None], say: Say) -> dict[str, FloatArray]:
    """Extras that are numbers, as columns; texts and whatever else there is are left out."""
    names = dict.fromkeys(name for row in extras for name in row or ())
    found = {}
    for name in names:
        values = np.array([_number((row or {}).get(name)) for row in extras])
        known = int(np.isfinite(values).sum())
        if not known:
            continue
        if known < len(values):
            say(
                f"extra {name}",
                f"the reward extra {name!r} is a number for {known} of {len(values)} rollouts; "
                "the others have none",
            )
        found[str(name)] = values
    return found


def _number(value: Any) -> float:
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (int, float)):
        return math.nan
    try:
        number = float(value)
    except OverflowError:  # an integer may have any number of digits
        return math.nan
    return number if math.isfinite(number) else math.nan
