import numpy as np
import pytest

from dissensus.core import allocation
from dissensus.core.allocation import Draw, Selection
from dissensus.errors import InputError
from dissensus.lab.skills import (
    SkillPolicy,
    SkillSettings,
    SkillWorld,
    make_world,
    train_on_skills,
)

ALL = np.nan


def policy(settings, *, loadings, start=None, heldout=None, seed=0):
    loadings = np.array(loadings, dtype=float)
    start = np.zeros(len(loadings)) if start is None else np.array(start, dtype=float)
    tested = loadings if heldout is None else np.array(heldout, dtype=float)
    world = SkillWorld(start, loadings, np.zeros(len(tested)), tested)
    return SkillPolicy(world, settings, np.random.default_rng(seed))


def gradient(made, prompts, correct, size, *, weights=None, baselines=None):
    count = len(prompts)
    return made.gradient(
        np.array(prompts),
        np.array(correct),
        np.array(size),
        np.ones(count) if weights is None else np.array(weights, dtype=float),
        np.full(count, ALL) if baselines is None else np.array(baselines, dtype=float),
    )


QUIET = SkillSettings(score_noise=0.0, noise_dims=2, adaptive=False, warmup=1, learning_rate=1.0)


def scored_by_hand(rewards, p, direction):
    """(1/n) Σ A (r − p) δ with A = (r − mean)/std."""
    rewards = np.array(rewards, dtype=float)
    advantages = (rewards - rewards.mean()) / rewards.std()
    return np.mean(advantages * (rewards - p)) * np.array(direction)


