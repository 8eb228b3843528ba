"""What a competition measures, by hand where the record leaves no chance."""

from __future__ import annotations

import numpy as np
import pytest

from dissensus.core import allocation
from dissensus.core.difficulty import neutral_model
from dissensus.errors import InputError
from dissensus.lab.replay.entries import everyone, read_entries
from dissensus.lab.replay.oracle import Oracle
from dissensus.lab.replay.play import play, score
from dissensus.lab.replay.record import Record
from dissensus.lab.replay.run import ReplaySettings, replay
from dissensus.lab.replay.world import Scene, World
from dissensus.views.replay import CEILINGS


def world_of(correct, size=8, seed=0):
    return World(
        Scene(Record.from_visits(np.arange(len(correct)), correct, size), neutral_model(), seed)
    )


def scored(name, correct, *, size=8, budget=64, **parameters):
    world = world_of(correct, size)
    allocator = allocation.get(name, len(correct), **{"batch": 4, "group_size": 8} | parameters)
    history = play(allocator, world, budget, np.random.default_rng(0))
    return score(history, world, budget, "grpo")[0]


def test_uniform_on_half_solved_prompts():
    found = scored("uniform", [4] * 8)
    # Each group of 8 is the whole record: σ = ½, one per 8 rollouts.
    assert found.contrast_per_1000_rollouts == pytest.approx(1000 * 0.5 / 8)
    assert found.rollout_weighted_contrast == pytest.approx(0.5)
    assert (found.split_groups, found.unanimous_rollout_frac) == (8, 0)
    assert (found.coverage, found.trained_frac, found.most_often) == (1, 1, 1)
    assert (found.beyond_recorded_frac, found.unused_frac) == (0, 0)


def test_causes_of_unanimity_count_rollouts():
    found = scored("uniform", [0, 0, 0, 0, 0, 8, 4, 4])
    assert found.all_wrong_rollout_frac == 5 / 8
    assert found.all_correct_rollout_frac == 1 / 8
    assert found.unanimous_rollout_frac == 6 / 8
    assert found.split_groups == 2


def test_what_a_refill_throws_away_counts_as_generated():
    found = scored("dapo", [0, 0, 0, 0, 4, 4, 4, 4])
    assert found.unanimous_rollout_frac == 0.5
    assert found.trained_frac == 0.5
    assert found.contrast_per_1000_rollouts == pytest.approx(4 * 0.5 / 64 * 1000)


def test_a_down_sampled_group_has_the_contrast_of_what_is_kept():
    found = scored("pods", [2] * 8, keep=4)
    assert found.contrast_per_1000_rollouts == pytest.approx(1000 * 0.5 / 8)  # 2 of the 4 kept
    assert (found.trained_frac, found.group_size) == (0.5, 4)


def test_stored_groups_count_once():
    found = scored("dots", [16] * 16, size=32, budget=128)
    assert found.trained_frac > 1
    assert found.split_groups <= 128 / 8


def test_a_budget_that_cannot_be_spent_is_said():
    assert scored("uniform", [4] * 8, budget=63).unused_frac == pytest.approx(7 / 63)
    assert scored("open_instruct", [8] * 8, budget=256).unused_frac == 1 - 64 / 256


def test_beyond_the_record_rollouts_are_marked():
    assert scored("uniform", [4] * 8, budget=256).beyond_recorded_frac == 0.75


@pytest.fixture(scope="module")
def mixed():
    k = np.random.default_rng(0).binomial(16, np.tile([0.01, 0.1, 0.5, 0.9, 0.99], 60))
    return Record.from_visits(np.arange(len(k)), k, 16)


