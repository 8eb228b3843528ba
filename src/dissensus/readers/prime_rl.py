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
_CREDIT = "CAST(json_extract(\"traces\", '$.nodes[*].advantages[*]') AS DOUBLE[])"
_OK = """json_extract_string("traces", '$.ok') = 'true'"""
_ALL_CONTENT = "json_extract_string(\"traces\", '$.nodes[*].message.content')"
_FINISH = "json_extract_string(\"traces\", '$.calls[*].finish_reason')"
_NOT_YET = (
    "these traces were written before advantages were assigned; effective/traces.jsonl has them"
)
_FAILED = (
    "a trace that failed is an unscored rollout; an episode that failed before any trace is none"
)
_TASK = "json_extract_string(\"traces\", '$.task.{}')"
_SCORES = "CAST(json_extract(\"traces\", '$.rewards.*.{}') AS DOUBLE[])"
_REWARD = (
    f"coalesce(list_sum([x[1] * coalesce(x[2], 1) FOR x IN "
    f"list_zip({_SCORES.format('score')}, {_SCORES.format('weight')})]), 0)"
)


def _matches(sample: Sample) -> bool:
    return sample.has("traces", "task", "ok") and any(
        isinstance(row.get("traces"), list) for row in sample.rows
    )


def _layout(sample: Sample) -> Layout:
    names = ", ".join(_TASK.format(name) for name in ("key", "hash", "data.idx"))
    columns = {
        "step": f"coalesce({_STEP}, 0)",
        "split": """coalesce(json_extract_string("run", '$.work.type'), 'eval')""",
        "group_id": f'coalesce({_GROUP}, "id")',
        "prompt_id": f"coalesce({names})",
        "reward": f"CASE WHEN {_OK} THEN {_REWARD} END",
        "length": "len(json_extract(\"traces\", '$.nodes[*].logprobs[*]'))",
        "truncated": f"list_contains({_FINISH}, 'length')",
        "policy_version": """CAST(json_extract_string("run", '$.work.policy.start') AS BIGINT)""",
        "completion": f"{_ALL_CONTENT}[-1]",
        "prompt": _TASK.format("data.prompt"),
        "reference": _TASK.format("data.answer"),
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
        raw={"id": "VARCHAR", "group": "JSON", "run": "JSON", "traces": "JSON[]"},
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
