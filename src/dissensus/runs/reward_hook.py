"""Recording from inside the reward functions, for trainers that can only be reached so.

A reward function sees prompts, completions and data set columns, so wrapping it records a trainer
that cannot be subclassed. It does not see advantages, so `silent`, `contrast` and `push` stay
unknown. A callback of the trainer says what a reward function cannot know: which generations are
evaluation, the group size, the end tokens, the other processes.
"""

from __future__ import annotations

import functools
import inspect
import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dissensus.core.groups import FloatArray
from dissensus.errors import InputError
from dissensus.runs.rows import REFERENCE_COLUMNS, as_text, prompt_id, reference_text

if TYPE_CHECKING:
    from dissensus.runs.recorder import Recorder

__all__ = ["RewardHook", "hook_of", "total_rewards", "wrap_reward"]

log = logging.getLogger("dissensus.runs")

_COLUMNS = ("prompt_id", *REFERENCE_COLUMNS)
_hooks: weakref.WeakKeyDictionary[Recorder, RewardHook] = weakref.WeakKeyDictionary()


def wrap_reward(
    recorder: Recorder, fn: Callable[..., Any], *, name: str | None = None, weight: float = 1.0
) -> Callable[..., Any]:
    """A reward function that does what `fn` does, and records.

    Functions wrapped by one recorder are one generation: it is complete when each of them was
    called with the same completions. Wrap all reward functions of a trainer, in their order.

    Args:
        recorder: Where to record.
        fn: Reward function, plain or async; called as `fn(prompts=…, completions=…, **columns)`.
        name: Name in the run; default: the function's.
        weight: Its weight in the total reward.

    Raises:
        InputError: `fn` is not callable.

    Example:
        >>> import tempfile
        >>> from dissensus import Recorder
        >>> with Recorder(tempfile.mkdtemp()) as recorder:
        ...     right = recorder.wrap_reward(lambda prompts, completions: ["4" in completions])
        ...     right(prompts=["2+2="], completions=["4"])
        [True]
    """
    if not callable(fn):
        raise InputError("wrap_reward needs a reward function", got=fn)
    hook = hook_of(recorder)
    label = str(name or getattr(fn, "__name__", type(fn).__name__))
    number = hook.register(label, weight)

    if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(
        getattr(fn, "__call__", None)  # noqa: B004 - an object whose call is async
    ):

        async def waiting(*args: Any, **kwargs: Any) -> Any:
            rewards = await fn(*args, **kwargs)
            hook.report(number, rewards, args, kwargs)
            return rewards

        wrapped: Callable[..., Any] = waiting
    else:

        def direct(*args: Any, **kwargs: Any) -> Any:
            rewards = fn(*args, **kwargs)
            hook.report(number, rewards, args, kwargs)
            return rewards

        wrapped = direct
    functools.update_wrapper(wrapped, fn)
    wrapped.__name__ = label  # trainers name their metrics by it
    return wrapped


def hook_of(recorder: Recorder) -> RewardHook:
    """The one hook of a recorder, which all its wrapped functions report to."""
    if recorder not in _hooks:
        _hooks[recorder] = RewardHook(recorder)
    return _hooks[recorder]


