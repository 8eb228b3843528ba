"""verl's replay buffer, where an allocator decides what is generated and what is trained on."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any

from dissensus.integrations.verl.estimators import FACTORS
from dissensus.integrations.verl.replay_reading import Reads, Told, counts
from dissensus.integrations.verl.sampling_options import METRICS
from dissensus.integrations.verl.sampling_plan import Answer, Chosen, Plan

__all__ = ["Allocated"]


class Allocated(Reads):
    """An allocator decides what is generated and what is trained on."""

    def __init__(self, plan: Plan, **from_verl: Any) -> None:
        super().__init__(**from_verl)
        self._plan, self._metric, self._say = plan, plan.options.metric, plan.say

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> Any:
        """The allocator's batch; validation and steps without a draw are verl's own."""
        if partition_id == "val":
            return super().sample(global_steps, partition_id, batch_size)
        plan = self._plan
        FACTORS.set(None)
        try:
            if plan.has_draw:
                return self._allocated_or_own(global_steps, partition_id, batch_size)
            if not plan.is_open:
                self._say(
                    "rows",
                    "the allocator has no say, since the data set is not ours; set "
                    "data.custom_cls.path=pkg://dissensus.integrations.verl.replay_rows",
                )
            return self._own(global_steps, partition_id, batch_size)
        finally:
            plan.end_step()

    def _allocated_or_own(self, global_steps: int, partition_id: str, batch_size: int) -> Any:
        try:
            return self._allocated(partition_id)
        except Exception as error:  # noqa: BLE001 - training goes on
            self._say(
                "sample", f"the allocator's step failed ({error!r}); verl's own batch is used"
            )
            return self._without(global_steps, partition_id, batch_size)

    def _allocated(self, partition_id: str) -> Any:
        plan, draws, strays, generated = self._plan, 0, 0, 0
        told: dict[str, Told] = {}
        seen: set[str] = set()
        while True:
            draws += 1
            if plan.unserved:
                self._fetch_rows(plan.unserved)
            self._drain(partition_id)
            generated += plan.drawn
            uids = self._terminal(partition_id) - seen
            seen |= uids
            found = self._rollouts(partition_id, uids, rows=True)
            told |= {each.name: each for each in found}
            strays += plan.tell(
                Answer(each.row, each.reward, each.length, each.name) for each in found
            )
            if not plan.ask():
                break
        chosen = plan.choose() or self._all(told)
        batch = self._batch(partition_id, chosen, told)
        FACTORS.set({group.uid: group.weight for group in chosen if group.weight != 1.0})
        trained = sum(len(group.names) for group in chosen)
        metrics = counts(
            generated=generated, trained=trained, discarded=len(told) - strays - trained
        )
        metrics |= {
            f"{METRICS}/rollouts_lost": generated + strays - len(told),
            f"{METRICS}/rollouts_stray": strays,
            f"{METRICS}/draws": draws,
            f"{METRICS}/groups_trained": len(chosen),
            f"{METRICS}/groups_short": plan.short_of(len(chosen)),
        }
        return batch, metrics

    def _all(self, told: dict[str, Told]) -> list[Chosen]:
        """Every group that was drawn and has rollouts, where none was selected."""
        groups: dict[int, list[str]] = defaultdict(list)
        drawn = self._plan.drawn_names
        for name, each in told.items():
            if name in drawn:
                groups[each.row].append(name)
        if not groups:
            raise LookupError("no rollout came back")
        self._say(
            "none", "the allocator selected nothing of a step; all that it generated is trained on"
        )
        self._plan.count_own(generated=0, trained=sum(map(len, groups.values())))
        return [Chosen(tuple(names), 1.0) for names in groups.values()]

    def _batch(self, partition_id: str, chosen: list[Chosen], told: dict[str, Told]) -> Any:
        """What is trained on stays in TransferQueue, all else of the partition goes."""
        import transfer_queue as tq
        from verl.utils.tensordict_utils import get_tensordict

        partition = self.partitions[partition_id]
        uid_of = {
            key: group.uid for group in chosen for name in group.names for key in told[name].keys
        }
        # A prompt that was drawn twice is one group: estimators go by uid.
        moved = {key: uid for key, uid in uid_of.items() if not key.startswith(f"{uid}_")}
        if moved:
            uids = get_tensordict({"uid": list(moved.values())})
            tq.kv_batch_put(keys=list(moved), partition_id=partition_id, fields=uids)
        dropped = [key for key in partition if key not in uid_of]
        tq.kv_clear(partition_id=partition_id, keys=[*self._terminal(partition_id), *dropped])
        tags = [partition[key] for key in uid_of]
        return tq.KVBatchMeta(partition_id=partition_id, keys=list(uid_of), tags=tags)

    def _without(self, global_steps: int, partition_id: str, batch_size: int) -> Any:
        """The groups that came back, whatever they are; without one, a batch of verl's own rows."""
        import transfer_queue as tq

        self._plan.abandon()
        self._drain(partition_id)
        told = {
            each.name: each
            for each in self._rollouts(partition_id, self._terminal(partition_id), rows=False)
        }
        groups: dict[str, list[str]] = defaultdict(list)
        for name in told:
            groups[name.partition("_")[0]].append(name)
        chosen = [Chosen(tuple(names), 1.0) for names in list(groups.values())[:batch_size]]
        if chosen:
            trained = sum(len(group.names) for group in chosen)
            self._plan.count_own(generated=0, trained=trained)
            batch = self._batch(partition_id, chosen, told)
            return batch, counts(
                generated=len(told), trained=trained, discarded=len(told) - trained
            )
        tq.kv_clear(partition_id=partition_id, keys=list(self._terminal(partition_id)))
        self.refill_fn(batch_size)
        return self._own(global_steps, partition_id, batch_size)

    def _own(self, global_steps: int, partition_id: str, batch_size: int) -> Any:
        """A batch as verl samples it."""
        batch, metrics = super().sample(global_steps, partition_id, batch_size)
        count = len({key.rpartition("_")[0] for key in batch.keys})
        self._plan.count_own(generated=count, trained=count)
        return batch, metrics | counts(generated=count, trained=count, discarded=0)

    def _fetch_rows(self, count: int) -> None:
        """Let verl fetch whole chunks; what the draw does not fill are rows without rollouts."""
        chunk = self._plan.chunk
        self.refill_fn(-(-count // chunk) * chunk)

    def _drain(self, partition_id: str) -> None:
        last = time.time()
        while True:
            self._sync_metadata_from_transfer_queue()
            if not (self.pending_keys[partition_id] | self.running_keys[partition_id]):
                return
            last = self._wait_for_next_poll(partition_id, last)

    def _terminal(self, partition_id: str) -> set[str]:
        return set(self.finished_keys[partition_id] | self.failure_keys[partition_id])
