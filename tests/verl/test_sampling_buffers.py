"""verl's real replay buffers, subclassed, on groups that arrive in odd orders; see `staged`."""

from __future__ import annotations

import os
import sys
from collections import Counter

import pytest

pytest.importorskip("verl.trainer.ppo.v1", reason="verl has its own environment: make test-verl")

import staged
from staged import BATCH, SIZE

pytestmark = pytest.mark.timeout(600)

NAN = float("nan")


@pytest.fixture(scope="module")
def play(cluster):
    """Run a scenario in a Ray actor, with an empty TransferQueue."""
    path = os.pathsep.join(each for each in sys.path if each)
    driver = staged.Driver.options(runtime_env={"env_vars": {"PYTHONPATH": path}}).remote()
    yield lambda scenario: cluster.get(driver.play.remote(scenario), timeout=300)
    cluster.get(driver.close.remote(), timeout=60)
    cluster.kill(driver)


def counts(found):
    names = ("generated", "trained", "discarded", "lost", "stray")
    return [found["metrics"].get(f"dissensus/rollouts_{name}", 0) for name in names]


def groups(found):
    return Counter(key.split("_")[0] for key in found["keys"])


def test_refill_by_an_allocator_whatever_the_order(play):
    def scenario(world):
        return [world({"allocator": "dapo", "group_size": 4}, seed=seed).step() for seed in (1, 2)]

    for found in play(scenario):
        assert list(groups(found).values()) == [SIZE] * BATCH
        generated, trained, discarded, lost, stray = counts(found)
        assert (trained, lost, stray) == (BATCH * SIZE, 0, 0)
        assert generated == trained + discarded
        assert found["left"] == sorted(found["keys"])  # all else has left TransferQueue
        assert sum(found["refills"]) * SIZE + BATCH * SIZE == generated
        assert found["warnings"] == []


def test_late_partial_failed_duplicated_and_unknown_groups(play):
    def scenario(world):
        one = world({"allocator": "uniform", "group_size": 4})
        for _ in range(4):
            one.submit()
        whole, partial, failed, late = one.waiting
        one.waiting = []

        def stage_partial():
            one.put(partial[0], partial[1], [1.0, 0.0])
            one.tag(partial[0], "failure")

        def stage_strays():
            one.put("nobody", None, [1.0, 1.0])  # rollouts of a group that verl never registered
            one.put("other", 999, [1.0, 0.0])  # a finished group of a row that was not drawn
            one.tag("other", "finished")
            one.put("again", whole[1], [1.0] * 4)  # the same row a second time
            one.tag("again", "finished")

        one.events = [
            lambda: one.finish(whole, outputs=2),
            stage_partial,
            stage_strays,
            lambda: one.tag(failed[0], "failure"),
            lambda: one.tag(late[0], "running"),
            lambda: one.put(late[0], late[1], [0.0]),
            lambda: one.finish(late),
        ]
        found = one.step(submit=False)
        return found, (whole[0], partial[0], late[0])

    found, (whole, partial, late) = play(scenario)
    by_group = groups(found)
    assert by_group.pop(partial) == 2
    assert by_group.pop(late) == SIZE
    # One of the two groups with the same row is trained on; of `whole` both outputs are.
    ((uid, rows),) = by_group.items()
    assert (uid, rows) in {(whole, 2 * SIZE), ("again", SIZE)}
    assert found["tags"] == len(found["keys"])
    assert found["left"] == sorted(found["keys"])
    # 16 were drawn: 4 + 2 + 0 + 4 came back. Strays are the row not drawn and the second group.
    assert counts(found) == [16, 10, 0, 6, 6]


def test_rollouts_without_a_finite_reward_are_not_trained_on(play):
    def scenario(world):
        odd = lambda row, i: [NAN, 1.0, float("inf"), 0.0][i]  # noqa: E731
        return world({"allocator": "uniform", "group_size": 4}, answer=odd).step()

    found = play(scenario)
    assert {key.split("_")[1] for key in found["keys"]} == {"1", "3"}
    assert counts(found) == [16, 8, 8, 0, 0]


def test_a_metric_that_only_some_rollouts_have(play):
    def scenario(world):
        one = world({"allocator": "uniform", "group_size": 4, "metric": "acc"})
        for _ in range(4):
            one.submit()
        extras = [{}, {"acc": True}, {"acc": 0}, {"other": 1.0}]
        one.events = [lambda g=group: one.finish(g, extras=extras) for group in one.waiting]
        return one.step(submit=False)

    found = play(scenario)
    assert {key.split("_")[1] for key in found["keys"]} == {"1", "2"}
    assert counts(found) == [16, 8, 8, 0, 0]
    assert found["warnings"] == ["dissensus: some rollouts have no acc; they count as unscored"]


def test_nothing_that_comes_back_is_replaced_by_a_batch_of_verls_own_rows(play):
    def scenario(world):
        one = world({"allocator": "dapo(max_rounds=1)", "group_size": 4})
        for _ in range(4):
            one.submit()
        one.events = [lambda g=group: one.tag(g[0], "failure") for group in one.waiting]
        one.waiting = []
        return one.step(submit=False), one.step(2)

    failed, after = play(scenario)
    assert list(groups(failed).values()) == [SIZE] * BATCH
    assert failed["refills"] == [BATCH]
    assert len(failed["warnings"]) == 1
    assert "no rollout came back" in failed["warnings"][0]
    assert after["metrics"]["dissensus/draws"] == 1


