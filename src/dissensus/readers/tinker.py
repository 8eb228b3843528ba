"""tinker-cookbook's summaries: `iteration_{N:06d}/{split}_rollout_summaries.jsonl`, on by default.

One row is one trajectory, with its group and its place in it. The log has neither texts nor a name
of the prompt, so that the same prompt in two iterations cannot be recognised; and no advantages.

Read from `rl/rollout_logging.py` of tinker-cookbook 0.6.1.
"""

from __future__ import annotations

from dissensus.readers.base import Format, Grouping, Layout, Sample

__all__ = ["TINKER"]


def _layout(_: Sample) -> Layout:
    lengths = "CAST(json_extract(\"steps\", '$[*].ac_len') AS BIGINT[])"
    return Layout(
        raw={
            "split": "VARCHAR",
            "iteration": "BIGINT",
            "group_idx": "BIGINT",
            "traj_idx": "BIGINT",
            "sampling_client_step": "BIGINT",
            "total_reward": "DOUBLE",
            "steps": "JSON",
        },
        columns={
            "step": '"iteration"',
            "split": "coalesce(\"split\", 'train')",
            "group_id": 'CAST("group_idx" AS VARCHAR)',
            "reward": '"total_reward"',
            "length": f"CAST(list_sum({lengths}) AS BIGINT)",
            "policy_version": '"sampling_client_step"',
        },
        grouping=Grouping("key", "exact", "rows of one iteration with equal group_idx"),
        required=("iteration", "group_idx", "total_reward"),
        metadata={"framework": "tinker"},
        notes=("the log does not name prompts: visits of the same prompt cannot be joined",),
    )


TINKER = Format(
    name="tinker",
    title="tinker-cookbook rollout summaries",
    containers=frozenset({"jsonl"}),
    matches=lambda sample: sample.has("schema_version", "group_idx", "traj_idx", "total_reward"),
    layout=_layout,
)
