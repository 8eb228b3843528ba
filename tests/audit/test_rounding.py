"""What is said about rounding, against the lines of the frameworks themselves, run with torch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from dissensus.audit.resolve import resolve

from .trap_cases import settings

torch = pytest.importorskip("torch")

REWARDS = (0.1, 0.3, 0.7, 0.95)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def says(framework, code, **values):
    given = {key.replace("__", "."): value for key, value in values.items()}
    return code in [f.code for f in resolve(settings(framework, given), installed={}).findings]


def constant(size, reward, groups=16):
    torch.manual_seed(0)
    rows = torch.bernoulli(torch.full((groups, size), 0.5))
    rows[groups // 2] = reward
    return rows


def openrlhf(rewards):
    # openrlhf/trainer/ppo_utils/experience_maker.py, compute_advantages_and_returns
    return (rewards - rewards.mean(-1, keepdim=True)) / (rewards.std(-1, keepdim=True) + 1e-9)


@pytest.mark.parametrize("size", [2, 4, 5, 7, 8, 16, 32])
def test_openrlhf_in_a_batch_of_several_groups(size):
    worst = openrlhf(constant(size, 0.7))[8].abs().max().item()
    found = says(
        "openrlhf",
        "EST103",
        algo__advantage__estimator="group_norm",
        rollout__n_samples_per_prompt=size,
    )
    assert found == (worst > 1)
    if found:
        assert worst == pytest.approx(59.6, rel=0.01)
        alone = openrlhf(torch.full((1, size), 0.7)).abs().max().item()
        assert alone == pytest.approx(0.9, abs=0.1)


def verl(scores):
    # verl/trainer/ppo/core_algos.py, compute_grpo_outcome_advantage, one group
    stacked = torch.stack(list(scores))
    return (stacked - torch.mean(stacked)) / (torch.std(stacked) + 1e-6)


@pytest.mark.parametrize("size", [2, 4, 5, 7, 8, 16, 32])
def test_verl_and_slime_divide_rounding_steps_from_seven_rollouts_on(size):
    rows = constant(size, 0.7)
    centred = rows - rows.mean(dim=-1, keepdim=True)  # slime/ray/rollout.py, _post_process_rewards
    slime = centred / (centred.std(dim=-1, keepdim=True) + 1e-6)
    for worst in (verl(rows[8]).abs().max().item(), slime[8].abs().max().item()):
        assert (worst > 0) == (size >= 7)
        assert worst == 0 or worst == pytest.approx(0.06, abs=0.005)
    key = {"algorithm__adv_estimator": "grpo", "actor_rollout_ref__rollout__n": size}
    assert says("verl", "EST115", **key) == (size >= 7)
    assert says("slime", "EST115", n_samples_per_prompt=size) == (size >= 7)


@pytest.mark.parametrize("size", [4, 7, 8, 16])
@pytest.mark.parametrize("reward", REWARDS)
def test_nemo_rl_gets_no_such_step(size, reward):
    # nemo_rl/algorithms/utils.py, calculate_baseline_and_std_per_prompt, all rollouts of a group
    rewards, ones = torch.full((size,), reward), torch.ones(size, size)
    mean, square = ones @ rewards / size, ones @ rewards.pow(2) / size
    std = ((square - mean.square()) * (size / (size - 1))).sqrt().nan_to_num(0)
    advantages = rewards - mean
    advantages[std > 0] /= std[std > 0] + 1e-6
    assert advantages.abs().max().item() < 2e-3
    given = {"grpo__adv_estimator__use_leave_one_out_baseline": False}
    assert not says("nemo_rl", "EST115", grpo__num_generations_per_prompt=size, **given)


@pytest.mark.parametrize("size", [4, 7, 8, 16, 32])
@pytest.mark.parametrize("reward", REWARDS)
def test_ms_swift_sees_equal_rewards_in_a_batch_of_several_groups(size, reward):
    # swift/rlhf_trainers/grpo_trainer.py, compute_std; swift/rl_core/advantage.py
    assert constant(size, reward).std(dim=1)[8] == 0
    for code in ("SAM502", "MET404"):
        assert not says("ms_swift", code, dynamic_sample=True, num_generations=size)


@pytest.mark.parametrize("size", [2, 4, 8, 16, 32])
def test_numpy_averages_equal_float64_rewards_of_such_groups_exactly(size):
    # np.std(rewards) of verl's replay buffer, SkyRL and open-instruct
    assert all(np.std([cents / 100] * size) == 0 for cents in range(100))
    assert not says("open_instruct", "SAM502", num_samples_per_prompt_rollout=size)
    filtered = {"trainer__algorithm__dynamic_sampling__type": "filter"}
    assert not says("skyrl", "SAM502", generator__n_samples_per_prompt=size, **filtered)


def test_numpy_does_not_for_others():
    assert np.std([0.7] * 6) > 0
    assert np.std([0.7] * 12) > 0
    assert says("open_instruct", "SAM502", num_samples_per_prompt_rollout=12)


@pytest.mark.parametrize("size", [2, 4, 7, 8, 16])
def test_the_metric_of_trl_misses_equal_rewards_from_seven_rollouts_on(size):
    # trl/trainer/utils.py, nanstd
    rows = constant(size, 0.7)
    mean = torch.nanmean(rows, dim=1, keepdim=True)
    std = torch.nanmean((rows - mean) ** 2, dim=1).mul(size / (size - 1)).sqrt()[8]
    missed = not torch.isclose(std, torch.zeros(()))
    assert missed == says("trl", "MET404", num_generations=size)


@pytest.mark.parametrize("size", [4, 7, 8, 16])
def test_gdpo_of_ms_swift_makes_advantages_of_rounding_steps(size):
    # swift/rl_core/advantage.py, compute_advantages; swift/utils/torch_utils.py, nanstd
    rows = constant(size, 0.7)
    centred = rows - torch.nanmean(rows, dim=1, keepdim=True)
    std = torch.nanmean(centred**2, dim=1, keepdim=True).mul(size / (size - 1)).sqrt()
    worst = (centred / (std + 1e-8))[8].abs().max().item()
    assert worst == 0 or worst == pytest.approx(0.81, abs=0.03)
    assert says("ms_swift", "EST103", scale_rewards="gdpo", num_generations=size) == (worst > 0)


def test_the_group_std_of_one_rollout_is_nan_in_roll():
    # roll/utils/functionals.py, reward_norm
    rewards = torch.ones(4, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        std = torch.std(rewards, dim=-1, keepdim=True)
    assert ((rewards - rewards.mean(dim=-1, keepdim=True)) / (std + 1e-6)).isnan().all()
    assert says("roll", "EST105", adv_estimator="grpo")
