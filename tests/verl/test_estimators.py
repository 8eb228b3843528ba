"""Our rules called by verl's own `compute_advantage`, on its own DataProto."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("verl.protocol", reason="verl has its own environment: make test-verl")

from omegaconf import OmegaConf
from verl import DataProto
from verl.trainer.ppo import core_algos
from verl.trainer.ppo.ray_trainer import compute_advantage

from dissensus import advantages
from dissensus.errors import UnsupportedError


def algorithm(name="dissensus_grpo", **node):
    return OmegaConf.create({"adv_estimator": name, "gamma": 1.0, "lam": 1.0, "dissensus": node})


def batch(sizes=(4, 2, 7, 3), width=6, seed=0, dtype=torch.float32, values=(0.0, 1.0)):
    """Ragged groups in mixed order; masks with holes, as after a tool call; reward at the end."""
    rng = np.random.default_rng(seed)
    uid = rng.permutation(np.repeat([f"prompt-{i}" for i in range(len(sizes))], sizes))
    lengths = rng.integers(1, width + 1, len(uid))
    mask = np.arange(width) < lengths[:, None]
    mask &= (rng.random(mask.shape) > 0.2) | (np.arange(width) == lengths[:, None] - 1)
    rewards = np.zeros(mask.shape)
    rewards[np.arange(len(uid)), lengths - 1] = rng.choice(values, len(uid))
    return DataProto.from_dict(
        tensors={
            "token_level_rewards": torch.tensor(rewards).to(dtype),
            "response_mask": torch.tensor(mask.astype(np.int64)),
        },
        non_tensors={"uid": uid.astype(object)},
    )


def used(data, config):
    data = compute_advantage(data, adv_estimator=config.adv_estimator, config=config, num_repeat=4)
    assert torch.equal(data.batch["advantages"], data.batch["returns"])
    return data.batch["advantages"]


def test_the_plug_in_was_loaded_by_verl_itself():
    expected = {"dissensus", *(f"dissensus_{name}" for name in advantages.names())}
    assert expected <= set(core_algos.ADV_ESTIMATOR_REGISTRY)


@pytest.mark.parametrize("values", [(0.0, 1.0), (-1.0, 0.25, 3.0)])
@pytest.mark.parametrize("seed", range(5))
def test_grpo_is_verls_own(seed, values):
    ours = used(batch(seed=seed, values=values), algorithm(parameters={"ddof": 1, "eps": 1e-6}))
    theirs = used(batch(seed=seed, values=values), algorithm("grpo"))
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_groups_of_one_and_equal_rewards_are_where_we_differ():
    """verl leaves the raw reward of a lone rollout, and rounding of equal ones; ours are 0."""
    alone = {"sizes": (1, 1), "values": (0.7,)}
    assert used(batch(**alone), algorithm("grpo")).abs().max() > 0.5
    assert not used(batch(**alone), algorithm()).any()
    equal = {"sizes": (8,), "values": (0.95,)}
    assert used(batch(**equal), algorithm("grpo")).abs().max() > 1e-3
    assert not used(batch(**equal), algorithm()).any()


def test_half_precision_in_is_half_precision_out():
    """Rewards of 0 and 1 are exact in bfloat16, so only the result is rounded."""
    half = used(batch(dtype=torch.bfloat16), algorithm(parameters={"ddof": 1, "eps": 1e-6}))
    assert half.dtype == torch.bfloat16
    exact = used(batch(), algorithm("grpo")).to(torch.bfloat16)
    torch.testing.assert_close(half, exact, rtol=2**-7, atol=0)


@pytest.mark.parametrize(("ours", "theirs"), [("rloo", "rloo"), ("dr_grpo", None), ("opo", "opo")])
def test_other_rules_that_verl_has_too(ours, theirs):
    found = used(batch(), algorithm(f"dissensus_{ours}"))
    config = algorithm(theirs or "grpo")
    data = compute_advantage(
        batch(), adv_estimator=config.adv_estimator, config=config, norm_adv_by_std_in_grpo=False
    )
    torch.testing.assert_close(found, data.batch["advantages"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", advantages.names())
def test_every_rule_runs_on_a_batch_or_says_what_it_lacks(name):
    needs = set(advantages.get(name).needs) - {"lengths", "token_offsets", "state", "step"}
    data, config = batch(sizes=(4, 4, 4)), algorithm(f"dissensus_{name}")
    if needs:
        with pytest.raises(UnsupportedError, match=min(needs)):
            used(data, config)
        return
    found = used(data, config)
    mask = data.batch["response_mask"].bool()
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    assert not found[~mask].any()
    assert found.device == data.batch["token_level_rewards"].device
