"""Signatures of frameworks are recognised and called; the formulas here are written down anew."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dissensus.audit.blackbox import identify
from dissensus.audit.blackbox.isolated import audit_isolated
from dissensus.audit.blackbox.report import answer_of, audit_function
from dissensus.integrations.advantage_functions import ADAPTERS

identified = functools.partial(identify, adapters=ADAPTERS)


def grouped(scores, index, rule):
    out = torch.zeros_like(scores)
    for name in dict.fromkeys(index):
        at = torch.tensor([i for i, other in enumerate(index) if other == name])
        out[at] = rule(scores[at])
    return out


def normalised(eps):
    def rule(r):
        if len(r) == 1:
            return r
        return (r - r.mean()) / (r.std() + eps)

    return rule


def whiten(values, mask):
    inside = values[mask.bool()]
    return (values - inside.mean()) * torch.rsqrt(inside.var() + 1e-8) * mask


def token_grpo(token_level_rewards, response_mask, index, epsilon=1e-6, config=None):
    scores = grouped(token_level_rewards.sum(-1), index, normalised(epsilon))
    return scores[:, None] * response_mask, None


def token_reinforce(token_level_rewards, response_mask, config, **kwargs):
    returns = token_level_rewards.flip(-1).cumsum(-1).flip(-1) * config.gamma
    return whiten(returns, response_mask), returns


def token_values(token_level_rewards, values, response_mask, gamma, lam):
    returns = token_level_rewards.flip(-1).cumsum(-1).flip(-1)
    return whiten((returns - values) * response_mask, response_mask), returns


def token_greedy(token_level_rewards, reward_baselines, response_mask, config=None):
    scores = token_level_rewards.sum(-1) - reward_baselines
    return scores[:, None] * response_mask, None


def test_token_tables():
    found = identified(token_grpo)
    assert found.adapter == "token_table"
    assert found.own == "grpo(ddof=1, eps=1e-06)"
    assert "verl grpo" in found.names
    assert found.behaviour.single == "the raw reward"
    assert not found.per_token
    found = identified(functools.partial(token_grpo, epsilon=1e-3))
    assert found.eps[0] <= 1e-3 <= found.eps[1]


def test_token_tables_that_are_whitened():
    found = identified(token_reinforce)
    assert found.names == ("verl reinforce_plus_plus",)
    assert found.eps[0] <= 1e-8 <= found.eps[1]


def test_values_and_greedy_baselines_are_seen():
    found = identified(token_values)
    assert found.per_token
    assert found.behaviour.reads == ("values",)
    assert answer_of(found, target="f").estimator.numerator == "value_function"
    found = identified(token_greedy)
    assert found.behaviour.reads == ("baselines",)
    assert found.names == ("ReMax (verl remax)",)


def test_rewards_per_function():
    def compute(rewards_per_func, reward_weights, num_generations, scale_rewards="group"):
        rewards = (rewards_per_func * reward_weights).nansum(1).view(-1, num_generations)
        spread = rewards.std(1, keepdim=True) if num_generations > 1 else torch.zeros(1)
        a = (rewards - rewards.mean(1, keepdim=True)) / (spread + 1e-4)
        return a.view(-1), rewards

    found = identified(compute)
    assert found.adapter == "ms_swift"
    assert found.own == "grpo(ddof=1, eps=0.0001)"


def test_rewards_per_function_with_request_ids():
    def compute(rewards_per_func, reward_weights, prompt_ids, request_ids):
        rewards = (rewards_per_func * reward_weights).nansum(1)
        return grouped(rewards, prompt_ids, lambda r: r - r.mean()), rewards

    found = identified(compute)
    assert found.adapter == "ms_swift_dynamic"
    assert found.own == "dr_grpo()"
    assert found.behaviour.order_matters is False


def test_response_level_rewards():
    def norm(response_level_rewards, n_sample=-1, running_ctrl=None, norm_std_type=None):
        table = response_level_rewards.reshape(-1, n_sample)
        a = table - table.mean(-1, keepdim=True)
        return (a / (response_level_rewards.std() + 1e-6) if norm_std_type else a).reshape(-1)

    found = identified(functools.partial(norm, norm_std_type="batch"))
    assert found.adapter == "roll"
    assert found.fit.candidate.denominator == "batch_std"
    assert found.eps[0] <= 1e-6 <= found.eps[1]
    assert identified(norm).own == "dr_grpo()"


def test_trajectory_groups():
    def compute(trajectory_groups_P):
        rewards = [torch.tensor(group.get_total_rewards()) for group in trajectory_groups_P]
        return [r - r.mean() for r in rewards]

    found = identified(compute)
    assert found.adapter == "tinker_cookbook"
    assert found.own == "dr_grpo()"


def test_objects_that_normalise():
    class Norm:
        mean_level, std_level, group_size = "group", "group", 1

        def __call__(self, x):
            table = x.double().view(-1, self.group_size)
            std = table.std(1, keepdim=True) if self.group_size > 1 else 1.0
            return ((table - table.mean(1, keepdim=True)) / (std + 1e-5)).view(-1).float()

    norm = Norm()
    found = identified(norm)
    assert found.adapter == "areal"
    assert found.eps[0] <= 1e-5 <= found.eps[1]
    assert norm.group_size == 1
    assert found.behaviour.noise[0.7][1] == 0.0


def test_prompt_ids():
    class Estimator:
        def compute_advantage(self, prompt_ids, rewards, mask, **kwargs):
            def rule(r):
                if len(r) == 1:
                    return torch.zeros_like(r)
                return r - (r.sum() - r) / (len(r) - 1)

            advantages = grouped(rewards, prompt_ids[:, 0].tolist(), rule)
            return advantages[:, None].expand(mask.shape)

    found = identified(Estimator())
    assert found.adapter == "nemo_rl"
    assert found.own == "rloo()"


def test_bare_functions_on_tensors_and_on_arrays():
    """`std` has ddof 1 in torch and ddof 0 in numpy: the library that a function names decides."""

    def on_tensors(rewards: torch.Tensor):
        return (rewards - rewards.mean(1)[:, None]) / (rewards.std(1)[:, None] + 1e-4)

    def on_arrays(rewards: np.ndarray):
        return (rewards - rewards.mean(1)[:, None]) / (rewards.std(1)[:, None] + 1e-4)

    def only_tensors(rewards):
        return rewards - rewards.mean(dim=1, keepdim=True)

    assert identified(on_tensors).fit.candidate.ddof == 1
    assert identified(on_arrays).fit.candidate.ddof == 0
    found = identified(only_tensors)
    assert found.own == "dr_grpo()"
    assert found.adapter == "dense_torch"

    def flat(rewards: torch.Tensor, ids: torch.Tensor):
        return grouped(rewards, ids.tolist(), normalised(1e-6))

    assert identified(flat).adapter == "flat_torch"


def test_every_estimator_of_verl():
    core = pytest.importorskip("verl.trainer.ppo.core_algos", reason="verl is not installed")
    for name, function in core.ADV_ESTIMATOR_REGISTRY.items():
        found = identified(function)
        assert found.formula is not None, name
        rule = name.removesuffix("_vectorized")  # the same rule, computed in one go
        assert any(rule in known for known in found.names), name


@pytest.mark.parametrize(
    ("settings", "denominator"),
    [
        ({"scale_rewards": "group"}, "group_std"),
        ({"scale_rewards": "batch"}, "batch_std"),
    ],
    ids=["group", "batch"],
)
@pytest.mark.filterwarnings("ignore")
def test_a_trainer_of_trl(tmp_path, settings, denominator):
    trl = pytest.importorskip("trl", reason="trl is not installed")
    import tiny

    trainer = tiny.build(trl.GRPOTrainer, tmp_path, args=settings)
    before = {key: len(value) for key, value in trainer._metrics["train"].items()}
    found = identified(trainer)
    assert found.adapter == "trl"
    assert found.fit.candidate.denominator == denominator
    if found.eps is not None:
        assert found.eps[0] <= 1e-4 <= found.eps[1]
        assert found.fit.candidate.ddof == 1
    # Nothing of the audit stays in the trainer.
    assert {key: len(value) for key, value in trainer._metrics["train"].items()} == before
    assert "_calculate_rewards" not in trainer.__dict__
    assert trainer.num_generations == 4


def test_a_target_with_framework_adapters(tmp_path):
    path = tmp_path / "custom.py"
    path.write_text(
        "import torch\n"
        "def adv(token_level_rewards, response_mask, config, index=None, **kwargs):\n"
        "    s = token_level_rewards.sum(-1)\n"
        "    return (s - s.mean())[:, None] * response_mask, s\n"
    )
    answer = audit_function(f"{path}:adv", adapters=ADAPTERS)
    assert audit_isolated(f"{path}:adv", adapters=ADAPTERS).to_json() == answer.to_json()
    assert answer.extra["adapter"] == "token_table"
    assert answer.extra["rule"] == "(r − batch mean)"


def test_stand_ins_cover_what_adapters_read():
    adapters = {adapter.name: adapter for adapter in ADAPTERS}
    assert not adapters["trl"].accepts(SimpleNamespace())
    assert not adapters["areal"].accepts(lambda rewards: rewards)


@pytest.mark.filterwarnings("ignore")
def test_the_log_of_a_run_tells_trls_rule(tmp_path):
    pytest.importorskip("trl", reason="trl is not installed")
    import tiny

    from dissensus import Run
    from dissensus.audit.logged import audit_log
    from dissensus.integrations.trl import DisagreementGRPOTrainer

    trainer = tiny.build(
        DisagreementGRPOTrainer,
        tmp_path,
        args={"max_steps": 4},
        run_dir=tmp_path / "run",
        reward_funcs=[tiny.length_reward],
    )
    trainer.train()
    trainer.recorder.close()
    answer = audit_log(Run(tmp_path / "run").rollouts().to_batches(), target="run")
    facts = answer.estimator
    assert (facts.numerator, facts.denominator, facts.ddof) == ("mean", "group_std", 1)
    assert facts.eps[0] <= 1e-4 <= facts.eps[1]
    assert answer.extra["precision"] == "float32"
