"""verl's rollout dumps: `trainer.rollout_data_dir` (or `validation_data_dir`) gets `{step}.jsonl`.

The V1 trainer (default since 0.9) writes a uid `{prompt}_{session}_{output}`: its first part is the
group. The legacy trainer writes none, and has reordered the batch by length before, so that groups
are the rows of a step with equal input. Neither writes advantages.

Read from `_write_generations` of both trainers, verl 0.9.1.
"""

from __future__ import annotations

from dissensus.readers.base import Format, Grouping, Layout, Sample
from dissensus.readers.tabular import truth

__all__ = ["VERL", "VERL_LEGACY"]

_RAW = {
    "input": "VARCHAR",
    "output": "VARCHAR",
    "gts": "VARCHAR",
    "score": "DOUBLE",
    "step": "BIGINT",
}
_COLUMNS = {
    "step": '"step"',
    "reward": '"score"',
    "completion": '"output"',
    "prompt": '"input"',
    "reference": '"gts"',
}
_EVALUATION = "a validation dump has the same form: the log does not say which of both it is"


def _is_dump(sample: Sample) -> bool:
    return sample.has("input", "output", "score", "step")


def _layout(sample: Sample) -> Layout:
    several = any(
        str(row.get("uid", "")).rpartition("_")[2] not in ("", "0") for row in sample.rows
    )
    notes = [_EVALUATION]
    if several:
        notes.append(
            "sessions with several outputs: each output counts as one rollout of its group"
        )
    return Layout(
        raw={**_RAW, "uid": "VARCHAR"},
        columns={**_COLUMNS, "group_id": r"""regexp_replace("uid", '_\d+_\d+$', '')"""},
        grouping=Grouping("key", "exact", "rows with equal prompt part of uid"),
        required=("score", "step", "uid"),
        metadata={"framework": "verl", "trainer": "v1"},
        notes=tuple(notes),
    )


def _legacy_layout(sample: Sample) -> Layout:
    raw = dict(_RAW)
    columns = dict(_COLUMNS)
    if not sample.has("gts"):  # before 0.6
        del raw["gts"], columns["reference"]
    judged = [row["acc"] for row in sample.rows if "acc" in row]
    if judged and all(value in (0, 1) for value in judged if isinstance(value, int | float)):
        raw["acc"] = "VARCHAR"
        columns["correct"] = truth("acc", is_text=True)
    return Layout(
        raw=raw,
        columns=columns,
        grouping=Grouping(
            "prompt", "likely", "rows of one step with equal input (this trainer logs no group id)"
        ),
        required=("input", "score", "step"),
        flags=("acc",) if "acc" in raw else (),
        metadata={"framework": "verl", "trainer": "legacy"},
        notes=(_EVALUATION,),
    )


VERL = Format(
    name="verl",
    title="verl rollouts",
    containers=frozenset({"jsonl"}),
    matches=lambda sample: _is_dump(sample) and sample.has("uid"),
    layout=_layout,
)

VERL_LEGACY = Format(
    name="verl-legacy",
    title="verl rollouts of the legacy trainer",
    containers=frozenset({"jsonl"}),
    matches=lambda sample: _is_dump(sample) and not sample.has("uid"),
    layout=_legacy_layout,
)
