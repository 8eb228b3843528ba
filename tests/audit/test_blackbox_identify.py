"""Functions written down here from the papers and frameworks are found for what they are."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dissensus import RewardGroups
from dissensus.audit.blackbox import identify
from dissensus.audit.blackbox.report import answer_of
from dissensus.core import advantages

FAST = settings(max_examples=8)


def by_group(rewards, groups, rule):
    """Apply `rule` to the rewards of each group, in whatever order they come."""
    out = np.zeros(len(rewards))
    for group in np.unique(groups):
        out[groups == group] = rule(rewards[groups == group])
    return out


def centred(table):
    return table - table.mean(axis=1, keepdims=True)


def grpo(ddof, eps, dtype=np.float64):
    def function(rewards):
        table = rewards.astype(dtype)
        return centred(table) / (table.std(axis=1, ddof=ddof, keepdims=True) + dtype(eps))

    return function


def family(function, **options):
    found = identify(function, **options)
    assert found.fit is not None, found.closest
    candidate = found.fit.candidate
    return candidate.numerator, candidate.denominator, candidate.ddof, found


@FAST
@given(
    ddof=st.sampled_from([0, 1]),
    power=st.floats(-9, -2),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_group_std_with_any_eps(ddof, power, dtype):
    eps = float(dtype(10.0**power))
    *kind, found = family(grpo(ddof, eps, dtype))
    assert kind == ["mean", "group_std", ddof]
    low, high = found.eps
    assert low <= eps <= high
    assert high - low <= 1e-4 * eps
    assert not found.fit.candidate.inside
    assert found.error < 1e-5


@FAST
@given(ddof=st.sampled_from([0, 1]), power=st.floats(-9, -3))
def test_eps_inside_the_root_is_told_from_eps_outside(ddof, power):
    eps = 10.0**power

    def function(rewards):
        return centred(rewards) / np.sqrt(rewards.var(axis=1, ddof=ddof, keepdims=True) + eps)

    *kind, found = family(function)
    assert kind == ["mean", "group_std", ddof]
    assert found.fit.candidate.inside
    assert found.eps[0] <= eps <= found.eps[1]


def test_without_eps_the_interval_starts_at_zero():
    def function(rewards):
        std = rewards.std(axis=1, keepdims=True)
        return np.divide(centred(rewards), std, out=np.zeros_like(rewards), where=std > 0)

    *kind, found = family(function)
    assert kind == ["mean", "group_std", 0]
    assert found.eps[0] == 0.0
    assert found.eps[1] < 1e-15


@FAST
@given(ddof=st.sampled_from([0, 1]), power=st.floats(-8, -3))
def test_batch_std_raw_and_centred_are_told_apart(ddof, power):
    eps = 10.0**power

    def raw(rewards):
        return centred(rewards) / (rewards.std(ddof=ddof) + eps)

    def of_centred(rewards):
        return centred(rewards) / (centred(rewards).std(ddof=ddof) + eps)

    for function, denominator in ((raw, "batch_std"), (of_centred, "batch_centred_std")):
        *kind, found = family(function)
        assert kind == ["mean", denominator, ddof]
        assert found.eps[0] <= eps <= found.eps[1]
        assert found.behaviour.leaks > 0.01
        assert found.signature is None


def test_no_division_and_the_leave_one_out_baseline():
    *kind, found = family(centred)
    assert kind == ["mean", "none", None]
    assert found.own == "dr_grpo()"
    assert "tinker-cookbook" in found.names

    def others(rewards):
        size = rewards.shape[1]
        return rewards - (rewards.sum(axis=1, keepdims=True) - rewards) / (size - 1)

    *kind, found = family(others)
    assert kind == ["leave_one_out", "none", None]
    assert "verl rloo" in found.names


def test_std_of_the_others_leaves_the_lone_correct_rollout_undivided():
    def function(rewards, groups):
        def rule(r):
            out = np.zeros(len(r))
            for i in range(len(r)):
                rest = np.delete(r, i)
                if len(rest):
                    std = rest.std(ddof=1) if len(rest) > 1 else 0.0
                    out[i] = (r[i] - rest.mean()) / (std + 1e-6 if std > 0 else 1.0)
            return out

        return by_group(rewards, groups, rule)

    *kind, found = family(function)
    assert kind == ["leave_one_out", "leave_one_out_std", 1]
    assert found.eps[0] <= 1e-6 <= found.eps[1]
    assert found.signature.positive[1] == pytest.approx(1.0)
    assert found.names == ("NeMo-RL grpo",)


def test_division_by_the_group_mean():
    def function(rewards):
        return centred(rewards) / (rewards.mean(axis=1, keepdims=True) + 1e-6)

    *kind, found = family(function)
    assert kind == ["mean", "group_mean", None]
    assert found.names == ("SkyRL maxrl",)


def test_no_baseline_at_all():
    *kind, found = family(lambda rewards: rewards.copy())
    assert kind == ["none", "none", None]
    assert found.behaviour.silent_alone == 1.0
    assert found.behaviour.single == "the raw reward"


def test_whitening_of_raw_rewards():
    def function(rewards):
        return (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-5)

    *kind, found = family(function)
    assert kind == ["none", "batch_std", 1]
    assert found.fit.candidate.shift
    assert found.behaviour.silent_beside > 0.1


def test_group_normalisation_followed_by_whitening():
    def function(rewards):
        a = centred(rewards) / (rewards.std(axis=1, ddof=1, keepdims=True) + 1e-3)
        return (a - a.mean()) / (a.std(ddof=1) + 1e-8)

    found = identify(function)
    assert found.fit is None
    assert "then whitening over rollouts" in found.special.special.name
    low, high = found.eps
    assert low <= 1e-3 <= high
    assert high - low < 1e-6


def test_best_minus_second_best():
    def function(rewards):
        out = np.zeros_like(rewards)
        top = np.sort(rewards, axis=1)
        best = top[:, -1] - top[:, -2]
        out[np.arange(len(rewards)), rewards.argmax(axis=1)] = best
        return out / (rewards.std(axis=1, ddof=1, keepdims=True) + 1e-6)

    found = identify(function)
    assert found.fit is None
    assert found.special.special.name.startswith("pass@k")
    assert found.eps[0] <= 1e-6 <= found.eps[1]


# What each rule of this package is, as far as rewards and lengths can show it: the family
# (r − baseline)/(spread + eps), in which the rule itself is named, ...
FOUND = {
    name: name
    for name in (
        "dr_grpo", "grpo", "lite_ppo", "maxrl", "nemo_rl_loo", "opo", "reinforce_pp",
        "reinforce_pp_baseline", "rloo",
    )
}  # fmt: skip
# ... and rules that on split groups of two-valued rewards are another one.
FOUND |= {
    "avspo": "grpo", "dapo": "grpo", "surrogate": "grpo", "gpg": "dr_grpo", "vr_cond": "maxrl",
}  # fmt: skip
# Functions of any rewards and of nothing else that lie outside the family.
OUTSIDE = {"grpo_passk", "krpo", "ngrpo", "one_sided_grpo", "quantile", "rank"}
# Its spread leaves unanimous groups out, which the family has no word for.
OUTSIDE |= {"scale_rl"}


@pytest.mark.parametrize("name", advantages.names())
def test_every_estimator_of_this_package_is_found_or_has_a_reason_not_to_be(name):
    rule = advantages.get(name)
    found = identify(rule)
    asks_for_more = bool({*rule.needs} - {"lengths"})
    is_binary = advantages.profile(name).rewards == "binary"
    if name in FOUND:
        assert found.own is not None
        assert found.own.startswith(f"{FOUND[name]}(")
        assert found.error < 1e-9
    else:
        assert found.own is None
        assert name in OUTSIDE or asks_for_more or is_binary
    said = "needs the context field" if asks_for_more else "which rollouts are correct"
    assert any(said in line for line in found.failures) == (asks_for_more or is_binary)


@pytest.mark.parametrize("name", FOUND)
def test_the_estimator_that_is_named_gives_the_same_advantages(name):
    rng = np.random.default_rng(0)
    groups = RewardGroups.from_dense(
        rng.permuted(np.arange(6) < rng.integers(1, 6, (20, 1)), axis=1).astype(float)
    )
    context = advantages.Context(lengths=rng.integers(1, 50, groups.n_rollouts))
    rule = advantages.get(name)
    named = advantages.get(str(identify(rule).own))
    np.testing.assert_allclose(named(groups, context), rule(groups, context), rtol=1e-9)


@pytest.mark.parametrize(
    ("ddof", "eps", "is_own"), [(1, 1e-8, True), (0, 1e-8, False), (1, 1e-3, False)]
)
def test_whitening_with_another_ddof_or_eps_is_not_the_published_rule(ddof, eps, is_own):
    found = identify(advantages.chain("dr_grpo", advantages.Whiten(ddof=ddof, eps=eps)))
    assert (found.own == "reinforce_pp_baseline()") == is_own


@pytest.mark.parametrize(
    "function",
    [
        lambda rewards: np.sign(centred(rewards)),
        lambda rewards: centred(rewards) ** 3,
        lambda rewards: np.argsort(np.argsort(rewards, axis=1), axis=1) - 1.5,
        lambda rewards: rewards - np.median(rewards, axis=1, keepdims=True),
        lambda rewards: np.clip(grpo(1, 1e-4)(rewards), -0.5, 0.5),
        lambda rewards: centred(rewards) / (np.abs(centred(rewards)).mean(1, keepdims=True) + 1e-4),
    ],
    ids=["sign", "cube", "rank", "median", "clip", "mean deviation"],
)
def test_other_rules_are_none_that_is_known(function):
    found = identify(function)
    assert found.formula is None
    assert found.names == ()
    assert found.closest.share < 0.97


def test_a_tolerance_for_silence_is_bracketed():
    def function(rewards):
        reach = np.ptp(rewards, axis=1, keepdims=True)
        return np.where(reach > 1e-4, grpo(1, 1e-6)(rewards), 0.0)

    *kind, found = family(function)
    assert kind == ["mean", "group_std", 1]
    low, high = found.zero_below
    assert low <= 1e-4 <= high
    assert high < 1e-3


@FAST
@given(
    ddof=st.sampled_from([0, 1]), power=st.floats(-8, 0), dtype=st.sampled_from([np.float32, float])
)
def test_a_floor_of_the_std_is_not_an_eps(ddof, power, dtype):
    floor = float(dtype(10.0**power))

    def function(rewards):
        table = rewards.astype(dtype)
        std = table.std(axis=1, ddof=ddof, keepdims=True)
        return centred(table) / np.maximum(std, dtype(floor))

    *kind, found = family(function)
    assert kind == ["mean", "group_std", ddof]
    assert found.fit.candidate.limit == "floor"
    assert found.formula == f"(r − group mean) / max(group std, ddof {ddof}; floor)"
    low, high = found.limit
    assert low <= floor <= high
    assert high - low <= 1e-4 * floor
    assert found.eps is None
    assert found.own is None
    assert found.names[0].startswith("spread never below")


@pytest.mark.parametrize("cap", [0.2, 1.0, 50.0])
def test_a_cap_of_the_std_is_said(cap):
    def function(rewards):
        return centred(rewards) / np.minimum(rewards.std(axis=1, keepdims=True), cap)

    *kind, found = family(function)
    assert kind == ["mean", "group_std", 0]
    assert found.fit.candidate.limit == "cap"
    assert found.limit[0] <= cap <= found.limit[1]


def test_a_small_std_that_is_not_divided_by_is_said():
    def function(rewards):
        std = rewards.std(axis=1, ddof=1, keepdims=True)
        return centred(rewards) / np.where(std < 3e-6, 1.0, std)

    *kind, found = family(function)
    assert kind == ["mean", "group_std", 1]
    assert found.fit.candidate.limit == "undivided"
    assert found.limit[0] <= 3e-6 <= found.limit[1]


def test_a_floor_of_the_batch_std():
    def function(rewards):
        return centred(rewards) / max(rewards.std(), 0.01)

    *kind, found = family(function)
    assert kind == ["mean", "batch_std", 0]
    assert found.fit.candidate.limit == "floor"


@pytest.mark.parametrize(
    "function",
    [
        lambda r: centred(r) / (np.maximum(r.std(axis=1, keepdims=True), 1e-2) + 1e-4),
        lambda r: centred(r) / np.clip(r.std(axis=1, keepdims=True), 1e-2, 10.0),
        lambda r: np.clip(centred(r), -20.0, 20.0),
        lambda r: centred(np.clip(r, -20.0, 20.0)),
        lambda r: centred(r) / (r.std(1, keepdims=True) + 1e-2 * (np.ptp(r) < 0.05)),
        lambda r: np.where((np.ptp(r) < 1e-3) & (np.ptp(r) > 1e-5), 0.0, grpo(1, 1e-9)(r)),
    ],
    ids=["floor and eps", "clip", "advantage", "reward", "late eps", "gap"],
)
def test_no_fit_is_reported_that_a_scaled_probe_contradicts(function):
    found = identify(function)
    assert found.formula is None
    assert found.own is None
    assert found.names == ()
    answer = answer_of(found, target="f")
    (said,) = (f.evidence for f in answer.findings if f.code == "LOG611")
    assert found.contradicted in said
    assert answer.estimator.denominator is None
    assert answer.extra["contradicted"] == found.contradicted


def test_the_evidence_against_a_fit_names_the_scale_and_both_values():
    found = identify(lambda rewards: np.clip(centred(rewards), -20.0, 20.0))
    assert found.contradicted.startswith("r − group mean fits until rewards are multiplied by 10")
    assert re.search("times 1000 a reward gets ([+-])20, not \\1", found.contradicted)


def test_the_answer_about_a_floor_has_no_eps():
    def function(rewards):
        return centred(rewards) / np.maximum(rewards.std(axis=1, ddof=1, keepdims=True), 1e-2)

    answer = answer_of(identify(function), target="f")
    assert answer.estimator.eps is None
    assert answer.estimator.name == "spread never below 0.01, instead of + eps"
    assert answer.extra["limit"]["kind"] == "floor"
    assert answer.extra["limit"]["bounds"] == pytest.approx([0.01, 0.01])


@pytest.mark.parametrize("bound", [2.0, 5.0, 7.5])
def test_clipped_advantages_are_no_plain_rule(bound):
    found = identify(
        lambda r: np.clip(centred(r) / (r.std(axis=1, keepdims=True) + 1e-6), -bound, bound)
    )
    assert found.fit is None
    assert "LOG611" in {f.code for f in answer_of(found, target="f").findings}


def test_a_rule_that_changes_with_the_number_of_groups_is_no_plain_rule():
    def rule(rewards):
        few = len(rewards) <= 16
        return centred(rewards) / (rewards.std(axis=1, keepdims=True) + 1e-6 if few else 1.0)

    assert identify(rule).fit is None


def test_a_function_for_one_group_size_is_called():
    def of_eight(rewards):
        if rewards.shape[1] != 8:
            raise ValueError("groups of 8")
        return grpo(1, 1e-6)(rewards)

    found = identify(of_eight)
    answer = answer_of(found, target="f")
    assert (answer.estimator.denominator, answer.estimator.ddof) == ("group_std", 1)
    assert found.eps[0] <= 1e-6 <= found.eps[1]
    assert "LOG631" in {f.code for f in answer.findings}


def test_what_one_probe_cannot_tell_is_unknown():
    def of_two_right_or_wrong(rewards):
        if rewards.shape[1] != 2 or not np.isin(rewards, (0.0, 1.0)).all():
            raise ValueError("two rollouts")
        return np.sign(centred(rewards))

    answer = answer_of(identify(of_two_right_or_wrong), target="f")
    # ±1 is what r − the other reward gives, and what r − mean over σ (ddof 0) gives.
    assert answer.estimator.denominator is None
    assert any(line.startswith("denominator: none and group_std") for line in answer.unknown)
