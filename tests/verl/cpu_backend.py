"""A machine without GPUs for verl, through verl's own registries: a platform and a rollout backend.

Loaded in every process of a training by VERL_USE_EXTERNAL_MODULES=cpu_backend. The backend "hf"
stands where vLLM does: a server in a Ray process, with no weights of its own, that samples with
Hugging Face's `generate` from the weights which verl's actor sends it before each batch.
"""

from __future__ import annotations

import asyncio
import os
import sys
import types
from collections import defaultdict
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
    """Samples the answers to a prompt together, as soon as a whole group has been asked for."""

    def __init__(self, path, config):
        torch.set_num_threads(1)
        self.config, self.awake, self.version = config, False, None
        self.waiting = defaultdict(list)
        described = AutoConfig.from_pretrained(path)
        self.model = AutoModelForCausalLM.from_config(described).eval()
        for weight in self.model.parameters():
            torch.nn.init.constant_(weight, float("nan"))

    async def load(self, weights, version):
        self.model.load_state_dict(weights)
        self.version, self.awake = version, True

    async def sleep(self):
        self.awake = False

    async def generate(self, request_id, *, prompt_ids, sampling_params, **_):
        if not self.awake:
            raise RuntimeError("asked to generate while asleep")
        prompt, greedy = tuple(prompt_ids), sampling_params["temperature"] == 0
        asked = self.waiting[prompt]
        asked.append(asyncio.get_running_loop().create_future())
        answer = asked[-1]
        if len(asked) == (1 if greedy else self.config.n):
            del self.waiting[prompt]
            for each, output in zip(asked, self.sample(prompt, len(asked), greedy), strict=True):
                each.set_result(output)
        return await answer

    def sample(self, prompt, count, greedy):
        """The same for the same weights, prompt and seed, in whatever order prompts come."""
        torch.manual_seed(hash((self.config.seed, self.version, *prompt)) % 2**63)
        ids = torch.tensor([prompt] * count)
        found = self.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=self.config.response_length,
            do_sample=not greedy, top_k=0, output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
        end = self.model.config.eos_token_id
        answers = found.sequences[:, len(prompt) :].tolist()
        chances = torch.stack(found.logits, dim=1).log_softmax(-1)
        for answer, rows in zip(answers, chances, strict=True):
            tokens = answer[: answer.index(end) + 1] if end in answer else answer
            yield TokenOutput(
                token_ids=tokens,
                log_probs=[row[token].item() for row, token in zip(rows, tokens, strict=False)],
                stop_reason="completed",
                extra_fields={"global_steps": self.version},
            )


def _name(rank):
    return f"hf_server_{rank}"


class Replica(RolloutReplica):
    """One server, for as many of the trainer's workers as `tensor_model_parallel_size` says."""

    async def launch_servers(self):
        actor = ray.remote(Server).options(name=_name(self.replica_rank), max_concurrency=1000)
        self._server_handle = actor.remote(self.model_config.path, self.config)
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


def quick_buffer(**settings):
    """verl's replay buffer, but looking for answers more often than every two seconds."""
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

    return ReplayBuffer(**settings, poll_interval=0.3)
