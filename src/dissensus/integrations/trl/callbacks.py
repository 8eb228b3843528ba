"""Callbacks: what the trainer's public hooks tell the recording."""

from __future__ import annotations

import logging
import os
from typing import Any

from transformers import TrainerCallback

from dissensus.integrations.trl.processes import from_main, gather
from dissensus.integrations.trl.recording import record_log, warn_of_other_start
from dissensus.integrations.trl.settings import check_recorder
from dissensus.runs import Recorder
from dissensus.runs.reward_hook import hook_of

__all__ = ["LifecycleCallback", "RecordingCallback", "open_recorder"]

log = logging.getLogger("dissensus.trl")

_FLUSH_S = 10.0


def open_recorder(run_dir: str | os.PathLike[str], start_step: int = 0, **options: Any) -> Recorder:
    """A `Recorder` for this process of a distributed training.

    Rank 0 opens the attempt and tells its number to the others, so every process calls this, after
    the training arguments are made (they decide how the processes talk).

    Args:
        run_dir: Folder of the run, on a file system that all processes see.
        start_step: First step that this process will record.
        options: Further arguments of `Recorder`.

    Raises:
        InputError: Arguments that cannot be used.
        RunError: The folder cannot be made or written.
    """
    from accelerate import PartialState

    state = PartialState()
    rank, world = state.process_index, state.num_processes
    place = {"rank": rank, "world_size": world, **options}
    mine = Recorder(run_dir, start_step, **place) if rank == 0 else None
    attempt = from_main(mine.attempt if mine else None)
    return mine or Recorder(run_dir, start_step, **place, attempt=attempt)


class RecordingCallback(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
    """Tells wrapped reward functions what they cannot know, through public hooks only.

    Whether a generation was training or evaluation, the group size, reward weights, end tokens, the
    other processes; it also records what the trainer logs, and flushes. Works with any HF trainer
    that calls reward functions.

    Args:
        recorder: The recorder whose `wrap_reward` wrapped the reward functions.

    Raises:
        InputError: From the trainer's constructor: several processes, and a recorder that
            `open_recorder` did not make.

    Example:
        recorder = Recorder("runs/mine")
        GRPOTrainer(
            reward_funcs=[recorder.wrap_reward(fn)], callbacks=[RecordingCallback(recorder)], …
        )
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._hook = hook_of(recorder)

    def on_init_end(self, args: Any, _state: Any, _control: Any, **given: Any) -> None:
        """Read the configuration."""
        self._configure(args, given)

    def on_train_begin(self, args: Any, state: Any, _control: Any, **given: Any) -> None:
        """Read the configuration once more: processes are set up by now."""
        self._configure(args, given)
        self._follow(state)
        warn_of_other_start(self._recorder, state.global_step)

    def on_step_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Note the step, for trainers that do not tell it to reward functions."""
        self._follow(state)

    def on_substep_end(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        """A backward pass follows only what was generated for training."""
        self._hook.commit("train")

    def on_pre_optimizer_step(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        """As `on_substep_end`, for the last micro-batch of a step."""
        self._hook.commit("train")

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """For trainers without the two events above; an evaluation that follows is a step on."""
        self._hook.commit("train")
        self._follow(state)

    def on_prediction_step(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        """One evaluation batch is done."""
        self._hook.commit("eval")

    def on_log(
        self, _args: Any, state: Any, _control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Record what was logged."""
        if state.is_world_process_zero:
            record_log(self._recorder, state.global_step, logs or {})

    def on_save(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        """Put on disk what a resumed training would build on."""
        self._recorder.flush(_FLUSH_S)

    def on_train_end(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        """Put everything on disk; the run stays open for a last evaluation."""
        self._hook.commit("train")
        self._recorder.flush(_FLUSH_S)

    def _follow(self, state: Any) -> None:
        self._hook.step, self._hook.epoch = int(state.global_step), state.epoch

    def _configure(self, args: Any, given: dict[str, Any]) -> None:
        check_recorder(self._recorder, args.process_index, args.world_size)
        hook = self._hook
        hook.waits = True
        size = getattr(args, "num_generations", None)
        if size:
            evaluation = getattr(args, "num_generations_eval", None) or size
            hook.group_size = {"train": int(size), "eval": int(evaluation)}
        weights = getattr(args, "reward_weights", None)
        if weights is not None and len(weights) == len(hook.weights):
            hook.weights = [float(weight) for weight in weights]
        elif weights is not None:
            log.warning(
                "dissensus: %d reward weights, but %d functions were wrapped; recording the sum "
                "with the weights given to wrap_reward",
                len(weights),
                len(hook.weights),
            )
        hook.end_ids = _end_ids(given.get("model"), given.get("processing_class"))
        if args.world_size > 1:
            hook.gather = gather


class LifecycleCallback(TrainerCallback):  # type: ignore[misc]
    """Tells a `DisagreementMixin` when training begins, logs, saves and ends."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Open the run: only now is the step known at which training goes on."""
        self._session.begin_training(state.global_step)

    def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> None:
        """Stop when the rollouts that were paid for are generated and trained on."""
        if self._session.has_spent_all():
            control.should_training_stop = True

    def on_log(
        self, _args: Any, state: Any, _control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Record what was logged."""
        self._session.writer.scalars(state.global_step, logs or {}, self._session.evaluation)

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Save the estimator's state and the refill stream beside the checkpoint."""
        self._session.save(args, state.global_step)

    def on_train_end(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        """Put everything on disk; the run stays open for a last evaluation."""
        self._session.writer.flush()


def _end_ids(model: Any, processing_class: Any) -> set[int]:
    """Tokens that end a completion, as TRL collects them: the model's, the tokenizer's, padding."""
    tokenizer = getattr(processing_class, "tokenizer", processing_class)
    declared = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    found = declared if isinstance(declared, list) else [declared]
    found = [*found, getattr(tokenizer, "eos_token_id", None)]
    if all(token is None for token in found):
        return set()
    return {int(t) for t in [*found, getattr(tokenizer, "pad_token_id", None)] if t is not None}
