"""What a report shows about a run, in order: each figure with how to read it, in one sentence."""

from __future__ import annotations

from dissensus.views import figures
from dissensus.views.correctness import not_shown
from dissensus.views.distributions import (
    HeatMap,
    HeldoutPoint,
    heldout_curve,
    outcomes_over_time,
    solve_rates_over_time,
)
from dissensus.views.forecast import Forecast
from dissensus.views.format import count, fraction, number
from dissensus.views.mass import DifficultyMass, mass_by_difficulty
from dissensus.views.page import Panel
from dissensus.views.queries import Source
from dissensus.views.style import Theme
from dissensus.views.summary import RunSummary

__all__ = ["Panel", "forecast_note", "run_panels"]

_TABLE_ROWS = 24


def run_panels(source: Source, summary: RunSummary, *, theme: Theme = "light") -> list[Panel]:
    """Make every figure of a run.

    Args:
        source: The run.
        summary: Its summary.
        theme: Colours of the figures.
    """
    return [
        _progress(summary, heldout_curve(source), theme),
        _unanimous(summary, theme),
        _outcomes(outcomes_over_time(source), summary, theme),
        _rates(solve_rates_over_time(source), summary, theme),
        _mass(mass_by_difficulty(source), summary, theme),
    ]


def _progress(summary: RunSummary, heldout: list[HeldoutPoint], theme: Theme) -> Panel:
    timeline, ends = summary.timeline, summary.heldout
    is_drawn = bool(timeline or heldout)
    label = f"Training reward over {count(summary.steps)} steps"
    if ends is not None and ends.last.solve_rate is not None:
        label += (
            f"; held-out solve rate from {fraction(ends.first.solve_rate)} "
            f"to {fraction(ends.last.solve_rate)}"
        )
    splits = sorted({p.split for p in heldout})
    note = "Each training point is the mean over a stretch of generations."
    if heldout:
        note += (
            " Bars on the held-out points are ± one standard error over prompts; they say nothing"
            " about other seeds."
        )
    else:
        note += " No held-out evaluation was recorded in this run."
    return Panel(
        name="progress",
        title="Reward and held-out accuracy",
        reading=(
            "Training reward tells how the sampled prompts go; only the held-out points tell "
            "whether the model got better on prompts it was not trained on."
        ),
        note=note,
        figure=figures.progress_figure(timeline, heldout, theme=theme) if is_drawn else None,
        absent="" if is_drawn else "Not shown: nothing has been recorded yet.",
        label=label,
        header=["step", "reward or solve rate", "where"],
        rows=[
            *(
                [number(p.step), number(p.measures.reward_mean), "training reward"]
                for p in timeline
            ),
            *(
                [
                    count(p.step),
                    fraction(p.solve_rate) if p.solve_rate is not None else number(p.reward_mean),
                    f"held-out split {splits.index(p.split) + 1}, {count(p.rollouts)} rollouts",
                ]
                for p in heldout
            ),
        ],
    )


def _unanimous(summary: RunSummary, theme: Theme) -> Panel:
    forecast, timeline = summary.forecast, summary.timeline
    reading = (
        "The filled area is the share of groups whose advantages are all zero under a mean-centred "
        "rule, by cause; where the dashed line follows its top edge, the closed form predicted it."
    )
    if forecast is None:
        why = summary.correct_unknown or (
            "rewards differ among wrong (or correct) rollouts, so a group can be all wrong and not "
            "unanimous"
        )
        return Panel(
            name="unanimous",
            title="Unanimous groups by cause, measured and predicted",
            reading="The line is the share of groups whose rollouts all got the same reward.",
            note=f"No split by cause and no prediction: {why}.",
            figure=figures.unanimous_figure(timeline, None, theme=theme) if timeline else None,
            absent="" if timeline else "Not shown: no training group has been recorded yet.",
            label=f"Unanimous share, {fraction(summary.train.unanimous)} over the run",
            header=["step", "unanimous"],
            rows=[[number(p.step), fraction(p.measures.unanimous)] for p in timeline],
        )
    return Panel(
        name="unanimous",
        title="Unanimous groups by cause, measured and predicted",
        reading=reading,
        note=forecast_note(forecast),
        figure=figures.unanimous_figure(timeline, forecast, theme=theme),
        absent="",
        label=(
            f"Unanimous share {fraction(summary.train.unanimous)} over the run: all-wrong "
            f"{fraction(summary.train.all_wrong)}, all-correct "
            f"{fraction(summary.train.all_correct)}; predicted {fraction(forecast.predicted)}"
        ),
        header=["step", "all-wrong", "all-correct", "predicted, both", "naive"],
        rows=[
            [
                number(p.step),
                fraction(p.all_wrong),
                fraction(p.all_correct),
                fraction(p.predicted),
                fraction(p.plug_in),
            ]
            for p in forecast.points
        ],
    )


