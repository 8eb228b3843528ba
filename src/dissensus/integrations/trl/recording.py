"""From the trainer to a run on disk, without ever stopping or stalling the training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dissensus.core.groups import BoolArray
from dissensus.integrations.guard import Guard
from dissensus.integrations.trl.estimating import Estimate
from dissensus.integrations.trl.processes import from_main
from dissensus.integrations.trl.sampling import Sampling
from dissensus.integrations.trl.settings import Settings
from dissensus.runs import Recorder
from dissensus.runs.rows import as_text, reference_text

__all__ = ["RunWriter", "record_log", "warn_of_other_start"]

log = logging.getLogger("dissensus.trl")

_HELD = 64  # evaluation batches kept in memory until training says at which step it begins
_FLUSH_S = 10.0


class RunWriter:
    """Opens the run when the first step is known, and writes samplings into it.

    Every public method is called on all processes in the same order. Rank 0 opens the attempt and
    tells the others its number. A failure is said once through `logging`, counted in
    `guard.failures`, and recording goes on, or stays off where the run could not be opened.
    """

    def __init__(self, settings: Settings, accelerator: Any, run_dir: Path | None) -> None:
        self.guard = Guard(log)
        self.recorder = settings.recorder
        self._settings = settings
        self._accelerator = accelerator
        self._run_dir = run_dir
        self._is_off = settings.recorder is None and run_dir is None
        # Not `recorder is None`: a rank that could not open its own takes the same turns as the
        # others, or they would wait for it in a collective call.
        self._is_open = settings.recorder is not None
        self._metadata: dict[str, Any] = {}
        self._held: list[Callable[[], None]] = []
        self._has_trained = False

    def describe(self, metadata: Mapping[str, Any]) -> None:
        """What the run says about its training; before anything is recorded."""
        self._metadata = dict(metadata)

    def begin_training(self, step: int) -> None:
        """Open the run at the step at which training starts or goes on.

        A second call of `train` is a new attempt, and so is a resumed checkpoint.
        """
        if self._is_off:
            return
        if self._settings.recorder is not None:
            warn_of_other_start(self._settings.recorder, step)
        elif not self._is_open:
            self._open(step)
        elif self._has_trained:
            if self.recorder is not None:
                self.recorder.close(_FLUSH_S)
            self._open(step)
        held, self._held = self._held, []
        for write in held:
            write()

    def record(
        self,
        sampling: Sampling,
        found: Estimate,
        *,
        trained: BoolArray,
        split: str,
        round_: int,
        step: int,
        epoch: float | None,
    ) -> None:
        """Write one generation."""
        if self._is_off:
            return

        def write() -> None:
            if self.recorder is not None:
                with self.guard("record"):
                    _record(
                        self.recorder,
                        sampling,
                        found,
                        trained=trained,
                        split=split,
                        round_=round_,
                        step=step,
                        epoch=epoch,
                    )

        if split == "train":
            self._has_trained = True
        elif not self._is_open and self._belongs_to_a_resume():
            # Opening an attempt at step 0 now would supersede what the earlier ones recorded.
            del self._held[: -_HELD + 1]
            self._held.append(write)
            return
        if not self._is_open:
            self._open(step)
        write()

    def scalars(self, step: int, logs: Mapping[str, Any], evaluation: str | None) -> None:
        """Write what the trainer logged, in an evaluation or not; rank 0 only."""
        if self.recorder is None or not self._accelerator.is_main_process:
            return
        record_log(self.recorder, step, logs, evaluation)

    def flush(self) -> None:
        """Wait a moment for the disk."""
        if self.recorder is not None:
            with self.guard("flush"):
                self.recorder.flush(_FLUSH_S)

    # ---- private -----------------------------------------------------------------------------

    def _belongs_to_a_resume(self) -> bool:
        found = False
        with self.guard("open"):
            attempts = self._run_dir and self._run_dir / "attempts"
            found = bool(attempts and attempts.is_dir() and any(attempts.iterdir()))
        return bool(from_main(found))

    def _open(self, step: int) -> None:
        rank, world = self._accelerator.process_index, self._accelerator.num_processes

        def make(attempt: int | None) -> Recorder:
            threshold = self._settings.correct
            return Recorder(
                self._run_dir or "",
                step,
                metadata=self._metadata,
                correct=threshold if isinstance(threshold, (int, float)) else None,
                tol=self._settings.tol,
                rank=rank,
                world_size=world,
                attempt=attempt,
                text_budget_bytes=self._settings.text_budget_bytes,
            )

        self.recorder = None
        if rank == 0:
            with self.guard("open"):
                self.recorder = make(None)
        attempt = from_main(self.recorder.attempt if self.recorder else None)
        if attempt is None:
            self._is_off = True
        elif rank > 0:
            with self.guard("open"):
                self.recorder = make(attempt)
        self._is_open = True


def warn_of_other_start(recorder: Recorder, step: int) -> None:
    """Say that a recorder's attempt does not begin where training does."""
    if recorder.start_step != step:
        log.warning(
            "dissensus: training begins at step %d and the recorder's attempt at step %d, so "
            "earlier attempts count up to there; open it with start_step=%d",
            step,
            recorder.start_step,
            step,
        )


