"""Logs of no known framework: one rollout per row, in JSONL, CSV or Parquet."""

from __future__ import annotations

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
    columns = {name: cast(name, raw, sample) for name, raw in mapping.items()}
    if "reward" not in mapping and "correct" in mapping:
        columns["reward"] = f"CAST({columns['correct']} AS DOUBLE)"
    lists = tuple(raw for raw in mapping.values() if _is_list(raw, sample))
    guessed = ", ".join(f"{name} from {raw}" for name, raw in mapping.items() if name != raw)
    keys = ("step", "generation", "group_id", "prompt_id", "prompt", "reward", "correct")
    return Layout(
        raw={
            raw: raw_type(name, raw, sample) + ("[]" if raw in lists else "")
            for name, raw in mapping.items()
        },
        columns=columns,
        grouping=_grouping(mapping),
        unnest=tuple(dict.fromkeys(lists)),
        required=tuple(dict.fromkeys(mapping[name] for name in keys if name in mapping)),
        flags=flags(mapping, sample),
        notes=(f"columns by their names: {guessed}",) if guessed else (),
    )


def cast(name: str, raw: str, sample: Sample) -> str:
    """SQL of a canonical column from a raw one of any type."""
    quoted = quote_name(raw)
    if name not in FLAGS:
        is_typed = sample.container in ("jsonl", "json", "csv")
        return quoted if is_typed else f"CAST({quoted} AS {CANONICAL[name]})"
    if raw_type(name, raw, sample) != "VARCHAR":
        return f"CAST({quoted} AS DOUBLE) >= 0.5"
    yes, no = (f"lower(trim({quoted})) IN {words}" for words in (YES, NO))
    number = f"CAST(nullif(trim({quoted}), '') AS DOUBLE) >= 0.5"
    return f"CASE WHEN {yes} THEN true WHEN {no} THEN false ELSE {number} END"


def raw_type(name: str, raw: str, sample: Sample) -> str:
    """Type as which a raw column is read."""
    if name not in FLAGS:
        return CANONICAL[name]
    is_text = sample.container == "csv" or sample.columns.get(raw) in ("string", "large_string")
    return "VARCHAR" if is_text else "DOUBLE"


def _is_list(raw: str, sample: Sample) -> bool:
    if sample.container == "parquet":
        return sample.columns.get(raw, "").startswith(("list<", "large_list<"))
    return any(isinstance(row.get(raw), list) for row in sample.rows[:1])


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
