"""An allocator between verl's rows and its finished groups, without verl."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from dissensus.core import allocation
from dissensus.core.allocation import Written
from dissensus.errors import InputError, RunError, UnsupportedError
from dissensus.integrations.verl.sampling_options import SamplingOptions
from dissensus.integrations.verl.sampling_plan import Answer, Plan
from dissensus.integrations.verl.sampling_table import observe, refusal, require_allowed, table

ROWS, BATCH, SIZE = 40, 4, 4


def make_plan(strategy="uniform", rows=ROWS, **more):
    options = SamplingOptions.of({"allocator": strategy, "group_size": SIZE, **more})
    plan = Plan(options)
    plan.open(rows, BATCH)
    return plan


def fetch(plan, count):
    """What verl does: it fetches rows one by one, and generates as often as they say."""
    return [plan.next_row(offered) for offered in range(count)]


def answers(orders, reward):
    return [
        Answer(order.row, reward(order.row, i), 5.0, f"{order.row}_{i}")
        for order in orders
        for i in range(order.rollouts)
    ]


def play(plan, reward, mix=lambda found: found):
    """One step of verl, whose buffer tells all that came back; returns its orders by draw."""
    draws = [fetch(plan, BATCH)]
    while True:
        draws[-1] += fetch(plan, plan.unserved)
        plan.tell(mix(answers(draws[-1], reward)))
        if not plan.ask():
            return draws
        draws.append([])


def half(row, i):
    """Even rows are split, odd ones agree."""
    return float(row % 2 == 0 and i % 2)


def test_the_first_draw_takes_the_place_of_the_rows_that_verl_offers():
    plan = make_plan()
    orders = fetch(plan, BATCH)
    assert len({order.row for order in orders}) == BATCH
    assert {order.rollouts for order in orders} == {SIZE}
    assert (plan.unserved, plan.drawn) == (0, BATCH * SIZE)


def test_what_a_draw_does_not_fill_is_rows_without_rollouts():
    plan = make_plan("pods")  # draws 16 of each prompt, so one prompt fills the batch
    orders = fetch(plan, BATCH)
    assert [order.rollouts for order in orders] == [16, 0, 0, 0]


def test_a_draw_longer_than_verls_batch_waits_for_the_buffer():
    plan = make_plan("greso", group_size=2)  # its first round is one and a half batches
    fetch(plan, BATCH)
    assert plan.unserved == 2
    assert all(order.rollouts == 2 for order in fetch(plan, plan.unserved))
    assert plan.next_row(7) == (7, 0)


def test_refill_goes_on_until_the_batch_is_split_and_counts_everything():
    plan = make_plan("dapo")
    draws = play(plan, half)
    chosen = plan.choose()
    assert len(chosen) == BATCH
    assert all(int(group.names[0].split("_")[0]) % 2 == 0 for group in chosen)
    asked = sum(order.rollouts for draw in draws for order in draw)
    assert (plan.ledger.generated, plan.ledger.trained) == (asked, BATCH * SIZE)
    assert plan.short_of(len(chosen)) == 0


def test_refill_is_capped_and_says_so_once(caplog):
    plan = make_plan("dapo", most_batches=3)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            draws = play(plan, lambda _row, _i: 1.0)
            assert len(draws) == 3
            assert plan.choose() == []
            assert plan.short_of(0) == BATCH
            plan.end_step()
    text = "a step trains on 0 groups where dapo wanted 4: 10 rounds, or 3 training batches, did"
    assert len(caplog.records) == 1
    assert text in caplog.text


def test_the_order_in_which_rollouts_come_back_changes_nothing():
    straight, mixed = make_plan("contrast(least=2)"), make_plan("contrast(least=2)")
    shuffle = random.Random(3)
    for _ in range(4):
        first = play(straight, half)
        second = play(mixed, half, mix=lambda found: shuffle.sample(found, len(found)))
        assert first == second
        chosen = [sorted(group.names) for group in straight.choose()]
        assert chosen == [sorted(group.names) for group in mixed.choose()]
        straight.end_step()
        mixed.end_step()


def test_lost_duplicated_and_unknown_rollouts():
    plan = make_plan()
    orders = fetch(plan, BATCH)
    found = answers(orders, half)
    odd = [Answer(999, 1.0, 1.0, "unknown_0"), found[5]._replace(name="again")]
    missing = found[0].name
    scored = [found[1]._replace(reward=float("nan")), *found[2:]]
    assert plan.tell([*scored, *odd]) == 2
    assert not plan.ask()
    trained = {name for group in plan.choose() for name in group.names}
    assert trained == {each.name for each in found} - {missing, found[1].name}


def test_a_failed_step_is_left_to_verl_and_the_next_one_is_drawn():
    plan = make_plan("dapo")
    fetch(plan, BATCH)
    plan.abandon()
    assert plan.next_row(11) == (11, SIZE)  # verl's own row
    plan.end_step()
    play(plan, half)
    assert len(plan.choose()) == BATCH


def test_an_allocator_that_fails_leaves_the_rows_to_verl(caplog, monkeypatch):
    plan = make_plan()

    def fail(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(plan._allocator, "ask", fail)
    with caplog.at_level(logging.WARNING):
        assert fetch(plan, 2) == [(0, SIZE), (1, SIZE)]
    assert not plan.has_draw
    assert len(caplog.records) == 1
    assert "broken" in caplog.text


@pytest.mark.parametrize("broken", ["tell", "ask"])
def test_an_allocator_that_cannot_end_its_step_leaves_it_to_verl(caplog, monkeypatch, broken):
    plan = make_plan()
    fetch(plan, BATCH)

    def fail(*_, **__):
        raise RuntimeError("broken")

    monkeypatch.setattr(plan._allocator, broken, fail)
    with caplog.at_level(logging.WARNING):
        plan.abandon()
        assert plan.next_row(11) == (11, SIZE)
        plan.end_step()
        assert plan.next_row(12) == (12, SIZE)  # and so on, until the training ends
    assert "broken" in caplog.text


@pytest.mark.parametrize("strategy", ["uniform", "contrast(least=2)", "greso", "dars_et"])
def test_a_restart_goes_on_as_if_there_had_been_none(strategy):
    plan, whole = make_plan(strategy), make_plan(strategy)
    for _ in range(3):
        play(plan, half)
        play(whole, half)
        plan.choose()
        whole.choose()
        plan.end_step()
        whole.end_step()
    again = make_plan(strategy)
    again.load_state_dict(plan.state_dict())
    assert again.ledger == whole.ledger
    for _ in range(3):
        assert play(again, half) == play(whole, half)
        assert again.choose() == whole.choose()
        again.end_step()
        whole.end_step()


def test_a_state_of_something_else_is_refused_in_one_line():
    state = make_plan("greso").state_dict()
    with pytest.raises(
        RunError, match=r"state of another strategy.*resume with the same allocator"
    ):
        make_plan("dapo").load_state_dict(state)
    with pytest.raises(RunError, match=r"another training set.*40 rows, now 41"):
        make_plan("greso", rows=ROWS + 1).load_state_dict(state)


@pytest.mark.parametrize(
    ("node", "text"),
    [
        ({"alocator": "dapo"}, "no key 'alocator'"),
        ({"allocator": "dapo"}, r"sampler_kwargs.group_size.*rollout.n"),
        ({"allocator": "dappo", "group_size": 8}, "did you mean dapo"),
        ({"tol": -1.0}, "sampler_kwargs.tol"),
        ({"tol": float("nan")}, "sampler_kwargs.tol"),
        ({"most_batches": 0}, "sampler_kwargs.most_batches"),
        ({"correct": "acc"}, "sampler_kwargs.correct"),
        ({"allocator": 3}, "sampler_kwargs.allocator"),
    ],
)
def test_bad_settings_are_one_line(node, text):
    with pytest.raises(InputError, match=text) as caught:
        SamplingOptions.of(node)
    assert "\n" not in str(caught.value)


def test_strategies_that_verl_cannot_follow_are_refused_with_the_reason():
    def require(strategy, estimator):
        node = {"allocator": strategy, "group_size": SIZE, "estimator": estimator}
        require_allowed(SamplingOptions.of(node))

    with pytest.raises(UnsupportedError, match="dots trains on rollouts of earlier steps"):
        require("dots", "dissensus_grpo")
    with pytest.raises(UnsupportedError, match="reinforce_ada centres on rollouts"):
        require("reinforce_ada", "dissensus_grpo")
    with pytest.raises(
        UnsupportedError, match=r"contrast multiplies.*adv_estimator=dissensus_grpo"
    ):
        require("contrast", "grpo")
    require("contrast", "dissensus_grpo")
    require("dapo", "grpo")


def test_what_is_seen_of_strategies_agrees_with_what_is_known_of_them():
    assert not any(observe(Written("uniform")))
    assert observe(Written("pods")).parts
    assert observe(Written("dapo"))[:4] == (False, True, False, True)
    assert observe(Written("dars_et")).same_prompt
    assert observe(Written("contrast")).weights
    for name in allocation.names():
        earlier = allocation.describe(name).allocator.reuses_rollouts
        assert not earlier or "earlier steps" in (refusal(observe(Written(name))) or "")


def test_the_page_has_the_table_that_the_code_prints():
    page = Path(__file__).parents[2] / "docs" / "verl_sampling.md"
    assert table() in page.read_text(encoding="utf-8")
