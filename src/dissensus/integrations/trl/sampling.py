"""One sampling of a batch, as TRL made it: gathered numbers, this process's texts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups
from dissensus.integrations.trl.processes import gather
from dissensus.integrations.trl.settings import Settings
from dissensus.runs.reward_hook import total_rewards
from dissensus.runs.rows import prompt_id

__all__ = ["Rows", "Sampling", "collect", "join_samplings", "make_groups"]


class Rows(NamedTuple):
    """What `_calculate_rewards` was given on this process and what it returned."""

    inputs: Sequence[Mapping[str, Any]]
    prompts: Sequence[Any]
    completions: Sequence[Any]
    completion_ids: Sequence[Sequence[int]]
    rewards_per_func: Any  # (N, n_functions), gathered


@dataclass(frozen=True)
class Sampling:
    """One generation: N rollouts of all processes, in TRL's order (process by process).

    Attributes:
        rows: This process's rows, with their texts.
        local: Which of the N rollouts they are.
        group_size: TRL cuts the gathered batch into groups of this many consecutive rows; 0 where
            an allocator gave each prompt its own.
        prompt_ids: (N,) stable ids.
        rewards_by_function: name → (N,) unweighted rewards; NaN for None and infinity.
        rewards: (N,) weighted sum over the functions that gave one; NaN where none did, and where
            it is infinite.
        lengths: (N,) completion lengths in tokens, tool output included.
        truncated: (N,) whether a completion ends without an end token.
        framework: (N,) TRL's own advantages; the mean over tokens where they are per token.
        log_likelihoods: (N,) under the sampling policy, where TRL computed them.
        groups: Their total rewards by group.
        is_correct_declared: Whether the user said what is correct.
    """

    rows: Rows
    local: slice
    group_size: int
    prompt_ids: list[str]
    rewards_by_function: dict[str, FloatArray]
    rewards: FloatArray
    lengths: IntArray
    truncated: BoolArray
    framework: FloatArray
    log_likelihoods: FloatArray | None
    groups: RewardGroups = field(repr=False)
    is_correct_declared: bool = False

    @property
    def n_groups(self) -> int:
        """Number of groups, P."""
        return len(self.groups)


def collect(trainer: Any, rows: Rows, output: Mapping[str, Any], settings: Settings) -> Sampling:
    """Gather what this process knows of its rows with what the others know of theirs.

    One collective call, in the same place on every process.

    Raises:
        RuntimeError: On every process, when one of them cannot read its rows.
    """
    is_train = trainer.model.training
    n_local = len(rows.completions)
    everyone = _exchange(lambda: _own(trainer, rows, output))
    start = sum(len(part["lengths"]) for part in everyone[: trainer.accelerator.process_index])
    by_function, total = _rewards(trainer, rows.rewards_per_func)
    group_size = (
        trainer.num_generations
        if is_train
        else getattr(trainer, "num_generations_eval", trainer.num_generations)
    )
    likelihoods = [part["log_likelihoods"] for part in everyone]
    return Sampling(
        rows=rows,
        local=slice(start, start + n_local),
        group_size=group_size,
        prompt_ids=[i for part in everyone for i in part["prompt_ids"]],
        rewards_by_function=by_function,
        rewards=total,
        lengths=np.concatenate([part["lengths"] for part in everyone]).astype(np.int64),
        truncated=np.concatenate([part["truncated"] for part in everyone]).astype(np.bool_),
        framework=np.concatenate([part["framework"] for part in everyone]).astype(np.float64),
        log_likelihoods=None if likelihoods[0] is None else np.concatenate(likelihoods),
        groups=make_groups(total, by_function, np.arange(len(total)) // group_size, settings),
        is_correct_declared=settings.correct is not None,
    )


def _exchange(read: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    cause = None
    try:
        mine = read()
    except Exception as error:  # noqa: BLE001 - raised below, when the others have heard of it
        mine, cause = {"error": repr(error)}, error
    everyone = gather(mine)
    failures = [part["error"] for part in everyone if "error" in part]
    if failures:
        raise RuntimeError(f"a process could not read its rows: {failures[0]}") from cause
    return everyone


def _own(trainer: Any, rows: Rows, output: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt_ids": _prompt_ids(rows),
        "lengths": [len(ids) for ids in rows.completion_ids],
        "truncated": _truncated(trainer, rows.completion_ids),
        "framework": _per_rollout(output["advantages"], output["completion_mask"]),
        "log_likelihoods": _log_likelihoods(output),
    }


def make_groups(
    rewards: FloatArray,
    by_function: Mapping[str, FloatArray],
    group_ids: NDArray[Any],
    settings: Settings,
) -> RewardGroups:
    """Groups by (N,) ids: TRL's are consecutive rows, and a prompt may come twice in a batch."""
    correct: float | BoolArray | None = settings.correct_from
    if settings.correct_function is not None and settings.correct_from is not None:
        # NaN, from a function that gave None, compares False.
        correct = by_function[settings.correct_function] >= settings.correct_from - settings.tol
    return RewardGroups.from_flat(rewards, group_ids, correct=correct, tol=settings.tol)


