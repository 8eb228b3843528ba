"""Callbacks: what the trainer's public hooks tell the recording."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

__all__ = ["LifecycleCallback"]


class LifecycleCallback(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
    """Tells a `DisagreementMixin` when training begins, logs, saves and ends."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Open the run: only now is the step known at which training goes on."""
        self._session.begin_training(state.global_step)

    def on_log(
        self, _args: Any, state: Any, _control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Record what was logged."""
        self._session.writer.scalars(state.global_step, logs or {})

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Save the estimator's state and the refill stream beside the checkpoint."""
        self._session.save(args, state.global_step)

    def on_train_end(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        """Put everything on disk; the run stays open for a last evaluation."""
        self._session.writer.flush()
