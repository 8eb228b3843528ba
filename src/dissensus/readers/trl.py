"""TRL's completions: `log_completions=True` writes `completions/completions_{step:05d}.parquet`.

One row is one rollout: step, prompt, completion, one column per reward function, whatever
`log_extra` added, advantage. Releases until 1.10 wrote prompts of chat data as decoded text, later
ones as lists of messages. There is no group id, unless a reward function logged one by
`log_extra("group_id", …)`: the sampler repeats every prompt `num_generations` times in a row.

Read from `GRPOTrainer.log` of trl 1.16.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dissensus.readers.base import Format, Grouping, Layout, Sample, quote_name
from dissensus.readers.dictionaries import open_encoded, text_keys
from dissensus.readers.inference import (
    RewardColumns,
    choose_reward_columns,
    misfit,
    reward_map_sql,
    reward_sum_sql,
)

__all__ = ["TRL"]

_FIRST = ("step", "prompt", "completion")
_FLOATS = ("double", "float", "halffloat")
_ROWS = 4096
_LOSSY = (
    "TRL writes only the last generation batch of each logging interval, "
    "and evaluation rows into the same files"
)


def _matches(sample: Sample) -> bool:
    names = [name for name in sample.columns if not name.startswith("__index")]
    is_framed = tuple(names[:3]) == _FIRST and names[-1:] == ["advantage"]
    return is_framed and any(sample.columns[name] in _FLOATS for name in names[3:-1])


def _layout(sample: Sample) -> Layout:
    candidates = [
        name
        for name, kind in sample.columns.items()
        if kind in _FLOATS and name not in (*_FIRST, "advantage", "group_id", "prompt_id")
    ]
    rewards = _reward_columns(sample, candidates)
    quoted = [quote_name(name) for name in rewards.names]
    columns = {
        "step": '"step"',
        "reward": reward_sum_sql(quoted),
        "advantage": '"advantage"',
        "completion": _text("completion", sample),
        "prompt": _prompt(sample),
    }
    if len(rewards.names) > 1:
        columns["rewards_by_function"] = reward_map_sql(
            dict(zip(rewards.names, quoted, strict=True))
        )
    raw = {
        "step": "BIGINT",
        "prompt": _kind("prompt", sample),
        "completion": _kind("completion", sample),
        "advantage": "DOUBLE",
        **dict.fromkeys(rewards.names, "DOUBLE"),
    }
    grouping = Grouping(
        "consecutive", "likely", "consecutive rows with equal prompts (TRL logs no group id)"
    )
    for name in ("group_id", "prompt_id"):
        if sample.has(name):
            raw[name] = "VARCHAR"
            columns[name] = f"CAST({quote_name(name)} AS VARCHAR)"
    if sample.has("group_id"):
        grouping = Grouping(
            "key", "exact", "rows with equal group_id, which a reward function logged"
        )
    return Layout(
        raw=raw,
        columns=columns,
        grouping=grouping,
        required=("step", "prompt"),
        metadata={"framework": "trl"},
        notes=_notes(rewards, candidates),
    )


def _kind(name: str, sample: Sample) -> str:
    return "VARCHAR" if sample.columns[name] in ("string", "large_string") else "JSON"


def _prompt(sample: Sample) -> str:
    if _kind("prompt", sample) == "VARCHAR":
        return '"prompt"'
    return 'CAST(to_json("prompt") AS VARCHAR)'


def _text(name: str, sample: Sample) -> str:
    """A text as it is; a list of messages as their contents, one per line."""
    quoted = quote_name(name)
    if _kind(name, sample) == "VARCHAR":
        return quoted
    json = f"to_json({quoted})"
    contents = f"json_extract_string({json}, '$[*].content')"
    joined = f"array_to_string({contents}, chr(10))"
    return f"CASE WHEN len({contents}) > 0 THEN {joined} ELSE CAST({json} AS VARCHAR) END"


def _reward_columns(sample: Sample, candidates: Sequence[str]) -> RewardColumns:
    needed = [*candidates, "advantage", "prompt"]
    table = _read(sample.file, needed) if len(candidates) > 1 else None
    if table is None or not set(needed) <= set(table.column_names):
        return RewardColumns(tuple(candidates), None)
    batch = next(iter(table.to_batches(_ROWS)), None)
    if batch is None:
        return RewardColumns(tuple(candidates), None)
    rows = batch.select([*candidates, "advantage"]).to_pydict()
    return choose_reward_columns(
        {name: rows[name] for name in candidates}, rows["advantage"], text_keys(batch["prompt"])
    )


def _notes(rewards: RewardColumns, candidates: Sequence[str]) -> tuple[str, ...]:
    notes = [_LOSSY]
    others = [name for name in candidates if name not in rewards.names]
    if rewards.is_shown and others:
        notes.append(
            f"reward is {' + '.join(rewards.names)}, as the advantages show; "
            f"{', '.join(others)} is taken for a logged number"
        )
    if len(rewards.names) > 1 and not rewards.is_shown:
        notes.append(
            f"reward is the plain sum of {', '.join(rewards.names)}: the log has neither "
            "their weights nor a mark for columns that are no reward" + misfit(rewards)
        )
    return tuple(notes)


def _without_repeats(files: Sequence[Path]) -> Sequence[Path]:
    """Leave out a file that holds the same rollouts as the one before it under another step.

    That is what TRL writes when it logs more often than it generates.
    """
    kept: list[Path] = []
    before: Path | None = None
    for file in files:
        if before is None or file.parent != before.parent or not _is_repeat(before, file):
            kept.append(file)
        before = file
    return kept


def _is_repeat(before: Path, file: Path) -> bool:
    if abs(before.stat().st_size - file.stat().st_size) > 4096:
        return False
    for columns in (["advantage"], None):  # text only where the numbers are equal
        first, second = _read(before, columns), _read(file, columns)
        if first is None or second is None or first.schema.names != second.schema.names:
            return False
        names = [name for name in first.schema.names if name != "step"]
        if not first.select(names).equals(second.select(names)):
            return False
    return True


def _read(file: Path, columns: Sequence[str] | None) -> Any:
    """A table of a file; None where it cannot be read or would be too large."""
    import pyarrow as pa

    try:
        parquet = open_encoded(file)
        sizes = [
            parquet.metadata.row_group(i).total_byte_size for i in range(parquet.num_row_groups)
        ]
        if sum(sizes) > 256 << 20:
            return None
        return parquet.read(columns=columns)
    except (OSError, pa.ArrowException, ValueError):
        return None


TRL = Format(
    name="trl",
    title="TRL completions",
    containers=frozenset({"parquet"}),
    matches=_matches,
    layout=_layout,
    choose_files=_without_repeats,
    left_out="repeat the rollouts of the file before them (logged more often than generated)",
)
