"""verl's trainers, with every batch measured and recorded.

V1 trainers are found by name in verl's registry, so `trainer.v1.trainer_mode` chooses one. Of
verl's trainers only the public `step` and `fit` are wrapped; both run on the driver.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dissensus.integrations.verl.estimators import CURRENT_STEP, PREFIX, WRITTEN, rule_of
from dissensus.integrations.verl.options import Options

if TYPE_CHECKING:
    from dissensus.integrations.verl.recording import BatchRecorder

__all__ = ["MODES", "RecordingMixin", "batch_recorder", "decoder", "register_trainers"]

log = logging.getLogger("dissensus.verl")

MODES = ("sync", "colocate_async", "separate_async")
"""verl's trainers; ours have the same names behind `dissensus_`."""

_DROPPED = (
    "training/filter_groups/evicted_samples",
    "training/filter_groups/discarded_surplus_samples",
    "training/off_policy/evicted_samples",
    "training/rollout_failure/evicted_samples",
)
"""verl counts the groups that were generated and not trained on, and calls them samples."""


class RecordingMixin:
    """For a subclass of a V1 trainer: `class Mine(RecordingMixin, PPOTrainerSync)`."""

    config: Any
    global_steps: int
    tokenizer: Any
    _dissensus: BatchRecorder

    def __init__(self, config: Any) -> None:
        # verl asks the configuration for the mode in many places, and knows its own names only.
        mode = str(config.trainer.v1.trainer_mode)
        config.trainer.v1.trainer_mode = mode.removeprefix(PREFIX)
        self._dissensus = batch_recorder(config)
        super().__init__(config)  # type: ignore[call-arg]  # the trainer's, not object's

    def fit(self, agent_loop_manager: Any) -> None:
        """Train, and end the run whether that succeeds or not."""
        try:
            super().fit(agent_loop_manager)  # type: ignore[misc]
        finally:
            self._dissensus.close()

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, Any]) -> Any:
        """One step of verl; then its batch is still where its workers left it."""
        before = CURRENT_STEP.set(self.global_steps)
        try:
            batch = super().step(metrics, timing_raw)  # type: ignore[misc]
        finally:
            CURRENT_STEP.reset(before)
        with self._dissensus.guard("read the batch"):
            metrics.update(self._observe(batch, metrics))
        return batch

    def _observe(self, batch: Any, metrics: Mapping[str, Any]) -> dict[str, float]:
        from dissensus.integrations.verl.transfer import read_batch

        recorder = self._dissensus
        rollouts = read_batch(
            batch,
            max_length=int(self.config.data.max_response_length),
            end=getattr(self.tokenizer, "eos_token_id", None),
            say=recorder.say,
        )
        dropped = sum(float(metrics.get(name, 0)) for name in _DROPPED)
        versions = [tag.get("max_global_steps") for tag in batch.tags]
        known = [int(version) for version in versions if version is not None]
        generated = len(rollouts.rewards) + dropped * self.config.actor_rollout_ref.rollout.n
        found = recorder.observe(
            rollouts,
            step=self.global_steps,
            generated=int(generated),
            policy_version=min(known, default=None),
            decode=decoder(self.tokenizer),
        )
        recorder.scalars(self.global_steps, {**metrics, **found})
        return found


def batch_recorder(config: Any) -> BatchRecorder:
    """The recorder that a whole configuration of verl asks for.

    Raises:
        InputError: `algorithm.dissensus` has a key or a value that cannot be used.
        UnsupportedError: The rule needs what verl does not hand to an estimator.
    """
    from dissensus.integrations.verl.recording import BatchRecorder

    algorithm = config.algorithm
    options, estimator = Options.of(algorithm), str(algorithm.adv_estimator)
    rule = None
    if estimator == WRITTEN or estimator.startswith(PREFIX):
        rule = rule_of(estimator, options)  # what cannot work says so before anything is generated
    return BatchRecorder(options, estimator, _metadata(config, repr(rule) if rule else estimator))


def register_trainers() -> None:
    """Register `dissensus_sync` and its like with verl; what this verl has not is left out."""
    from verl.trainer.ppo.v1 import get_trainer_cls, register_trainer

    for mode in MODES:
        try:
            base = get_trainer_cls(mode)
        except ValueError:
            continue
        missing = [name for name in ("step", "fit") if not callable(getattr(base, name, None))]
        if missing:
            log.warning("dissensus: %s has no %s to wrap", base.__name__, " and no ".join(missing))
            continue
        register_trainer(PREFIX + mode)(
            type(f"Recording{base.__name__}", (RecordingMixin, base), {})
        )


def decoder(tokenizer: Any) -> Callable[[Any], str] | None:
    """What turns token ids into text, without the tokenizer's own marks."""
    if tokenizer is None:
        return None

    def decode(tokens: Any) -> str:
        return str(tokenizer.decode(np.asarray(tokens).tolist(), skip_special_tokens=True))

    return decode


def _metadata(config: Any, estimator: str) -> dict[str, Any]:
    from importlib.metadata import version

    rollout, actor = config.actor_rollout_ref.rollout, config.actor_rollout_ref.actor
    return {
        "framework": "verl",
        "verl": version("verl"),
        "estimator": estimator,
        "model": str(config.actor_rollout_ref.model.path),
        "project": str(config.trainer.project_name),
        "experiment": str(config.trainer.experiment_name),
        "num_generations": int(rollout.n),
        "train_batch_size": int(config.data.train_batch_size),
        "loss_agg_mode": str(actor.loss_agg_mode),
    }
