"""Logs of no known framework: one rollout per row, in JSONL, CSV or Parquet."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dissensus.readers.base import CANONICAL, Format, Grouping, Layout, Sample, quote_name

__all__ = [
    "NO",
    "OBVIOUS",
    "TABLE",
    "YES",
    "cast",
    "flags",
    "guess_mapping",
    "raw_type",
    "table_layout",
    "truth",
]

OBVIOUS: dict[str, tuple[str, ...]] = {
    "step": ("step", "global_step", "training_step", "train_step", "iteration", "update"),
    "generation": ("generation", "generation_id"),
    "split": ("split",),
    "round": ("round",),
    "group_id": ("group_id", "group", "group_index", "group_idx", "uid"),
    "prompt_id": (
        "prompt_id",
        "prompt_index",
        "prompt_idx",
        "problem_id",
        "question_id",
        "example_id",
        "task_id",
    ),
    "reward": ("reward", "rewards", "total_reward", "final_reward", "score", "scores"),
    "correct": ("correct", "is_correct", "acc", "accuracy", "passed", "success"),
    "advantage": ("advantage", "advantages", "adv"),
    "length": (
        "length",
        "completion_length",
        "response_length",
        "completion_tokens",
        "output_tokens",
        "num_tokens",
    ),
    "truncated": ("truncated", "is_truncated", "clipped"),
    "trained": ("trained",),
    "policy_version": ("policy_version",),
    "completion": ("completion", "response", "output", "generated_text"),
    "prompt": ("prompt", "question", "problem", "input", "query"),
    "reference": ("reference", "reference_answer", "ground_truth", "solution", "label", "target"),
}
"""Names under which each canonical column is looked for, best first; case does not matter."""

FLAGS = ("correct", "truncated", "trained")
"""Canonical columns that are true or false; logs write them as words or as numbers."""

YES, NO = ("true", "yes", "t"), ("false", "no", "f")

# A share, such as an accuracy of 0.6, is no truth value.
_AS_TRUTH = ("true", "false", "CASE {0} WHEN 1 THEN true WHEN 0 THEN false WHEN -1 THEN false END")
_AS_REWARD = ("1.0", "0.0", "{0}")
_LISTS = ("list<", "large_list<")
_NESTED = (*_LISTS, "struct<", "map<")
_MESSAGES = re.compile(r"(large_)?list<\w+: struct<")


def guess_mapping(columns: Mapping[str, str]) -> dict[str, str]:
    """Canonical column → raw column, for names that are obvious.

    Example:
        >>> guess_mapping({"Step": "", "uid": "", "score": "", "x": ""})
        {'step': 'Step', 'group_id': 'uid', 'reward': 'score'}
    """
    by_name = {name.lower(): name for name in reversed(list(columns))}
    found = {}
    for canonical, names in OBVIOUS.items():
        hit = next((by_name[name] for name in names if name in by_name), None)
        if hit is not None:
            found[canonical] = hit
    return found


def table_layout(sample: Sample, mapping: Mapping[str, str]) -> Layout:
    """One rollout per row, with these columns.

    Args:
        sample: The log.
        mapping: Canonical column → raw column.
    """
    lists = _parallel_lists(mapping, sample)
    columns = {name: cast(name, raw, sample, raw in lists) for name, raw in mapping.items()}
    if "reward" not in mapping and "correct" in mapping:
        is_text = raw_type("correct", mapping["correct"], sample) == "VARCHAR"
        columns["reward"] = truth(mapping["correct"], is_text=is_text, values=_AS_REWARD)
    guessed = ", ".join(f"{name} from {raw}" for name, raw in mapping.items() if name != raw)
    has_id = {"group_id", "prompt_id"} & mapping.keys()
    keys = ["step", "generation", "group_id", "prompt_id"]
    keys += [] if has_id else ["prompt"]
    keys += ["reward" if "reward" in mapping else "correct"]
    return Layout(
        raw={
            raw: raw_type(name, raw, sample, raw in lists) + ("[]" if raw in lists else "")
            for name, raw in mapping.items()
        },
        columns=columns,
        grouping=_grouping(mapping),
        unnest=tuple(dict.fromkeys(lists)),
        required=tuple(dict.fromkeys(mapping[name] for name in keys if name in mapping)),
        flags=flags(mapping, sample),
        notes=(f"columns by their names: {guessed}",) if guessed else (),
    )


def cast(name: str, raw: str, sample: Sample, is_element: bool = False) -> str:
    """SQL of a canonical column from a raw one of any type, or from the elements of its lists."""
    quoted = quote_name(raw)
    kind = raw_type(name, raw, sample, is_element)
    if name in FLAGS:
        return truth(raw, is_text=kind == "VARCHAR")
    if kind == "JSON":
        return f"CAST(to_json({quoted}) AS {CANONICAL[name]})"
    is_typed = sample.container in ("jsonl", "json", "csv")
    return quoted if is_typed else f"CAST({quoted} AS {CANONICAL[name]})"


def truth(raw: str, *, is_text: bool, values: tuple[str, str, str] = _AS_TRUTH) -> str:
    """SQL of a column that says yes or no, in words or as a number.

    Args:
        raw: The raw column.
        is_text: Whether it is read as text.
        values: SQL of yes, of no, and of a number `{0}`.
    """
    quoted = quote_name(raw)
    yes, no, number = values
    if not is_text:
        return number.format(f"CAST({quoted} AS DOUBLE)")
    is_yes, is_no = (f"lower(trim({quoted})) IN {words}" for words in (YES, NO))
    number = number.format(f"CAST(nullif(trim({quoted}), '') AS DOUBLE)")
    return f"CASE WHEN {is_yes} THEN {yes} WHEN {is_no} THEN {no} ELSE {number} END"


def raw_type(name: str, raw: str, sample: Sample, is_element: bool = False) -> str:
    """Type as which a raw column, or the elements of its lists, are read."""
    found = sample.columns.get(raw, "")
    if name in FLAGS:
        is_text = sample.container == "csv" or found in ("string", "large_string")
        return "VARCHAR" if is_text else "DOUBLE"
    # Such as messages: as text, DuckDB's own form of them is no JSON.
    is_nested = sample.container == "parquet" and found.startswith(_NESTED) and not is_element
    return "JSON" if is_nested and CANONICAL[name] == "VARCHAR" else CANONICAL[name]


def _parallel_lists(mapping: Mapping[str, str], sample: Sample) -> tuple[str, ...]:
    """Columns of which each element is one rollout; without a list of rewards there are none."""
    scores = mapping.get("reward", mapping.get("correct", ""))
    if not _is_list(scores, sample):
        return ()
    lists = [raw for raw in mapping.values() if _is_list(raw, sample)]
    return tuple(raw for raw in dict.fromkeys(lists) if raw != _messages(mapping, sample))


def _is_list(raw: str, sample: Sample) -> bool:
    if sample.container == "parquet":
        return sample.columns.get(raw, "").startswith(_LISTS)
    values = (row[raw] for row in sample.rows if row.get(raw) is not None)
    return isinstance(next(values, None), list)


def _messages(mapping: Mapping[str, str], sample: Sample) -> str | None:
    """The column of prompts where each is a list of messages; None where it is none."""
    raw = mapping.get("prompt")
    if raw is None:
        return None
    if sample.container == "parquet":
        is_chat = _MESSAGES.match(sample.columns.get(raw, "")) is not None
    else:
        values = [each for row in sample.rows if isinstance(each := row.get(raw), list)]
        is_chat = any(isinstance(item, dict) for each in values for item in each)
    return raw if is_chat else None


def flags(mapping: Mapping[str, str], sample: Sample) -> tuple[str, ...]:
    """Raw text columns that hold yes or no."""
    is_text = {raw for name, raw in mapping.items() if raw_type(name, raw, sample) == "VARCHAR"}
    return tuple(raw for name, raw in mapping.items() if name in FLAGS and raw in is_text)


def _grouping(mapping: Mapping[str, str]) -> Grouping:
    if "group_id" in mapping:
        return Grouping("key", "exact", f"rows with equal {mapping['group_id']}")
    by = "prompt_id" if "prompt_id" in mapping else "prompt"
    name = mapping.get(by, "prompt")
    if "step" in mapping or "generation" in mapping:
        return Grouping("prompt", "likely", f"rows of one step with equal {name}")
    return Grouping("consecutive", "guessed", f"consecutive rows with equal {name}")


def _matches(sample: Sample) -> bool:
    found = guess_mapping(sample.columns)
    has_reward = "reward" in found or "correct" in found
    return has_reward and bool(found.keys() & {"group_id", "prompt_id", "prompt"})


TABLE = Format(
    name="table",
    title="one rollout per row",
    containers=frozenset({"jsonl", "json", "csv", "parquet"}),
    matches=_matches,
    layout=lambda sample: table_layout(sample, guess_mapping(sample.columns)),
)