def test_all_draw_from_the_same_worlds_at_the_same_budget(mixed):
    entries = read_entries("uniform,uniform(batch=32),dapo,contrast")
    made = replay(mixed, entries, ReplaySettings(budget=2048, seeds=3, batch=32), source="test")
    by_name = {each.name: each for each in made.competitors}
    # The same rule written otherwise: every difference is 0 in every seed.
    same = by_name["uniform(batch=32)"].differences
    assert all(tuple(found) == (0, 0, 0) for found in same.values())
    assert all(each.mean("unused_frac") < 8 / 2048 for each in made.competitors)
    for each in made.competitors:
        assert sum(each.by_difficulty) == pytest.approx(1)
        assert each.mean("unanimous_rollout_frac") == pytest.approx(
            each.mean("all_wrong_rollout_frac") + each.mean("all_correct_rollout_frac")
        )
    free, fixed = (by_name[name] for name in CEILINGS)
    assert free.mean("of_oracle") == fixed.mean("of_same_size_oracle") == 1
    assert fixed.mean("group_size") == 8
    assert free.mean("contrast_per_1000_rollouts") > by_name["contrast"].mean(
        "contrast_per_1000_rollouts"
    )
    assert by_name["uniform"].mean("of_same_size_oracle") < 1
    assert by_name["dapo"].differences["trained_frac"].high < 0


def test_the_oracle_keeps_to_the_bound_of_a_prompt():
    record = Record.from_visits(np.arange(100), np.tile([8, 0], 50), 16)
    world = World(Scene(record, neutral_model(), 0))
    oracle = Oracle(world, batch=4, group_size=8, least=8, most=8, most_often=2.0)
    found, _ = score(play(oracle, world, 3200, np.random.default_rng(0)), world, 3200, "grpo")
    assert found.most_often <= 2.0 + 8 * 100 / 3200  # one group more than the bound
    # Half of the prompts are dead and explored only: the rest of the rollouts split.
    assert found.unanimous_rollout_frac < 0.15


def test_bounds_of_its_own_have_a_ceiling_of_its_own(mixed):
    same = "contrast(least=8, most=8)"
    settings = ReplaySettings(budget=2048, seeds=2, batch=32)
    made = replay(mixed, read_entries(f"{same},contrast(estimator='grpo')"), settings, source="")
    by_name = {each.name: each for each in made.competitors}
    assert set(by_name) == {*CEILINGS, same, "contrast(estimator='grpo')"}
    assert by_name[same].mean("of_oracle") == by_name[same].mean("of_same_size_oracle")


def test_the_rule_that_is_counted_is_the_one_that_is_optimised(mixed):
    settings = ReplaySettings(budget=1024, seeds=2, batch=16, estimator="dr_grpo")
    entries = read_entries("contrast,contrast(estimator='dr_grpo')")
    made = replay(mixed, entries, settings, source="")
    assert made.competitors[-1].differences["contrast_per_1000_rollouts"] == (0, 0, 0)


def test_prompts_are_drawn_for_every_seed(mixed):
    settings = ReplaySettings(budget=64, seeds=2, prompts=10, batch=4)
    made = replay(mixed, read_entries("uniform"), settings, source="test")
    assert (made.prompts, made.recorded_prompts) == (10, 300)
    uniform = next(each for each in made.competitors if each.name == "uniform")
    assert uniform.mean("coverage") == 0.8


def test_every_strategy_that_counts_are_enough_for_takes_part(mixed):
    entries, left_out = everyone()
    assert entries[0].name == "uniform"
    assert {*left_out, *(entry.name for entry in entries)} == set(allocation.names())
    settings = ReplaySettings(budget=600, seeds=2, prompts=40, batch=8)
    made = replay(mixed, entries, settings, source="test", left_out=left_out)
    assert all(np.isfinite(each.mean("of_oracle")) for each in made.competitors)


@pytest.mark.parametrize(
    "text", ["", "uniform,", "3", "uniform(8)", "unifrom", "uniform(x=1)", "gfpo", "uniform(**{})",
             "uniform,uniform", "uniform(batch=__import__('os'))", "contrast(least=4"],
)  # fmt: skip
def test_allocators_that_cannot_be_read(text):
    with pytest.raises(InputError):
        read_entries(text)


@pytest.mark.parametrize(
    "wrong", [{"budget": 0}, {"seeds": 1}, {"group_size": 1}, {"batch": 0}, {"prompts": 0}]
)
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(InputError):
        ReplaySettings(**{"budget": 100} | wrong)
