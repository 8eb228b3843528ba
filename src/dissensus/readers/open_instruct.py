"""open-instruct's rollout traces: `save_traces` writes `{run}_rollouts_{shard:06d}.jsonl`.

One row is one rollout, with prompt_idx as the group of its step. The framework numbers groups by
position, so that filtering before it (`mask_truncated_completions`) shifts them.

Read from `rl_utils._save_rollouts` and `data_loader.py`, open-instruct e6c3044.
"""

from __future__ import annotations

from dissensus.readers.base import Format, Grouping, Layout, Sample, text_id

__all__ = ["OPEN_INSTRUCT"]


_FILTERED = (
    "groups without spread were dropped before this log was written, unless "
    "filter_zero_std_samples was off"
)


def _layout(_: Sample) -> Layout:
    return Layout(
        raw={
            "step": "BIGINT",
            "prompt_idx": "BIGINT",
            "prompt_tokens": "BIGINT[]",
            "response_tokens": "BIGINT[]",
            "reward": "DOUBLE",
            "advantage": "DOUBLE",
            "finish_reason": "VARCHAR",
            "ground_truth": "VARCHAR",
        },
        columns={
            "step": '"step"',
            "group_id": 'CAST("prompt_idx" AS VARCHAR)',
            "prompt_id": text_id("array_to_string(\"prompt_tokens\", ' ')"),
            "reward": '"reward"',
            "advantage": '"advantage"',
            "length": 'len("response_tokens")',
            "truncated": "\"finish_reason\" = 'length'",
            "reference": '"ground_truth"',
        },
        grouping=Grouping("key", "exact", "rows of one step with equal prompt_idx"),
        required=("step", "prompt_idx", "reward"),
        metadata={"framework": "open_instruct"},
        notes=(_FILTERED,),
    )


OPEN_INSTRUCT = Format(
    name="open-instruct",
    title="open-instruct rollouts",
    containers=frozenset({"jsonl"}),
    matches=lambda sample: sample.has(
        "sample_idx", "prompt_idx", "response_tokens", "reward", "advantage"
    ),
    layout=_layout,
)
