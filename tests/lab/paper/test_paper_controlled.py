"""The controlled run, small and whole."""

from __future__ import annotations

import numpy as np
import pytest

from dissensus import laws
from dissensus.lab.paper import sections
from dissensus.lab.paper.controlled import (
    ControlledSettings,
    hardest_quartile,
    initial_rates,
    run_seed,
    summarise_seeds,
)
from dissensus.lab.paper.intervals import over_seeds

SMALL = ControlledSettings(prompts=600, steps=20, mass_repeats=100)


def test_a_seed_is_reproducible_and_every_method_starts_alike():
    first, again, other = run_seed(1, SMALL), run_seed(1, SMALL), run_seed(2, SMALL)
    for name, arm in first.arms.items():
        assert np.array_equal(arm.silent, again.arms[name].silent)
        assert not np.array_equal(arm.silent, other.arms[name].silent)
        assert arm.hardest[0] == first.arms["grpo"].hardest[0]
        assert arm.predicted[0] == first.arms["grpo"].predicted[0]


def test_the_start_is_what_the_laws_say():
    rates = initial_rates(SMALL, np.random.default_rng(0))
    assert rates.min() >= 0.02
    assert rates.max() <= 0.98
    found = run_seed(3, SMALL)
    for rule in ("grpo", "dr_grpo"):
        assert found.mass[rule] == pytest.approx(found.expected_mass[rule], abs=0.01)
        assert found.mass[rule].sum() == pytest.approx(1)


def test_a_quartile_between_two_rates_ends_at_the_lower_one():
    end, cut = over_seeds([0.9, 0.88, 0.91, 0.89]), over_seeds([7 / 64, 6.75 / 64, 7 / 64, 6 / 64])
    why = sections.why_hardest(end, cut)
    assert "6 of 64 times in 2 seeds (mean 0.885), 7 of 64 times in 2 seeds (mean 0.905)" in why
    assert "1 of 4 seeds" in why


def test_the_cut_of_the_hardest_quartile_is_that_of_the_start():
    first = np.random.default_rng(np.random.SeedSequence(7).spawn(5)[0])
    rates = initial_rates(SMALL, first)
    cut = run_seed(7, SMALL).hardest_cut
    assert (rates < cut).mean() <= 0.25 <= (rates <= cut).mean()


def test_the_hardest_quartile_takes_its_ties():
    rates = np.array([0.1, 0.2, 0.2, 0.2, 0.5, 0.6, 0.7, 0.8])
    assert hardest_quartile(rates).tolist() == [True] * 4 + [False] * 4


def test_grpo_and_dr_grpo_use_one_group_per_prompt_and_step():
    found = run_seed(0, SMALL)
    once = [8 * step for step in range(21)]
    assert found.arms["grpo"].rollouts.tolist() == once
    assert found.arms["dr_grpo"].rollouts.tolist() == once
    assert 8 * 20 < found.arms["dapo"].rollouts[-1] < 4 * 8 * 20


def test_refilling_costs_what_the_unanimous_rate_says():
    # One step: E[groups] = 1 + u + u² + u³ per prompt, u the prompt's unanimous rate.
    settings = ControlledSettings(prompts=40_000, steps=1, mass_repeats=1)
    streams = np.random.SeedSequence(5).spawn(5)
    u = laws.unanimous_rate(initial_rates(settings, np.random.default_rng(streams[0])), 8)
    by_hand = float((1 + u + u**2 + u**3).mean())
    assert run_seed(5, settings).arms["dapo"].rollouts[-1] == pytest.approx(8 * by_hand, rel=0.01)


def test_the_papers_run_comes_out():
    """One seed of the full run, as the paper has one, against its printed values."""
    found = summarise_seeds([run_seed(0)])
    assert 0.999 <= found["silent_r_squared_grpo"].mean < 1
    assert found["extreme_mass_grpo"].mean == pytest.approx(0.170, abs=0.012)
    assert found["extreme_mass_dr_grpo"].mean == pytest.approx(0.143, abs=0.012)
    assert round(found["hardest_quartile_grpo"].mean, 2) == 0.99
    assert 0.87 < found["hardest_quartile_dr_grpo"].mean < 0.91
    assert round(found["oversampling_dapo"].mean, 1) == 3.5
    steps = [found[f"steps_to_half_{m}"].mean for m in ("dapo", "grpo", "dr_grpo")]
    assert steps == sorted(steps)
    rollouts = [found[f"rollouts_to_half_{m}"].mean for m in ("grpo", "dapo", "dr_grpo")]
    assert rollouts == sorted(rollouts)


def test_a_difference_comes_with_its_cause_and_sampled_numbers_with_an_interval():
    runs = [run_seed(seed, SMALL) for seed in (0, 1)]
    rows = sections.controlled_section(runs, SMALL).rows
    differing = [row for row in rows if row.name.startswith("hardest quartile, end: Dr.")]
    # The cause is counted on the runs at hand, not remembered.
    assert len(differing) == 1
    ends = [run.arms["dr_grpo"].hardest[-1] for run in runs]
    near = sum(0.875 <= end < 0.885 for end in ends)
    assert f"{near} of 2 seeds round to 0.88" in differing[0].why
    reached = [row for row in rows if row.found == row.found]  # too short a run to solve half
    assert len(reached) >= 9
    assert all(row.low <= row.found <= row.high for row in reached)
    curves = sections.controlled_section(runs[:1], SMALL).data["mean_curves"]
    assert curves["dapo"]["hardest"] == runs[0].arms["dapo"].hardest.tolist()
    assert sum(curves["grpo"]["mass_by_tenth"]) == pytest.approx(1)
