"""Log-likelihoods under the policy that sampled, for rollouts that are trained on later."""

from __future__ import annotations

from typing import Any

__all__ = ["keep_log_likelihoods"]


def keep_log_likelihoods(trainer: Any, output: dict[str, Any]) -> None:
    """Add `old_per_token_logps` to a generation batch that lacks them.

    TRL leaves them out where a batch is trained on at once, since the ratio of policies is then 1.
    For a rollout that waits it is not, and the loss needs what the sampling policy thought of it.
    """
    if "old_per_token_logps" in output:
        return
    import torch

    completion = output["completion_ids"]
    ids = torch.cat([output["prompt_ids"], completion], dim=1)
    mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
    with torch.no_grad():
        found = trainer._get_per_token_logps_and_entropies(  # noqa: SLF001 - no public name
            trainer.model,
            ids,
            mask,
            completion.size(1),
            batch_size=trainer.args.per_device_train_batch_size,
        )
    output["old_per_token_logps"] = found[0].detach()
