"""Predictions from earlier generations, gradient weight by difficulty, distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from dissensus import Recorder, Run
from dissensus.core import laws
from dissensus.views.distributions import (
    heldout_curve,
    outcomes_over_time,
    solve_rates_over_time,
)
from dissensus.views.forecast import forecast_unanimous
from dissensus.views.mass import mass_by_difficulty
from dissensus.views.panels import run_panels
from dissensus.views.snapshot import Snapshot
from dissensus.views.summary import summarise_run

from .synthetic import record_run
from .test_summary import record


def group(prompt, step, k, size=4):
    return (prompt, step, [1.0] * k + [0.0] * (size - k))


def test_a_prediction_uses_earlier_generations_only(tmp_path):
    early = [group(f"p{i}", step, k) for step in range(3) for i, k in enumerate([0, 1, 2, 4, 4])]
    ends = ([0, 0, 0, 0, 0], [2, 2, 1, 1, 3])
    found = [
        forecast_unanimous(
            Snapshot(
                record(tmp_path / str(j), early + [group(f"p{i}", 3, k) for i, k in enumerate(end)])
            )
        )
        for j, end in enumerate(ends)
    ]
    last = [each.points[-1] for each in found]
    assert last[0].unanimous == 1.0
    assert last[1].unanimous == 0.0
    assert last[0].predicted == pytest.approx(last[1].predicted, rel=1e-9)
    assert found[0].next_unanimous > found[1].next_unanimous


def test_the_prediction_is_the_beta_binomial_of_the_fit(tmp_path):
    counts = [0, 1, 2, 4, 4]
    groups = [group(f"p{i}", step, k) for step in range(2) for i, k in enumerate(counts)]
    point = forecast_unanimous(Snapshot(record(tmp_path, groups))).points[1]
    a, b = laws.fit_beta(counts, 4)
    law = stats.betabinom(4, a, b)  # scipy's own, not ours
    assert point.predicted_all_wrong == pytest.approx(law.pmf(0), rel=1e-6)
    assert point.predicted_all_correct == pytest.approx(law.pmf(4), rel=1e-6)
    mean = sum(counts) / 20
    assert point.plug_in == pytest.approx(mean**4 + (1 - mean) ** 4)


def test_the_first_stretch_has_no_prediction(tmp_path):
    points = forecast_unanimous(Snapshot(record(tmp_path))).points
    assert points[0].predicted is None
    assert points[1].predicted is not None


def test_groups_of_one_give_no_prediction(tmp_path):
    groups = [("a", step, [float(step % 2)]) for step in range(4)]
    assert forecast_unanimous(Snapshot(record(tmp_path, groups))).predicted is None


def test_prediction_and_measurement_agree_where_prompts_differ(tmp_path):
    run = record_run(tmp_path, generations=24, drift=1.0, texts=None)
    found = forecast_unanimous(Snapshot(run))
    assert found.predicted == pytest.approx(found.measured, abs=0.03)
    assert found.plug_in < found.measured / 2


def test_mass_by_hand(tmp_path):
    # p: 1 of 4 and 3 of 4, so its groups have difficulty .75 and .25 from each other.
    # q: 0 of 4 and 2 of 4, difficulties .5 (silent) and 0. s was visited once: left out.
    # Bins of .2, because a difficulty rests on 4 rollouts.
    groups = [group("p", 0, 1), group("p", 1, 3), group("q", 0, 0), group("q", 1, 2)]
    found = mass_by_difficulty(Snapshot(record(tmp_path, [*groups, group("s", 0, 2)])))
    grpo = {3: math.sqrt(3) / 4, 1: math.sqrt(3) / 4, 0: 0.5}
    dr_grpo = {3: 3 / 16, 1: 3 / 16, 0: 1 / 4}
    for shares, weights in ((found.grpo, grpo), (found.used, grpo), (found.dr_grpo, dr_grpo)):
        total = sum(weights.values())
        assert shares == pytest.approx([weights.get(i, 0.0) / total for i in range(5)])
    assert found.rollouts == pytest.approx([0.25, 0.25, 0.25, 0.25, 0])
    assert found.left_out_frac == pytest.approx(1 / 5)
    assert found.other_rollouts == 4


def test_mass_has_narrow_bins_where_difficulty_is_well_known(tmp_path):
    # Other rollouts: 60; difficulties .55 and .25.
    groups = [group("p", 0, 15, size=60), group("p", 1, 33, size=60)]
    found = mass_by_difficulty(Snapshot(record(tmp_path, groups)))
    assert np.flatnonzero(found.rollouts).tolist() == [2, 5]
    assert len(found.grpo) == 10


def test_mass_needs_advantages_only_for_the_rule_in_use(tmp_path):
    groups = [group("p", 0, 1), group("p", 1, 3)]
    found = mass_by_difficulty(Snapshot(record(tmp_path, groups, advantages=False)))
    assert found.used is None
    assert sum(found.grpo) == pytest.approx(1.0)


def test_mass_is_absent_where_no_prompt_came_back(tmp_path):
    assert mass_by_difficulty(Snapshot(record(tmp_path, [group("p", 0, 1)]))) is None


def test_solved_prompts_are_in_the_last_bin(tmp_path):
    found = mass_by_difficulty(Snapshot(record(tmp_path, [group("p", 0, 4), group("p", 1, 3)])))
    assert found.grpo == [0.0, 0.0, 0.0, 0.0, 1.0]


def test_outcomes_over_time(tmp_path):
    groups = [group("p", 0, 0), group("q", 0, 4), group("r", 1, 2), group("r", 2, 1, size=2)]
    heat = outcomes_over_time(Snapshot(record(tmp_path, groups)))
    assert heat.labels == ["0", "1", "2", "3", "4"]
    assert np.array(heat.shares).T.tolist() == [[0.5, 0, 0, 0, 0.5], [0, 0, 1, 0, 0]]
    assert heat.left_out_frac == 0.25


def test_solve_rates_over_time_pool_the_rollouts_of_a_prompt(tmp_path):
    groups = [group("p", 0, 0), group("q", 0, 1), group("q", 0, 3), group("r", 0, 4)]
    heat = solve_rates_over_time(Snapshot(record(tmp_path, groups)))
    columns = np.array(heat.shares).T
    named = [{heat.labels[i] for i in np.flatnonzero(column)} for column in columns]
    assert set().union(*named) <= {"0 %", "20–40 %", "40–60 %", "60–80 %", "100 %"}
    assert columns.sum(axis=1) == pytest.approx(1.0)


def test_outcomes_stand_at_the_middle_of_their_stretch(tmp_path):
    # 80 steps in 40 columns of two; one outcome is met at odd steps only.
    groups = [group(f"p{i}", step, 1) for step in range(80) for i in range(2)]
    groups += [group("q", step, 2) for step in range(1, 80, 2)]
    heat = outcomes_over_time(Snapshot(record(tmp_path, groups)))
    assert heat.steps == [2 * i + 0.5 for i in range(40)]


def test_the_generations_of_a_step_are_one_column(tmp_path):
    # Ten generations in two steps, which ntile over generations would make ten columns of.
    with Recorder(tmp_path) as recorder:
        for i in range(10):
            recorder.record(
                step=i // 5, round=i % 5, group_ids=[i, i], prompt_ids=[i, i], rewards=[1.0, i % 2]
            )
    source = Snapshot(Run(tmp_path))
    heat = outcomes_over_time(source)
    assert heat.steps == [0.0, 1.0]
    assert heat.counted == [5, 5]
    assert heat.shares[1] == pytest.approx([0.6, 0.4])
    assert heat.shares[2] == pytest.approx([0.4, 0.6])
    assert solve_rates_over_time(source).steps == [0.0, 1.0]


def test_all_wrong_is_not_called_unanimous_where_rewards_are_graded(tmp_path):
    # Correct from .5: one group is unanimous, of the others one is all wrong and one all correct.
    rewards = {"a": [0.0, 0.2], "b": [1.0, 1.2], "c": [0.0, 1.0], "d": [0.0, 0.0]}
    groups = [(prompt, step, values) for step in range(3) for prompt, values in rewards.items()]
    source = Snapshot(record(tmp_path, groups, correct=0.5))
    summary = summarise_run(source)
    assert summary.train.unanimous == 0.25
    assert summary.train.all_wrong == 0.25
    assert summary.train.solve_rate == 3 / 8
    assert forecast_unanimous(source) is None
    mass = mass_by_difficulty(source)
    assert mass.is_graded
    assert mass.used is None
    # Of each two bins of 20 %: a and d are never solved, c half the time, b always; σ is half the
    # difference of the two rewards.
    assert mass.grpo == pytest.approx([0.1 / 0.7, 0, 0.5 / 0.7, 0, 0.1 / 0.7])
    notes = {panel.name: panel.note for panel in run_panels(source, summary)}
    assert "rewards differ among wrong (or correct) rollouts" in notes["unanimous"]
    assert "rewards differ among wrong (or correct) rollouts" in notes["mass"]


def test_heldout_curve_by_hand(tmp_path):
    heldout = [("h", 3, [1.0, 0.0]), ("i", 3, [1.0, 1.0]), ("unscored", 3, [math.nan])]
    (point,) = heldout_curve(Snapshot(record(tmp_path, heldout=heldout)))
    assert point.solve_rate == 0.75
    # Rates .5 and 1: sample deviation √.125, over √2.
    assert point.standard_error == pytest.approx(0.25)
    assert point.step == 3
    assert (point.prompts, point.rollouts) == (3, 5)


def test_unknown_correctness_gives_none(tmp_path):
    groups = [("a", step, [0.1, 0.9, 0.4]) for step in range(4)]
    source = Snapshot(record(tmp_path, groups))
    assert forecast_unanimous(source) is None
    assert mass_by_difficulty(source) is None
    assert outcomes_over_time(source) is None
    assert solve_rates_over_time(source) is None
