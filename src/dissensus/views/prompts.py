"""What the prompts of a run did over all their visits: never solved, always solved, in between."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from dissensus.views.format import clean_text
from dissensus.views.queries import Source, rows
from dissensus.views.snapshot import PromptText

__all__ = [
    "MIN_VISITS",
    "PromptClass",
    "PromptRow",
    "TextSource",
    "extreme_prompts",
    "prompt_classes",
]

#: Visits after which advice calls a prompt never or always solved; fewer may be chance.
MIN_VISITS = 3
_TEXT_CHARS = 400


class TextSource(Source, Protocol):
    """A source that knows what prompts say: `Snapshot` or `Summed`."""

    def prompt_texts(self, ids: Iterable[str | None], limit: int) -> dict[str, PromptText]:
        """Look up prompts by their ids."""


class PromptClass(NamedTuple):
    """How many prompts behaved one way, and what they cost.

    Attributes:
        prompts: Number of prompts.
        rollouts: Rollouts generated for them.
        rollout_frac: The same as a share of all training rollouts.
        repeated_prompts: Those with at least `MIN_VISITS` visits.
        repeated_rollouts: Rollouts generated for those.
        repeated_rollout_frac: The same as a share of all training rollouts.
    """

    prompts: int
    rollouts: int
    rollout_frac: float
    repeated_prompts: int
    repeated_rollouts: int
    repeated_rollout_frac: float


class PromptRow(NamedTuple):
    """One prompt that always got the same answer; `prompt` is untrusted text, made safe."""

    prompt_id: str
    prompt: str | None
    visits: int
    rollouts: int
    last_step: int


def prompt_classes(source: Source) -> tuple[PromptClass, PromptClass] | None:
    """Count the prompts no rollout solved, and those every rollout solved.

    Returns:
        Never solved and always solved; `None` where the correctness of any group is unknown.
    """
    row = rows(
        source,
        f"""SELECT bool_and(known) AS known, sum(rollouts) AS total,
            {_class_columns("never", "correct = 0")},
            {_class_columns("always", "correct = scored")}
        FROM prompt_totals""",  # noqa: S608 — no outside text
    )[0]
    if not row["known"]:
        return None
    return _class(row, "never"), _class(row, "always")


def extreme_prompts(
    source: TextSource, *, solved: bool, limit: int = 12, min_visits: int = 1
) -> list[PromptRow]:
    """List the prompts that cost most rollouts and never (or always) were solved.

    Args:
        source: A run.
        solved: `True` for always solved, `False` for never solved.
        limit: Longest list.
        min_visits: Leave out prompts with fewer visits, which may be chance.
    """
    condition = "correct = scored" if solved else "correct = 0"
    found = rows(
        source,
        f"""SELECT * FROM prompt_totals
        WHERE known AND {condition} AND visits >= {int(min_visits)}
        ORDER BY rollouts DESC, visits DESC, prompt_id LIMIT {int(limit)}""",  # noqa: S608
    )
    texts = source.prompt_texts((row["prompt_id"] for row in found), 4 * _TEXT_CHARS)
    return [
        PromptRow(
            clean_text(row["prompt_id"] or "", 80),
            _shown(texts.get(row["prompt_id"])),
            int(row["visits"]),
            int(row["rollouts"]),
            int(row["last_step"]),
        )
        for row in found
    ]


def _shown(text: PromptText | None) -> str | None:
    return None if text is None or text.prompt is None else text.prompt.shown(_TEXT_CHARS)


def _class_columns(name: str, condition: str) -> str:
    repeated = f"{condition} AND visits >= {MIN_VISITS}"
    return f"""
        count(*) FILTER ({condition}) AS {name}_prompts,
        coalesce(sum(rollouts) FILTER ({condition}), 0) AS {name}_rollouts,
        count(*) FILTER ({repeated}) AS {name}_repeated_prompts,
        coalesce(sum(rollouts) FILTER ({repeated}), 0) AS {name}_repeated_rollouts"""


def _class(row: dict[str, Any], name: str) -> PromptClass:
    total = int(row["total"])
    spent, repeated = int(row[f"{name}_rollouts"]), int(row[f"{name}_repeated_rollouts"])
    return PromptClass(
        prompts=int(row[f"{name}_prompts"]),
        rollouts=spent,
        rollout_frac=spent / total,
        repeated_prompts=int(row[f"{name}_repeated_prompts"]),
        repeated_rollouts=repeated,
        repeated_rollout_frac=repeated / total,
    )
