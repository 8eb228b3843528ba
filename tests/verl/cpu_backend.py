"""A machine without GPUs for verl, through verl's own registries: a platform and a rollout backend.

Loaded in every process of a training by VERL_USE_EXTERNAL_MODULES=cpu_backend. The backend "hf"
stands where vLLM does: a server in a Ray process, with no weights of its own, that samples with
Hugging Face's `generate` from the weights which verl's actor sends it before each batch.
"""

from __future__ import annotations

import os
import sys
import types
from collections import Counter
from contextlib import nullcontext

import ray
import torch
import verl.utils.distributed
from transformers import AutoConfig, AutoModelForCausalLM
from verl.plugin.platform.platform_cuda import PlatformCUDA
from verl.plugin.platform.platform_manager import PlatformRegistry
from verl.workers.rollout import base
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput


class Device(types.ModuleType):
    """`torch.cpu`, with the counters that a GPU has."""

    def __getattr__(self, name):
        return getattr(torch.cpu, name)

    @staticmethod
    def get_device_name():
        return "CPU"

    @staticmethod
    def empty_cache():
        pass

    @staticmethod
    def memory_allocated():
        return 0

    memory_reserved = max_memory_allocated = max_memory_reserved = memory_allocated

    @staticmethod
    def mem_get_info():
        return 0, 0


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformCUDA):
    """What Ray calls a GPU here is a share of a CPU: `ray.init(num_gpus=…)` says how many."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = Device("cpu")

    def is_available(self):
        return True

    def current_device(self):
        return torch.device("cpu")

    def synchronize(self, device_index=None):
        pass

    def manual_seed(self, seed):
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def set_allocator_settings(self, settings):
        pass

    def get_device_capability(self, device_index=0):
        return None, None

    def communication_backend_name(self):
        return "gloo"

    def is_ipc_supported(self):
        return False

    def nvtx_range(self, msg):
        return nullcontext()


# verl asks torch for "cpu:gloo,<device>:<backend>", and torch refuses a device named twice.
verl.utils.distributed.get_device_name = lambda: "cuda"


class Server:
    """Samples one answer per request, with a seed of its prompt and of how often it was asked."""

    def __init__(self, path, config):
        torch.set_num_threads(1)
        self.config, self.awake, self.version = config, False, None
        described = AutoConfig.from_pretrained(path)
        self.model = AutoModelForCausalLM.from_config(described, attn_implementation="sdpa").eval()
        for weight in self.model.parameters():
            torch.nn.init.constant_(weight, float("nan"))

    def load(self, weights, version):
        self.model.load_state_dict(weights)
        self.version, self.asked, self.awake = version, Counter(), True

    def sleep(self):
        self.awake = False

    def wake_up(self):
        self.awake = True

    def generate(self, request_id, *, prompt_ids, sampling_params, **_):
        if not self.awake:
            raise RuntimeError("asked to generate while asleep")
        prompt = tuple(prompt_ids)
        seed = hash((self.config["seed"], self.version, self.asked[prompt], *prompt))
        self.asked[prompt] += 1
        torch.manual_seed(seed % 2**63)
        greedy = sampling_params["temperature"] == 0
        how = {"do_sample": False}
        if not greedy:
            how = {"do_sample": True, "top_k": 0, "top_p": sampling_params["top_p"]}
            how["temperature"] = sampling_params["temperature"]
        ids = torch.tensor([prompt])
        found = self.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=self.config["length"],
            return_dict_in_generate=True, output_scores=True, **how,
        )  # fmt: skip
        tokens = found.sequences[0, len(prompt) :]
        scores = torch.cat(found.scores).log_softmax(-1)
        return TokenOutput(
            token_ids=tokens.tolist(),
            log_probs=scores.gather(1, tokens[:, None])[:, 0].tolist(),
            stop_reason="completed",
            extra_fields={"global_steps": self.version},
        )


def _name(rank):
    return f"hf_server_{rank}"


class Replica(RolloutReplica):
    """One server, for as many of the trainer's workers as `tensor_model_parallel_size` says."""

    async def launch_servers(self):
        config = {"seed": self.config.seed, "length": self.config.response_length}
        options = ray.remote(Server).options(name=_name(self.replica_rank), num_cpus=1)
        self._server_handle = options.remote(self.model_config.path, config)
        self._server_address = _name(self.replica_rank)
        self.servers = [self._server_handle]


class ServerAdapter(base.BaseRollout):
    """In a worker of the trainer: hands its weights to the server."""

    async def resume(self, tags):
        pass

    async def release(self):
        pass

    async def update_weights(self, weights, global_steps=None, **_):
        # Every rank takes part in gathering a weight; one sends them.
        gathered = {name: weight.detach().clone() for name, weight in weights}
        workers = self.config.tensor_model_parallel_size
        rank = int(os.environ["RANK"])
        if rank % workers == 0:
            await ray.get_actor(_name(rank // workers)).load.remote(gathered, global_steps)


base._ROLLOUT_REGISTRY["hf", "async"] = f"{__name__}.ServerAdapter"
RolloutReplicaRegistry.register("hf", lambda: sys.modules[__name__].Replica)


def patient_no_more(**settings):
    """verl's replay buffer, which otherwise asks every two seconds whether the answers are there."""
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

    return ReplayBuffer(**settings, poll_interval=0.1)
