"""`silent="mask"`: the loss of the split groups alone, for every loss type of TRL.

Zeroing the silent rows' mask takes them out of every sum over tokens: policy term, KL term,
entropy quantile. What is left is the denominator, which TRL builds in four ways:

    loss_type                   TRL divides by                   here
    dapo, cispo, vespo          tokens of the generation batch   tokens of the split groups
    grpo, sapo, luspo, dr_grpo  rows of the micro-batch          loss × rows / rows of split groups
    bnpo                        tokens of the micro-batch        loss × micro-batches / those with
                                                                 a row of a split group

Rows and micro-batches are counted over the generation batch of all processes, as TRL counts
tokens. So the mean of the gradients over the optimiser steps that one generation feeds equals
TRL's gradient on a batch of the split groups; with one such step (TRL's default) that step's
gradient does. Rows are not dropped, because TRL's metrics gather tensors that must be equally
long on all processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dissensus.core.groups import BoolArray

__all__ = ["SCALE_KEY", "MicroBatchScale", "mask_silent"]

SCALE_KEY = "disagreement_loss_scale"
"""Key of the 0-dim tensor in TRL's batch that the loss is multiplied with."""

_ROW_MEANS = ("dr_grpo", "grpo", "luspo", "sapo")


def mask_silent(trainer: Any, output: dict[str, Any], *, is_kept: BoolArray, local: slice) -> None:
    """Take silent rows out of the loss and its denominator.

    Collective: every process calls it, also one whose rows are all kept or all silent.

    Args:
        trainer: The GRPO trainer.
        output: TRL's generation batch; changed in place.
        is_kept: (N,) rollouts of all processes that stay.
        local: This process's rows among them.
    """
    import torch

    mask = output["completion_mask"]
    kept = torch.from_numpy(is_kept[local].copy()).to(device=mask.device, dtype=mask.dtype)
    # The tool mask enters the loss only. The completion mask also feeds attention, and a row whose
    # tokens are hidden from the model gets log-probabilities that do not fit its old ones.
    tool_mask = output.get("tool_mask")
    tool_mask = torch.ones_like(mask) if tool_mask is None else tool_mask
    output["tool_mask"] = tool_mask * kept.unsqueeze(1).to(tool_mask.dtype)
    items = trainer.accelerator.gather((mask * output["tool_mask"]).sum()).sum()
    output["num_items_in_batch"] = items.clamp(min=1).to(output["num_items_in_batch"].dtype)
    scale = 1.0
    if trainer.loss_type in _ROW_MEANS:
        scale = len(is_kept) / max(int(is_kept.sum()), 1)
    output[SCALE_KEY] = torch.tensor(scale, device=mask.device)


class MicroBatchScale:
    """Factor for loss types that average micro-batches: all of them / those with a kept row."""

    def __init__(self) -> None:
        self._buffer: Any = None
        self._scale = 1.0

    def __call__(self, trainer: Any) -> float:
        """The factor for TRL's current buffer; counted once per generation, on all processes."""
        import torch

        buffer = trainer._buffered_inputs  # noqa: SLF001 - TRL has no public name for it
        if buffer is not self._buffer:
            filled = sum(bool(_loss_mask(part).any()) for part in buffer)
            count = torch.tensor([filled, len(buffer)], device=trainer.accelerator.device)
            total = trainer.accelerator.gather(count).view(-1, 2).sum(0).tolist()
            self._scale = total[1] / max(total[0], 1)
            self._buffer = buffer
        return self._scale


def _loss_mask(inputs: Mapping[str, Any]) -> Any:
    return inputs["completion_mask"] * inputs["tool_mask"]
