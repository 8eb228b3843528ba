"""What every strategy promises, whatever it does."""

import io

import numpy as np
import pytest
from allocator_worlds import World, play, tell

from dissensus import RewardGroups
from dissensus.core import allocation
from dissensus.core.allocation import Draw, Selection
from dissensus.errors import InputError

pytestmark = pytest.mark.parametrize("name", allocation.names())

RATES = np.linspace(0.0, 1.0, 24)
SIZES = {"batch": 4, "group_size": 4}


def make(name, prompts=24, **parameters):
    return allocation.get(name, prompts, **{**SIZES, **parameters})


def rng(seed=0):
    return np.random.default_rng(seed)


def test_every_step_stays_within_its_budget_and_asks_sanely(name):
    allocator, world, source = make(name), World(RATES), rng()
    for budget in [0, 1, 2, 3, 7, 16, 17, 64, 500, 16, 16, 16, 0, 64]:
        left = budget
        for _ in range(200):
            ask = allocator.ask(left, source)
            if isinstance(ask, Selection):
                break
            assert ask.total <= left
            assert (ask.counts >= 1).all()
            assert len(set(ask.prompts.tolist())) == len(ask.prompts)
            left -= ask.total
            tell(allocator, world.sample(ask))
        assert isinstance(ask, Selection)


def test_a_usual_budget_is_used(name):
    trace = play(make(name), World(RATES), 12, 64, rng())
    spent = sum(count for draws, _ in trace for draw in draws for _, count in draw)
    assert spent >= 64
    assert any(rows for _, (rows, _) in trace)


def test_selections_name_rollouts_that_were_told(name):
    allocator, world, source = make(name), World(RATES), rng()
    told = 0
    for _ in range(8):
        held, first, left = set(allocator.held.tolist()), told, 64
        while isinstance(ask := allocator.ask(left, source), Draw):
            left -= ask.total
            tell(allocator, world.sample(ask))
            told += ask.total
        assert ask.first == first
        assert len(set(ask.rollouts.tolist())) == len(ask.rollouts)
        assert all(first <= n < told or n in held for n in ask.rollouts.tolist())
        assert np.array_equal(np.unique(ask.groups), np.arange(len(ask.prompts)))
        assert len(set(ask.prompts.tolist())) == len(ask.prompts)
        assert (np.isfinite(ask.weights) & (ask.weights > 0)).all()
        assert len(ask.weights) == len(ask.baselines) == len(ask.prompts)
        with pytest.raises(ValueError, match="read-only"):
            ask.weights[...] = 0


def test_the_same_seed_gives_the_same_plan(name):
    first, second = (play(make(name), World(RATES), 6, 64, rng(seed)) for seed in (3, 3))
    assert first == second


def test_order_of_results_changes_nothing(name):
    expected, mixed = play(make(name), World(RATES), 6, 64, rng(1)), rng(9)

    def shuffled(rows):
        """Groups in another order and in two parts: three rollouts of each, then the rest."""
        by_prompt = {}
        for row in rows:
            by_prompt.setdefault(row[0], []).append(row)
        firsts, rests = zip(*((part[:3], part[3:]) for part in by_prompt.values()), strict=True)
        for parts in (firsts, rests):
            for at in mixed.permutation(len(parts)):
                if parts[at]:
                    yield parts[at]

    # lengths follow the row, and `tell` makes them up anew for every call
    with_lengths = allocation.describe(name).allocator.needs_lengths
    found = play(make(name), World(RATES), 6, 64, rng(1), parts=shuffled)
    if with_lengths:
        expected, found = ([draws for draws, _ in trace] for trace in (expected, found))
    assert found == expected


def test_state_survives_the_middle_of_a_round(name):
    world, source = World(RATES), rng(2)
    allocator = make(name)
    told = []
    play(allocator, world, 3, 64, source, told=told)
    ask = allocator.ask(64, source)
    left = 64
    if isinstance(ask, Draw):
        left -= ask.total
        rows = world.sample(ask)
        half = len(rows) // 2
        if half:
            tell(allocator, rows[:half])
        twin = restored(allocator, name)
        for each in (allocator, twin):
            tell(each, rows[half:])
    else:
        twin = restored(allocator, name)
    ends = []
    state, drawn = source.bit_generator.state, dict(world.drawn)
    for each in (allocator, twin):
        source.bit_generator.state, world.drawn = state, dict(drawn)
        ends.append(play_numbered(each, world, 6, left, source))
    assert ends[0] == ends[1]


