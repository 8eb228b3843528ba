"""slime's rollouts: `--save-debug-rollout-data` (or `--dump-details`) writes `{rollout_id}.pt`.

A file of torch.save: `{"rollout_id", "samples": [dict of Sample]}`. It is loaded with
`weights_only=True`, so that no code in it runs. Evaluation files differ only in their name
(`eval_{rollout_id}`). There are no advantages, and no groups that the dynamic filter dropped.

Read from `observability/rollout_data_utils.py` and `utils/types.py` of slime 0.3.1.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa

from dissensus._optional import require
from dissensus.readers.base import CANONICAL, Format, Grouping, Layout, ReportBadRow, Sample

__all__ = ["SLIME", "load_torch"]

_SCHEMA = pa.schema(
    [
        ("step", pa.int64()),
        ("split", pa.string()),
        ("group_id", pa.string()),
        ("prompt_id", pa.string()),
        ("reward", pa.float64()),
        ("length", pa.int64()),
        ("truncated", pa.bool_()),
        ("trained", pa.bool_()),
        ("rewards_by_function", pa.map_(pa.string(), pa.float64())),
        ("completion", pa.string()),
        ("prompt", pa.string()),
        ("reference", pa.string()),
    ]
)
_BATCH_ROWS = 1024
_INT64 = 1 << 63


def load_torch(source: Path | bytes) -> Any:
    """Load what torch.save wrote, tensors and plain values only.

    Raises:
        MissingDependencyError: torch is not installed.
        Exception: torch cannot load it, or it holds other objects.
    """
    torch = require("torch", "trl")
    import numpy as np

    scalars = [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "b1")]
    scalar = np.float64(0).__reduce__()[0]
    with torch.serialization.safe_globals([scalar, np.dtype, *scalars]):
        return torch.load(
            BytesIO(source) if isinstance(source, bytes) else source,
            map_location="cpu",
            weights_only=True,
        )


def _convert(file: Path, report: ReportBadRow) -> Iterator[pa.RecordBatch]:
    try:
        content = load_torch(file)
    except ImportError:
        raise
    except Exception as error:  # noqa: BLE001 — torch raises whatever a broken file leads it into
        text = " ".join(str(error).split()) or type(error).__name__
        report(0, f"a file of torch.save with plain values only ({text[:120]})", "nothing")
        return
    samples = content.get("samples") if isinstance(content, dict) else None
    step = content.get("rollout_id") if isinstance(content, dict) else None
    if not isinstance(samples, list) or not isinstance(step, int) or abs(step) >= _INT64:
        report(0, "rollout_id and a list of samples", "nothing")
        return
    split = "eval" if file.stem.endswith(f"eval_{step}") else "train"
    rows: list[dict[str, Any]] = []
    for number, sample in enumerate(samples, start=1):
        row = _row(sample, number, report)
        if row is not None:
            rows.append({"step": step, "split": split, **row})
        if len(rows) == _BATCH_ROWS:
            yield pa.RecordBatch.from_pylist(rows, schema=_SCHEMA)
            rows = []
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=_SCHEMA)


def _row(sample: Any, number: int, report: ReportBadRow) -> dict[str, Any] | None:
    if not isinstance(sample, Mapping) or "reward" not in sample:
        report(number, "a sample with a reward", "nothing")
        return None
    rewards = _rewards(sample["reward"])
    reward = None if rewards is None else rewards.get("", rewards.get("score"))
    if rewards is None or (reward is None and sample["reward"] is not None):
        expected = "a number in reward, or numbers by name with a score or only one"
        report(number, expected, "the row without it")
    group = sample.get("group_index")
    if group is None:
        report(number, "a group_index", "nothing")
        return None
    prompt, label = _text(sample.get("prompt")), _text(sample.get("label"))
    length = sample.get("response_length")
    status = sample.get("status")
    return {
        "group_id": str(group),
        "prompt_id": None if prompt is None and label is None else _id(prompt, label),
        "reward": reward,
        "length": length if isinstance(length, int) and abs(length) < _INT64 else None,
        "truncated": status == "truncated",
        "trained": not sample.get("remove_sample", False),
        "rewards_by_function": [each for each in (rewards or {}).items() if each[0]] or None,
        "completion": _text(sample.get("response")),
        "prompt": prompt,
        "reference": label,
    }


def _id(prompt: str | None, label: str | None) -> str:
    return hashlib.sha256(f"{prompt}\0{label}".encode()).hexdigest()[:16]


def _rewards(value: Any) -> dict[str, float | None] | None:
    """The reward under "", or those of a dict by name; None where it is something else."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        found = ((str(name), _number(each)) for name, each in value.items())
        numbers: dict[str, float | None] = {k: v for k, v in found if v is not None}
        if len(numbers) == 1:
            numbers[""] = next(iter(numbers.values()))
        return numbers
    number = _number(value)
    return None if number is None else {"": number}


def _number(value: Any) -> float | None:
    if hasattr(value, "item"):  # a tensor or NumPy scalar
        try:
            value = value.item()
        except (RuntimeError, ValueError):  # of several elements
            return None
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value if value is None else value.encode("utf-8", "replace").decode()
    return json.dumps(value, default=str)


def _layout(_: Sample) -> Layout:
    names = _SCHEMA.names
    return Layout(
        raw={name: CANONICAL[name] for name in names},
        columns={name: f'"{name}"' for name in names},
        grouping=Grouping("key", "exact", "samples with equal group_index"),
        metadata={"framework": "slime"},
        notes=("a reward that is a dict counts by its score, or by its only number",),
    )


SLIME = Format(
    name="slime",
    title="slime rollouts",
    containers=frozenset({"torch"}),
    matches=lambda sample: b"rollout_id" in sample.head and b"samples" in sample.head,
    layout=_layout,
    convert=_convert,
)
