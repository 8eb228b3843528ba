"""What functions are given, by the names of their parameters, and what they do to it."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from dissensus.audit.blackbox import identify
from dissensus.audit.blackbox.report import answer_of


def blocks(rewards, size):
    table = rewards.reshape(-1, size)
    centred = table - table.mean(axis=1, keepdims=True)
    return (centred / (table.std(axis=1, ddof=1, keepdims=True) + 1e-4)).reshape(-1)


def with_num_generations(rewards, num_generations):
    return blocks(rewards, num_generations)


def with_group_size(rewards, group_size):
    return blocks(rewards, group_size)


def with_n(scores, n):
    return blocks(scores, n)


def with_g(rewards, G):
    return blocks(rewards, G)


def size_first(n_samples_per_prompt, rewards):
    return blocks(rewards, n_samples_per_prompt)


def by_default(rewards, num_generations=8):
    return blocks(rewards, num_generations)


def keyword_only(rewards, *, group_size):
    return blocks(rewards, group_size)


def positional_only(rewards, group_size, /):
    return blocks(rewards, group_size)


@pytest.mark.parametrize(
    "function",
    [
        with_num_generations,
        with_group_size,
        with_n,
        with_g,
        size_first,
        by_default,
        keyword_only,
        positional_only,
        functools.partial(with_num_generations, num_generations=4),
    ],
)
def test_flat_rewards_and_the_group_size(function):
    found = identify(function)
    assert found.adapter == "flat_sized"
    assert found.own == "grpo(ddof=1, eps=0.0001)"
    assert found.failures == ()
    assert found.behaviour.single is not None


def test_the_size_is_a_plain_integer():
    seen = []

    def function(rewards, num_generations):
        seen.append(type(num_generations))
        return blocks(rewards, num_generations)

    identify(function)
    assert set(seen) == {int}


def test_flat_tensors_and_the_group_size():
    torch = pytest.importorskip("torch")
    from dissensus.integrations.advantage_functions import ADAPTERS

    def function(rewards: torch.Tensor, num_generations):
        table = rewards.view(-1, num_generations)
        std = table.std(dim=1, keepdim=True)
        return ((table - table.mean(dim=1, keepdim=True)) / (std + 1e-4)).flatten()

    found = identify(function, adapters=ADAPTERS)
    assert found.adapter == "flat_sized_torch"
    assert found.own == "grpo(ddof=1, eps=0.0001)"


def test_a_second_parameter_of_another_name_still_gets_group_ids():
    def function(rewards, ids):
        means = np.bincount(ids, rewards) / np.bincount(ids)
        return rewards - means[ids]

    found = identify(function)
    assert found.adapter == "flat"
    assert found.own == "dr_grpo()"


def test_an_exponent_named_n_with_a_default_is_no_group_size():
    found = identify(lambda rewards, n=1: rewards**n - (rewards**n).mean(axis=1, keepdims=True))
    assert found.adapter == "dense"


def centres_in_place(rewards):
    rewards -= rewards.mean(axis=1, keepdims=True)
    return rewards


def test_a_function_that_changes_its_input_is_reported():
    found = identify(centres_in_place)
    assert found.own == "dr_grpo()"
    assert found.behaviour.modifies == ("rewards",)
    answer = answer_of(found, target="f")
    (finding,) = (f for f in answer.findings if f.code == "LOG634")
    assert finding.severity.value == "note"
    assert "rewards" in finding.evidence
    assert answer.extra["modifies"] == ["rewards"]


def test_the_input_that_is_changed_is_named():
    def function(rewards, group_ids):
        means = np.bincount(group_ids, rewards) / np.bincount(group_ids)
        out = rewards - means[group_ids]
        group_ids[:] = 0
        return out

    found = identify(function)
    assert found.own == "dr_grpo()"
    assert found.behaviour.modifies == ("group_ids",)


def test_a_tensor_that_is_changed_in_place():
    torch = pytest.importorskip("torch")
    from dissensus.integrations.advantage_functions import ADAPTERS

    def function(rewards: torch.Tensor):
        return rewards.sub_(rewards.mean(dim=1, keepdim=True))

    def token_level(token_level_rewards, response_mask, index, config=None):
        scores = token_level_rewards.sum(-1)
        token_level_rewards.zero_()
        return scores[:, None] * response_mask, None

    assert identify(function, adapters=ADAPTERS).behaviour.modifies == ("rewards",)
    found = identify(token_level, adapters=ADAPTERS)
    assert found.behaviour.modifies == ("token_level_rewards",)


def test_functions_that_leave_their_input_alone():
    for function in (by_default, functools.partial(with_n, n=4), lambda rewards: rewards):
        found = identify(function)
        assert found.behaviour.modifies == ()
        codes = {finding.code for finding in answer_of(found, target="f").findings}
        assert "LOG634" not in codes


def test_an_object_that_changes_its_input():
    class Rule:
        def __call__(self, rewards):
            return centres_in_place(rewards)

    class Rules:
        def method(self, rewards):
            return centres_in_place(rewards)

    assert identify(Rules().method).behaviour.modifies == ("rewards",)
    assert identify(Rule()).behaviour.modifies == ("rewards",)
