"""verl's trainers, with every batch measured and recorded.

V1 trainers are found by name in verl's registry, so `trainer.v1.trainer_mode` chooses one. Of
verl's trainers only what is public is wrapped: `step`, `fit`, the replay buffer's `sample` and the
checkpoint callback. All of it runs on the driver.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dissensus.errors import InputError
from dissensus.integrations.verl.checkpoint import Saving, load
from dissensus.integrations.verl.estimators import CURRENT_STEP, PREFIX, configured_rule
from dissensus.integrations.verl.options import Options
from dissensus.integrations.verl.sampling_options import GENERATED

if TYPE_CHECKING:
    from dissensus.integrations.verl.recording import BatchRecorder
    from dissensus.integrations.verl.rollouts import Rollouts

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
    replay_buffer: Any
    _dissensus: BatchRecorder

    def __init__(self, config: Any) -> None:
        # verl asks the configuration for the mode in many places, and knows its own names only.
        mode = str(config.trainer.v1.trainer_mode)
        config.trainer.v1.trainer_mode = mode.removeprefix(PREFIX)
        self._dissensus = batch_recorder(config)
        super().__init__(config)  # type: ignore[call-arg]  # the trainer's, not object's
        if self._dissensus.has_folder:
            self._watch_validations()
        if callable(getattr(getattr(self, "checkpoint_callback", None), "on_save", None)):
            self.checkpoint_callback: Any = Saving(self.checkpoint_callback, self._dissensus.guard)

    def fit(self, agent_loop_manager: Any) -> None:
        """Train, and end the run whether that succeeds or not.

        Raises:
            RunError: The checkpoint's memory of the rule cannot be read.
        """
        load(self.config, self.global_steps, self._dissensus.guard)
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
        rollouts = self._read(batch)
        found = self._dissensus.observe(
            rollouts,
            step=self.global_steps,
            generated=self._generated(len(rollouts.rewards), metrics),
            policy_version=_version(batch),
            decode=decoder(self.tokenizer),
        )
        self._dissensus.scalars(self.global_steps, {**metrics, **found})
        return found

    def _generated(self, trained: int, metrics: Mapping[str, Any]) -> int:
        """Rollouts generated for a step: what our samplers counted, else what verl says it lost."""
        if GENERATED in metrics:
            # verl averages over the updates of a step what is not in its own list of counts.
            return round(float(metrics[GENERATED]) * getattr(self, "parameter_sync_step", 1))
        dropped = sum(float(metrics.get(name, 0)) for name in _DROPPED)
        return trained + int(dropped * self.config.actor_rollout_ref.rollout.n)

    def _read(self, batch: Any) -> Rollouts:
        from dissensus.integrations.verl.transfer import read_batch

        return read_batch(
            batch,
            max_length=int(self.config.data.max_response_length),
            end=getattr(self.tokenizer, "eos_token_id", None),
            say=self._dissensus.guard.say,
        )

    def _watch_validations(self) -> None:
        """Look at what the replay buffer hands to a validation, which verl deletes afterwards."""
        buffer, recorder = self.replay_buffer, self._dissensus
        sample = buffer.sample

        def sample_and_record(*args: Any, **given: Any) -> Any:
            batch, metrics = sample(*args, **given)
            if batch.partition_id == "val":
                with recorder.guard("read a validation"):
                    recorder.validation(
                        self._read(batch),
                        step=self.global_steps + 1,
                        policy_version=_version(batch),
                        decode=decoder(self.tokenizer),
                    )
            return batch, metrics

        buffer.sample = sample_and_record


def _version(batch: Any) -> int | None:
    """Oldest version of the weights among those that ended the rollouts of a batch."""
    versions = [tag.get("max_global_steps") for tag in batch.tags]
    return min((int(version) for version in versions if version is not None), default=None)


def batch_recorder(config: Any) -> BatchRecorder:
    """The recorder that a whole configuration of verl asks for.

    Raises:
        InputError: `algorithm.dissensus` has a key or a value that cannot be used, or describes a
            rule that nothing asks for.
        UnsupportedError: The rule needs what verl does not hand to an estimator.
    """
    from dissensus.integrations.verl.recording import BatchRecorder

    algorithm = config.algorithm
    options, estimator = Options.of(algorithm), str(algorithm.adv_estimator)
    rule = configured_rule(algorithm)  # what cannot work says so before anything is generated
    if rule is None and (options.parameters or options.estimator):
        raise InputError(
            "algorithm.dissensus describes a rule, and the estimator is verl's own",
            where=f"algorithm.adv_estimator={estimator}",
            hint="adv_estimator=dissensus_<name>; of a key that stands twice Hydra takes the last",
        )
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
