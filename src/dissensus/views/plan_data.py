"""What a plan needs of a run or a log: counts, made by queries; never one object per group."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dissensus.core.groups import FloatArray
from dissensus.core.population.counts import HANDS, Counts
from dissensus.core.population.drift import LEAST_STRETCHES
from dissensus.errors import InputError
from dissensus.views.queries import IS_GRADED, IS_TRAIN, Source, ordered_buckets, rows

__all__ = ["GroupFacts", "Stretches", "group_facts", "read_counts", "read_stretches"]

_QUARTERS = 4
_LEAST_GROUPS = 50
_PARTS = 100


class GroupFacts(NamedTuple):
    """What there is, before anything is estimated.

    Attributes:
        groups: Training groups.
        unnamed: Groups of them without a prompt id.
        prompts: Distinct prompts of them; `None` where some group has no prompt id.
        rollouts: Rollouts of them.
        heldout: Groups of evaluation splits, which are left out.
        unscored: Training groups without a reward.
        single: Training groups with one scored rollout.
        unknown: Scored training groups of unknown correctness.
        graded: Groups whose rewards differ among rollouts that are all wrong, or all correct.
        smallest: Fewest scored rollouts of a scored group; `None` without any.
        largest: Most.
        unanimous: Share of the groups of two or more whose rewards are all equal.
        std_mean: Mean of their population standard deviation of rewards.
        variance_mean: Mean of their unbiased variance of rewards.
    """

    groups: int
    unnamed: int
    prompts: int | None
    rollouts: int
    heldout: int
    unscored: int
    single: int
    unknown: int
    graded: int
    smallest: int | None
    largest: int | None
    unanimous: float | None
    std_mean: float | None
    variance_mean: float | None


class Stretches(NamedTuple):
    """Quarters of a run, oldest first: groups in each, and how many were unanimous by cause."""

    all_wrong: FloatArray
    all_correct: FloatArray
    groups: FloatArray


def group_facts(source: Source, *, last: float = 1.0) -> GroupFacts:
    """Count what a plan is made from.

    Args:
        source: A run, a log, or anything else with SQL over `groups`.
        last: Share of the training generations to take, the latest ones.
    """
    found = rows(
        source,
        f"""SELECT count(*) AS groups, count(*) FILTER ({_NAME} IS NULL) AS unnamed,
            CASE WHEN unnamed = 0 THEN count(DISTINCT hash({_NAME})) END AS prompts,
            coalesce(sum(rollouts), 0) AS rollouts,
            count(*) FILTER (size = 0) AS unscored, count(*) FILTER (size = 1) AS single,
            count(*) FILTER (size > 0 AND correct IS NULL) AS unknown,
            count(*) FILTER ({IS_GRADED}) AS graded,
            min(size) FILTER (size > 0) AS smallest, max(size) FILTER (size > 0) AS largest,
            avg(unanimous::DOUBLE) FILTER (size > 1) AS unanimous,
            avg(std) FILTER (size > 1) AS std_mean,
            avg(std * std * size / (size - 1)) FILTER (size > 1) AS variance_mean
        FROM {_latest(last)}""",  # noqa: S608 — no outside text
    )[0]
    other = rows(
        source,
        f"SELECT count(*) AS heldout FROM groups WHERE NOT {IS_TRAIN}",  # noqa: S608
    )[0]
    return GroupFacts(**{name: _plain(value) for name, value in {**found, **other}.items()})


def read_counts(source: Source, *, last: float = 1.0) -> Counts:
    """How many training groups had k of n correct, by hand of prompts.

    Args:
        source: As `group_facts`.
        last: As `group_facts`.

    Raises:
        InputError: No scored training group of known correctness.
    """
    table = source.sql(
        f"""SELECT correct, size, hash({_PROMPT}) % {HANDS} AS hand, count(*) AS groups
        FROM {_latest(last)} WHERE size > 0 AND correct IS NOT NULL GROUP BY ALL"""  # noqa: S608
    )
    correct, size, hand, groups = (
        np.asarray(table[name].to_numpy(), dtype=np.int64)
        for name in ("correct", "size", "hand", "groups")
    )
    if not len(groups):
        raise InputError("no training group with a scored rollout and known correctness")
    cells, cell = np.unique(np.stack([size, correct], axis=1), axis=0, return_inverse=True)
    _, place = np.unique(hand, return_inverse=True)
    dealt = np.zeros((len(cells), int(place.max()) + 1))
    np.add.at(dealt, (cell.ravel(), place.ravel()), groups.astype(np.float64))
    return Counts.from_table(cells[:, 1], cells[:, 0], dealt)


def read_stretches(source: Source) -> Stretches | None:
    """Count the unanimous groups of each quarter of the training generations.

    Returns:
        `None` where there are fewer than three generations, or a quarter with fewer than 50 groups.
    """
    found = rows(
        source,
        f"""SELECT bucket, count(*) AS groups, count(*) FILTER (correct = 0) AS wrong,
            count(*) FILTER (correct = size) AS correct
        FROM {ordered_buckets(_QUARTERS)} WHERE size > 1 AND correct IS NOT NULL
        GROUP BY bucket ORDER BY bucket""",  # noqa: S608 — no outside text
    )
    if len(found) < LEAST_STRETCHES or min(row["groups"] for row in found) < _LEAST_GROUPS:
        return None
    return Stretches(
        *(
            np.array([row[name] for row in found], dtype=np.float64)
            for name in ("wrong", "correct", "groups")
        )
    )


# A log that names no prompts has groups that stand for themselves.
_NAME = "nullif(prompt_id, '')"
_PROMPT = f"coalesce({_NAME}, generation || '/' || group_id)"


def _latest(last: float) -> str:
    """SQL of a subquery: the training groups of the latest share of generations."""
    if last >= 1.0:
        return f"(SELECT * FROM groups WHERE {IS_TRAIN})"  # noqa: S608 — no outside text
    skipped = min(_PARTS - 1, round(_PARTS * (1.0 - last)))
    # One bucket per generation where there are fewer than a hundred.
    return f"""(SELECT * FROM (
        SELECT *, max(bucket) OVER () AS buckets FROM {ordered_buckets(_PARTS)}
    ) WHERE bucket * {_PARTS} > buckets * {skipped})"""  # noqa: S608 — no outside text


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, float) else None if value is None else int(value)
