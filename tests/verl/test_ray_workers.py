"""The registry inside Ray's own processes: each loads the plug-in by itself, and counts alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

pytest.importorskip("verl.protocol", reason="verl has its own environment: make test-verl")

pytestmark = pytest.mark.timeout(600)

RULES = {"dissensus_grpo": {"parameters": {"ddof": 1}}, "dissensus_rloo": {}, "grpo": {}}


def estimate():
    """What a worker does: import verl, and ask its registry."""
    import sys

    import numpy as np
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    rewards = torch.zeros(6, 3)
    rewards[:, 2] = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 0.0])
    mask, index = torch.ones(6, 3), np.array(list("aaabbb"), dtype=object)
    found = {}
    for name, node in RULES.items():
        config = {"dissensus": node} if node else None
        try:
            function = get_adv_estimator_fn(name)
        except ValueError as error:
            found[name] = str(error)
        else:
            found[name], _ = function(
                token_level_rewards=rewards.clone(), response_mask=mask, config=config, index=index
            )
    return os.getpid(), "dissensus" in sys.modules, found


def test_every_worker_loads_the_plug_in_and_gets_the_same(cluster):
    env = {"VERL_USE_EXTERNAL_PLUGINS": "none"}
    module = {**env, "VERL_USE_EXTERNAL_MODULES": "dissensus.integrations.verl.plugin"}
    remote = cluster.remote(estimate)
    path = {"PYTHONPATH": str(Path(__file__).parent)}
    jobs = [
        remote.options(runtime_env={"env_vars": path | more}).remote()
        for more in ({"WORKER": "1"}, {"WORKER": "2"}, module, env)
    ]
    *loaded, without = cluster.get(jobs)
    assert len({pid for pid, _, _ in (*loaded, without)} | {os.getpid()}) == 5
    _, _, here = estimate()
    for _, is_loaded, there in loaded:
        assert is_loaded
        for name in RULES:
            assert torch.equal(there[name], here[name])
    _, is_loaded, there = without  # a worker that has not the package goes on with verl's own
    assert not is_loaded
    assert "dissensus_grpo" in there["dissensus_grpo"]
    assert torch.equal(there["grpo"], here["grpo"])
