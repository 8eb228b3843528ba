"""Why it is not known which training rollouts are correct, said where something needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dissensus.core.groups import DEFAULT_TOL
from dissensus.views.queries import IS_TRAIN, Source, rows

__all__ = ["not_shown", "reason", "why_unknown", "why_unknown_in_sums"]

_DECLARE = "no threshold was declared (correct=… of the trainer or Recorder)"


def why_unknown(source: Source) -> str | None:
    """Say why the correctness of a run's training rollouts is unknown.

    One group of unknown correctness makes it unknown: half a run split by cause would mislead.

    Args:
        source: The run.

    Returns:
        A clause that goes on after "and" or a colon; `None` where correctness is known.
    """
    unknown = "size > 0 AND correct IS NULL"
    found = rows(
        source,
        f"""SELECT count(*) AS groups, count(*) FILTER (size > 0) AS scored,
            count(*) FILTER ({unknown}) AS unknown,
            bool_or(NOT unanimous) FILTER ({unknown}) AS is_split,
            max(mean) FILTER ({unknown}) - min(mean) FILTER ({unknown}) AS spread
        FROM groups WHERE {IS_TRAIN}""",  # noqa: S608 — no outside text
    )[0]
    return reason(found)


def why_unknown_in_sums(source: Source) -> str | None:
    """`why_unknown` of a source with the table `generations`."""
    found = rows(
        source,
        f"""SELECT coalesce(sum(groups), 0) AS groups, coalesce(sum(scored), 0) AS scored,
            coalesce(sum(scored - known), 0) AS unknown, bool_or(unknown_split) AS is_split,
            max(unknown_high) - min(unknown_low) AS spread
        FROM generations WHERE {IS_TRAIN}""",  # noqa: S608 — no outside text
    )[0]
    return reason(found)


def reason(found: Mapping[str, Any]) -> str | None:
    """`why_unknown` from counts.

    Args:
        found: Groups, those scored and those of unknown correctness, and of the latter whether any
            is split and how far their mean rewards are apart.
    """
    if not found["groups"]:
        return "no training group has been recorded yet"
    if not found["scored"]:
        return "no rollout has a reward"
    if not found["unknown"]:
        return None
    if found["is_split"] or found["spread"] > DEFAULT_TOL:
        return f"rewards take more than two values and {_DECLARE}"
    return f"in some generations no second reward value had been seen yet and {_DECLARE}"


def not_shown(why: str) -> str:
    """What stands in the place of a figure that needs correctness.

    Args:
        why: From `why_unknown`.
    """
    return f"Not shown: it needs to know which rollouts are correct, and {why}."
