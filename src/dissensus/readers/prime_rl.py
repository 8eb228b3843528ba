"""prime-rl's traces: `rollouts/step_{N}/{train|eval}/{all|effective}/traces.jsonl`, on by default.

One line is one episode of verifiers (v1), with one trace per agent; a trace is a rollout. `all` has
every episode, written when it arrives and so before advantages exist; `effective` has what was
shipped, with advantages, after groups with zero advantage were pruned. A group keeps the step at
which it was first dispatched.

Read from `monitors/file.py` and `train_sink.py` of prime-rl 559b447, `Episode.to_record` of
verifiers 0.4.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dissensus.readers.base import Format, Grouping, Layout, Sample

__all__ = ["PRIME_RL"]

_GROUP = """json_extract_string("group", '$.id')"""
_STEP = """CAST(json_extract_string("run", '$.work.step') AS BIGINT)"""
_TRACE = (
    "STRUCT(ok BOOLEAN, rewards MAP(VARCHAR, STRUCT(score DOUBLE, weight DOUBLE)), "
    'task STRUCT("key" VARCHAR, hash VARCHAR, data JSON), '
    "nodes STRUCT(message STRUCT(content JSON), logprobs DOUBLE[], advantages DOUBLE[])[], "
    "calls STRUCT(finish_reason VARCHAR)[])"
)
"""What is read of a trace: parsed once, however many columns are asked for."""

_CREDIT = "flatten([node.advantages FOR node IN traces.nodes IF node.advantages IS NOT NULL])"
_LENGTH = "[len(node.logprobs) FOR node IN traces.nodes IF node.logprobs IS NOT NULL]"
_REWARD = (
    "coalesce(list_sum([reward.score * coalesce(reward.weight, 1) "
    "FOR reward IN map_values(traces.rewards) IF reward IS NOT NULL]), 0)"
)
_DATA = "json_extract_string(traces.task.data, '$.{}')"
_NOT_YET = (
    "these traces were written before advantages were assigned; effective/traces.jsonl has them"
)
_FAILED = (
    "a trace that failed is an unscored rollout; an episode that failed before any trace is none"
)


def _matches(sample: Sample) -> bool:
    return sample.has("traces", "task", "ok") and any(
        isinstance(row.get("traces"), list) for row in sample.rows
    )


def _layout(sample: Sample) -> Layout:
    columns = {
        "step": f"coalesce({_STEP}, 0)",
        "split": """coalesce(json_extract_string("run", '$.work.type'), 'eval')""",
        "group_id": f'coalesce({_GROUP}, "id")',
        "prompt_id": f"coalesce(traces.task.key, traces.task.hash, {_DATA.format('idx')})",
        "reward": f"CASE WHEN traces.ok THEN {_REWARD} END",
        "length": f"CAST(coalesce(list_sum({_LENGTH}), 0) AS BIGINT)",
        "truncated": "len([1 FOR call IN traces.calls IF call.finish_reason = 'length']) > 0",
        "policy_version": """CAST(json_extract_string("run", '$.work.policy.start') AS BIGINT)""",
        "completion": "json_extract_string(traces.nodes[-1].message.content, '$')",
        "prompt": _DATA.format("prompt"),
        "reference": _DATA.format("answer"),
    }
    notes = [_FAILED]
    if _has_advantages(sample):
        columns["advantage"] = (
            f"CASE WHEN len({_CREDIT}) > 0 THEN "
            f"coalesce(list_avg([x FOR x IN {_CREDIT} IF x <> 0]), 0) END"
        )
        notes.append(
            "groups whose advantages were all zero were pruned before this file was written"
        )
    else:
        notes.append(_NOT_YET)
    return Layout(
        raw={"id": "VARCHAR", "group": "JSON", "run": "JSON", "traces": f"{_TRACE}[]"},
        columns=columns,
        grouping=Grouping("key", "exact", "traces with equal group.id"),
        required=("traces",),
        unnest=("traces",),
        has_group_steps=True,  # episodes of a group are dispatched one by one
        metadata={"framework": "prime_rl"},
        notes=tuple(notes),
    )


def _has_advantages(sample: Sample) -> bool:
    return any(
        isinstance(node, dict) and node.get("advantages") is not None
        for row in sample.rows
        for trace in row.get("traces") or []
        if isinstance(trace, dict)
        for node in trace.get("nodes") or []
    )


def _prefer_all(files: Sequence[Path]) -> Sequence[Path]:
    """Where both subsets of a step are there, read the one with every episode."""
    every = {file.parent.parent for file in files if file.parent.name == "all"}
    return [
        file for file in files if file.parent.name != "effective" or file.parent.parent not in every
    ]


PRIME_RL = Format(
    name="prime-rl",
    title="prime-rl traces",
    containers=frozenset({"jsonl"}),
    matches=_matches,
    layout=_layout,
    choose_files=_prefer_all,
    left_out="hold what all/traces.jsonl beside them holds",
)
