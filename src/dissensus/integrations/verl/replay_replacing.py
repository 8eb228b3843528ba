"""verl's replay buffers, which replace groups whose rewards agree, with a tolerance and a cap."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.integrations.guard import Guard
from dissensus.integrations.verl.replay_reading import Reads, counts
from dissensus.integrations.verl.sampling_options import METRICS, SamplingOptions

__all__ = ["Tolerant", "TolerantAsync"]

log = logging.getLogger("dissensus.verl")


class Tolerant(Reads):
    """verl's own buffer; which groups are replaced, and how many at most, is ours.

    A group is replaced when its rewards differ by no more than `tol`. After `most_batches`
    training batches no group is replaced any more: what then agrees is trained on.
    """

    _is_sync = True

    def __init__(self, options: SamplingOptions, **from_verl: Any) -> None:
        self._options, self._metric, self._say = options, options.metric, Guard(log).say
        refill = from_verl.pop("refill_fn")
        super().__init__(
            **from_verl, refill_fn=self._safely(refill), filter_groups_metric=options.metric,
            train_batch_size=1, gen_batch_size=1,  # the former is what `sample` is asked for
        )  # fmt: skip
        self._replaced, self._discarded, self._is_capped = 0, 0, False

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> Any:
        """As verl does, and the counts."""
        if partition_id == "val":
            return super().sample(global_steps, partition_id, batch_size)
        self.train_batch_size = batch_size
        batch, metrics = super().sample(global_steps, partition_id, batch_size)
        trained = len({key.rpartition("_")[0] for key in batch.keys})
        metrics |= counts(
            generated=trained + self._discarded, trained=trained, discarded=self._discarded
        )
        metrics[f"{METRICS}/groups_replaced"] = self._replaced
        metrics[f"{METRICS}/is_capped"] = int(self._is_capped)
        self._replaced, self._discarded, self._is_capped = 0, 0, False
        return batch, metrics

    def _dapo_filtered_keys(self, partition_id: str) -> Any:
        shared = self._agreeing(partition_id)
        # In sync verl fetches two prompts for each that it lets go.
        batches = (self._options.most_batches - 1) * (self.train_batch_size or 1)
        left = batches // (2 if self._is_sync else 1) - self._replaced
        chosen = sorted(shared)[: max(0, left)]
        if len(chosen) < len(shared):
            self._is_capped = True
            self._say(
                "cap",
                f"{self._options.most_batches} training batches did not hold enough groups whose "
                "rewards differ; the step trains on some that agree (sampler_kwargs.most_batches)",
            )
        return set(chosen), Counter(shared[uid] for uid in chosen)

    def _evict_terminal_groups(self, *reasons: Any) -> Any:
        done = super()._evict_terminal_groups(*reasons)
        self._replaced += done[2]
        return done

    def _agreeing(self, partition_id: str) -> dict[str, float]:
        """Finished groups whose rewards agree, and what they agree on."""
        finished = self.finished_keys[partition_id]
        known = self._dapo_classification_cache[partition_id]
        for uid in known.keys() - finished:
            del known[uid]
        new = finished - known.keys()
        if partition_id != "val" and new:
            found = self._rollouts(partition_id, new, rows=False)
            known.update(dict.fromkeys(new))
            if found:
                rewards = _finite([told.reward for told in found])
                uids = [told.name.partition("_")[0] for told in found]
                groups = RewardGroups.from_flat(rewards, uids, tol=self._options.tol)
                agrees = groups.is_unanimous() & (groups.size > 1)
                known.update(
                    (str(uid), float(mean))
                    for uid, mean in zip(groups.ids[agrees], groups.mean[agrees], strict=True)
                )
        return {uid: value for uid, value in known.items() if value is not None}

    def _clear_groups(self, partition_id: str, uids: set[str]) -> None:
        keys = [key for key in self.partitions[partition_id] if key.split("_")[0] in uids]
        if partition_id != "val":
            self._discarded += len({key.rpartition("_")[0] for key in keys})
        super()._clear_groups(partition_id, uids)

    def _safely(self, refill: Callable[[int], Any]) -> Callable[[int], Any]:
        def refill_some(count: int) -> Any:
            try:
                return refill(count)
            except ValueError as error:
                # Whole training batches are fetched every step, so that many can be fetched.
                self._say(
                    "gen_batch_size",
                    f"a refill of {count} prompts becomes {self.train_batch_size} ({error}); "
                    "set data.gen_batch_size=1",
                )
                return refill(self.train_batch_size)

        return refill_some


class TolerantAsync(Tolerant):
    """The same where training and generation overlap; verl refills one for one there."""

    _is_sync = False

    def wait_for_sampleable(self, global_steps: int, partition_id: str, target_count: int) -> Any:
        """As verl does; it may be called before `sample`."""
        if partition_id != "val":
            self.train_batch_size = target_count
        return super().wait_for_sampleable(global_steps, partition_id, target_count)


def _finite(values: list[float]) -> FloatArray:
    rewards = np.array(values, dtype=np.float64)
    rewards[~np.isfinite(rewards)] = np.nan
    return rewards
