"""Why groups are unanimous, how many of a group are correct, where the gradient's weight goes."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from dissensus.core import advantages
from dissensus.core.advantages.base import AdvantageEstimator
from dissensus.errors import DissensusError
from dissensus.views import figures
from dissensus.views.canvas import add_line
from dissensus.views.correctness import not_shown
from dissensus.views.format import fraction, number
from dissensus.views.live_views.making import absent, clickable, code, plain
from dissensus.views.live_views.rolled import correctness_unknown, forecast, heat_map, timeline
from dissensus.views.live_views.shape import Shown
from dissensus.views.live_views.source import LiveSource
from dissensus.views.mass import BINS, DifficultyMass, bin_shares, mass_from_bins
from dissensus.views.panels import forecast_note
from dissensus.views.queries import rows
from dissensus.views.style import Theme, palette

__all__ = ["make_mass", "make_outcomes", "make_unanimous"]


def make_unanimous(source: LiveSource, theme: Theme, **given: Any) -> Shown:
    """Unanimous groups by cause, measured, and predicted from earlier groups."""
    python = code("unanimous", source, given)
    points = timeline(source)
    if not points:
        return absent("Not shown: no training group has been recorded yet.", python)
    found = forecast(source, given["stretches"])
    figure = figures.unanimous_figure(points, found, theme=theme)
    clickable(figure)
    if found is None:
        why = correctness_unknown(source) or (
            "rewards differ among wrong (or correct) rollouts, so a group can be all wrong and not "
            "unanimous"
        )
        csv = pa.table(
            {
                "step": [p.step for p in points],
                "unanimous": [p.measures.unanimous for p in points],
            }
        )
        note = f"No split by cause and no prediction: {why}."
        return Shown(plain(figure), None, note, csv, python)
    csv = pa.Table.from_pylist([p._asdict() for p in found.points])
    return Shown(plain(figure), None, forecast_note(found), csv, python)


def make_outcomes(source: LiveSource, theme: Theme, **given: Any) -> Shown:
    """Share of groups with k correct rollouts over time."""
    python = code("outcomes", source, given)
    heat = heat_map(source)
    if heat is None:
        why = correctness_unknown(source) or "nothing has been scored"
        return absent(not_shown(why), python)
    size = len(heat.labels) - 1
    figure = figures.heat_map_figure(heat, f"correct of {size}", theme=theme)
    clickable(figure)
    note = (
        f"Groups of {size} only; {fraction(heat.left_out_frac)} of the groups have another size."
        if heat.left_out_frac > 0
        else ""
    )
    shares = {f"correct_{k}": heat.shares[int(k)] for k in heat.labels}
    csv = pa.table({"step": heat.steps, "groups": heat.counted, **shares})
    return Shown(plain(figure), None, note, csv, python)


def make_mass(source: LiveSource, theme: Theme, **given: Any) -> Shown:
    """Weight in the gradient by difficulty, in use and under another rule on the same groups."""
    python = code("mass", source, given)
    cells = source.remember("difficulty", lambda: _cells(source))
    mass = mass_from_bins(_bins(cells))
    if mass is None:
        why = correctness_unknown(source)
        text = not_shown(why) if why else "Not shown: no prompt has been visited twice yet."
        return absent(text, python)
    figure = figures.mass_figure(mass, theme=theme)
    note = (
        "Σ n·|W| over groups with n trained rollouts; a prompt's difficulty is its solve rate in "
        "its other groups of the whole run, on average over "
        f"{number(mass.other_rollouts)} rollouts."
    )
    if mass.left_out_frac > 0:
        note += f" {fraction(mass.left_out_frac)} of the groups have none and are left out."
    if mass.used is None:
        note += " What the estimator in use weighed is not known."
    name = given["estimator"]
    columns = {"rollouts": mass.rollouts, "grpo": mass.grpo, "dr_grpo": mass.dr_grpo}
    if mass.used is not None:
        columns["used"] = mass.used
    if name not in ("grpo", "dr_grpo"):
        other, said = _counterfactual(source, name, cells, mass)
        note += f" {said}"
        if other is not None:
            columns[name] = other
            at = [(i + 0.5) / len(other) for i in range(len(other))]
            colour = palette(theme)["split"]
            add_line(figure, at, other, name, colour, dash="longdash", width=3.5, percent=True)
    bins = len(mass.rollouts)
    csv = pa.table({"solve_rate_from": [i / bins for i in range(bins)], **columns})
    return Shown(plain(figure), None, note, csv, python)


def _cells(source: LiveSource) -> list[dict[str, Any]]:
    """Sums by tenth of solve rate in the prompt's other groups, and by outcome of the group."""
    return rows(
        source,
        f"""WITH totals AS (
            SELECT prompt_id, sum(correct * groups) AS correct, sum(size * groups) AS size,
                bool_and(correct IS NOT NULL) AS known
            FROM prompt_outcomes GROUP BY prompt_id
        )
        SELECT CASE WHEN t.size > s.size THEN least({BINS - 1},
                ({BINS} * (t.correct - s.correct)) // (t.size - s.size))::INTEGER END AS bin,
            s.size, s.correct, bool_and(t.known) AS known, sum(groups)::BIGINT AS groups,
            sum(rollouts)::BIGINT AS rollouts, sum(trained)::BIGINT AS trained,
            sum(unrecorded)::BIGINT AS unrecorded, sum(graded)::BIGINT AS graded,
            sum((t.size - s.size) * groups)::DOUBLE AS others, sum(used) AS used,
            sum(grpo) AS grpo, sum(dr_grpo) AS dr_grpo
        FROM prompt_outcomes AS s JOIN totals AS t USING (prompt_id) GROUP BY ALL""",  # noqa: S608
    )


