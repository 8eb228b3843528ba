"""Recorded rollouts come first and in their order of time; all who ask alike get alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dissensus import Recorder, Run
from dissensus.core.difficulty import SolveRateModel, neutral_model
from dissensus.errors import InputError
from dissensus.lab.replay.latent import draw_states, share_by_tenth
from dissensus.lab.replay.record import Record, read_record
from dissensus.lab.replay.world import Scene, World, hashed_uniforms


def make_world(correct, size, *, prompts=None, seed=0):
    names = np.arange(len(correct)) if prompts is None else prompts
    return World(Scene(Record.from_visits(names, correct, size), neutral_model(), seed))


def draw(world, prompt, count):
    return world.sample(np.array([prompt]), np.array([count]))


def test_all_recorded_rollouts_come_before_any_other():
    drawn = draw(make_world([3], 8), 0, 20)
    assert drawn.is_correct[:8].sum() == 3
    assert drawn.is_recorded.tolist() == [True] * 8 + [False] * 12


def test_rollouts_do_not_depend_on_who_else_asks_or_in_what_portions():
    first, second = (make_world([3, 5, 4], 8) for _ in range(2))
    at_once = draw(first, 1, 12).is_correct
    others = np.array([2, 1, 0])
    parts = [
        second.sample(others, np.array([4, count, 7])).is_correct[4 : 4 + count]
        for count in (5, 1, 6)
    ]
    np.testing.assert_array_equal(at_once, np.concatenate(parts))


def test_another_seed_gives_other_rollouts():
    seeds = (draw(make_world([32], 64, seed=seed), 0, 64).is_correct for seed in (0, 1))
    assert not np.array_equal(*seeds)


def test_a_prompt_that_is_asked_in_another_step_is_at_its_next_visit():
    world = make_world([4, 0, 4], 4, prompts=[0, 0, 0])
    assert draw(world, 0, 2).is_correct.all()
    assert draw(world, 0, 2).is_correct.all()  # another round of the same step
    world.next_step()
    assert not draw(world, 0, 4).is_correct.any()
    world.next_step()
    world.next_step()  # steps without it do not count
    assert draw(world, 0, 1).is_correct.all()
    world.next_step()
    stayed = draw(world, 0, 4)  # the last visit goes on where it was
    assert stayed.is_recorded.tolist() == [True] * 3 + [False]


def test_draws_have_the_law_of_draws_without_replacement():
    n = 20_000
    drawn = make_world(np.full(n, 2), 8).sample(np.arange(n), np.full(n, 2))
    both = drawn.is_correct.reshape(n, 2)
    chance = {(1, 1): 2 / 56, (0, 0): 30 / 56}  # 2·1 and 6·5 of 8·7 ordered pairs
    for pair, expected in chance.items():
        found = (both == pair).all(axis=1).mean()
        assert abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / n)


def test_rollouts_beyond_the_record_have_the_solve_rate_of_the_draw():
    n = 20_000
    world = make_world(np.full(n, 4), 8)
    drawn = world.sample(np.arange(n), np.full(n, 9))
    last = np.arange(n) * 9 + 8
    rates = world.scene.rates[drawn.state[last]]
    error = np.sqrt((rates * (1 - rates)).mean() / n)
    assert abs(drawn.is_correct[last].mean() - rates.mean()) < 4 * error


def test_the_next_state_is_known_before_it_is_asked():
    world = make_world([0, 8, 4, 2], 8, prompts=[0, 0, 1, 1])
    prompts = np.array([1, 0])
    for _ in range(3):
        expected = world.next_states(prompts)
        drawn = world.sample(prompts, np.ones(2, dtype=int))
        np.testing.assert_array_equal(drawn.state, expected)
        world.next_step()


def test_paths_of_solve_rates_have_their_exact_posterior():
    from scipy.linalg import expm

    model = SolveRateModel(np.array([0.3, 0.4, 0.3]), np.array([0.5, 0.2]), np.array([0.1, 0.6]))
    k, n, prompts = np.array([1, 0, 2]), 3, 30_000
    # A prompt with one visit stands beside each, so that lengths differ.
    names = np.concatenate([np.repeat(np.arange(0, 2 * prompts, 2), 3), np.arange(prompts) * 2 + 1])
    counts = np.concatenate([np.tile(k, prompts), np.full(prompts, 2)])
    record = Record.from_visits(names, counts, n)
    states = draw_states(record, model, np.random.default_rng(0).random(len(counts)))
    moves, p = expm(model.generator), np.array([0.0, 0.5, 1.0])

    def chance(path, seen):
        found = model.prior[path[0]]
        for before, after in itertools.pairwise(path):
            found *= moves[before, after]
        return found * np.prod(
            [p[s] ** c * (1 - p[s]) ** (n - c) for s, c in zip(path, seen, strict=True)]
        )

    long = states[record.first[:-1][record.visits == 3][:, None] + np.arange(3)]
    short = states[record.first[:-1][record.visits == 1]]
    for seen, drawn in ((k, long), (k[-1:], short[:, None])):
        paths = list(itertools.product(range(3), repeat=len(seen)))
        weights = np.array([chance(path, seen) for path in paths])
        weights /= weights.sum()
        found = np.array([(drawn == path).all(axis=1).mean() for path in paths])
        assert (np.abs(found - weights) <= 4.5 * np.sqrt(weights * (1 - weights) / prompts)).all()


def test_hashed_numbers_are_uniform_and_unrelated():
    one = hashed_uniforms(3, 1, np.arange(40_000), np.zeros(40_000, dtype=np.int64))
    next_ = hashed_uniforms(3, 1, np.arange(40_000), np.ones(40_000, dtype=np.int64))
    error = 1 / np.sqrt(40_000)
    assert np.abs(np.histogram(one, 10, (0, 1))[0] / 40_000 - 0.1).max() < 4 * 0.3 * error
    for other in (next_, np.roll(one, 1), hashed_uniforms(4, 1, np.arange(40_000), 0)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 * error


def test_shares_by_tenth_are_symmetric_and_whole():
    share = share_by_tenth(np.arange(41), neutral_model(41).rates)
    np.testing.assert_allclose(share, share[::-1], atol=1e-12)
    assert share.sum() == pytest.approx(1.0)


def test_some_prompts_of_a_record():
    record = Record.from_visits([5, 9, 5, 7, 9, 5], [1, 2, 3, 4, 5, 6], 8)
    part = record.of(np.array([2, 0]))  # prompts 9 and 5
    assert part.first.tolist() == [0, 2, 5]
    assert part.correct.tolist() == [2, 5, 1, 3, 6]


def test_groups_of_a_prompt_in_one_generation_are_one_visit(tmp_path):
    with Recorder(tmp_path / "run", correct=0.5) as recorder:
        for step, rewards in enumerate(([1, 0, 1, 1], [0, 0, 0, 1])):
            recorder.record(
                step=step, group_ids=[0, 0, 1, 1], prompt_ids=["a"] * 4, rewards=rewards
            )
        recorder.record(step=2, group_ids=[2], prompt_ids=["b"], rewards=[1], split="eval")
    record = read_record(Run(tmp_path / "run"))
    assert record.first.tolist() == [0, 2]
    assert (record.correct.tolist(), record.size.tolist()) == ([3, 1], [4, 4])


def test_without_known_correctness_there_is_nothing_to_replay(tmp_path):
    with Recorder(tmp_path / "run") as recorder:
        recorder.record(step=0, group_ids=[0] * 3, prompt_ids=[0] * 3, rewards=[0.1, 0.2, 0.3])
    with pytest.raises(InputError, match="which rollouts are correct"):
        read_record(Run(tmp_path / "run"))


@pytest.mark.parametrize(("correct", "size"), [([3], [2]), ([0], [0])])
def test_impossible_counts_are_refused(correct, size):
    with pytest.raises(InputError):
        Record.from_visits([0], correct, size)