def test_a_prompt_that_was_drawn_twice_is_one_group(play):
    def scenario(world):
        rare = lambda row, i: float(i == 0 and row % 2)  # noqa: E731
        one = world({"allocator": "dars_et", "group_size": 4}, answer=rare, chunk=4)
        return one.step()

    found = play(scenario)
    joined = Counter(found["uids"])
    assert len(joined) < len(groups(found))
    assert sum(joined.values()) == found["metrics"]["dissensus/rollouts_trained"]
    assert len(joined) == found["metrics"]["dissensus/groups_trained"]


def test_groups_that_agree_up_to_rounding_are_replaced(play):
    def scenario(world):
        noisy = lambda row, i: 0.1 + 1e-8 * i if row < 3 else float(i % 2)  # noqa: E731
        return world({}, answer=noisy).step()

    found = play(scenario)
    metrics = found["metrics"]
    assert list(groups(found).values()) == [SIZE] * BATCH
    assert metrics["dissensus/groups_replaced"] == metrics["filter_groups/evicted_samples"] == 3
    generated, trained, discarded, *_ = counts(found)
    assert (generated, trained) == (BATCH * SIZE + sum(found["refills"]) * SIZE, BATCH * SIZE)
    assert discarded == generated - trained
    assert found["left"] == sorted(found["keys"])


@pytest.mark.parametrize("mode", ["sync", "colocate_async"])
def test_replacing_ends_at_the_cap(play, mode):
    def scenario(world):
        one = world({"most_batches": 3}, mode=mode, answer=lambda *_: 1.0)
        return one.step(), one.step(2)

    for found in play(scenario):
        assert list(groups(found).values()) == [SIZE] * BATCH
        generated = found["metrics"]["dissensus/rollouts_generated"]
        assert generated <= 3 * BATCH * SIZE
        assert found["metrics"]["dissensus/is_capped"] == 1
        assert len(found["warnings"]) == 1
        assert "3 training batches did not hold enough groups" in found["warnings"][0]


def test_groups_without_a_metric_or_with_one_rollout_are_kept(play):
    def scenario(world):
        one = world({"metric": "acc"})
        for _ in range(4):
            one.submit()
        first, *others = one.waiting
        one.waiting = []
        one.events = [
            lambda: one.finish(first, extras=[{}] * 4),
            lambda: one.put(others[0][0], 1, [1.0]) or one.tag(others[0][0], "finished"),
            *[lambda g=group: one.finish((g[0], 2, 4)) for group in others[1:]],
        ]
        return one.step(submit=False)

    found = play(scenario)
    assert sorted(groups(found).values()) == [1, 4, 4, 4]
    assert found["metrics"]["dissensus/groups_replaced"] == 0


def test_a_chunk_that_refills_do_not_fit_becomes_a_whole_batch(play):
    def scenario(world):
        one = world({}, answer=lambda row, i: float(row > 1 and i % 2), chunk=BATCH)
        return one.step()

    found = play(scenario)
    assert list(groups(found).values()) == [SIZE] * BATCH
    assert set(found["refills"]) == {BATCH}
    assert "set data.gen_batch_size=1" in found["warnings"][0]


def test_what_verl_cannot_do_is_refused_when_the_trainer_is_made(cluster):
    from dissensus.errors import UnsupportedError
    from dissensus.integrations.verl.replay import replay_buffer

    def make(node, mode="sync", **config):
        return replay_buffer(trainer_mode=mode, trainer_config=config, sampler_kwargs=node)

    dapo = {"allocator": "dapo", "group_size": 4}
    with pytest.raises(UnsupportedError, match=r"trainer_mode.*colocate_async.*use sync"):
        make(dapo, "colocate_async")
    with pytest.raises(UnsupportedError, match="parameter_sync_step"):
        make(dapo, parameter_sync_step=2)
    with pytest.raises(UnsupportedError, match="speed_rl trains on rollouts of earlier steps"):
        make({"allocator": "speed_rl", "group_size": 4})


def test_a_step_of_which_nothing_is_selected_trains_on_all_that_was_drawn(play):
    def scenario(world):
        one = world({"allocator": "dapo(max_rounds=2)", "group_size": 4}, answer=lambda *_: 0.0)
        one.events = [lambda: one.put("other", 999, [1.0]) or one.tag("other", "finished")]
        return one.step()

    found = play(scenario)
    assert len(groups(found)) == 2 * BATCH
    assert counts(found) == [2 * BATCH * SIZE, 2 * BATCH * SIZE, 0, 0, 1]
    assert "other" not in groups(found)
    assert any("selected nothing" in text for text in found["warnings"])


def test_without_our_rows_the_allocator_has_no_say_and_says_so(play):
    def scenario(world):
        one = world({"allocator": "dapo", "group_size": 4})
        one.plan, one.buffer._plan._allocator = None, None
        return one.step(), one.step(2)

    first, second = play(scenario)
    assert [len(groups(found)) for found in (first, second)] == [BATCH, BATCH]
    assert counts(second) == [BATCH * SIZE, BATCH * SIZE, 0, 0, 0]
    assert len(second["warnings"]) == 1
    assert "data.custom_cls.path" in second["warnings"][0]
