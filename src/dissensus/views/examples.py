"""Split groups to look at: what the same policy answered to the same prompt, right and wrong."""

from __future__ import annotations

from typing import Any, NamedTuple

from dissensus.views.format import clean_text
from dissensus.views.queries import IS_TRAIN, rows
from dissensus.views.snapshot import Excerpt, PromptText, Snapshot

__all__ = ["Answer", "SplitGroup", "split_groups"]

_GROUPS = 6
_CANDIDATES = 4
_PER_SIDE = 2
_PROMPT_CHARS = 1200
_COMPLETION_CHARS = 900


class Answer(NamedTuple):
    """One rollout of a split group; `completion` is untrusted text, made safe."""

    reward: float
    advantage: float | None
    length: int | None
    completion: str


class SplitGroup(NamedTuple):
    """A group whose rewards differ; texts are untrusted and made safe.

    Attributes:
        step: Training step.
        prompt_id: Which prompt.
        prompt: Its text, if recorded.
        reference: Reference answer, if recorded.
        correct: k, or `None` where unknown.
        size: Scored rollouts.
        std: Population standard deviation of the rewards.
        better: Rollouts with the highest rewards, best first.
        worse: Rollouts with the lowest rewards, worst first.
    """

    step: int
    prompt_id: str
    prompt: str | None
    reference: str | None
    correct: int | None
    size: int
    std: float
    better: list[Answer]
    worse: list[Answer]


class _Chosen(NamedTuple):
    """A group that is shown, with its rollouts that have text."""

    group: dict[str, Any]
    members: list[dict[str, Any]]


def split_groups(source: Snapshot, *, limit: int = _GROUPS) -> list[SplitGroup]:
    """Choose split groups with recorded text, spread over the run, each of another prompt.

    The run is cut into `limit` stretches of generations. Of the first, third, … the group with the
    largest σ is taken, of the others the one with the lowest mean reward: a hard prompt that was
    solved at all. Both a good and a bad completion must be on record. The choice is deterministic.

    Args:
        source: A run.
        limit: Largest number of groups.
    """
    chosen = list(
        filter(None, (_first_with_text(source, each) for each in _by_stretch(source, limit)))
    )
    texts = source.prompt_texts((each.group["prompt_id"] for each in chosen), 8 * _PROMPT_CHARS)
    return [_group(each, texts.get(each.group["prompt_id"])) for each in chosen]


def _by_stretch(source: Snapshot, limit: int) -> list[list[dict[str, Any]]]:
    """Candidates of each stretch, best first; no prompt is a candidate twice."""
    found = rows(
        source,
        f"""WITH split AS (
            SELECT *, ntile({int(limit)}) OVER (ORDER BY step, generation, group_id) AS stretch
            FROM groups WHERE {IS_TRAIN} AND size > 1 AND NOT unanimous
        ), once AS (
            SELECT *, CASE WHEN stretch % 2 = 1 THEN -std ELSE mean END AS rank
            FROM split QUALIFY row_number() OVER (
                PARTITION BY prompt, CASE WHEN prompt IS NULL THEN group_id END
                ORDER BY hash(group_id), group_id) = 1
        )
        SELECT step, generation, group_id, prompt_id, correct, size, std, stretch FROM once
        QUALIFY row_number() OVER (
            PARTITION BY stretch ORDER BY rank, hash(group_id), group_id) <= {_CANDIDATES}
        ORDER BY stretch, rank, hash(group_id), group_id""",  # noqa: S608 — no outside text
    )
    stretches: dict[int, list[dict[str, Any]]] = {}
    for row in found:
        stretches.setdefault(row["stretch"], []).append(row)
    return list(stretches.values())


def _first_with_text(source: Snapshot, candidates: list[dict[str, Any]]) -> _Chosen | None:
    for group in candidates:
        members = source.rollouts(group["generation"], [group["group_id"]])
        if len({member["reward"] for member in members}) > 1:
            return _Chosen(group, members)
    return None


def _group(chosen: _Chosen, text: PromptText | None) -> SplitGroup:
    head, members = chosen
    rewards = [member["reward"] for member in members]
    middle = (max(rewards) + min(rewards)) / 2
    ranked = sorted(members, key=lambda member: (-member["reward"], member["row"]))
    better = [member for member in ranked if member["reward"] > middle]
    worse = [member for member in ranked if member["reward"] <= middle]
    return SplitGroup(
        step=int(head["step"]),
        prompt_id=clean_text(head["prompt_id"] or "", 80),
        prompt=None if text is None else _shown(text.prompt),
        reference=None if text is None else _shown(text.reference),
        correct=None if head["correct"] is None else int(head["correct"]),
        size=int(head["size"]),
        std=float(head["std"]),
        better=[_answer(member) for member in better[:_PER_SIDE]],
        worse=[_answer(member) for member in worse[: -_PER_SIDE - 1 : -1]],
    )


def _answer(row: dict[str, Any]) -> Answer:
    advantage = row["advantage_used"]
    return Answer(
        reward=float(row["reward"]),
        advantage=None if advantage is None else float(advantage),
        length=None if row["length"] is None else int(row["length"]),
        completion=clean_text(row["completion"], _COMPLETION_CHARS),
    )


def _shown(text: Excerpt | None) -> str | None:
    return None if text is None else text.shown(_PROMPT_CHARS)
