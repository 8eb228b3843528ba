"""verl's legacy trainer, with every batch measured and recorded just before the actor's update."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissensus.integrations.verl.estimators import CURRENT_STEP
from dissensus.integrations.verl.rollouts import Rollouts, Say, read_rollouts
from dissensus.integrations.verl.trainers import batch_recorder, decoder

__all__ = ["LegacyMixin", "read_data_proto"]

_NAME = "RecordingRayPPOTrainer"


def __getattr__(name: str) -> Any:
    # A name of this module, because Ray sends a class by its name; made late, because verl's module
    # is slow to load.
    if name != _NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from verl.trainer.ppo.ray_trainer import RayPPOTrainer

    made = type(_NAME, (LegacyMixin, RayPPOTrainer), {"__module__": __name__})
    return globals().setdefault(_NAME, made)


class LegacyMixin:
    """`_update_actor` is the one place of that trainer that sees a batch and the metrics.

    While only the critic is warmed up there is no such call, and nothing is recorded.
    """

    config: Any
    tokenizer: Any
    global_steps: int

    def __init__(self, config: Any, *args: Any, **kwargs: Any) -> None:
        self._dissensus = batch_recorder(config)
        super().__init__(config, *args, **kwargs)  # type: ignore[call-arg]  # the trainer's

    def fit(self) -> None:
        """Train, and end the run whether that succeeds or not."""
        try:
            super().fit()  # type: ignore[misc]
        finally:
            self._dissensus.close()

    def _compute_old_log_prob(self, batch: Any) -> Any:
        CURRENT_STEP.set(self.global_steps)  # the last call before advantages that knows the step
        return super()._compute_old_log_prob(batch)  # type: ignore[misc]

    def _update_actor(self, batch: Any) -> Any:
        recorder, found = self._dissensus, {}
        with recorder.guard("read the batch"):
            rollouts = read_data_proto(
                batch,
                max_length=int(self.config.data.max_response_length),
                end=getattr(self.tokenizer, "eos_token_id", None),
                say=recorder.guard.say,
            )
            found = recorder.observe(
                rollouts,
                step=self.global_steps,
                policy_version=self.global_steps - 1,
                decode=decoder(self.tokenizer),
            )
        output = super()._update_actor(batch)  # type: ignore[misc]
        with recorder.guard("log the metrics"):
            output.meta_info["metrics"].update({name: [value] for name, value in found.items()})
            single = {k: np.mean(v) for k, v in output.meta_info["metrics"].items()}
            recorder.scalars(self.global_steps, single)
        return output


def read_data_proto(batch: Any, *, max_length: int, end: int | None, say: Say) -> Rollouts:
    """Read the rollouts of a `DataProto` that has its advantages."""
    tensors, others = batch.batch, batch.non_tensor_batch
    names = [n for n in batch.meta_info.get("reward_extra_keys", ()) if n in others]
    count = len(tensors["response_mask"])
    scores = "token_level_scores" if "token_level_scores" in tensors else "token_level_rewards"
    return read_rollouts(
        {
            "response_mask": tensors["response_mask"].cpu().numpy(),
            "scores": _floats(tensors[scores]),
            "advantages": _floats(tensors["advantages"]),
        },
        {
            **_tokens(tensors),
            **{n: others[n].tolist() for n in ("uid", "raw_prompt", "reward_model") if n in others},
        },
        extras=[{name: others[name][row] for name in names} for row in range(count)],
        max_length=max_length,
        end=end,
        say=say,
    )


def _tokens(tensors: Any) -> dict[str, Any]:
    if not {"prompts", "responses", "attention_mask"} <= set(tensors.keys()):
        return {}
    width = tensors["prompts"].shape[1]
    mask = tensors["attention_mask"].cpu().numpy().astype(bool)
    ids = {"prompt_tokens": mask[:, :width], "response_tokens": mask[:, width:]}
    tables = {"prompt_tokens": tensors["prompts"], "response_tokens": tensors["responses"]}
    return {
        name: [row[kept] for row, kept in zip(tables[name].cpu().numpy(), rows, strict=True)]
        for name, rows in ids.items()
    }


def _floats(table: Any) -> Any:
    return table.detach().float().cpu().numpy()
