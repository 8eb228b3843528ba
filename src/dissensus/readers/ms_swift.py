"""ms-swift's completions: `--log_completions` appends tables to `{output_dir}/completions.jsonl`.

One line is one call of `log`: an object of equally long lists. The transformers trainers write step
(as text), the Megatron ones gen_step. Reward functions are the columns between completion and
advantages; there is no group id.

Read from `grpo_trainer.py` of both trainers and `JsonlWriter`, ms-swift 4.6.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from dissensus.readers.base import Format, Grouping, Layout, Sample, quote_name
from dissensus.readers.inference import (
    RewardColumns,
    choose_reward_columns,
    misfit,
    reward_map_sql,
    reward_sum_sql,
)

__all__ = ["MS_SWIFT"]


def _matches(sample: Sample) -> bool:
    lists = ("prompt", "completion", "advantages")
    has_step = sample.has("step") or sample.has("gen_step")
    return has_step and sample.has(*lists) and _is_columnar(sample, lists)


def _is_columnar(sample: Sample, names: tuple[str, ...]) -> bool:
    return any(all(isinstance(row.get(name), list) for name in names) for row in sample.rows)


def _layout(sample: Sample) -> Layout:
    step = "step" if sample.has("step") else "gen_step"
    rewards = _reward_columns(sample)
    quoted = [quote_name(name) for name in rewards.names]
    raw = {
        step: "VARCHAR[]" if step == "step" else "BIGINT[]",
        "prompt": "VARCHAR[]",
        "completion": "VARCHAR[]",
        **dict.fromkeys(rewards.names, "DOUBLE[]"),
        "advantages": "DOUBLE[]",
    }
    columns = {
        "step": f"CAST({quote_name(step)} AS BIGINT)",
        "reward": reward_sum_sql(quoted),
        "advantage": '"advantages"',
        "completion": '"completion"',
        "prompt": '"prompt"',
    }
    if sample.has("solution"):
        raw["solution"] = "VARCHAR[]"
        columns["reference"] = '"solution"'
    if len(quoted) > 1:
        columns["rewards_by_function"] = reward_map_sql(
            dict(zip(rewards.names, quoted, strict=True))
        )
    return Layout(
        raw=raw,
        columns=columns,
        grouping=Grouping(
            "consecutive",
            "likely",
            "consecutive rows with equal prompts (ms-swift logs no group id)",
        ),
        required=(step, "prompt", *rewards.names),
        unnest=tuple(raw),
        metadata={"framework": "ms_swift"},
        notes=_notes(rewards, sample),
    )


def _reward_columns(sample: Sample) -> RewardColumns:
    row = next((row for row in sample.rows if _numbers_between(row)), None)
    if row is None:
        return RewardColumns((), None)
    names = _numbers_between(row)
    lists = [row["prompt"], row["advantages"], *(row[name] for name in names)]
    are_lists = all(isinstance(each, list) for each in lists)
    if not are_lists or len({len(each) for each in lists}) != 1 or not _are_numbers(lists[1]):
        return RewardColumns(names, None)
    # Of two functions at most the weights are unknown: columns of other things come after.
    found = choose_reward_columns(
        {name: row[name] for name in names}, row["advantages"], row["prompt"]
    )
    return RewardColumns(names, found.is_shown if found.names == names else False)


def _numbers_between(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Columns of numbers between completion and advantages: the reward functions."""
    names = list(row)
    if "completion" not in names or "advantages" not in names:
        return ()
    between = names[names.index("completion") + 1 : names.index("advantages")]
    return tuple(name for name in between if _are_numbers(row[name]))


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int | float) or value is None for value in values
    )


def _notes(rewards: RewardColumns, sample: Sample) -> tuple[str, ...]:
    notes = []
    if len(rewards.names) > 1 and not rewards.is_shown:
        notes.append(
            f"reward is the plain sum of {', '.join(rewards.names)}: "
            "their weights are not in the log" + misfit(rewards)
        )
    tables = [{k: v for k, v in row.items() if k != "step"} for row in sample.rows]
    if any(first == second for first, second in pairwise(tables)):
        notes.append(
            "the same table stands at several steps (logged more often than generated): "
            "its rollouts are counted each time"
        )
    return tuple(notes)


MS_SWIFT = Format(
    name="ms-swift",
    title="ms-swift completions",
    containers=frozenset({"jsonl"}),
    matches=_matches,
    layout=_layout,
)
