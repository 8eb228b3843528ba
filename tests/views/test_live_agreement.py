"""Every number of every view is the report's, or one that is computed here from the groups.

Runs are as messy as they come, in every state that their files can be in, and while they grow.
"""

from __future__ import annotations

import functools
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dissensus import Run
from dissensus.runs import compact
from dissensus.views.correctness import why_unknown
from dissensus.views.distributions import heldout_curve, outcomes_over_time
from dissensus.views.forecast import forecast_unanimous
from dissensus.views.live_views import VIEWS, LiveSource
from dissensus.views.mass import mass_by_difficulty
from dissensus.views.snapshot import Snapshot
from dissensus.views.summary import summarise_run

from .messy import KINDS, forget_prompts, record_messy
from .synthetic import record_run

STATES = ("segments", "parts", "half in parts", "parts without roll-ups")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Folder of a run of some kind, recorded once."""

    @functools.cache
    def record(kind):
        path = tmp_path_factory.mktemp("runs") / "whole"
        if kind == "synthetic":
            record_run(path, generations=12, n_prompts=40)
        else:
            record_messy(path, kind)
            forget_prompts(path)
        return path

    return record


@pytest.fixture(
    params=[*((kind, "half in parts") for kind in ("synthetic", *KINDS)),
            *(("two-valued", state) for state in STATES if state != "half in parts")]
)  # fmt: skip
def run(request, recorded, tmp_path):
    """A run of every kind, and one of them in every state that its files can be in."""
    kind, state = request.param
    path = tmp_path / "run"
    shutil.copytree(recorded(kind), path)
    if state == "half in parts":
        late = [p for p in path.glob("groups/**/generation-*.parquet") if int(p.stem[-9:]) > 9]
        for each in late:
            each.rename(path / each.name)
        compact(path, generations_per_part=3, grace_s=0)
        for each in late:
            (path / each.name).rename(each)
    elif state != "segments":
        compact(path, generations_per_part=5, grace_s=0)
    if state == "parts without roll-ups":
        shutil.rmtree(path / "rollups")
    return Run(path)


def test_every_number_is_that_of_the_report(run):
    check(LiveSource(run), run)


@pytest.mark.slow  # half a minute
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_stay_right_while_the_run_grows(tmp_path, kind):
    sources = []

    def look(step):
        if not sources:
            sources.append(LiveSource(Run(tmp_path)))
        if step % 4 == 3:
            compact(tmp_path, generations_per_part=3, grace_s=0)
        if step in (4, 8, 110):
            sources[0].refresh()
            check(sources[0], Run(tmp_path))

    record_messy(tmp_path, kind, look)
    sources[0].refresh()
    check(sources[0], Run(tmp_path))


def check(source, run):
    """Compare the numbers of every view over a run with those of the report, and of its groups."""
    snapshot = Snapshot(run)
    groups = run.groups().to_pandas()
    training = groups[groups["split"] == "train"]

    def csv(name, **given):
        return VIEWS[name].make(source, "light", **given).csv.to_pandas()

    _check_curves(source, snapshot, training, csv)
    _check_causes(source, snapshot, csv)
    _check_disagreement(training, csv("group_std", stretches=5))
    _check_prompts(source, training, csv)
    for prompt in ("p1", "7"):
        mine, own = csv("history", prompt_id=prompt), groups[groups["prompt_id"] == prompt]
        assert mine.get("group_id", pd.Series()).tolist() == own["group_id"].tolist()
        for name in ("generation", "correct", "std", "contrast"):
            equal(mine.get(name, pd.Series(dtype=float)), own[name])
    step = int(groups["step"].iloc[-1])
    mine, own = csv("step", step=step), groups[groups["step"] == step]
    assert len(mine) == len(own)
    equal(mine["std"].fillna(-1).sort_values(), own["std"].fillna(-1).sort_values())


def _check_curves(source, snapshot, training, csv):
    summary = summarise_run(snapshot)
    reward = csv("reward")
    curve = reward[reward["split"] == "train"].set_index("step")
    steps = measures_by_step(training)
    assert curve.index.tolist() == list(steps)
    for name in ("reward_mean", "solve_rate"):
        equal(curve[name], [getattr(each, name) for each in steps.values()])
    own = heldout_curve(snapshot)
    heldout = reward[reward["split"] != "train"]
    assert heldout[["split", "step"]].to_numpy().tolist() == [[p.split, p.step] for p in own]
    for name in ("reward_mean", "solve_rate", "standard_error"):
        equal(heldout[name], [getattr(p, name) for p in own])
    for name in ("effective_rollout_frac", "contrast_per_1000_rollouts", "silent"):
        expected = [getattr(each, name) for each in steps.values()]
        made = csv("effective", measure=name)
        equal(made[name] if name in made else [None] * len(expected), expected)
    spent = csv("rollouts")
    equal(spent["generated"], [each.rollouts for each in steps.values()])
    equal(spent["trained"], [each.trained_rollouts for each in steps.values()])
    assert spent["generated"].sum() == summary.train.rollouts
    fracs = [each.effective_rollout_frac for each in steps.values()]
    if None not in fracs:
        equal(
            spent["wasted"], [m.rollouts * (1 - m.effective_rollout_frac) for m in steps.values()]
        )
    figure = VIEWS["reward"].make(source, "light").figure
    thick = next(t for t in figure["data"] if t["name"].startswith("training reward"))
    equal(thick["x"], [p.step for p in summary.timeline])
    equal(thick["y"], [p.measures.reward_mean for p in summary.timeline])
    named = ("reward_mean", "std_mean", "unanimous", "silent", "length_mean", "solve_rate")
    for name in named:
        made = VIEWS["compare"].make([("a", source)], "light", x="rollouts", measure=name).csv
        known = [s for s, m in steps.items() if getattr(m, name) is not None]
        assert made.to_pandas().get("step", pd.Series()).tolist() == known
        equal(made.to_pandas().get(name, []), [getattr(steps[s], name) for s in known])


def measures_by_step(training):
    """The measures of every training step, from its groups, as docs/report.md defines them."""
    return {step: _measures(g) for step, g in training.groupby("step")}


def _measures(g):
    scored = g[g["size"] > 0]
    trained = g["trained"].fillna(g["rollouts"])
    heard, is_known = g["silent"].notna(), bool(len(scored)) and scored["correct"].notna().all()
    has_silent = heard.any() and not (trained > 0)[~heard].any()
    has_contrast = heard.any() and not (trained[scored.index] > 0)[scored["contrast"].isna()].any()
    has_contrast &= is_known or scored["correct"].isna().all()
    with_length = g[g["length_mean"].notna()]
    return SimpleNamespace(
        rollouts=g["rollouts"].sum(),
        trained_rollouts=trained.sum(),
        reward_mean=_over((scored["mean"] * scored["size"]).sum(), scored["size"].sum()),
        solve_rate=scored["correct"].sum() / scored["size"].sum() if is_known else None,
        std_mean=_over(scored["std"].sum(), len(scored)),
        unanimous=_over(scored["unanimous"].sum(), len(scored)),
        silent=_over((g["silent"] == True).sum(), heard.sum()),  # noqa: E712 — it may be null
        length_mean=_over(
            (with_length["length_mean"] * with_length["rollouts"]).sum(),
            with_length["rollouts"].sum(),
        ),
        effective_rollout_frac=(
            trained[g["silent"] == False].sum() / g["rollouts"].sum()  # noqa: E712
            if has_silent
            else None
        ),
        contrast_per_1000_rollouts=(
            1000 * g["contrast"][trained > 0].sum() / g["rollouts"].sum() if has_contrast else None
        ),
    )


def _over(part, whole):
    return part / whole if whole else None


def _check_causes(source, snapshot, csv):
    own, mine = forecast_unanimous(snapshot, buckets=7), csv("unanimous", stretches=7)
    if own is None:
        equal(mine["unanimous"], [p.measures.unanimous for p in summarise_run(snapshot).timeline])
        assert "predicted" not in mine
    else:
        assert len(own.points) == len(mine)
        for name in own.points[0]._fields:
            equal(mine[name], [getattr(p, name) for p in own.points], tolerance=1e-7)
    heat, mine = outcomes_over_time(snapshot), csv("outcomes")
    assert (heat is None) == mine.empty
    if heat is not None:
        equal(mine["step"], heat.steps)
        equal(mine["groups"], heat.counted)
        for k, shares in zip(heat.labels, heat.shares, strict=True):
            equal(mine[f"correct_{k}"], shares)
    mass, mine = mass_by_difficulty(snapshot), csv("mass", estimator="rloo")
    assert (mass is None) == mine.empty
    if mass is not None:
        for name in ("rollouts", "grpo", "dr_grpo", "used"):
            assert (getattr(mass, name) is None) == (name not in mine)
            equal(mine.get(name, []), getattr(mass, name) or [])
        assert ("rloo" in mine) != mass.is_graded
    why = why_unknown(snapshot)
    note = VIEWS["outcomes"].make(source, "light").note
    assert why is None or why in note


def _check_disagreement(training, mine):
    """Quantiles of σ over the groups of each of five stretches of steps."""
    scored = training[training["size"] > 0]
    steps = np.array(sorted(training["step"].unique()))
    stretches = np.array_split(steps, min(5, len(steps)))
    for row, some in zip(mine.to_dict("records"), stretches, strict=True):
        std = np.where(scored["unanimous"], 0.0, scored["std"])[scored["step"].isin(some)]
        assert row["groups"] == len(std)
        for q in (10, 25, 50, 75, 90):
            exact = np.quantile(std, q / 100, method="inverted_cdf")
            assert row[f"q{q}"] == pytest.approx(exact, rel=0.011)
        assert row["mean"] == pytest.approx(std.mean())


def _check_prompts(source, training, csv):
    mine = csv("prompts", sort="prompt_id", descending="no").set_index("prompt_id")
    scored = training[(training["size"] > 0) & training["prompt_id"].notna()]
    assert mine.index.tolist() == sorted(scored["prompt_id"].unique())
    known = scored["correct"].notna().all()
    drawn = csv("scatter")
    for prompt, its in scored.groupby("prompt_id"):
        row = mine.loc[prompt]
        trained = its[its["trained"] > 0]
        assert (row["visits"], row["splits"]) == (len(its), (~its["unanimous"]).sum())
        assert row["rollouts"] == its["rollouts"].sum()
        n = its["size"].sum()
        equal([row["reward_mean"]], [(its["mean"] * its["size"]).sum() / n])
        is_recorded = trained["contrast"].notna().all()
        contrast = trained["contrast"].sum() if is_recorded else None
        equal([row["contrast"]], [contrast])
        assert (row["first_step"], row["last_step"]) == (its["step"].min(), its["step"].max())
        rate = its["correct"].sum() / n if its["correct"].notna().all() else None
        equal([row["solve_rate"]], [rate])
        last = its[its["generation"] == its["generation"].max()].iloc[0]
        equal([row["last_size"], row["last_correct"]], [last["size"], last["correct"]])
        if rate is not None and len(its) > 2 and its["step"].min() < its["step"].max():
            weights = np.sqrt(its["size"])
            slope = np.polyfit(its["step"], its["correct"] / its["size"], 1, w=weights)[0]
            span = its["step"].max() - its["step"].min()
            assert row["trend"] == pytest.approx(slope * span, abs=1e-9)
        else:
            assert pd.isna(row["trend"])
        if known and is_recorded:
            (own,) = drawn[drawn["prompt_id"] == prompt].to_dict("records")
            equal([own["solve_rate"], own["contrast"]], [rate, contrast])
    assert known or drawn.empty


def equal(mine, expected, tolerance=1e-9):
    """Numbers are alike, and unknown in the same places."""
    pairs = [[_number(each) for each in values] for values in (mine, expected)]
    assert pairs[0] == pytest.approx(pairs[1], rel=tolerance, abs=1e-12, nan_ok=True)


def _number(value):
    return math.nan if value is None or pd.isna(value) else float(value)