def record_log(
    recorder: Recorder, step: int, logs: Mapping[str, Any], evaluation: str | None = None
) -> None:
    """Record what a trainer logged when `step` optimiser steps were done.

    An update belongs to the step that its rollouts were sampled at, which is the one before; so a
    resume at `step` keeps it. An evaluation is of the weights after it.

    Args:
        recorder: Where to record.
        step: The trainer's `global_step`.
        logs: Name → value.
        evaluation: Split of the evaluation that logs; None: names tell, as far as they can.
    """
    for split, values in _split_scalars(logs, evaluation).items():
        at = max(step - 1, 0) if split == "train" else step
        recorder.scalars(step=at, values=values, split=split)


def _split_scalars(logs: Mapping[str, Any], evaluation: str | None) -> dict[str, dict[str, float]]:
    """A trainer's log by split, without the prefixes that say the split.

    TRL writes `eval_` before the metrics of every evaluation, transformers the set's own name.

    Example:
        >>> _split_scalars({"loss": 0.5, "eval_reward": 1, "note": "text"}, None)
        {'train': {'loss': 0.5}, 'eval': {'reward': 1.0}}
        >>> _split_scalars({"eval_math_loss": 0.5, "eval_reward": 1}, "eval_math")
        {'eval_math': {'loss': 0.5, 'reward': 1.0}}
    """
    splits: dict[str, dict[str, float]] = {}
    for name, value in logs.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            split = evaluation or ("eval" if name.startswith("eval_") else "train")
            short = name if split == "train" else name.removeprefix(f"{split}_")
            splits.setdefault(split, {})[short.removeprefix("eval_")] = float(value)
    return splits


def _record(
    recorder: Any,
    sampling: Sampling,
    found: Estimate,
    *,
    trained: BoolArray,
    split: str,
    round_: int,
    step: int,
    epoch: float | None,
) -> None:
    groups, rows = sampling.groups, sampling.rows
    prefix = f"{recorder.attempt}.{recorder.generation}."
    recorder.record(
        step=step,
        group_ids=[f"{prefix}{i}" for i in groups.index.tolist()],
        prompt_ids=sampling.prompt_ids,
        rewards=sampling.rewards,
        split=split,
        round=round_,
        trained=trained,
        correct=_declared_correct(sampling, found),
        prompts=[as_text(prompt) for prompt in rows.prompts],
        references=[reference_text(row) for row in rows.inputs],
        completions=[as_text(completion) for completion in rows.completions],
        lengths=sampling.lengths,
        truncated=sampling.truncated,
        rewards_by_function=sampling.rewards_by_function,
        advantages_used=found.values,
        advantages_framework=sampling.framework,
        policy_version=step,
        epoch=epoch,
        local=sampling.local,
    )


def _declared_correct(sampling: Sampling, found: Estimate) -> Any:
    # None leaves it to the Recorder, which has seen the rewards of the whole run.
    if not sampling.is_correct_declared or found.summary.correct is None:
        return None
    return np.asarray(sampling.groups.is_correct)
