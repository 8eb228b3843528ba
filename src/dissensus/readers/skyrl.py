"""SkyRL's training batches: `trainer.dump_data_batch` writes `global_step_{N}_training_input.pkl`.

A pickle of `TrainingInputBatch`. Rewards and uids are removed just before it is written: what is
left are advantages, and the boundaries of every prompt's rows. A pickle can run any code, so it is
refused unless it is trusted; even then it is opened by an unpickler that builds plain values and
arrays only, and imports nothing of SkyRL.

Read from `trainer.py` and `training_batch.py` of SkyRL 0.3.0.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dissensus.readers.base import CANONICAL, Format, Grouping, Layout, ReportBadRow, Sample
from dissensus.readers.slime import load_torch

__all__ = ["SKYRL"]

_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("group_id", pa.string()),
        ("prompt_id", pa.string()),
        ("advantage", pa.float64()),
        ("length", pa.int64()),
        ("trained", pa.bool_()),
    ]
)
_STEP = re.compile(r"step_(\d+)")
_DTYPES = frozenset(
    {"float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"}
)


class _Plain:
    """Stands for a class whose objects are not needed."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


# The C unpickler can leave broken objects behind when a file is damaged; the bulk is bytes anyway.
class _Unpickler(pickle._Unpickler):  # noqa: SLF001
    """Builds what SkyRL's own classes pickle themselves to, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "skyrl.backends.skyrl_train.training_batch":
            return (lambda _, state: state) if name == "_rebuild_tensor_batch" else _Plain
        if module == "torch" and name == "device":
            return _Plain
        if (module, name) in {
            ("builtins", "set"),
            ("builtins", "frozenset"),
            ("collections", "OrderedDict"),
        }:
            return super().find_class(module, name)
        if module.startswith("numpy") and name in ("scalar", "dtype"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _convert(file: Path, report: ReportBadRow) -> Iterator[pa.RecordBatch]:
    try:
        with file.open("rb") as stream:
            state = _Unpickler(stream).load()
    except Exception as error:  # noqa: BLE001 — a broken pickle raises anything
        text = " ".join(str(error).split()) or type(error).__name__
        report(0, f"a pickled TrainingInputBatch ({text[:120]})", "nothing")
        return
    try:
        batch = state["batch_dict"]
        metadata = state.get("metadata") or {}
        mask: np.ndarray = np.greater(_array(batch["response_mask"]), 0)
        advantages = _array(batch["advantages"])
        prompts = _prompts(batch, mask)
        size = len(mask) - int(metadata.get("pad_size") or 0)
        loss_mask = _array(batch["loss_mask"]) if batch.get("loss_mask") else mask
        trained = np.any(loss_mask, axis=1)
        groups = _groups(metadata.get("policy_prompt_boundaries"), prompts, report)
        if (
            advantages.shape != mask.shape
            or mask.ndim != 2
            or len(groups) < size
            or len(trained) < size
        ):
            raise ValueError("tensors of one shape")  # noqa: TRY301
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        report(
            0, f"advantages, response_mask and sequences of one batch ({error!s:.80})", "nothing"
        )
        return
    found = _STEP.search(file.stem)
    step = int(found.group(1)) if found else 0
    rows = [
        {
            "step": step,
            "group_id": groups[i],
            "prompt_id": prompts[i],
            "advantage": float(advantages[i][mask[i]].mean()) if mask[i].any() else None,
            "length": int(mask[i].sum()),
            "trained": bool(trained[i]),
        }
        for i in range(size)
    ]
    yield pa.RecordBatch.from_pylist(rows, schema=_SCHEMA)


def _array(value: Mapping[str, Any]) -> np.ndarray:
    """A tensor as SkyRL pickles it: bytes with shape and type, or bytes of torch.save."""
    if value.get("format") == "torch":
        return np.asarray(load_torch(value["data"]).float().numpy())
    if value["dtype"] not in _DTYPES:
        raise ValueError(f"dtype {value['dtype']}")
    return np.frombuffer(value["data"], dtype=value["dtype"]).reshape(value["shape"])


def _prompts(batch: Mapping[str, Any], mask: np.ndarray) -> list[str]:
    """Digest of each row's prompt tokens: its real tokens without the response at their end."""
    sequences = _array(batch["sequences"])
    is_token = _array(batch["attention_mask"]) > 0
    digests = []
    for tokens, real, answer in zip(sequences, is_token, mask.sum(axis=1), strict=True):
        seen = np.ascontiguousarray(tokens[real])
        digests.append(hashlib.sha256(seen[: len(seen) - answer].tobytes()).hexdigest()[:16])
    return digests


def _groups(boundaries: Any, prompts: Sequence[str], report: ReportBadRow) -> list[str]:
    groups: list[str] = []
    if boundaries:
        for number, (start, end) in enumerate(boundaries):
            if start != len(groups) or end <= start:
                raise ValueError("boundaries that follow each other")
            groups += [str(number)] * (int(end) - int(start))
        return groups
    report(0, "policy_prompt_boundaries", "groups from consecutive equal prompts")
    number = 0
    for i, prompt in enumerate(prompts):
        number += i > 0 and prompt != prompts[i - 1]
        groups.append(str(number))
    return groups


def _layout(_: Sample) -> Layout:
    return Layout(
        raw={name: CANONICAL[name] for name in _SCHEMA.names},
        columns={"reward": "NULL::DOUBLE", **{name: f'"{name}"' for name in _SCHEMA.names}},
        grouping=Grouping("key", "exact", "rows between two prompt boundaries"),
        metadata={"framework": "skyrl"},
        notes=("SkyRL removes rewards before it dumps a batch: only advantages are known",),
    )


SKYRL = Format(
    name="skyrl",
    title="SkyRL dump",
    containers=frozenset({"pickle"}),
    matches=lambda sample: b"TrainingInputBatch" in sample.head,
    layout=_layout,
    convert=_convert,
    needs_trust="it is a pickle, and a pickle can run any program with your rights when it is read",
)
