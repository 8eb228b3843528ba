"""Recorder: what a training loop calls to put its rollouts on disk."""

from __future__ import annotations

import atexit
import logging
import math
import os
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from numpy.typing import ArrayLike

from dissensus.core.groups import DEFAULT_TOL
from dissensus.errors import DissensusError, InputError, RunError
from dissensus.runs import attempts, records
from dissensus.runs.attempts import Attempt
from dissensus.runs.housekeeping import Housekeeping
from dissensus.runs.sink import Sink
from dissensus.runs.writer import Writer, yield_interpreter

__all__ = ["TEXT_BUDGET_BYTES", "Recorder"]

log = logging.getLogger("dissensus.runs")

TEXT_BUDGET_BYTES = 2 * 1024**3
"""Default text budget of a run, before compression."""

_open: weakref.WeakSet[Recorder] = weakref.WeakSet()


class Recorder:
    """Records the generations of a training run into a folder, from a background thread.

    In a training loop nothing of this stops training: `record`, `scalars`, `flush` and `close` do
    not raise, and `record` and `scalars` do not wait for the disk. What cannot be kept is dropped,
    text before rollouts before groups, counted in `dropped`, and said once through `logging`. A
    write that fails is repeated until the disk is back.

    A new Recorder in the folder of an earlier run resumes it as a new attempt: what earlier
    attempts recorded at `start_step` and later does not count any more, but for evaluations at
    `start_step` itself, which are of the weights that training goes on from. Generation numbers go
    on.

    Args:
        run_dir: Folder of the run; made when it is not there.
        start_step: First optimiser step that this process will record.
        metadata: Anything JSON can hold: model, data set, estimator.
        correct: Reward from which a rollout is correct. None: rewards that take two values are
            wrong and correct; once a third value was seen, correctness is unknown.
        tol: Rewards closer than this are equal; in reward units.
        rank: Number of this process. Rank 0 writes `groups`; every rank writes its own `rollouts`.
        world_size: Number of processes that record.
        attempt: Number of the attempt that rank 0 opened; needed on the other ranks.
        text_budget_bytes: Bytes of text the run may keep before compression; a quarter of them for
            prompts. None: no limit. Whole groups keep or lose their text.
        queue_size: Generations that may wait for the disk.
        compact_every: Generations per part file of background compaction; 0 turns it off.
        strict: Raise input errors, and failed writes at the next call. For tests.

    Raises:
        InputError: Arguments that cannot be used.
        RunError: The folder cannot be made or written, or holds something that is not a run.

    Example:
        >>> import tempfile
        >>> with Recorder(tempfile.mkdtemp()) as recorder:
        ...     recorder.record(
        ...         step=0, group_ids=[7, 7], prompt_ids=["a", "a"], rewards=[1.0, 0.0]
        ...     )
        0
    """

    def __init__(
        self,
        run_dir: str | os.PathLike[str],
        start_step: int = 0,
        *,
        metadata: Mapping[str, Any] | None = None,
        correct: float | None = None,
        tol: float = DEFAULT_TOL,
        rank: int = 0,
        world_size: int = 1,
        attempt: int | None = None,
        text_budget_bytes: float | None = TEXT_BUDGET_BYTES,
        queue_size: int = 512,
        compact_every: int = 500,
        strict: bool = False,
    ) -> None:
        _check_numbers(start_step, correct, tol)
        _check_ranks(rank, world_size, attempt)
        # Absolute now, because a training script may change its folder.
        self.run_dir = Path(run_dir).absolute()
        self.rank, self.world_size, self.strict = rank, world_size, strict
        self._pid = os.getpid()
        self._is_closed = False
        self._numbering = threading.Lock()
        self._dropped: Counter[str] = Counter()
        self._attempt = self._open(start_step, metadata, correct, tol, attempt)
        self._next_generation = self._first = self._attempt.first_generation
        details = self._attempt.details
        sink = Sink(
            self.run_dir,
            attempt=self._attempt.attempt,
            rank=rank,
            tol=tol,
            correct=correct,
            text_budget_bytes=math.inf if text_budget_bytes is None else float(text_budget_bytes),
            text_bytes=float(details.get("text_bytes_before", 0.0)),
            prompt_bytes=float(details.get("prompt_bytes_before", 0.0)),
            reward_values=details.get("reward_values_before", ()),
            world_size=world_size,
            breathe=yield_interpreter,
        )
        self._housekeeping = Housekeeping(
            self.run_dir, self._attempt, sink, compact_every=compact_every, counts=self._counts
        )
        self._writer = Writer(
            self._housekeeping,
            queue_size=queue_size,
            tick=self._housekeeping.tick,
            dropped=self._dropped,
            first_segment=self._first,
            name=f"dissensus-recorder-{rank}",
        )
        _open.add(self)

    def _open(
        self,
        start_step: int,
        metadata: Mapping[str, Any] | None,
        correct: float | None,
        tol: float,
        attempt: int | None,
    ) -> Attempt:
        if self.rank and attempt is not None:
            return attempts.await_attempt(self.run_dir, attempt, timeout_s=60.0)
        details = {
            "metadata": dict(metadata or {}),
            "world_size": self.world_size,
            "correct": correct,
            "tol": tol,
            **attempts.process_identity(),
            **attempts.carried_over(self.run_dir),
        }
        try:
            return attempts.open_attempt(self.run_dir, int(start_step), details)
        except DissensusError:
            raise
        except (OSError, TypeError, ValueError) as error:
            raise RunError(
                f"the run cannot be opened for writing ({error})", where=str(self.run_dir)
            ) from error

    # ---- recording ---------------------------------------------------------------------------

    def record(
        self,
        *,
        step: int,
        group_ids: Sequence[int] | Sequence[str] | ArrayLike,
        prompt_ids: Sequence[int] | Sequence[str] | ArrayLike,
        rewards: ArrayLike,
        split: str = "train",
        round: int = 0,  # noqa: A002 - the column's name
        generation: int | None = None,
        trained: ArrayLike | None = None,
        correct: ArrayLike | Literal["unknown"] | None = None,
        prompts: Sequence[str | None] | None = None,
        references: Sequence[str | None] | None = None,
        completions: Sequence[str | None] | None = None,
        lengths: ArrayLike | None = None,
        truncated: ArrayLike | None = None,
        rewards_by_function: Mapping[str, ArrayLike] | None = None,
        advantages_used: ArrayLike | None = None,
        advantages_framework: ArrayLike | None = None,
        policy_version: int | None = None,
        epoch: float | None = None,
        local: slice | None = None,
    ) -> int:
        """Record one generation: one sampling of a batch, one entry per rollout.

        With several processes every rank passes the numbers of all of them, in the same order.
        Everything is copied before this returns.

        Args:
            step: Optimiser step at which the rollouts were sampled.
            group_ids: (N,) all integers or all strings; new for every sampling.
            prompt_ids: (N,) all integers or all strings; the row of the data set.
            rewards: (N,) total rewards; NaN for an unscored rollout.
            split: "train", or the name of an evaluation set.
            round: 0, or the number of the refill or pilot round inside one step.
            generation: Its number; None: the next one. Recording a number again replaces it.
            trained: (N,) whether the optimiser gets the rollout. None: all of split "train".
            correct: (N,) booleans, a threshold for this call, or "unknown". None: the Recorder's.
            prompts: Text of the prompt, one per row of `local`, as the other two text columns.
            references: Reference answers.
            completions: Text of the completions.
            lengths: (N,) completion lengths in tokens.
            truncated: (N,) whether a completion was cut at the length limit.
            rewards_by_function: Name → (N,) unweighted rewards; NaN where a function gave none.
            advantages_used: (N,) what the optimiser receives.
            advantages_framework: (N,) what the framework itself computed.
            policy_version: Version of the weights that sampled.
            epoch: Position in the data set.
            local: Rows of the gathered batch that this rank writes. None: all.

        Returns:
            The generation's number.
        """
        if not self._is_usable():
            return self._next_generation
        number = self._next_generation
        try:
            number = self._take_number(generation)
            record = records.capture(
                step=step,
                generation=number,
                group_ids=group_ids,
                prompt_ids=prompt_ids,
                rewards=rewards,
                time_s=time.time(),
                split=split,
                round=round,
                epoch=epoch,
                policy_version=policy_version,
                local=local,
                correct=correct,
                trained=trained,
                lengths=lengths,
                truncated=truncated,
                advantages_used=advantages_used,
                advantages_framework=advantages_framework,
                rewards_by_function=rewards_by_function,
                prompts=prompts,
                references=references,
                completions=completions,
            )
            self._writer.submit(record)
        except Exception as error:  # noqa: BLE001 - nothing may stop training
            self._refuse("record", error)
        return number

    def scalars(self, *, step: int, values: Mapping[str, float], split: str = "train") -> None:
        """Record named numbers of one step: losses, learning rate, held-out accuracy.

        Args:
            step: Optimiser step.
            values: Name → value; NaN and infinities are kept as null.
            split: "train", or the name of an evaluation set.
        """
        if not self._is_usable():
            return
        try:
            number, now_s = records.integer("step", step), time.time()
            taken = [
                (number, str(split), str(name), _finite(value), now_s)
                for name, value in values.items()
            ]
            self._writer.submit_scalars(taken)
        except Exception as error:  # noqa: BLE001 - nothing may stop training
            self._refuse("scalars", error)

    def wrap_reward(self, fn: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """A reward function that records: for trainers with public hooks only.

        See `dissensus.runs.reward_hook.wrap_reward` for the options and an example.
        """
        from dissensus.runs.reward_hook import wrap_reward

        return wrap_reward(self, fn, **options)

    # ---- ending ------------------------------------------------------------------------------

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until all that was recorded is on disk.

        Args:
            timeout_s: Longest wait in seconds; None: as long as it takes, but no longer than to see
                that writing fails.

        Returns:
            True when it is on disk; False on a timeout or a disk that takes nothing.
        """
        if self._is_closed or os.getpid() != self._pid:
            return False
        is_written = self._writer.flush(timeout_s)
        self._raise_if_strict()
        return is_written

    def close(self, timeout_s: float = 60.0) -> None:
        """Write what waits, and say in the run that it has ended.

        Args:
            timeout_s: Longest wait in seconds for what was recorded.
        """
        self._close("finished", timeout_s)
        self._raise_if_strict()

    def _close(self, state: str, timeout_s: float = 60.0) -> None:
        if self._is_closed or os.getpid() != self._pid:
            return
        self._is_closed = True
        try:
            self._writer.close(timeout_s)
            self._housekeeping.end(state)
        except Exception as error:  # noqa: BLE001 - nothing may stop training
            log.warning("dissensus: the end of the run could not be written (%s)", error)
        _open.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        is_clean = kind is None or issubclass(kind, (KeyboardInterrupt, SystemExit))
        self._close("finished" if is_clean else "died")
        if kind is None:
            self._raise_if_strict()

    # ---- state -------------------------------------------------------------------------------

    @property
    def dropped(self) -> dict[str, int]:
        """What was not recorded: texts, rollouts, generations, scalars, invalid calls."""
        return dict(self._dropped)

    @property
    def generation(self) -> int:
        """Number that the next generation will get."""
        return self._next_generation

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1."""
        return self._attempt.attempt

    @property
    def start_step(self) -> int:
        """First step of this attempt."""
        return self._attempt.start_step

    def __repr__(self) -> str:
        return f"Recorder({str(self.run_dir)!r}, attempt={self.attempt}, rank={self.rank})"

    # ---- private -----------------------------------------------------------------------------

    def _counts(self) -> dict[str, Any]:
        return {"dropped": self.dropped, "generation": self._next_generation}

    def _take_number(self, generation: int | None) -> int:
        with self._numbering:
            number = self._next_generation
            if generation is not None:
                number = records.integer("generation", generation)
                self._housekeeping.check_number(number, self._next_generation)
            self._next_generation = max(self._next_generation, number + 1)
            return number

    def _is_usable(self) -> bool:
        if os.getpid() != self._pid:  # before any lock: a fork may have copied a locked one
            self._dropped["calls_after_fork"] += 1
            if self._dropped["calls_after_fork"] == 1:
                log.warning("dissensus: a forked process does not record into its parent's run")
            return False
        if self._is_closed:
            self._refuse("record", RunError("the recorder is closed", where=str(self.run_dir)))
            return False
        self._raise_if_strict()
        return True

    def _refuse(self, call: str, error: Exception) -> None:
        if self.strict:
            raise error
        self._dropped["invalid_calls"] += 1
        self._writer.warn(f"{call}() was given what it cannot record", str(error))

    def _raise_if_strict(self) -> None:
        if self.strict and self._writer.error is not None:
            error, self._writer.error = self._writer.error, None
            raise RunError(f"writing failed ({error})", where=str(self.run_dir)) from error


def _finite(value: Any) -> float:
    number = float(value)
    return number if math.isfinite(number) else math.nan


def _check_numbers(start_step: int, correct: float | None, tol: float) -> None:
    where = "Recorder"
    if records.integer("start_step", start_step) < 0:
        raise InputError("start_step must be an integer ≥ 0", where=where, got=start_step)
    if correct is not None and not math.isfinite(correct):
        raise InputError("correct must be a finite threshold", where=where, got=correct)
    if not 0 <= tol < math.inf:
        raise InputError("tol must be a finite number ≥ 0", where=where, got=tol)


def _check_ranks(rank: int, world_size: int, attempt: int | None) -> None:
    where = "Recorder"
    if not 0 <= rank < world_size:
        raise InputError("rank must lie in 0 … world_size − 1", where=where, got=(rank, world_size))
    if rank and attempt is None:
        raise InputError(
            "ranks other than 0 need the attempt that rank 0 opened",
            where=where,
            hint="open rank 0 first, send its recorder.attempt to the others",
        )


def _close_all() -> None:
    # An uncaught exception leaves its trace here before the interpreter calls us.
    state = "died" if getattr(sys, "last_value", None) is not None else "finished"
    for recorder in list(_open):
        recorder._close(state)  # noqa: SLF001 - the module's own class


atexit.register(_close_all)
