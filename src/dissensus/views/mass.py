"""Where the gradient's weight goes: the sum of |W| by difficulty of the prompt.

For a group with rewards of population standard deviation σ the update is W·Δs, with W = σ under
GRPO and σ² under Dr. GRPO (up to a constant that cancels in shares); under the estimator in use W
is what was recorded. |W| says how strongly a rule *weighs* a group, not how long its update is:
that also depends on Δs.

The difficulty of a group's prompt is its solve rate in its *other* groups of the whole run (leave
one out). A group's own outcome would be on both axes otherwise, and every silent group would look
extreme. Groups of prompts visited once have no such estimate and are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from dissensus.views.queries import IS_GRADED, IS_TRAIN, Source, rows

__all__ = ["BINS", "DifficultyMass", "bin_shares", "mass_by_difficulty", "mass_from_bins"]

#: Tenths of solve rate.
BINS = 10
# From few rollouts only few rates are possible, and bins of 10 % would hold one or two in turn.
_ROLLOUTS_FOR_NARROW_BINS = 50


class DifficultyMass(NamedTuple):
    """Shares by difficulty, in B equal bins of solve rate; the last one includes 1.

    B is 10, or 5 where difficulties rest on fewer than 50 other rollouts on average.

    Attributes:
        rollouts: Share of the generated rollouts per bin, for comparison.
        used: Share of Σ n·|W| per bin under the estimator in use; `None` where not recorded, and
            for graded rewards: it is a covariance with correctness, σ one of the rewards.
        grpo: The same with W = σ.
        dr_grpo: The same with W = σ².
        is_graded: Whether rewards differ among rollouts that are all wrong, or all correct.
        groups: Groups counted.
        left_out_frac: Share of the groups whose prompt had no other group.
        other_rollouts: Mean number of rollouts a difficulty was estimated from.
    """

    rollouts: list[float]
    used: list[float] | None
    grpo: list[float]
    dr_grpo: list[float]
    is_graded: bool
    groups: int
    left_out_frac: float
    other_rollouts: float


def mass_by_difficulty(source: Source) -> DifficultyMass | None:
    """Split the weight of all training groups by the leave-one-out solve rate of their prompt.

    Each group counts with its trained rollouts n, as in a trainer that averages over rollouts.

    Returns:
        `None` where correctness is unknown or no prompt was visited twice.
    """
    found = rows(
        source,
        f"""WITH scored AS (
            SELECT prompt, correct, size, rollouts, contrast, {IS_GRADED} AS graded,
                coalesce(trained, rollouts) AS trained,
                CASE WHEN unanimous THEN 0 ELSE std END AS sigma
            FROM groups WHERE {IS_TRAIN} AND size > 0
        ), totals AS (
            SELECT prompt, sum(correct) AS correct, sum(size) AS size,
                bool_and(correct IS NOT NULL) AS known
            FROM scored GROUP BY prompt
        ), others AS (
            SELECT s.*, t.known, t.size - s.size AS others,
                CASE WHEN t.size > s.size THEN least({BINS - 1},
                    ({BINS} * (t.correct - s.correct)) // (t.size - s.size)) END AS bin
            FROM scored AS s JOIN totals AS t USING (prompt)
        )
        SELECT bin, bool_and(known) AS known, count(*) AS groups, sum(rollouts) AS rollouts,
            count(*) FILTER (contrast IS NULL AND trained > 0) AS unrecorded, avg(others) AS others,
            bool_or(graded) AS graded,
            sum(trained * abs(contrast)) AS used, sum(trained * sigma) AS grpo,
            sum(trained * sigma * sigma) AS dr_grpo
        FROM others GROUP BY bin ORDER BY bin""",  # noqa: S608 — no outside text
    )
    return mass_from_bins(found)


def mass_from_bins(found: Sequence[dict[str, Any]]) -> DifficultyMass | None:
    """`mass_by_difficulty` from sums by bin of difficulty.

    Args:
        found: One row per tenth of solve rate and one with bin `None`: groups, rollouts, whether
            correctness is known, graded groups or none, unrecorded groups, mean other rollouts,
            and the weights used, grpo and dr_grpo.
    """
    binned = {int(row["bin"]): row for row in found if row["bin"] is not None}
    if not binned or not all(row["known"] for row in found):
        return None
    groups = sum(row["groups"] for row in binned.values())
    everything = sum(row["groups"] for row in found)
    other_rollouts = float(sum(r["others"] * r["groups"] for r in binned.values()) / groups)
    width = 1 if other_rollouts >= _ROLLOUTS_FOR_NARROW_BINS else 2
    columns = {
        name: bin_shares({b: float(row[name] or 0.0) for b, row in binned.items()}, width)
        for name in ("rollouts", "used", "grpo", "dr_grpo")
    }
    is_recorded = all(row["unrecorded"] == 0 for row in binned.values())
    is_graded = any(row["graded"] for row in found)
    return DifficultyMass(
        rollouts=columns["rollouts"],
        used=columns["used"] if is_recorded and not is_graded else None,
        grpo=columns["grpo"],
        dr_grpo=columns["dr_grpo"],
        is_graded=is_graded,
        groups=int(groups),
        left_out_frac=1.0 - groups / everything,
        other_rollouts=other_rollouts,
    )


def bin_shares(weights: Mapping[int, float], width: int) -> list[float]:
    """Shares of weights by tenth of solve rate, `width` tenths to a bin."""
    values = [sum(weights.get(b, 0.0) for b in range(i, i + width)) for i in range(0, BINS, width)]
    total = sum(values)
    return [value / total if total else 0.0 for value in values]
