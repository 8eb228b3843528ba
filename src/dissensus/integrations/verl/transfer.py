"""The batch of a V1 trainer, which lies in TransferQueue until the step ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissensus.core.groups import IntArray
from dissensus.integrations.verl.rollouts import Rollouts, Say, read_rollouts

__all__ = ["read_batch"]

_TOKENS = ("prompts", "responses")
_NEEDED = ("uid", "response_mask", "rm_scores", *_TOKENS)
_WANTED = ("raw_prompt", "reward_model", "extra_fields")


def read_batch(batch: Any, *, max_length: int, end: int | None, say: Say) -> Rollouts:
    """Read the rollouts of one step, or those of a validation, which have no advantages.

    Of an agent loop with several outputs the last one is the rollout, as for verl's own grpo.

    Args:
        batch: The keys and tags that `PPOTrainer.step` returns, or a replay buffer.
        max_length: Longest response that verl lets through.
        end: Token that ends a response.
        say: Where to say what is odd.
    """
    needed = (*_NEEDED, "advantages") if batch.partition_id == "train" else _NEEDED
    data = _fetch(batch, needed, say)
    extra_fields = _objects(data, "extra_fields")
    tables = {name: _table(data[name]) for name in needed if name not in ("uid", *_TOKENS)}
    return read_rollouts(
        {"scores": tables.pop("rm_scores"), **tables},
        {
            # Not the uid in the keys: a prompt that was drawn twice is one group with two of them.
            "uid": _objects(data, "uid") or [],
            "prompt_tokens": _rows(data["prompts"]),
            "response_tokens": _rows(data["responses"]),
            **{
                name: column
                for name in ("raw_prompt", "reward_model")
                if (column := _objects(data, name)) is not None
            },
        },
        extras=extra_fields and [_extras(fields) for fields in extra_fields],
        rows=_final_rows(batch),
        max_length=max_length,
        end=end,
        say=say,
    )


def _fetch(batch: Any, needed: tuple[str, ...], say: Say) -> Any:
    import transfer_queue as tq

    def get(keys: Any, fields: tuple[str, ...]) -> Any:
        return tq.kv_batch_get(
            keys=keys, partition_id=batch.partition_id, select_fields=list(fields)
        )

    try:
        return get(batch.keys, (*needed, *_WANTED))
    except (ValueError, KeyError, RuntimeError):  # a field that this data set does not have
        there = []
        for name in _WANTED:
            try:
                get(batch.keys[:1], (name,))
                there.append(name)
            except (ValueError, KeyError, RuntimeError):
                say(f"field {name}", f"the batch has no {name}; it is recorded without")
        return get(batch.keys, (*needed, *there))


def _final_rows(batch: Any) -> IntArray:
    last: dict[str, tuple[int, int]] = {}
    for row, (key, tag) in enumerate(zip(batch.keys, batch.tags, strict=True)):
        if tag.get("is_padding", False):
            continue
        session, _, number = key.rpartition("_")
        if session not in last or last[session][0] < int(number):
            last[session] = (int(number), row)
    return np.array(sorted(row for _, row in last.values()), dtype=np.int64)


def _table(nested: Any) -> Any:
    import torch

    padded = torch.nested.to_padded_tensor(nested, 0) if nested.is_nested else nested
    return padded.to("cpu", torch.float64).numpy()


def _rows(nested: Any) -> list[Any]:
    return [row.cpu().numpy() for row in nested.unbind()]


def _objects(data: Any, name: str) -> list[Any] | None:
    if name not in data.keys():  # noqa: SIM118 - a TensorDict
        return None
    column = data[name]  # a list, an array or a stack, as TensorDict saw fit
    values = column.tolist() if hasattr(column, "tolist") else list(column)
    # An array has a `data` too, which is its memory.
    return [v if isinstance(v, np.ndarray) else getattr(v, "data", v) for v in values]


def _extras(fields: Any) -> Any:
    info = fields.get("reward_extra_info") if isinstance(fields, dict) else None
    return info if isinstance(info, dict) else {}
