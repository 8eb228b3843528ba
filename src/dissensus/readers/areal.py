"""AReaL's rollouts: `rollout.dump_to_file` writes `rollout/{version}/{task_id}.jsonl`.

One file is one task, that is one group; version is that of the newest weights that sampled it, so
the step here is a policy version. Rejected trajectories are dumped too, samples without a
completion are not. There are no advantages.

Read from `WorkflowExecutor._dump_trajectory` of areal 1.0.4.
"""

from __future__ import annotations

from dissensus.readers.base import Format, Grouping, Layout, Sample

__all__ = ["AREAL"]


def _layout(_: Sample) -> Layout:
    return Layout(
        raw={
            "task_id": "VARCHAR",
            "seqlen": "BIGINT",
            "prompt_len": "BIGINT",
            "head_version": "BIGINT",
            "tail_version": "BIGINT",
            "reward": "DOUBLE",
            "prompt": "VARCHAR",
            "completion": "VARCHAR",
        },
        columns={
            "step": '"tail_version"',
            "split": "CASE WHEN filename LIKE '%/eval-rollout/%' THEN 'eval' ELSE 'train' END",
            "group_id": '"task_id"',
            "reward": '"reward"',
            "length": '"seqlen" - "prompt_len"',
            "policy_version": '"head_version"',
            "completion": '"completion"',
            "prompt": '"prompt"',
        },
        grouping=Grouping("key", "exact", "rows with equal task_id"),
        required=("task_id", "tail_version", "reward"),
        metadata={"framework": "areal"},
        notes=("the step is the version of the newest weights that sampled the group",),
    )


AREAL = Format(
    name="areal",
    title="AReaL rollouts",
    containers=frozenset({"jsonl"}),
    matches=lambda sample: sample.has(
        "task_id", "sample_idx", "head_version", "tail_version", "reward"
    ),
    layout=_layout,
)