def _bins(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that `mass_from_bins` reads."""
    found: dict[int | None, dict[str, Any]] = {}
    for cell in cells:
        into = found.setdefault(cell["bin"], {"bin": cell["bin"], "known": True})
        into["known"] = into["known"] and cell["known"]
        for name in cell.keys() - {"bin", "known", "size", "correct"}:
            into[name] = into.get(name, 0) + (cell[name] or 0)
    return [{**row, "others": row["others"] / row["groups"]} for row in found.values()]


def _counterfactual(
    source: LiveSource, name: str, cells: list[dict[str, Any]], mass: DifficultyMass
) -> tuple[list[float] | None, str]:
    """Shares under another rule, and what is to be said of them."""
    if mass.is_graded:
        return None, f"{name} is not shown: rewards say more than correct or wrong."
    estimator = advantages.get(name)
    rewards = source.remember("two rewards", lambda: _two_rewards(source))
    weights: dict[int, float] = {}
    contrasts: dict[int, Any] = {}
    try:
        for size in {cell["size"] for cell in cells if cell["size"] >= 2}:
            context = advantages.neutral_context(estimator)
            found = advantages.signature(estimator, size, rewards=rewards, context=context)
            contrasts[size] = abs(found.contrast)
    except DissensusError as error:
        return None, f"{name} is not shown: {error}"
    for cell in cells:
        if cell["bin"] is not None and cell["size"] >= 2:
            weight = float(contrasts[cell["size"]][cell["correct"]]) * cell["trained"]
            weights[cell["bin"]] = weights.get(cell["bin"], 0.0) + weight
    return bin_shares(weights, BINS // len(mass.rollouts)), _said(name, estimator)


def _said(name: str, estimator: AdvantageEstimator) -> str:
    if estimator.scope == "group" and not estimator.needs:
        return f"{name} is what that rule would have given to the same groups."
    return (
        f"{name} needs more than the rewards of a group: it is asked in a neutral context, "
        "everything but the rewards alike, and a batch with one group of each k."
    )


def _two_rewards(source: LiveSource) -> tuple[float, float]:
    """What a wrong and a correct rollout got."""
    found = rows(
        source,
        """SELECT min(reward_low) AS low, max(reward_high) AS high
        FROM generations WHERE split = 'train'""",
    )[0]
    low, high = found["low"], found["high"]
    return (float(low), float(high)) if low is not None and low < high else (0.0, 1.0)