def restored(allocator, name):
    """A fresh allocator from a state that has been to disk, without pickle."""
    file = io.BytesIO()
    np.savez(file, **allocator.state_dict())
    file.seek(0)
    twin = make(name, prompts=0)
    twin.load_state_dict(dict(np.load(file)))
    return twin


def play_numbered(allocator, world, steps, budget, source):
    out = []
    for _ in range(steps):
        left = budget
        while isinstance(ask := allocator.ask(left, source), Draw):
            out.append((ask.prompts.tolist(), ask.counts.tolist()))
            left -= ask.total
            tell(allocator, world.sample(ask))
        out.append((ask.prompts.tolist(), ask.rollouts.tolist(), ask.weights.tolist()))
    return out


@pytest.mark.parametrize("prompts", [0, 1, 2, 3])
def test_tiny_pools(name, prompts):
    trace = play(make(name, prompts), World([0.5, 0.0, 1.0]), 6, 64, rng())
    assert len(trace) == 6
    if not prompts:
        assert all(draws == [] for draws, _ in trace)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_pools_where_nothing_can_be_learned(name, rate):
    allocator = make(name)
    trace = play(allocator, World(np.full(24, rate)), 6, 64, rng())
    assert len(trace) == 6


def test_one_rollout_groups(name):
    play(make(name, group_size=1), World(RATES), 6, 20, rng())


def test_prompts_appear_and_vanish(name):
    allocator, source = make(name, [f"p{i}" for i in range(12)]), rng()
    world = World({f"p{i}": i % 5 / 4 for i in range(20)})
    play(allocator, world, 4, 64, source)
    allocator.remove([f"p{i}" for i in range(6)])
    allocator.add([f"p{i}" for i in range(12, 20)])
    trace = play_numbered(allocator, world, 12, 64, source)
    drawn = {prompt for entry in trace if len(entry) == 2 for prompt in entry[0]}
    assert not drawn & {f"p{i}" for i in range(6)}
    assert drawn & {f"p{i}" for i in range(12, 20)}
    allocator.remove([f"p{i}" for i in range(6, 20)])
    assert isinstance(allocator.ask(64, source), Selection)
    assert isinstance(allocator.ask(64, source), Selection)
    allocator.add(["p0"])
    play_numbered(allocator, world, 3, 64, source)


def test_lost_rollouts_are_told_as_nan_and_never_trained_on(name):
    allocator, source = make(name), rng()
    for _ in range(4):
        while isinstance(ask := allocator.ask(64, source), Draw):
            prompts = np.repeat(ask.prompts, ask.counts)
            groups = RewardGroups.from_flat(np.full(len(prompts), np.nan), prompts, correct=1.0)
            allocator.tell(groups, lengths=np.ones(len(prompts)))
            if source.random() < 0.2:  # the budget of a refill is endless here
                ask = allocator.ask(0, source)
                break
        assert len(ask.rollouts) == 0


def test_graded_rewards(name):
    allocator, source = make(name), rng()
    for _ in range(5):
        left = 64
        while isinstance(ask := allocator.ask(left, source), Draw):
            left -= ask.total
            prompts = np.repeat(ask.prompts, ask.counts)
            groups = RewardGroups.from_flat(source.random(len(prompts)), prompts)
            allocator.tell(groups, lengths=np.ones(len(prompts)))


def test_asking_too_early_and_telling_too_much_are_refused(name):
    allocator, source = make(name), rng()
    ask = allocator.ask(64, source)
    assert isinstance(ask, Draw)
    with pytest.raises(InputError, match="have not been told"):
        allocator.ask(64, source)
    with pytest.raises(InputError, match="more rollouts of a prompt"):
        tell(allocator, [(ask.prompts[0].item(), 1.0)] * (int(ask.counts[0]) + 1))
    with pytest.raises(InputError, match="not in the pool"):
        tell(allocator, [(99, 1.0)])
    with pytest.raises(InputError, match="budget"):
        allocator.ask(-1, source) if not allocator.outstanding else make(name).ask(-1, source)
