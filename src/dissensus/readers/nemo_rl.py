"""NeMo-RL's training data: `{log_dir}/train_data_step{N}.jsonl`, written by default.

One line is one sample, but every value is a list of one: the writer takes the batch apart by
slices. There is no group id and no step in the rows; the step is in the file's name. The framework
itself finds groups by equal prompt tokens, and so does this.

Read from `Logger.log_batched_dict_as_jsonl` and `grpo.py`, NeMo-RL 7ea279a.
"""

from __future__ import annotations

from dissensus.readers.base import Format, Grouping, Layout, Sample, text_id

__all__ = ["NEMO_RL"]

_STEP = r"regexp_extract(filename, 'step(\d+)[^/]*$', 1)"
_MASK = 'CAST("token_loss_mask"[1] AS BIGINT[])'
_FIRST = f"list_position({_MASK}, 1)"
_PROMPT_TOKENS = f'list_slice("token_ids"[1], 1, coalesce({_FIRST}, len("token_ids"[1]) + 1) - 1)'


def _layout(sample: Sample) -> Layout:
    reward = "filtered_rewards" if sample.has("filtered_rewards") else "rewards"
    required = [reward, "token_loss_mask"]
    raw = {
        reward: "DOUBLE[]",
        "token_loss_mask": "DOUBLE[][]",
        "sample_loss_mask": "DOUBLE[]",
        "advantages": "DOUBLE[][]",
    }
    columns = {
        "step": f"CAST(coalesce(nullif({_STEP}, ''), '0') AS BIGINT)",
        "reward": f'"{reward}"[1]',
        "advantage": f'"advantages"[1][coalesce({_FIRST}, 1)]',
        "length": f"CAST(list_sum({_MASK}) AS BIGINT)",
        "trained": '"sample_loss_mask"[1] > 0',
    }
    if sample.has("token_ids"):
        raw |= {"token_ids": "BIGINT[][]"}
        required.append("token_ids")
        columns["prompt_id"] = text_id(f"array_to_string({_PROMPT_TOKENS}, ' ')")
    if sample.has("content"):
        raw["content"] = "JSON"
        columns["prompt"] = """json_extract_string("content", '$[0][0]')"""
        columns["completion"] = """json_extract_string("content", '$[0][#-1]')"""
        if "prompt_id" not in columns:
            columns["prompt_id"] = text_id(columns["prompt"])
            required.append("content")
    notes = ["the advantage of a sample is that of its first trained token"]
    if reward == "filtered_rewards":
        notes.append("rewards of samples that dynamic sampling discarded are not read")
    return Layout(
        raw=raw,
        columns=columns,
        grouping=Grouping(
            "prompt",
            "likely",
            "rows of one step with equal prompt tokens, as NeMo-RL itself groups",
        ),
        required=tuple(required),
        metadata={"framework": "nemo_rl"},
        notes=tuple(notes),
    )


NEMO_RL = Format(
    name="nemo-rl",
    title="NeMo-RL training data",
    containers=frozenset({"jsonl"}),
    matches=lambda sample: sample.has("rewards", "input_lengths", "token_loss_mask", "advantages"),
    layout=_layout,
)
