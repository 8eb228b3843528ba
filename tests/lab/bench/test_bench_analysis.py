"""From records to claims: what was planted is found, and what was not is a tie."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from dissensus.errors import InputError
from dissensus.lab.bench.analysis import analyse
from dissensus.lab.bench.records import Arm
from dissensus.views.bench_words import bench_sentences, goal_sentences

from .simulated import exact_record, simulated_bench, simulated_record

UNIFORM, OURS, DAPO, MOPPS = (
    Arm("grpo", each) for each in ("uniform", "contrast", "dapo", "mopps")
)
TENTHS = list(range(11))


@pytest.fixture(scope="module")
def records():
    return simulated_bench(samples=60, prompts=60)


@pytest.fixture(scope="module")
def found(records):
    return analyse(records, source="runs/serious")


def lines(*, arms, seeds=3, jitter=0.004):
    """Trainings that rise in a straight line to an end each, seeds a little apart, no noise."""
    made = []
    for arm, end in arms.items():
        for seed in range(seeds):
            rates = [[0.2 + (end - 0.2) * i / 10 + jitter * (seed - 1)] * 2 for i in TENTHS]
            made.append(exact_record(rates, generated=[10 * i for i in TENTHS], arm=arm, seed=seed))
    return made


def test_two_families_share_the_baseline(found):
    names = {family.name: [each.name for each in family.comparisons] for family in found.families}
    assert set(names) == {"allocators", "estimators"}
    assert len(names["allocators"]) == 7
    assert len(names["estimators"]) == 6
    assert {family.baseline for family in found.families} == {"grpo × uniform"}
    assert "grpo × dapo" in names["allocators"]
    assert "dapo × uniform" in names["estimators"]


def test_what_learns_faster_is_above_over_the_budget(found):
    (allocators, _) = found.families
    area = {each.name: each.area for each in allocators.comparisons}
    assert area["grpo × contrast"].low > 0
    assert area["grpo × dapo"].high < 0
    # These learn exactly as the baseline does.
    for name in ("greso", "speed_rl", "reinforce_ada", "dots"):
        assert area[f"grpo × {name}"].low < 0 < area[f"grpo × {name}"].high


def test_the_table_is_sorted_by_effect(found):
    for family in found.families:
        effects = [each.final.mean for each in family.comparisons]
        assert effects == sorted(effects, reverse=True)
        assert family.comparisons[0].letters[0] == "a"


def test_the_order_of_records_does_not_matter(records, found):
    assert analyse(records[::-1], source="runs/serious").to_json() == found.to_json()


def test_differences_are_means_over_seeds(records, found):
    def final(arm):
        ours = [r for r in records if r.arm == arm and r.purpose == "report"]
        return np.mean(
            [(r.evaluations.correct[-1] / r.evaluations.samples[-1]).mean() for r in ours]
        )

    by_name = {each.name: each for each in found.families[0].comparisons}
    assert by_name["grpo × mopps"].final.mean == pytest.approx(final(MOPPS) - final(UNIFORM))


def test_a_common_shift_of_a_seed_changes_no_difference():
    still = lines(arms={UNIFORM: 0.5, OURS: 0.6, MOPPS: 0.5}, jitter=0.0)
    moved = lines(arms={UNIFORM: 0.5, OURS: 0.6, MOPPS: 0.5}, jitter=0.05)
    for one in (still, moved):
        ours = next(c for c in analyse(one).families[0].comparisons if c.name == str(OURS))
        assert tuple(ours.final) == pytest.approx((0.1, 0.1, 0.1))
        assert ours.verdict == "above"


def test_arms_that_are_equal_are_ties():
    made = analyse(lines(arms={UNIFORM: 0.5, DAPO: 0.5, MOPPS: 0.5}))
    assert [each.verdict for each in made.families[0].comparisons] == ["tie", "tie"]
    assert made.families[0].baseline_letters == "a"
    assert {each.letters for each in made.families[0].comparisons} == {"a"}


def test_no_claim_at_a_single_seed():
    made = analyse(lines(arms={UNIFORM: 0.3, DAPO: 0.5, OURS: 0.9}, seeds=1))
    assert [each.verdict for each in made.families[0].comparisons] == ["tie", "tie"]
    assert math.isnan(made.families[0].comparisons[0].final.low)
    said = " ".join(bench_sentences(made))
    assert "one seed has no spread" in said
    assert "above" not in said
    assert {each.verdict for each in made.goals} == {"open"}
    goals = goal_sentences(made)
    assert len(goals) == 3
    assert all(each.endswith("not settled by these seeds.") for each in goals)
    assert "0.00" not in said


# ---- rollouts to a target --------------------------------------------------------------------


def test_a_line_crosses_where_it_does():
    # Uniform ends at .4, .2 above the start; ours rises twice, mopps half as fast.
    made = analyse(lines(arms={UNIFORM: 0.4, OURS: 0.6, MOPPS: 0.3}))
    (race,) = made.races
    assert race.target == pytest.approx(0.4)
    assert race.share == pytest.approx(1.0)
    ours, mopps = race.of(str(OURS)), race.of(str(MOPPS))
    assert ours.ratio == pytest.approx(0.5)
    assert ours.interval[0] <= 0.5 <= ours.interval[1] <= 0.52
    assert ours.reached == 3
    assert (mopps.share, mopps.ratio, mopps.interval) == (None, None, (None, None))
    assert any("does not reach" in each and "mopps" in each for each in bench_sentences(made))


def test_goals_are_half_of_uniform_and_a_third_of_dapo():
    made = analyse(lines(arms={UNIFORM: 0.4, DAPO: 0.5, OURS: 0.8, MOPPS: 0.4}))
    goals = {each.reference: each for each in made.goals}
    assert {name: each.ratio for name, each in goals.items()} == {
        str(UNIFORM): 1 / 2, str(DAPO): 1 / 3,
    }  # fmt: skip
    # .2 of .6 of the budget to uniform's end: a third; .3 of .6 to that of dapo: half.
    assert goals[str(UNIFORM)].crossing.ratio == pytest.approx(1 / 3)
    assert goals[str(DAPO)].crossing.ratio == pytest.approx(1 / 2)
    assert goals[str(UNIFORM)].verdict == "met"
    assert goals[str(DAPO)].verdict == "missed"
    said = goal_sentences(made)
    assert "at most half" in said[0]
    assert said[0].endswith("; met.")
    assert "at most a third" in said[1]
    assert said[1].endswith("; not met.")
    assert said[2].endswith("All are shown to be behind on both: met.")


def test_a_published_strategy_that_beats_ours_is_said_to():
    made = analyse(lines(arms={UNIFORM: 0.4, DAPO: 0.4, OURS: 0.5, MOPPS: 0.8}))
    assert goal_sentences(made)[-1].endswith("Shown to: mopps: not met.")


def test_goals_have_narrower_intervals_than_a_family_of_arms(found):
    for goal in found.goals:
        race = next(r for r in found.races if r.reference == goal.reference)
        low, high = race.of(goal.crossing.name).interval
        assert goal.crossing.interval[0] >= low
        assert high is None or (goal.crossing.interval[1] or 9) <= high


def test_a_baseline_that_stood_still_does_not_make_ours_look_fast():
    # Uniform is at its end after half the budget; ours gets there after a quarter: the ratio is ½.
    flat = [min(0.2 + 0.04 * i, 0.4) for i in TENTHS]
    steep = [min(0.2 + 0.08 * i, 0.6) for i in TENTHS]
    made = []
    for arm, curve in ((UNIFORM, flat), (OURS, steep)):
        for seed in range(3):
            rates = [[each + 0.004 * seed] * 2 for each in curve]
            made.append(exact_record(rates, generated=[10 * i for i in TENTHS], arm=arm, seed=seed))
    found = analyse(made)
    (race,) = found.races
    assert race.share == pytest.approx(0.5)
    assert race.of(str(OURS)).share == pytest.approx(0.25)
    assert race.of(str(OURS)).ratio == pytest.approx(0.5)
    assert any("is at its own final rate after 50 %" in each for each in bench_sentences(found))


# ---- what is there ---------------------------------------------------------------------------


def test_unfinished_arms_are_named_and_left_out(records):
    some = [r for r in records if not (r.arm == MOPPS and r.purpose == "report" and r.seed > 2)]
    made = analyse(some)
    assert str(MOPPS) not in {each.name for each in made.arms}
    assert f"{MOPPS} is left out: 3 of 5 seeds are finished." in made.warnings


def test_an_arm_that_was_only_tuned_is_named(records):
    tuned = [replace(r, arm=Arm("grpo", "pods")) for r in records if r.purpose == "tune"]
    made = analyse([*records, tuned[0]])
    assert "grpo × pods is left out: 0 of 5 seeds are finished." in made.warnings


def test_a_seed_under_way_costs_no_arm():
    made = lines(arms={UNIFORM: 0.4, OURS: 0.6, MOPPS: 0.3})
    found = analyse([r for r in made if r.seed < 2 or r.arm != MOPPS])
    assert found.seeds == [0, 1]
    assert str(MOPPS) in {each.name for each in found.arms}
    assert "Seed 2 is not finished in every arm, and left out." in found.warnings


def test_without_the_baseline_there_is_nothing_to_compare(records):
    with pytest.raises(InputError, match="no reported training of grpo × uniform"):
        analyse([each for each in records if each.arm != UNIFORM])
    with pytest.raises(InputError, match="no reported training"):
        analyse([])


@pytest.mark.parametrize("change", [{"plan": "other"}, {"budget": 77}])
def test_plans_are_not_mixed(records, change):
    with pytest.raises(InputError, match="cannot be compared"):
        analyse([*records, replace(records[0], **change)])


def test_other_held_out_prompts_are_refused(records):
    with pytest.raises(InputError, match="held-out prompts"):
        analyse([*records, simulated_record(MOPPS, 9, prompts=7)])


def test_settings_that_differ_are_named(records):
    first = next(i for i, each in enumerate(records) if each.purpose == "report")
    other = replace(records[first], settings={"prompts": 99})
    made = analyse([*records[:first], other, *records[first + 1 :]])
    assert "Trainings differ in their settings: prompts." in made.warnings


def test_the_grid_and_the_choice_are_told():
    tuned = [
        simulated_record(UNIFORM, seed, purpose="tune", learning_rate=rate, gain=gain, spread=0.0)
        for rate, gain in ((1e-4, 0.1), (2e-4, 0.3), (4e-4, 0.2))
        for seed in (1000, 1001)
    ]
    reported = [
        simulated_record(arm, seed, learning_rate=2e-4)
        for arm in (UNIFORM, MOPPS)
        for seed in (0, 1)
    ]
    made = analyse([*tuned, *reported])
    own = {each.name: each for each in made.tuning}
    assert made.tuning_seeds == [1000, 1001]
    assert own[str(UNIFORM)].best == own[str(UNIFORM)].chosen == 2e-4
    assert [each[2] for each in own[str(UNIFORM)].grid] == [2, 2, 2]
    assert not own[str(UNIFORM)].is_at_edge
    assert own[str(MOPPS)].grid == []
    edge = [replace(each, learning_rate=4e-4) for each in reported]
    said = analyse([*tuned, *edge]).warnings
    assert any("edge of its grid" in each for each in said)
    assert any("Not reported at the rate that was best" in each for each in said)


def test_rollouts_by_cause_are_of_all_generated(records, found):
    ours = [r for r in records if r.arm == OURS and r.purpose == "report"]
    wrong = np.mean([r.steps.all_wrong.sum() / r.steps.generated.sum() for r in ours])
    assert found.arm(str(OURS)).all_wrong == pytest.approx(wrong)


def test_the_document_is_json_with_the_keys_of_the_docs(found):
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert set(document) >= {"budget", "baseline", "seeds", "arms", "families", "races", "goals",
                             "rivals", "tuning", "warnings", "settings"}  # fmt: skip
    row = document["families"]["allocators"]["differences"]["grpo × contrast"]
    assert row["final_ci95"][0] <= row["final"] <= row["final_ci95"][1]
    assert row["bootstrap_ci95"][0] <= row["final"] <= row["bootstrap_ci95"][1]


def test_a_combination_is_a_family_of_its_own(records):
    both = Arm("maxrl", "contrast")
    made = analyse([*records, *(simulated_record(both, seed, prompts=60) for seed in range(5))])
    last = made.families[-1]
    assert (last.name, [each.name for each in last.comparisons]) == ("combinations", [str(both)])
    assert str(both) not in {each.crossing.name for each in made.goals}
