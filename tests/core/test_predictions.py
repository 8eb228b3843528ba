"""Group sizes, rules, filters, drift and the recommendation on a known population."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dissensus import advantages
from dissensus.core.population.compatible import compatible_with
from dissensus.core.population.counts import Counts
from dissensus.core.population.drift import forecast_shares, trend_weights
from dissensus.core.population.estimate import fit_population
from dissensus.core.population.npmle import fit_npmle
from dissensus.core.population.population import Population
from dissensus.core.population.predictions import (
    compare_rules,
    contrast_from_variance,
    difficulty_rows,
    filter_costs,
)
from dissensus.core.population.products import product_of_averages
from dissensus.core.population.rates import solve_rates
from dissensus.core.population.recommendation import recommend
from dissensus.core.population.sizes import predict_sizes, signature_on
from dissensus.core.population.skipping import skip_rows
from dissensus.errors import InputError


@pytest.fixture(scope="module")
def estimate():
    """p ~ U(0, 1), 9,000 groups of 8."""
    return fit_population(Counts.from_groups(range(9), 8, weights=[1000] * 9))


def test_sizes_of_a_uniform_population(estimate):
    sizes = predict_sizes(
        estimate.population, estimate.allowed, [2, 4, 8, 64], advantages.get("dr_grpo"),
        group_size=8,
    )  # fmt: skip
    G = np.array([2, 4, 8])
    np.testing.assert_allclose(sizes.unanimous[:3], 2 / (G + 1), atol=3e-3)
    np.testing.assert_allclose(sizes.all_wrong[:3], 1 / (G + 1), atol=3e-3)
    split = 1000 * (1 - 2 / (G + 1)) / G
    np.testing.assert_allclose(sizes.split_per_1000[:3], split, rtol=5e-3)
    # Dr. GRPO: E[W] = E[p(1−p)](1 − 1/G), E[p(1−p)] = 1/6.
    contrast = 1000 * (1 - 1 / G) / 6 / G
    np.testing.assert_allclose(sizes.contrast_per_1000[:3], contrast, rtol=5e-3)
    # Where score noise dominates it goes with the square root of E[p(1−p)](1 − 1/G).
    relative = np.sqrt((1 - 1 / G) / (7 / 8))
    np.testing.assert_allclose(sizes.signal_to_noise[:3], relative, rtol=1e-3)
    for value, ends in (
        (sizes.signal_to_noise, sizes.signal_range),
        (sizes.unanimous, sizes.unanimous_range),
        (sizes.all_wrong, sizes.all_wrong_range),
        (sizes.all_correct, sizes.all_correct_range),
        (sizes.contrast_per_1000, sizes.contrast_range),
    ):
        assert (ends.low <= value + 1e-9).all()
        assert (value <= ends.high + 1e-9).all()
    width = sizes.unanimous_range.high - sizes.unanimous_range.low
    assert width[3] > 2 * width[2]  # 64 was never recorded


def test_filters_change_what_is_trained_on_and_not_what_rollouts_buy():
    keep, drop, refill = filter_costs(0.75, 30.0, most_tries=2)
    assert {keep.contrast_per_1000, drop.contrast_per_1000, refill.contrast_per_1000} == {30.0}
    assert (keep.generated_per_kept, drop.generated_per_kept) == (1.0, 4.0)
    assert refill.filled == 1 - 0.75**2
    assert (keep.contrast_per_1000_trained, refill.contrast_per_1000_trained) == (30.0, 120.0)
    assert np.isinf(filter_costs(1.0, 0.0)[-1].generated_per_kept)


def test_every_rule_has_numbers_or_a_reason(estimate):
    rules = compare_rules(
        estimate.population, 8, [advantages.get(name) for name in advantages.names()]
    )
    assert len(rules) == len(advantages.names())
    for rule in rules:
        if rule.missing:
            assert np.isnan(rule.contrast_per_1000)
        else:
            assert np.isfinite([rule.contrast_per_1000, rule.push, rule.silent]).all()
    by_name = {rule.name.partition("(")[0]: rule for rule in rules}
    # W = σ² under Dr. GRPO: the mass below .1 is ∫₀^.1 p(1−p) dp · 6 = .028.
    assert by_name["dr_grpo"].mass[0] == pytest.approx(0.028, abs=3e-3)
    assert by_name["grpo"].silent == pytest.approx(2 / 9, abs=3e-3)


def test_a_batch_rule_takes_its_statistics_from_the_population():
    half = Population(np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 0.0]))
    found = signature_on(advantages.get("lite_ppo", ddof=0, eps=0.0), 4, half)
    # Every reward is a fair coin, so the batch std is ½ and W = σ²/½.
    np.testing.assert_allclose(found.contrast, [0, 0.375, 0.5, 0.375, 0], atol=1e-3)


def test_difficulty_rows(estimate):
    signature = signature_on(advantages.get("grpo"), 8, estimate.population)
    rows = difficulty_rows(estimate.population, estimate.allowed, signature)
    assert sum(row.groups for row in rows) == pytest.approx(1.0)
    assert sum(row.mass for row in rows) == pytest.approx(1.0)
    assert all(row.mass_low <= row.mass <= row.mass_high for row in rows)
    # theory: p = .05 needs 42 for 90 % and 69 for 95 %.
    assert (rows[0].for_90, rows[0].for_95) == (42, 69)


def test_a_group_size_that_gains_by_one_measure_only_is_not_recommended(estimate):
    found = recommend(estimate.population, estimate.allowed, 8, advantages.get("dr_grpo"))
    assert found.now == pytest.approx(1000 * (7 / 8) / 6 / 8, rel=5e-3)
    four, sixteen, *_ = found.weighed
    assert (four.name, sixteen.name) == ("groups of 4", "groups of 16")
    # E[W] = E[p(1−p)](1 − 1/G): contrast goes with (1 − 1/G)/G, signal to noise with its root · √G.
    assert four.contrast_ratio.value == pytest.approx((3 / 4) / 4 / ((7 / 8) / 8))
    assert four.contrast_ratio.low > 1 > four.contrast_ratio.value / 2
    assert four.signal_to_noise.value == pytest.approx(np.sqrt((3 / 4) / (7 / 8)))
    assert four.signal_to_noise.high < 1 < sixteen.signal_to_noise.low
    assert sixteen.contrast_ratio.high < 1
    assert not any(each.gains or each.loses for each in (four, sixteen))
    assert four.cost.contrast_per_group_ratio == pytest.approx((3 / 4) / (7 / 8))
    assert (four.cost.prompts_ratio, sixteen.cost.prompts_ratio) == (2, 0.5)
    low, high = sixteen.cost.even_noise
    assert 0 <= low < high < np.inf


def test_skipping_unanimous_prompts_by_hand(estimate):
    """p ~ U(0, 1): E[p^a (1−p)^b] = a! b! / (a + b + 1)!."""
    signature = signature_on(advantages.get("dr_grpo"), 2, estimate.population)
    wrong, right, both = skip_rows(estimate.population, estimate.allowed, signature)
    assert [row.name for row in (wrong, right, both)] == ["all-wrong", "all-correct", "unanimous"]
    # After two wrong ones (1/3 of the prompts), 2p(1−p): E[(1−p)²·2p(1−p)] = 2/20.
    assert wrong.skipped.value == pytest.approx(1 / 3, abs=2e-3)
    assert wrong.would_split.value == pytest.approx(0.3, abs=3e-3)
    # Groups that were split, 2p(1−p), are split again: E[4p²(1−p)²] = 4/30 of 1/3.
    assert both.skipped.value == pytest.approx(2 / 3, abs=2e-3)
    assert both.split_per_1000.value == pytest.approx(500 * 0.4, rel=3e-3)
    # W = ¼ where split, now 0.4 of the groups; before E[W] = ⅙·½.
    assert both.contrast_ratio.value == pytest.approx(0.1 * 12, rel=3e-3)
    assert both.signal_to_noise.value == pytest.approx(np.sqrt(1.2), rel=3e-3)
    for row in (wrong, right, both):
        for value, low, high in row[1:]:
            assert low < value < high


def test_intervals_of_products_agree_with_exact_ratios(estimate):
    p = estimate.population.rates
    above, below = p * (1 - p) ** 8, (1 - p) ** 8
    exact = estimate.allowed.range_of_ratio(above, below)
    found = product_of_averages(estimate.population, estimate.allowed, (above, 1.0), (below, -1.0))
    # p ~ U(0, 1): (1/90)/(1/9).
    assert found.value[0] == pytest.approx(0.1, rel=5e-3)
    width = exact.high[0] - exact.low[0]
    assert np.abs(np.subtract(found.range, exact)).max() < 0.05 * width
    root = product_of_averages(estimate.population, estimate.allowed, (above, 0.5), (below, -0.5))
    np.testing.assert_allclose(np.square(root.range), found.range, rtol=1e-3)
    nothing = product_of_averages(estimate.population, estimate.allowed, (0 * p, 1.0))
    assert np.isnan([nothing.value[0], nothing.range.high[0]]).all()


def test_skipping_gains_by_both_measures_and_is_recommended(estimate):
    found = recommend(estimate.population, estimate.allowed, 8, advantages.get("grpo"))
    assert found.best is not None
    assert found.best.name == "skip unanimous"
    assert found.best.gains
    assert [each.kind for each in found.weighed] == ["group_size"] * 2 + ["skip"] * 3


def test_the_price_of_skipping_is_what_a_real_run_shows(shared_data):
    """Fitted to four visits, for the one after them, which no fit has seen."""
    path = shared_data / "one_shot_rlvr_group_accuracy.json"
    visits = np.array([each[:44] for each in json.loads(path.read_text()).values()])
    correct = np.rint(8 * visits).astype(int)
    held, missed = [], []
    for end in range(4, 44, 13):
        past = correct[:, end - 4 : end]
        prompts = np.repeat(np.arange(len(past)), past.shape[1])
        counts = Counts.from_groups(past.ravel(), 8, prompts=prompts)
        population = Population(solve_rates(), fit_npmle(counts))
        signature = signature_on(advantages.get("grpo"), 8, population)
        both = skip_rows(population, compatible_with(counts, population), signature)[-1]
        last, later = correct[:, end - 1], correct[:, end]
        unanimous = last % 8 == 0
        split = float((later[unanimous] % 8 > 0).mean())
        contrast = 125 * np.sqrt(later * (8 - later))[~unanimous].mean() / 8
        now = 125 * population.expected_contrast(signature)
        missed.append(abs(now * both.contrast_ratio.value / contrast - 1))
        held.append(both.would_split.low <= split <= both.would_split.high)
    assert max(missed) < 0.05
    assert sum(held) >= 3


def test_sizes_a_rule_is_not_defined_for_have_no_contrast(estimate):
    def needs_four(groups, context):
        if (groups.size < 4).any():
            raise InputError("this rule needs groups of 4")
        return groups.centered

    rule = advantages.AdvantageEstimator("needs_four", needs_four)
    sizes = predict_sizes(estimate.population, estimate.allowed, [2, 4], rule, group_size=4)
    assert np.isnan([sizes.contrast_per_1000[0], sizes.contrast_range.high[0]]).all()
    assert np.isnan([sizes.signal_to_noise[0], sizes.signal_range.high[0]]).all()
    assert sizes.unanimous[0] == pytest.approx(2 / 3, abs=3e-3)
    assert sizes.contrast_range.low[1] < sizes.contrast_per_1000[1]
    found = recommend(estimate.population, estimate.allowed, 4, rule)
    assert [each.group_size for each in found.weighed if each.kind == "group_size"] == [8]
    with pytest.raises(InputError, match="groups of 4"):
        predict_sizes(estimate.population, estimate.allowed, [2, 3], rule, group_size=3)


def test_nothing_is_recommended_where_no_contrast_is_to_be_had():
    dead = fit_population(Counts.from_groups([0] * 200, 8))
    found = recommend(dead.population, dead.allowed, 2, advantages.get("grpo"))
    assert (found.now, found.best) == (pytest.approx(0, abs=1e-3), None)


def test_variance_determines_dr_grpo_and_not_grpo():
    # Rewards 0, 1, 2, 3 of one group: unbiased variance 5/3, mean squared deviation 5/4.
    assert contrast_from_variance(advantages.get("dr_grpo"), 5 / 3, 4) == pytest.approx(1250 / 4)
    assert contrast_from_variance(advantages.get("rloo"), 5 / 3, 4) == pytest.approx(5000 / 12)
    assert contrast_from_variance(advantages.get("grpo"), 5 / 3, 4) is None


# ---- drift -----------------------------------------------------------------------------------


def test_a_line_goes_on_at_seven_tenths_of_its_slope():
    groups = np.full(5, 10_000)
    wrong = groups * (0.4 - 0.02 * np.arange(5))
    right = groups * (0.1 + 0.03 * np.arange(5))
    found = forecast_shares(wrong, right, groups)
    assert found.all_wrong.expected == pytest.approx(0.32 - 0.7 * 0.02)
    assert found.all_correct.expected == pytest.approx(0.22 + 0.7 * 0.03)
    assert found.unanimous.expected == pytest.approx(0.54 + 0.7 * 0.01)
    assert found.unanimous.last == pytest.approx(0.54)
    two = forecast_shares(wrong, right, groups, ahead=2).all_wrong
    assert two.expected == pytest.approx(0.32 - (0.7 + 0.49) * 0.02)
    assert two.high - two.low > found.all_wrong.high - found.all_wrong.low


def test_no_drift_is_forecast_where_there_is_none():
    found = forecast_shares([30] * 4, [10] * 4, [100] * 4).unanimous
    assert (found.expected, found.last) == (pytest.approx(0.4), pytest.approx(0.4))
    assert 0.1 < found.low < 0.4 < found.high < 0.7
    assert trend_weights(7).sum() == pytest.approx(1.0)


def test_a_forecast_stays_a_share_and_needs_three_stretches():
    found = forecast_shares([900, 950, 1000], [0, 0, 0], [1000] * 3)
    assert 0 <= found.all_correct.low <= found.unanimous.high <= 1
    with pytest.raises(InputError, match="3 stretches"):
        forecast_shares([1, 1], [1, 1], [5, 5])


def test_a_share_of_none_or_all_may_yet_move():
    # 0 of 4 × 60 groups: at a true share of 1/120 that happens in one of 7 cases, and the next
    # stretch then holds one such group or more in 4 of 10.
    found = forecast_shares([0] * 4, [60] * 4, [60] * 4)
    assert found.all_wrong.low == 0.0
    assert 1 / 60 < found.all_wrong.high < 0.1
    assert 0.9 < found.all_correct.low < 59 / 60
    assert found.all_correct.high == 1.0


def test_the_forecast_covers_shares_that_scatter_more_than_independent_groups():
    # Four stretches say little of their scatter, so 95 % is met only about; over 600 ± 1 point.
    rng = np.random.default_rng(6)
    groups, held = np.full(4, 16_000), 0
    for _ in range(600):
        p = 0.3 + 0.02 * rng.normal(size=5)
        seen = rng.binomial(16_000, p)
        found = forecast_shares(seen[:4], np.zeros(4), groups).all_wrong
        held += found.low <= seen[4] / 16_000 <= found.high
    assert held / 600 >= 0.92


def test_the_forecast_covers_what_noise_gives():
    rng = np.random.default_rng(0)
    groups = np.full(4, 800)
    held = 0
    for _ in range(300):
        p = 0.3 + 0.02 * np.arange(5)
        seen = rng.binomial(800, p)
        found = forecast_shares(seen[:4], np.zeros(4), groups).all_wrong
        held += found.low <= seen[4] / 800 <= found.high
    assert held / 300 >= 0.95


def test_the_forecast_beats_persistence_on_a_real_run(shared_data):
    visits = list(
        json.loads((shared_data / "one_shot_rlvr_group_accuracy.json").read_text()).values()
    )
    per_visit = np.zeros((52, 3))
    for accuracies in visits:
        for visit, accuracy in enumerate(accuracies[:52]):
            per_visit[visit] += (accuracy == 0, accuracy == 1, 1)
    missed, kept, held = [], [], []
    for end in range(12, 42, 2):
        quarters = np.array([part.sum(axis=0) for part in np.array_split(per_visit[:end], 4)])
        length = end // 4
        later = per_visit[end : end + length].sum(axis=0)
        found = forecast_shares(*quarters.T)
        truth = (later[0] + later[1], later[0], later[1]) / later[2]
        for share, measured in zip(found, truth, strict=True):
            missed.append(abs(share.expected - measured))
            kept.append(abs(share.last - measured))
            held.append(share.low <= measured <= share.high)
    missed, kept = (np.reshape(each, (-1, 3)).mean(axis=0) for each in (missed, kept))
    assert (missed < kept).all()
    assert np.mean(held) >= 0.95