def total_rewards(
    scores: FloatArray, weights: Sequence[float] | FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Weighted total of each rollout, (N,), and the scores that a run keeps, (N, n_functions).

    A rollout that no function scored is unscored (NaN), and so is one with an infinite total: its
    group has no mean. An infinite score is kept as none.

    Example:
        >>> scores = np.array([[1.0, 0.5], [1.0, np.nan], [np.inf, 1.0], [np.nan, np.nan]])
        >>> total, kept = total_rewards(scores, [1.0, 2.0])
        >>> total.tolist()
        [2.0, 1.0, nan, nan]
        >>> kept[2].tolist()
        [nan, 1.0]
    """
    with np.errstate(invalid="ignore"):  # ∞ − ∞ is no number, as it should be
        total = np.nansum(scores * np.asarray(weights), axis=1)
    is_scored = np.isfinite(total) & ~np.isnan(scores).all(axis=1)
    return np.where(is_scored, total, np.nan), np.where(np.isinf(scores), np.nan, scores)


@dataclass
class _Pending:
    """A generation that not all functions have scored, or that nobody has claimed yet."""

    prompts: Sequence[Any]
    completions: Sequence[Any]
    completion_ids: Sequence[Sequence[int]] | None
    columns: Mapping[str, Sequence[Any]]
    step: int
    epoch: float | None
    rewards: dict[int, FloatArray] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """Prompt and known columns of each rollout, as rows of the data set."""
        return [
            {"prompt": prompt, **{name: values[i] for name, values in self.columns.items()}}
            for i, prompt in enumerate(self.prompts)
        ]


class RewardHook:
    """Collects what the wrapped reward functions of one recorder see.

    Attributes:
        group_size: Rollouts per group by split; runs of equal prompts are cut to it where they are
            a multiple of it. Without it, a run of equal prompts is one group.
        weights: Weight of each function, in the order of wrapping.
        end_ids: Tokens that end a completion; empty: truncation is unknown.
        waits: Whether a callback will say what each generation was; else it is recorded as
            training as soon as every function has scored it.
        step: Step of what is scored next, where the trainer does not hand `trainer_state` to reward
            functions.
        epoch: Likewise.
        gather: Makes one list of every process's part; None: this process is alone.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = weakref.ref(recorder)  # the registry's keys are weak, so must this be
        self._pending: _Pending | None = None
        self._failures = 0
        self.names: list[str] = []
        self.weights: list[float] = []
        self.group_size: dict[str, int] = {}
        self.end_ids: set[int] = set()
        self.waits = False
        self.step = 0
        self.epoch: float | None = None
        self.gather: Callable[[dict[str, Any]], list[dict[str, Any]]] | None = None

    def register(self, name: str, weight: float) -> int:
        """Take in one more function; returns its number."""
        taken = self.names.count(name)
        self.names.append(f"{name}_{taken + 1}" if taken else name)
        self.weights.append(float(weight))
        return len(self.names) - 1

    def report(
        self, number: int, rewards: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """What function `number` made of a batch. Never raises."""
        try:
            completions = kwargs["completions"] if "completions" in kwargs else args[1]
            pending = self._pending
            if pending is not None and (
                number in pending.rewards or pending.completions is not completions
            ):
                self.commit("train")  # nobody claimed the last one
                pending = None
            if pending is None:
                pending = self._pending = self._begin(completions, args, kwargs)
            values = [np.nan if r is None else float(r) for r in rewards]
            pending.rewards[number] = np.array(values, dtype=np.float64)
            if not self.waits and len(pending.rewards) == len(self.names):
                self.commit("train")
        except Exception as error:  # noqa: BLE001 - nothing may stop training
            self._fail(error)

    def commit(self, split: str) -> None:
        """Record the pending generation as one of `split`. Never raises.

        With `gather` set this is a collective call: every process makes it at the same event.
        """
        pending, self._pending = self._pending, None
        recorder = self._recorder()
        if pending is None or recorder is None:
            return
        try:
            self._record(recorder, pending, split)
        except Exception as error:  # noqa: BLE001 - nothing may stop training
            self._fail(error)

    # ---- private -----------------------------------------------------------------------------

    def _begin(self, completions: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Pending:
        state = kwargs.get("trainer_state")
        return _Pending(
            prompts=kwargs["prompts"] if "prompts" in kwargs else args[0],
            completions=completions,
            completion_ids=kwargs.get("completion_ids"),
            columns={name: kwargs[name] for name in _COLUMNS if name in kwargs},
            step=int(getattr(state, "global_step", self.step)),
            epoch=getattr(state, "epoch", self.epoch),
        )

    def _record(self, recorder: Recorder, pending: _Pending, split: str) -> None:
        try:
            rows = pending.rows()
            mine = self._numbers(pending, rows)
        except Exception as error:
            if self.gather is not None:
                self.gather({"error": repr(error)})  # the other processes wait for this one
            raise
        parts = [mine] if self.gather is None else self.gather(mine)
        failures = [part["error"] for part in parts if "error" in part]
        if failures:
            raise InputError("another process could not read its rewards", got=failures[0])
        n_local = len(rows)
        start = sum(len(part["prompt_ids"]) for part in parts[: recorder.rank])
        prompt_ids = [i for part in parts for i in part["prompt_ids"]]
        scores = np.concatenate([part["rewards"] for part in parts])
        rewards, scores = total_rewards(scores, self.weights)
        prefix = f"{recorder.attempt}.{recorder.generation}."
        groups = _consecutive(prompt_ids, self.group_size.get(split))
        recorder.record(
            step=pending.step,
            group_ids=[f"{prefix}{i}" for i in groups],
            prompt_ids=prompt_ids,
            rewards=rewards,
            split=split,
            prompts=[as_text(prompt) for prompt in pending.prompts],
            references=[reference_text(row) for row in rows],
            completions=[as_text(completion) for completion in pending.completions],
            lengths=_joined(parts, "lengths"),
            truncated=_joined(parts, "truncated"),
            rewards_by_function={name: scores[:, i] for i, name in enumerate(self.names)},
            policy_version=pending.step,
            epoch=pending.epoch,
            local=slice(start, start + n_local),
        )

    def _numbers(self, pending: _Pending, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What every process needs to know of this one's rows."""
        unscored = np.full(len(rows), np.nan)
        by_number = [pending.rewards.get(i, unscored) for i in range(len(self.names))]
        completion_ids = pending.completion_ids
        return {
            "prompt_ids": [prompt_id(row) for row in rows],
            "rewards": np.stack(by_number, axis=1),
            "lengths": None if completion_ids is None else [len(ids) for ids in completion_ids],
            "truncated": self._truncated(completion_ids),
        }

    def _truncated(self, completion_ids: Sequence[Sequence[int]] | None) -> list[bool] | None:
        if completion_ids is None or not self.end_ids:
            return None
        return [len(ids) == 0 or int(ids[-1]) not in self.end_ids for ids in completion_ids]

    def _fail(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            log.warning("dissensus: a reward could not be recorded (%r); training goes on", error)


def _consecutive(prompt_ids: Sequence[str], group_size: int | None) -> list[int]:
    """Number of each row's group: runs of equal prompts, cut where two groups follow each other."""
    ids = np.array(prompt_ids, dtype=object)
    starts = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    groups: list[int] = []
    n_groups = 0
    for start, stop in zip(starts, [*starts[1:], len(ids)], strict=True):
        run = int(stop - start)
        size = group_size if group_size and run % group_size == 0 else run
        groups.extend(n_groups + i // size for i in range(run))
        n_groups += run // size
    return groups


def _joined(parts: Sequence[Mapping[str, Any]], name: str) -> Any:
    if any(part[name] is None for part in parts):
        return None
    return [value for part in parts for value in part[name]]