def test_gradient_is_the_mean_of_advantage_times_score():
    made = policy(QUIET, loadings=[[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], start=[0.0, 1.0, 0.0])
    first = scored_by_hand([1, 0, 0, 0], 0.5, [1.0, 0.0])
    second = scored_by_hand([1, 1, 0], 1 / (1 + np.exp(-1.0)), [0.6, 0.8])
    expected = (4 * first + 3 * second) / 9  # the third is unanimous, and counts in the mean
    assert np.allclose(gradient(made, [0, 1, 2], [1, 2, 2], [4, 3, 2])[:2], expected)


def test_weights_scale_a_prompts_part_of_the_step():
    made = policy(QUIET, loadings=[[1.0, 0.0], [0.0, 1.0]])
    one = scored_by_hand([1, 0, 0, 0], 0.5, [1.0, 0.0])
    two = scored_by_hand([1, 0], 0.5, [0.0, 1.0])
    found = gradient(made, [0, 1], [1, 1], [4, 2], weights=[0.75, 1.5])
    assert np.allclose(found[:2], (4 * 0.75 * one + 2 * 1.5 * two) / 6)


def test_a_given_baseline_replaces_the_mean_of_the_group():
    made = policy(QUIET, loadings=[[1.0, 0.0]])
    rewards = np.array([1.0, 0.0])
    advantages = (rewards - 0.25) / rewards.std()
    expected = np.mean(advantages * (rewards - 0.5))
    assert np.isclose(gradient(made, [0], [1], [2], baselines=[0.25])[0], expected)


def test_noise_has_the_length_of_independent_scores():
    """‖(1/n) Σ A n_i‖² averages V·mean(A²)/n, and mean(A²) is 1 in a split group of GRPO."""
    settings = SkillSettings(score_noise=3.0, noise_dims=50, adaptive=False)
    made = policy(settings, loadings=[[1.0, 0.0]])
    signal = scored_by_hand([1, 1, 0, 0], 0.5, [1.0, 0.0])[0]
    drawn = np.array([gradient(made, [0], [2], [4])[:50] for _ in range(2000)])
    drawn[:, 0] -= signal
    assert np.isclose((drawn**2).sum(axis=1).mean(), 3.0 / 4, rtol=0.02)
    assert abs(drawn.mean()) < 0.005


def test_learning_one_prompt_moves_those_that_share_its_skill_and_no_others():
    settings = SkillSettings(score_noise=0.0, noise_dims=2, adaptive=False, warmup=1, own=1.0)
    made = policy(settings, loadings=[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], heldout=[[1.0, 0.0]])
    made.sample(Draw(np.array([0]), np.array([40])))
    made.learn(Selection(np.array([0]), np.arange(40), np.zeros(40, dtype=int), np.ones(1),
                         np.full(1, ALL), 0))  # fmt: skip
    own, sharing, other = made.solve_rates
    assert own > sharing > 0.5
    assert other == 0.5
    assert np.isclose(made.heldout_rates[0], sharing)  # what is learnt of the prompt alone is not


def test_parameters_beside_the_skills_do_harm_and_are_led_back():
    settings = SkillSettings(score_noise=0.0, noise_dims=3, adaptive=False, curvature=0.5)
    made = policy(settings, loadings=[[1.0, 0.0]])
    made.rest[:] = 2.0
    assert np.isclose(made.solve_rates[0], 1 / (1 + np.exp(0.5 * 0.5 * 4.0)))
    p, step = made.solve_rates[0], 1e-6
    slope = gradient(made, [0], [2], [4])[2]
    before = np.log(p / (1 - p))
    made.rest += step
    after = np.log(made.solve_rates[0] / (1 - made.solve_rates[0]))
    pull = scored_by_hand([1, 1, 0, 0], p, [1.0])[0]
    assert np.isclose(slope, pull * (after - before) / step, rtol=1e-4)


def test_an_adaptive_step_has_the_length_of_the_learning_rate_whatever_the_scale():
    settings = SkillSettings(score_noise=0.0, noise_dims=2, learning_rate=0.3, warmup=1)
    for weight in (1.0, 100.0):
        made = policy(settings, loadings=[[1.0, 0.0]])
        made.sample(Draw(np.array([0]), np.array([8])))
        made.learn(Selection(np.array([0]), np.arange(8), np.zeros(8, dtype=int),
                             np.array([weight]), np.full(1, ALL), 0))  # fmt: skip
        assert np.isclose(np.abs(made.skills).sum(), 0.3)


def test_loadings_of_one_kind_share_what_was_asked_for():
    world = make_world(np.random.default_rng(0), prompts=400, shared=0.4, levels=(0.0,), dims=200)
    gram = world.loadings @ world.loadings.T
    assert np.allclose(np.diag(gram), 1.0)
    same = gram[np.triu_indices(400, 1)].mean()
    assert np.isclose(same, 0.4 / 5, atol=0.02)  # five families, one in five pairs alike


@pytest.mark.parametrize("name", ["uniform", "signal", "dots", "pods", "dapo"])
def test_every_kind_of_allocator_trains_within_its_budget(name):
    world = make_world(np.random.default_rng(1), prompts=40, heldout=50, dims=20)
    allocator = allocation.get(name, 40, batch=4, group_size=8)
    made = SkillPolicy(
        world, SkillSettings(learning_rate=0.5, noise_dims=50), np.random.default_rng(2)
    )
    course = train_on_skills(allocator, made, 1000, np.random.default_rng(3), checks=4)
    assert 900 <= course.ledger.generated <= 1000
    assert course.generated[0] == 0
    assert (np.diff(course.generated) > 0).all()
    assert course.heldout[-1] > course.heldout[0]


def test_training_is_a_function_of_the_seeds():
    def once():
        world = make_world(np.random.default_rng(1), prompts=30, heldout=30, dims=20)
        made = SkillPolicy(world, SkillSettings(noise_dims=50), np.random.default_rng(2))
        allocator = allocation.get("signal", 30, batch=4)
        return train_on_skills(allocator, made, 320, np.random.default_rng(3)).heldout

    assert (once() == once()).all()


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="noise_dims"):
        policy(SkillSettings(noise_dims=1), loadings=[[1.0, 0.0]])
    with pytest.raises(InputError, match="shared"):
        make_world(np.random.default_rng(0), shared=1.5)
