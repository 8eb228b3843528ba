"""Finished groups staged in TransferQueue, and a buffer of ours that finds them there.

Real: verl's replay buffers, loaded as its trainer loads them; TransferQueue and its processes; the
Ray actor all of it runs in, as verl's trainer does. Stand-ins: the trainer's fetching of rows and
the agent loops; time, as each poll lets the next staged event happen.
"""

from __future__ import annotations

import logging
import random
import uuid

import pytest

pytest.importorskip("transfer_queue", reason="verl has its own environment: make test-verl")

import ray
import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from verl.utils.import_utils import load_extern_type
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

PATH = "pkg://dissensus.integrations.verl.replay"
QUEUE = {"backend": {"SimpleStorage": {"num_data_storage_units": 1, "total_storage_size": 2000}}}
SIZE, BATCH, ROWS = 4, 4, 40


class World:
    """One trainer's driver."""

    def __init__(self, node, *, mode="sync", answer=None, chunk=1, seed=0):
        self.random, self.chunk = random.Random(seed), chunk
        self.answer = answer or (lambda row, i: float(row % 2 == 0 and i % 2))
        self.waiting, self.events, self.refills = [], [], []
        self.warnings = []
        logging.getLogger("dissensus.verl").addHandler(self)
        kwargs = {
            "trainer_mode": mode, "trainer_config": OmegaConf.create({}),
            "max_off_policy_threshold": 8, "max_off_policy_strategy": "drop",
            "sampler_kwargs": OmegaConf.create(node), "refill_fn": self.refill,
        }  # fmt: skip
        self.buffer = load_extern_type(PATH, "replay_buffer")(**kwargs)
        self.buffer._wait_for_next_poll = self.poll
        self.plan = getattr(self.buffer, "_plan", None)
        if self.plan is not None:
            self.plan.open(ROWS, BATCH, chunk=lambda: chunk)
        self.next = 0

    level = 0

    def handle(self, record):
        self.warnings.append(record.getMessage())

    def refill(self, count):
        if count % self.chunk:
            raise ValueError(f"num_prompts ({count}) must be a positive multiple of gen_batch_size")
        self.refills.append(count)
        for _ in range(count):
            self.submit()

    def submit(self):
        row, rollouts = self.next % ROWS, SIZE
        self.next += 1
        if self.plan is not None:
            row, rollouts = self.plan.next_row(row)
        uid = str(uuid.UUID(int=self.random.getrandbits(128)))
        self.tag(uid, "pending")
        self.waiting.append((uid, row, rollouts))

    def tag(self, uid, status):
        tag = {"is_prompt": True, "status": status, "global_steps": 1}
        tq.kv_batch_put(keys=[uid], partition_id="train", tags=[tag])

    def put(self, uid, row, rewards, *, outputs=1, extras=None, start=0):
        """Rollouts of a group, as verl's agent loop worker writes them."""
        keys, fields, tags = [], [], []
        for i, reward in enumerate(rewards, start=start):
            for k in range(outputs):
                scores = torch.zeros(3)
                scores[-1] = reward
                keys.append(f"{uid}_{i}_{k}")
                fields.append({"uid": uid, "rm_scores": scores, "responses": torch.arange(3)})
                fields[-1]["extra_fields"] = {
                    "reward_extra_info": {"acc": reward} if extras is None else extras[i]
                }
                if row is not None:
                    fields[-1]["dissensus_row"] = row
                tags.append({"status": "success", "seq_len": 5, "response_len": 3})
        if keys:
            tq.kv_batch_put(
                keys=keys, partition_id="train", tags=tags,
                fields=list_of_dict_to_tensordict(fields),
            )  # fmt: skip

    def finish(self, group, status="finished", **how):
        uid, row, rollouts = group
        self.tag(uid, "running")
        self.put(uid, row, [self.answer(row, i) for i in range(rollouts)], **how)
        self.tag(uid, status)

    def poll(self, _partition, last):
        """The next staged event; without one, some group finishes, whichever it is."""
        if self.events:
            self.events.pop(0)()
        elif self.waiting:
            self.finish(self.waiting.pop(self.random.randrange(len(self.waiting))))
        else:
            raise TimeoutError("the buffer waits, and nothing is under way")
        return last

    def step(self, number=1, *, submit=True):
        """What verl's trainer does in a step, as far as the buffer sees it."""
        if submit:
            for _ in range(BATCH):
                self.submit()
        batch, metrics = self.buffer.sample(number, "train", BATCH)
        uids = tq.kv_batch_get(
            keys=batch.keys, partition_id="train", select_fields=["uid"]
        )["uid"]  # fmt: skip
        left = sorted(tq.kv_list("train").get("train", {}))
        found = {
            "keys": list(batch.keys),
            "uids": [str(getattr(uid, "data", uid)) for uid in uids],
            "tags": len(batch.tags),
            "left": left,
            "metrics": {k.removeprefix("training/"): v for k, v in metrics.items()},
            "warnings": list(self.warnings),
            "refills": list(self.refills),
        }
        tq.kv_clear(keys=batch.keys, partition_id="train")
        return found


@ray.remote(num_cpus=0)
class Driver:
    """verl's trainer lives in an actor; so does this."""

    def play(self, scenario):
        tq.init(OmegaConf.create(QUEUE))
        for partition, keys in tq.kv_list().items():
            if keys:
                tq.kv_clear(keys=list(keys), partition_id=partition)
        return scenario(World)

    def close(self):
        tq.close()
