"""ROLL's rollouts: `rollout_dump_dir` gets `rollout_dump_data.step_{N}.jsonl`.

A file is one line: an object of equally long lists. Rows carry the data set's id of their prompt; a
step samples it once, so that rows with equal id are a group. There are no advantages.

Read from `pipeline/rlvr/utils.py` of ROLL 8eb27cc.
"""

from __future__ import annotations

from dissensus.readers.base import Format, Grouping, Layout, Sample, quote_name

__all__ = ["ROLL"]

_OPTIONAL = {"prompt": "prompt", "ground_truth": "reference"}


def _matches(sample: Sample) -> bool:
    return sample.has("responses", "scores", "global_step") and any(
        isinstance(row.get("responses"), list) and isinstance(row.get("scores"), list)
        for row in sample.rows
    )


def _layout(sample: Sample) -> Layout:
    raw = {"global_step": "BIGINT[]", "scores": "DOUBLE[]", "responses": "VARCHAR[]"}
    columns = {"step": '"global_step"', "reward": '"scores"', "completion": '"responses"'}
    for name, canonical in _OPTIONAL.items():
        if sample.has(name):
            raw[name] = "VARCHAR[]"
            columns[canonical] = quote_name(name)
    by = "id" if sample.has("id") else "prompt"
    if by == "id":
        raw["id"] = "VARCHAR[]"
        columns["prompt_id"] = '"id"'
    return Layout(
        raw=raw,
        columns=columns,
        grouping=Grouping("prompt", "likely", f"rows of one step with equal {by}"),
        required=("global_step", "scores", by),
        unnest=tuple(raw),
        metadata={"framework": "roll"},
    )


ROLL = Format(
    name="roll",
    title="ROLL rollouts",
    containers=frozenset({"jsonl"}),
    matches=_matches,
    layout=_layout,
)
