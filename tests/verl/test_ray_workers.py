"""The registry inside Ray's own processes: each loads the plug-in by itself, and counts alike."""

from __future__ import annotations

import os
import sys

import pytest
import torch

pytest.importorskip("verl.protocol", reason="verl has its own environment: make test-verl")

pytestmark = pytest.mark.timeout(600)

RULES = {"dissensus_grpo": {"parameters": {"ddof": 1}}, "dissensus_rloo": {}, "grpo": {}}


def estimate():
    """What a worker does: import verl, and ask its registry."""
    import numpy as np
    import torch
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn
    from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY

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
    trainers = {name for name in TRAINER_REGISTRY if name.startswith("dissensus_")}
    return os.getpid(), ("dissensus" in sys.modules, trainers), found


def test_every_worker_loads_the_plug_in_and_gets_the_same(cluster):
    env = {"VERL_USE_EXTERNAL_PLUGINS": "none"}
    module = {**env, "VERL_USE_EXTERNAL_MODULES": "dissensus.integrations.verl.plugin"}
    remote = cluster.remote(estimate)
    path = {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    jobs = [
        remote.options(runtime_env={"env_vars": path | more}).remote()
        for more in ({"WORKER": "1"}, {"WORKER": "2"}, module, env)
    ]
    *loaded, without = cluster.get(jobs)
    assert len({pid for pid, _, _ in (*loaded, without)} | {os.getpid()}) == 5
    _, _, here = estimate()
    modes = {"dissensus_sync", "dissensus_colocate_async", "dissensus_separate_async"}
    for _, ours, there in loaded:
        assert ours == (True, modes)
        for name in RULES:
            assert torch.equal(there[name], here[name])
    _, ours, there = without  # a worker that has not the package goes on with verl's own
    assert ours == (False, set())
    assert "dissensus_grpo" in there["dissensus_grpo"]
    assert torch.equal(there["grpo"], here["grpo"])
