"""Join the generation batches of several rounds: tensors are padded again, tables rebuilt."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from dissensus.errors import UnsupportedError
from dissensus.integrations.trl.processes import gather, together

__all__ = ["LogTables", "Pick", "join_outputs", "merge_outputs", "share_rows"]

Pick = tuple[int, int]
"""A row of the joined batch: (round, row in that round's batch)."""

_LEFT = {"prompt_ids", "prompt_mask"}
_PAD_VALUE = {"tool_mask": 1, "importance_sampling_ratio": 1}
_PAD_TOKEN = {"prompt_ids", "completion_ids"}


def merge_outputs(
    outputs: Sequence[Mapping[str, Any]], picks: Sequence[Pick], *, pad_token_id: int
) -> dict[str, Any]:
    """One TRL generation batch out of the rows `picks` names.

    Prompts are padded on the left, everything along the completion on the right; a tensor along
    prompt and completion on both sides. Widths are the largest of the rounds, so TRL's
    `pad_to_multiple_of` holds. Zero-dimensional entries are the first round's: the caller counts
    `num_items_in_batch` again.

    Raises:
        UnsupportedError: An entry that is no tensor or list with one row per rollout, or that only
            some rounds have.
    """
    keys = set(outputs[0])
    for other in outputs[1:]:
        if set(other) != keys:
            _refuse(min(keys ^ set(other)), "is not there in every round")
    widths = [(o["prompt_ids"].shape[1], o["completion_ids"].shape[1]) for o in outputs]
    merged = {}
    for key, first in outputs[0].items():
        parts = [output[key] for output in outputs]
        if isinstance(first, list):
            merged[key] = [parts[r][row] for r, row in picks]
        elif not hasattr(first, "dim"):
            _refuse(key, f"is a {type(first).__name__}")
        elif first.dim() == 0:
            merged[key] = first
        else:
            value = pad_token_id if key in _PAD_TOKEN else _PAD_VALUE.get(key, 0)
            merged[key] = _pick(_align(key, parts, widths, value), picks)
    return merged


def join_outputs(
    trainer: Any, outputs: Sequence[Mapping[str, Any]], picks: Sequence[Pick]
) -> dict[str, Any]:
    """`merge_outputs` with the items counted again. Collective.

    Args:
        trainer: The GRPO trainer.
        outputs: This process's generation batches.
        picks: This process's rows of the joined batch.
    """
    pad = _pad_token_id(trainer)
    output = together(lambda: merge_outputs(outputs, picks, pad_token_id=pad))
    if "num_items_in_batch" in output:  # old TRL has none
        mask = output["completion_mask"]
        if "tool_mask" in output:
            mask = mask * output["tool_mask"]
        items = trainer.accelerator.gather(mask.sum()).sum()
        output["num_items_in_batch"] = items.to(output["num_items_in_batch"].dtype)
    return output


def share_rows(
    trainer: Any, outputs: Sequence[Mapping[str, Any]], picks: Sequence[Pick]
) -> list[dict[str, Any] | None]:
    """Rows that each process gives away, as a batch per process; None of one that keeps all.

    Collective. They travel by way of main memory, since there are few of them.
    """
    pad = _pad_token_id(trainer)

    def given() -> dict[str, Any] | None:
        return _moved(merge_outputs(outputs, picks, pad_token_id=pad), "cpu") if picks else None

    device = trainer.accelerator.device
    return [each and _moved(each, device) for each in gather(together(given))]


def _moved(output: Mapping[str, Any], device: Any) -> dict[str, Any]:
    return {name: x.to(device) if hasattr(x, "to") else x for name, x in output.items()}


def _pad_token_id(trainer: Any) -> int:
    tokenizer = getattr(trainer, "_tokenizer", None) or trainer.processing_class
    return int(tokenizer.pad_token_id)


def _align(key: str, parts: list[Any], widths: Sequence[tuple[int, int]], value: int) -> list[Any]:
    """Bring one entry of all rounds to one width."""
    if len({part.shape[1:] for part in parts}) == 1 and (
        parts[0].dim() < 2 or len(set(widths)) == 1 or parts[0].shape[1] == 1
    ):
        return parts
    prompt, completion = (max(w[side] for w in widths) for side in (0, 1))
    along_prompt = all(p.shape[1] == w[0] for p, w in zip(parts, widths, strict=True))
    along_completion = all(p.shape[1] == w[1] for p, w in zip(parts, widths, strict=True))
    if along_prompt and (key in _LEFT or not along_completion):
        return [_pad(part, prompt - part.shape[1], 0, value) for part in parts]
    if along_completion:
        return [_pad(part, 0, completion - part.shape[1], value) for part in parts]
    if all(p.shape[1] == sum(w) for p, w in zip(parts, widths, strict=True)):
        sides = zip(parts, widths, strict=True)
        return [_pad(part, prompt - w[0], completion - w[1], value) for part, w in sides]
    if len({part.shape[1:] for part in parts}) == 1:
        return parts
    _refuse(key, f"has shapes {[tuple(part.shape) for part in parts]}")
    return parts


def _pad(tensor: Any, left: int, right: int, value: int) -> Any:
    from torch.nn.functional import pad

    rest = [0, 0] * (tensor.dim() - 2)  # pad() counts from the last dimension
    return pad(tensor, [*rest, left, right], value=value)


def _pick(parts: list[Any], picks: Sequence[Pick]) -> Any:
    import torch

    starts = [0]
    for part in parts:
        starts.append(starts[-1] + len(part))
    rows = torch.tensor([starts[r] + row for r, row in picks], device=parts[0].device)
    return torch.cat(parts)[rows]


class LogTables:
    """TRL's completions table (`_logs`), taken apart by round and put together again.

    TRL appends every round to fixed-size deques, where a refill would push out rows that are
    trained on.
    """

    def __init__(self, trainer: Any) -> None:
        self._logs = trainer._logs  # noqa: SLF001 - TRL has no public name for it
        self._rounds: list[dict[tuple[str, str | None], list[Any]]] = []

    def clear(self) -> None:
        """Before a round: what is there afterwards is that round's."""
        for table in self._tables().values():
            table.clear()

    def keep(self) -> None:
        """After a round: remember its rows."""
        self._rounds.append({key: list(table) for key, table in self._tables().items()})

    def restore(self, picks: Sequence[Pick]) -> None:
        """Fill the table with the rows of all processes that are trained on."""
        self.clear()
        columns = {key for seen in self._rounds for key, values in seen.items() if values}
        for key in columns:
            table = self._logs[key[0]] if key[1] is None else self._logs[key[0]][key[1]]
            for r, row in picks:
                values = self._rounds[r].get(key, [])
                table.append(values[row] if row < len(values) else None)

    def replace_advantages(self, values: Sequence[float]) -> None:
        """Put these advantages where the last rows have TRL's."""
        column = self._logs["advantages"]
        for _ in range(min(len(values), len(column))):
            column.pop()
        column.extend(values)

    def _tables(self) -> dict[tuple[str, str | None], deque[Any]]:
        found: dict[tuple[str, str | None], deque[Any]] = {}
        for name, value in self._logs.items():
            if isinstance(value, deque):
                found[name, None] = value
            elif isinstance(value, Mapping):
                found.update({(name, column): table for column, table in value.items()})
        return found


def _refuse(key: str, why: str) -> None:
    raise UnsupportedError(
        f"cannot join the rounds of sampling into one batch: '{key}' {why}",
        where="DisagreementGRPOTrainer",
        hint="a subclass adds it; use neither silent='resample' nor an allocator",
    )