def forecast_note(forecast: Forecast) -> str:
    """What the prediction under measured unanimous groups is made of, and how near it came."""
    note = (
        "Every stretch is predicted from earlier generations only: a Beta(a, b) of solve rates is "
        "fitted to the counts of the latest groups before it (stretches back to at least 512 "
        "groups), and P(unanimous) = [B(a+G, b) + B(a, b+G)] / B(a, b). The naive line puts the "
        "mean solve rate of the same groups into p^G + (1−p)^G, as if all prompts were alike."
    )
    if forecast.predicted is None:
        return note
    return (
        f"{note} Over the predicted stretches: measured {fraction(forecast.measured)}, predicted "
        f"{fraction(forecast.predicted)}, naive {fraction(forecast.plug_in)}."
    )


def _outcomes(heat: HeatMap | None, summary: RunSummary, theme: Theme) -> Panel:
    group_size = 0 if heat is None else len(heat.labels) - 1
    note = ""
    if heat is not None and heat.left_out_frac > 0:
        note = (
            f"Groups of {count(group_size)} only; {fraction(heat.left_out_frac)} of the groups "
            "have another size and are left out."
        )
    return Panel(
        name="outcomes",
        title="Correct rollouts per group over time",
        reading=(
            "Each column is one stretch of the run and adds up to 100 %: the bottom row is the "
            "groups without a correct rollout, the top row those without a wrong one, everything "
            "between has both."
        ),
        note=note,
        figure=None
        if heat is None
        else figures.heat_map_figure(heat, f"correct of {group_size}", theme=theme),
        absent=not_shown(str(summary.correct_unknown)) if heat is None else "",
        label=f"Share of groups with 0 to {group_size} correct rollouts over time",
        header=["correct", "first stretch", "middle", "last stretch"],
        rows=_heat_rows(heat),
    )


def _rates(heat: HeatMap | None, summary: RunSummary, theme: Theme) -> Panel:
    return Panel(
        name="rates",
        title="Solve rate of prompts over time",
        reading=(
            "Each column shows how the prompts visited in that stretch are spread over solve "
            "rates: their groups hold right and wrong rollouts in the middle rows, and hardly ever "
            "in the bottom and top ones."
        ),
        note=(
            "A prompt's solve rate pools all its rollouts within the stretch; with few of them, "
            "0 % and 100 % are partly chance."
        ),
        figure=None
        if heat is None
        else figures.heat_map_figure(heat, "solve rate of the prompt", theme=theme),
        absent=not_shown(str(summary.correct_unknown)) if heat is None else "",
        label="Share of prompts by solve rate over time",
        header=["solve rate", "first stretch", "middle", "last stretch"],
        rows=_heat_rows(heat),
    )


def _heat_rows(heat: HeatMap | None) -> list[list[str]]:
    if heat is None or not heat.steps:
        return []
    last = len(heat.steps) - 1
    return [
        [label, *(fraction(shares[t]) for t in (0, last // 2, last))]
        for label, shares in zip(heat.labels, heat.shares, strict=True)
    ][:_TABLE_ROWS]


def _mass(mass: DifficultyMass | None, summary: RunSummary, theme: Theme) -> Panel:
    note = (
        "Σ n·|W| over groups with n trained rollouts: W = σ under GRPO, σ² under Dr. GRPO, and the "
        "recorded covariance of advantage and correctness under the estimator in use. A prompt's "
        "difficulty is its solve rate in its other groups of the whole run, leaving the group at "
        "hand out. |W| is the weight a rule gives, not the length of the update."
    )
    if mass is not None:
        note += f" Difficulty rests on {number(mass.other_rollouts)} other rollouts on average"
        note += (
            f"; {fraction(mass.left_out_frac)} of the groups have none and are left out."
            if mass.left_out_frac > 0
            else "."
        )
        if mass.is_graded:
            note += (
                " The estimator in use is not shown: rewards differ among wrong (or correct) "
                "rollouts, and its recorded covariance is with correctness, not with rewards."
            )
        elif mass.used is None:
            note += " The advantages in use were not recorded, so only the two rules are shown."
    why = summary.correct_unknown
    absent = not_shown(why) if why else "Not shown: no prompt has been visited twice yet."
    bins = 0 if mass is None else len(mass.rollouts)
    columns = [] if mass is None else [mass.rollouts, mass.used, mass.grpo, mass.dr_grpo]
    return Panel(
        name="mass",
        title="Weight in the gradient, by difficulty",
        reading=(
            "Where a line is above the bars, those prompts weigh more in the gradient than they "
            "cost in rollouts; GRPO puts more on the two ends than Dr. GRPO does."
        ),
        note=note,
        figure=None if mass is None else figures.mass_figure(mass, theme=theme),
        absent=absent if mass is None else "",
        label="Share of gradient weight by bins of prompt solve rate, under three rules",
        header=["solve rate", "rollouts", "in use", "GRPO", "Dr. GRPO"],
        rows=[
            [
                f"{100 * i // bins}–{100 * (i + 1) // bins} %",
                *(fraction(None if column is None else column[i]) for column in columns),
            ]
            for i in range(bins)
        ],
    )