def join_samplings(
    samplings: Sequence[Sampling],
    picks: IntArray,
    *,
    group_ids: NDArray[Any],
    local: slice,
    settings: Settings,
    group_size: int = 0,
) -> Sampling:
    """Rollouts of several samplings as one.

    Args:
        samplings: Of one step, or kept from earlier ones.
        picks: (N, 2) sampling and row of each rollout; a row may be picked twice.
        group_ids: (N,) which group each belongs to.
        local: Which of the N are this process's; their picks are its own rows.
        settings: For groups.
        group_size: Of TRL, where it is everywhere the same.
    """
    starts = np.cumsum([0, *(len(each.rewards) for each in samplings)])
    flat = starts[picks[:, 0]] + picks[:, 1]

    def pick(read: Callable[[Sampling], Any]) -> Any:
        return np.concatenate([read(each) for each in samplings])[flat]

    first = samplings[0]
    by_function = {
        name: pick(functools.partial(_rewards_of, name)) for name in first.rewards_by_function
    }
    rewards = pick(lambda each: each.rewards)
    return replace(
        first,
        rows=_join_rows(samplings, picks[local]),
        local=local,
        group_size=group_size,
        prompt_ids=pick(lambda each: each.prompt_ids).tolist(),
        rewards_by_function=by_function,
        rewards=rewards,
        lengths=pick(lambda each: each.lengths),
        truncated=pick(lambda each: each.truncated),
        framework=pick(lambda each: each.framework),
        log_likelihoods=None
        if first.log_likelihoods is None
        else pick(lambda each: each.log_likelihoods),
        groups=make_groups(rewards, by_function, group_ids, settings),
    )


def _rewards_of(name: str, sampling: Sampling) -> FloatArray:
    return sampling.rewards_by_function[name]


def _join_rows(samplings: Sequence[Sampling], picks: IntArray) -> Rows:
    """This process's rows; None for texts that were not kept."""

    def pick(texts: Callable[[Rows], Sequence[Any]]) -> list[Any]:
        out = []
        for sampling, row in picks.tolist():
            here = texts(samplings[sampling].rows)
            place = row - samplings[sampling].local.start
            out.append(here[place] if len(here) else None)
        return out

    return Rows(
        pick(lambda rows: rows.inputs),
        pick(lambda rows: rows.prompts),
        pick(lambda rows: rows.completions),
        pick(lambda rows: rows.completion_ids),
        None,
    )


def _rewards(trainer: Any, rewards_per_func: Any) -> tuple[dict[str, FloatArray], FloatArray]:
    scores = rewards_per_func.detach().cpu().double().numpy()
    total, kept = total_rewards(scores, trainer.reward_weights.detach().cpu().double().numpy())
    names = _unique(trainer.reward_func_names)
    return {name: kept[:, i] for i, name in enumerate(names)}, total


def _unique(names: Sequence[str]) -> list[str]:
    """Two reward functions may have one name: the second gets a number."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return out


def _prompt_ids(rows: Rows) -> list[str]:
    # An environment may own the prompt: then the row has none, and the text that was sent counts.
    pairs = zip(rows.inputs, rows.prompts, strict=True)
    return [prompt_id(row if "prompt" in row else {**row, "prompt": text}) for row, text in pairs]


def _truncated(trainer: Any, completion_ids: Sequence[Sequence[int]]) -> list[bool]:
    tokenizer = getattr(trainer, "_tokenizer", None) or trainer.processing_class
    declared = getattr(trainer, "eos_token_ids", None) or [getattr(trainer, "eos_token_id", None)]
    ends = {*declared, getattr(tokenizer, "eos_token_id", None)}
    ends.add(getattr(tokenizer, "pad_token_id", None))
    return [len(ids) == 0 or int(ids[-1]) not in ends for ids in completion_ids]


def _per_rollout(advantages: Any, mask: Any) -> FloatArray:
    values = advantages.detach()
    if values.dim() > 1:
        values = (values * mask).sum(-1) / mask.sum(-1).clamp(min=1)
    return np.asarray(values.cpu().double().numpy(), dtype=np.float64)


def _log_likelihoods(output: Mapping[str, Any]) -> FloatArray | None:
    logps = output.get("old_per_token_logps")
    if logps is None:
        return None
    mask = output["completion_mask"]
    return np.asarray((logps * mask).sum(-1).cpu().double().numpy(), dtype=np.float64)
