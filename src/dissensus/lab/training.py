"""GRPO training of the lab's language model through TRL, recorded: what ``dissensus train`` runs.

Example:
    train(TrainSettings(steps=60, seed=0), on_event=print).to_json()
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dissensus.lab.heldout import HeldoutCheck
from dissensus.lab.model import load_model, save_weights
from dissensus.lab.quiet import QUIET_ON_CPU, quiet_frameworks
from dissensus.lab.settings import TrainEvent, TrainResult, TrainSettings
from dissensus.lab.tasks import (
    MAX_COMPLETION_CHARS,
    Problem,
    Split,
    exact_match_reward,
    make_problems,
    to_dataset,
)
from dissensus.lab.tokenizer import build_tokenizer

__all__ = ["TrainEvent", "TrainResult", "TrainSettings", "make_run_dir", "train"]

_PREFIX = "disagreement/"
_CORRECT_FROM = 0.5  # between the two values of the reward
_HELDOUT_SEED = 20_000  # the same held-out prompts whatever the training seed
_MEASURING = "measuring held-out prompts"


def make_run_dir(seed: int) -> Path:
    """Make a new folder under `runs/` in the working folder, named by the time.

    A name that another training took in the same second gets a number.
    """
    name = f"lab-{time.strftime('%Y%m%d-%H%M%S')}-seed{seed}"
    number = 1
    while True:
        path = Path("runs") / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return path


def train(
    settings: TrainSettings | None = None,
    on_event: Callable[[TrainEvent], None] | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> TrainResult:
    """Train, record and test on held-out prompts.

    Nothing is written to standard output or error. Ctrl-C stops after what is recorded so far: the
    run is closed as usual and the result says `interrupted`.

    Args:
        settings: What to do; None for the demo's defaults.
        on_event: Called at step 0 and after every optimiser step.
        on_stage: Told what begins, in words, where it is no optimiser step.

    Raises:
        InputError: The settings cannot be run.
        MissingDependencyError: The extra `lab` is not installed.
    """
    started = time.monotonic()  # importing the frameworks is part of what a caller waits for
    begin = on_stage or (lambda _: None)
    begin("loading")
    with quiet_frameworks():
        return _Training(settings or TrainSettings(), on_event, begin, started).run()


class _Training:
    """One call of `train`: model, run and trainer, and what the trainer's callback does."""

    def __init__(
        self,
        settings: TrainSettings,
        on_event: Callable[[TrainEvent], None] | None,
        begin: Callable[[str], None],
        started: float,
    ) -> None:
        from dissensus.runs import Recorder

        self.settings, self.on_event, self.begin = settings, on_event, begin
        self.started = started
        # What can be refused is made first: a refused training leaves no folder behind.
        self.estimator = settings.make_estimator()
        self.problems = _problems(settings, "train", settings.train_prompts, settings.seed)
        heldout = _problems(settings, "heldout", settings.heldout_prompts, _HELDOUT_SEED)
        self.model = load_model(settings.checkpoint)
        self.tokenizer = build_tokenizer()
        self.run_dir = settings.run or make_run_dir(settings.seed)
        self.recorder = Recorder(self.run_dir, metadata=_describe(settings), correct=_CORRECT_FROM)
        self.heldout = HeldoutCheck(
            self.model, self.tokenizer, self.recorder, heldout, seed=settings.seed
        )
        self.steps_done = 0

    def run(self) -> TrainResult:
        interrupted = False
        with self.recorder:
            try:
                self._train()
            except KeyboardInterrupt:
                interrupted = True
        return self._result(interrupted=interrupted)

    def _train(self) -> None:
        self.begin(_MEASURING)
        self.heldout.measure(0, self.settings.heldout_samples)
        self.begin("building the trainer")
        trainer = self._build_trainer()
        self._keep_weights(0)
        self._tell(reward=None, metrics={})
        trainer.train()
        self.begin(_MEASURING)
        self.heldout.measure(self.steps_done, self.settings.heldout_samples)

    def _build_trainer(self) -> Any:
        from transformers import PrinterCallback
        from trl import GRPOConfig

        from dissensus.integrations.trl import DisagreementGRPOTrainer

        settings = self.settings
        trainer = DisagreementGRPOTrainer(
            model=self.model,
            reward_funcs=exact_match_reward,
            args=GRPOConfig(**_trl_arguments(settings, self.run_dir)),
            train_dataset=to_dataset(self.problems),
            processing_class=self.tokenizer,
            callbacks=[_make_callback(self)],
            recorder=self.recorder,
            estimator=self.estimator,
            silent=settings.silent,
            allocator=settings.allocator,
            rollout_budget=settings.rollout_budget,
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def step_ended(self, step: int) -> None:
        """After an optimiser step, before its metrics are logged."""
        self.steps_done = step
        every, last = self.settings.eval_every, self.settings.steps
        if every and step % every == 0 and step < last:
            self.heldout.measure(step, self.settings.eval_samples)
        self._keep_weights(step)

    def logged(self, logs: Mapping[str, float]) -> None:
        """After the trainer logged a step's metrics."""
        if "reward" not in logs:
            return  # the summary at the end of training
        metrics = {
            name.removeprefix(_PREFIX): value
            for name, value in logs.items()
            if name.startswith(_PREFIX)
        }
        self._tell(reward=logs["reward"], metrics=metrics)

    def _keep_weights(self, step: int) -> None:
        if step in self.settings.snapshot_steps:
            save_weights(self.model, self.run_dir / "weights" / f"step-{step:06d}.safetensors")

    def _tell(self, *, reward: float | None, metrics: Mapping[str, float]) -> None:
        if self.on_event is None:
            return
        step, total = self.steps_done, self.settings.steps
        elapsed = time.monotonic() - self.started
        if step == 0:
            self.trainer_ready_s = elapsed
        per_step = (elapsed - self.trainer_ready_s) / step if step else None
        self.on_event(
            TrainEvent(
                step=step,
                total=total,
                reward=reward,
                heldout=self.heldout.latest.mean,
                heldout_standard_error=self.heldout.latest.standard_error,
                heldout_is_new=self.heldout.latest_step == step,
                metrics=metrics,
                elapsed_s=elapsed,
                # The last held-out check takes about as long as the first one did.
                remaining_s=None
                if per_step is None
                else per_step * (total - step) + self.heldout.first_seconds,
            )
        )

    def _result(self, *, interrupted: bool) -> TrainResult:
        from dissensus.runs import Run

        groups = Run(self.run_dir).groups(split="train")
        before, after = self.heldout.first, self.heldout.latest
        return TrainResult(
            run=str(self.run_dir),
            steps=self.steps_done,
            rollouts=int(_column(groups, "rollouts").sum()),
            trained_rollouts=int(_column(groups, "trained").sum()),
            seconds=time.monotonic() - self.started,
            heldout_before=before.mean,
            heldout_after=after.mean,
            heldout_before_standard_error=before.standard_error,
            heldout_after_standard_error=after.standard_error,
            unanimous=_unanimous_fractions(groups),
            interrupted=interrupted,
            heldout_rates_before=self.heldout.first_rates,
            heldout_rates_after=self.heldout.latest_rates,
        )


def _problems(settings: TrainSettings, split: Split, count: int, seed: int) -> list[Problem]:
    return make_problems(
        split, count, seed=seed, families=settings.families, levels=settings.levels
    )


def _trl_arguments(settings: TrainSettings, run_dir: Path) -> dict[str, Any]:
    return {
        "output_dir": str(run_dir),
        "per_device_train_batch_size": settings.prompts_per_step * settings.group_size,
        "num_generations": settings.group_size,
        "max_completion_length": MAX_COMPLETION_CHARS + 1,
        "max_steps": settings.steps,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "constant_with_warmup" if settings.constant_rate else "linear",
        "warmup_steps": settings.steps // 8,
        "loss_type": settings.loss_type,
        "seed": settings.seed,
        **QUIET_ON_CPU,
    }


def _describe(settings: TrainSettings) -> dict[str, Any]:
    estimator = settings.make_estimator()
    named = {
        "steps": settings.steps,
        "prompts_per_step": settings.prompts_per_step,
        "group_size": settings.group_size,
        "seed": settings.seed,
        "learning_rate": settings.learning_rate,
        "estimator": "TRL's own" if estimator is None else repr(estimator),
        "silent": settings.silent,
        "allocator": settings.allocator,
        "loss_type": settings.loss_type,
        "train_prompts": settings.train_prompts,
    }
    return {"source": "dissensus train", **named, **settings.metadata}


def _make_callback(training: _Training) -> Any:
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
        def on_step_end(self, *given: Any, **_: Any) -> None:
            _, state, _ = given
            training.step_ended(state.global_step)

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            training.logged(logs)

    return Watch()


def _column(groups: Any, name: str) -> np.ndarray[Any, Any]:
    return np.asarray(groups.column(name).to_numpy(zero_copy_only=False))


def _unanimous_fractions(groups: Any) -> dict[str, float | None]:
    unanimous = _column(groups, "unanimous").astype(bool)
    if not len(unanimous):
        return {"total": None, "all_wrong": None, "all_correct": None}
    correct, size = _column(groups, "correct"), _column(groups, "size")
    return {
        "total": float(unanimous.mean()),
        "all_wrong": float((unanimous & (correct == 0)).mean()),
        "all_correct": float((unanimous & (correct == size)).mean()),
    }
