"""Strategies by name, and the pool they choose from."""

import numpy as np
import pytest

from dissensus.core import allocation
from dissensus.core.allocation.pool import Epochs, Pool
from dissensus.errors import InputError

PUBLISHED = {
    "adarft", "contrast", "cures", "dapo", "dars_et", "dars_hw", "dots", "gfpo", "greso",
    "group_size_law", "knapsack", "mopps", "online_difficulty", "open_instruct", "pilot_commit",
    "pods", "prime_rl", "reinforce_ada", "reinforce_ada_positive", "signal", "speed_rl", "uniform",
    "vip",
}  # fmt: skip


def test_names_are_these():
    assert set(allocation.names()) == PUBLISHED


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_every_strategy_says_what_it_is(name):
    found = allocation.describe(name)
    assert found.summary.endswith((".", ",")) or len(found.summary) > 30
    assert found.source
    assert {"batch", "group_size"} <= set(found.parameters)
    assert allocation.get(name, 3).name == name
    documented = "".join(each.__doc__ or "" for each in found.allocator.__mro__[:-1])
    for parameter in found.parameters:
        assert f"        {parameter}: " in documented or parameter in {"batch", "group_size"}


def test_unknown_names_parameters_and_states_are_refused():
    with pytest.raises(InputError, match="did you mean dapo"):
        allocation.get("dap", 3)
    with pytest.raises(InputError, match="has no parameter 'size'"):
        allocation.get("dapo", 3, size=4)
    with pytest.raises(InputError, match="group_size"):
        allocation.get("dapo", 3, group_size=0)
    with pytest.raises(InputError, match="another strategy"):
        allocation.get("dapo", 3).load_state_dict(allocation.get("uniform", 3).state_dict())
    with pytest.raises(InputError, match="a part is missing"):
        allocation.get("dapo", 3).load_state_dict({"strategy": "dapo"})


@pytest.mark.parametrize("ids", [[3, 1, 2], ["c", "a", "b"], np.array([7, -1, 5])])
def test_positions_of_any_ids(ids):
    pool = Pool(ids)
    assert pool.positions(ids[::-1]).tolist() == [2, 1, 0]
    with pytest.raises(InputError, match="not in the pool"):
        pool.positions(["zz"] if isinstance(ids[0], str) else [99])


def test_ids_of_another_kind_are_refused():
    with pytest.raises(InputError, match="all integers or all strings"):
        Pool([1]).add(["a"])
    with pytest.raises(InputError, match="all integers or all strings"):
        Pool([1, "a"])
    with pytest.raises(InputError, match="integers or of strings"):
        Pool([0.5])


def test_an_epoch_visits_every_prompt_once():
    epochs, rng = Epochs(Pool(1000)), np.random.default_rng(0)
    taken = np.concatenate([epochs.take(7, rng) for _ in range(142)])
    assert len(np.unique(taken)) == len(taken) == 994
    assert len(np.unique(epochs.take(1000, rng))) == 1000
    assert epochs.number == 2


def test_huge_epochs_are_shuffles_too():
    count = (1 << 20) + 7  # too long to be held
    epochs, rng = Epochs(Pool(count)), np.random.default_rng(0)
    first = epochs.take(1000, rng)
    rest = epochs.take(count - 1000, rng)
    assert np.bincount(np.concatenate([first, rest])).max() == 1
    assert epochs.number == 1
    # uniform on 0 … 1: mean ½ and variance 1/12 within five standard errors; neighbours unrelated
    share = first / count
    assert abs(share.mean() - 0.5) < 5 / np.sqrt(12 * 1000)
    assert abs(np.corrcoef(share[1:], share[:-1])[0, 1]) < 5 / np.sqrt(1000)


def test_a_prompt_that_comes_back_keeps_its_history():
    made = allocation.get("mopps", ["a", "b"], batch=2, group_size=2)
    made._columns["a"][:] = [5.0, 6.0]
    made.remove(["a"])
    made.add(["c", "a"])
    assert made._columns["a"].tolist() == [5.0, 6.0, 1.0]
    assert made.pool.is_present.all()
