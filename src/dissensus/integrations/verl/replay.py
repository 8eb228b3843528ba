"""verl's replay buffers: groups that agree are replaced with a cap, or an allocator decides.

`trainer.v1.sampler.custom_sampler.{path,name}` names `replay_buffer`, which verl calls as it would
the class. Of verl's buffers these methods are used or overridden: `sample` (public),
`_dapo_filtered_keys`, `_clear_groups`, `_sync_metadata_from_transfer_queue`, `_wait_for_next_poll`.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.errors import UnsupportedError
from dissensus.integrations.verl.sampling_options import REWARD, SamplingOptions
from dissensus.integrations.verl.sampling_plan import Answer, Chosen, Plan, WarnOnce, current
from dissensus.integrations.verl.sampling_table import require_allowed
from dissensus.integrations.verl.sampling_weights import weigh_estimators

if TYPE_CHECKING:
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer as _VerlBuffer
else:  # put beneath by `replay_buffer`, so that this module can be imported without verl
    _VerlBuffer = object

__all__ = ["ROW_FIELD", "replay_buffer"]

ROW_FIELD = "dissensus_row"
"""Column of the data set that verl carries into every trajectory."""

_PREFIX = "training/dissensus"


def replay_buffer(**from_verl: Any) -> Any:
    """The buffer that `sampler_kwargs` and the trainer's mode ask for.

    Raises:
        InputError: A key or value of `sampler_kwargs` that cannot be used.
        UnsupportedError: The strategy, or the mode, cannot be had in verl.
    """
    options = SamplingOptions.of(from_verl["sampler_kwargs"])
    mode = from_verl["trainer_mode"]
    if options.allocator is None:
        if mode == "sync":
            return _on_verl(_Tolerant, "ReplayBuffer")(options, **from_verl)
        return _on_verl(_TolerantAsync, "ReplayBufferAsync")(options, **from_verl)
    if mode != "sync":
        raise UnsupportedError(
            "an allocator draws again when the last draw has come back, and this trainer fetches "
            "the next batch before that",
            where="trainer.v1.trainer_mode",
            got=mode,
            hint="use sync, or leave sampler_kwargs.allocator out to replace unanimous groups only",
        )
    if int((from_verl.get("trainer_config") or {}).get("parameter_sync_step", 1)) != 1:
        raise UnsupportedError(
            "an allocator's step is one update of the weights",
            where="trainer.v1.sync.parameter_sync_step",
            hint="set it to 1",
        )
    require_allowed(options)
    plan = Plan(options)
    current(plan)
    weigh_estimators()
    return _on_verl(_Allocated, "ReplayBuffer")(plan, **from_verl)


def _on_verl(ours: type, base: str) -> Any:
    from verl.trainer.ppo.v1 import replay_buffer as verls

    return type(ours.__name__.strip("_") + base, (ours, getattr(verls, base)), {})


class _Told(NamedTuple):
    """One rollout in TransferQueue: its keys, first output first, and what it got."""

    name: str
    keys: tuple[str, ...]
    row: int
    reward: float
    length: float


class _Reads(_VerlBuffer):  # type: ignore[misc]  # its type is not known
    """What both kinds read from TransferQueue."""

    _metric: str
    _say: Callable[[str, str], None]

    def _rollouts(self, partition_id: str, uids: set[str], *, rows: bool) -> list[_Told]:
        """Rollouts of some groups, by group and number; of several outputs the last one counts."""
        partition = self.partitions[partition_id]
        sessions: dict[str, list[str]] = defaultdict(list)
        for key in partition:
            if key.split("_")[0] in uids:
                sessions[key.rpartition("_")[0]].append(key)
        names = sorted(sessions, key=_place)
        keys = [sorted(sessions[name], key=_place) for name in names]
        field = "rm_scores" if self._metric == REWARD else "extra_fields"
        fields = [field, ROW_FIELD] if rows else [field]
        found = self._fetch(partition_id, [each[-1] for each in keys], fields)
        return [
            _Told(
                name,
                tuple(mine),
                int(data.get(ROW_FIELD, -1)),
                self._reward(data.get(field)),
                float(sum(partition[key].get("response_len", np.nan) for key in mine)),
            )
            for name, mine, data in zip(names, keys, found, strict=True)
        ]

    def _fetch(self, partition_id: str, keys: list[str], fields: list[str]) -> list[dict[str, Any]]:
        import transfer_queue as tq

        if not keys:
            return []
        try:
            data = tq.kv_batch_get(keys=keys, partition_id=partition_id, select_fields=fields)
            columns = [_objects(data[field]) for field in fields]
            return [dict(zip(fields, row, strict=True)) for row in zip(*columns, strict=True)]
        except Exception as error:  # noqa: BLE001 - then one by one
            if len(keys) == 1 and len(fields) == 1:
                self._say(
                    f"field {fields[0]}",
                    f"a rollout has no {fields[0]} when the batch is chosen ({error!s:.80}); it "
                    "counts as unscored",
                )
                return [{}]
        if len(keys) > 1:
            return [self._fetch(partition_id, [key], fields)[0] for key in keys]
        return [{k: v for f in fields for k, v in self._fetch(partition_id, keys, [f])[0].items()}]

    def _reward(self, value: Any) -> float:
        try:
            if self._metric == REWARD:
                return float(value.sum().item())
            return float(value["reward_extra_info"][self._metric])
        except (AttributeError, KeyError, TypeError, ValueError):
            self._say(
                "metric",
                f"some rollouts have no {self._metric}; they count as unscored",
            )
            return float("nan")


class _Tolerant(_Reads):
    """verl's own buffer; which groups are replaced, and how many at most, is ours.

    A group is replaced when its rewards differ by no more than `tol`. After `most_batches`
    training batches no group is replaced any more: what then agrees is trained on.
    """

    _is_sync = True

    def __init__(self, options: SamplingOptions, **from_verl: Any) -> None:
        self._options, self._metric, self._say = options, options.metric, WarnOnce()
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
        metrics |= _counts(
            generated=trained + self._discarded, trained=trained, discarded=self._discarded
        )
        metrics[f"{_PREFIX}/groups_replaced"] = self._replaced
        metrics[f"{_PREFIX}/is_capped"] = int(self._is_capped)
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


class _TolerantAsync(_Tolerant):
    """The same where training and generation overlap; verl refills one for one there."""

    _is_sync = False

    def wait_for_sampleable(self, global_steps: int, partition_id: str, target_count: int) -> Any:
        """As verl does; it may be called before `sample`."""
        if partition_id != "val":
            self.train_batch_size = target_count
        return super().wait_for_sampleable(global_steps, partition_id, target_count)


class _Allocated(_Reads):
    """An allocator decides what is generated and what is trained on."""

    def __init__(self, plan: Plan, **from_verl: Any) -> None:
        super().__init__(**from_verl)
        self._plan, self._metric, self._say = plan, plan.options.metric, plan.say

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> Any:
        """The allocator's batch; validation and steps without a draw are verl's own."""
        if partition_id == "val":
            return super().sample(global_steps, partition_id, batch_size)
        plan = self._plan
        plan.weights = {}
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
        told: dict[str, _Told] = {}
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
        trained = sum(len(group.names) for group in chosen)
        metrics = _counts(
            generated=generated, trained=trained, discarded=len(told) - strays - trained
        )
        metrics |= {
            f"{_PREFIX}/rollouts_lost": generated + strays - len(told),
            f"{_PREFIX}/rollouts_stray": strays,
            f"{_PREFIX}/draws": draws,
            f"{_PREFIX}/groups_trained": len(chosen),
            f"{_PREFIX}/groups_short": plan.short_of(len(chosen)),
        }
        return batch, metrics

    def _all(self, told: dict[str, _Told]) -> list[Chosen]:
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

    def _batch(self, partition_id: str, chosen: list[Chosen], told: dict[str, _Told]) -> Any:
        """What is trained on stays in TransferQueue, all else of the partition goes."""
        import transfer_queue as tq
        from verl.utils.tensordict_utils import get_tensordict

        partition = self.partitions[partition_id]
        keys: list[str] = []
        moved: list[str] = []
        uids: list[str] = []
        for group in chosen:
            uid = group.names[0].partition("_")[0]
            if group.weight != 1.0:
                self._plan.weights[uid] = group.weight
            for name in group.names:
                keys += told[name].keys
                if not name.startswith(f"{uid}_"):
                    moved += told[name].keys
                    uids += [uid] * len(told[name].keys)
        if moved:  # a prompt that was drawn twice is one group: verl's estimators go by uid
            tq.kv_batch_put(
                keys=moved, partition_id=partition_id, fields=get_tensordict({"uid": uids})
            )
        kept = set(keys)
        dropped = [key for key in partition if key not in kept]
        tq.kv_clear(partition_id=partition_id, keys=[*self._terminal(partition_id), *dropped])
        tags = [partition[key] for key in keys]
        return tq.KVBatchMeta(partition_id=partition_id, keys=keys, tags=tags)

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
            return batch, _counts(
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
        return batch, metrics | _counts(generated=count, trained=count, discarded=0)

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


def _counts(*, generated: int, trained: int, discarded: int) -> dict[str, Any]:
    return {
        f"{_PREFIX}/rollouts_generated": generated,
        f"{_PREFIX}/rollouts_trained": trained,
        f"{_PREFIX}/rollouts_discarded": discarded,
    }


def _place(key: str) -> tuple[str, ...]:
    """Sorts keys by uid and then by number."""
    uid, *numbers = key.split("_")
    return (uid, *(number.zfill(9) for number in numbers))


def _objects(column: Any) -> list[Any]:
    """A column as TransferQueue hands it out: a tensor, an array, a list or a stack."""
    values = column.unbind() if hasattr(column, "unbind") else column
    return [getattr(each, "data", each) if not hasattr(each, "sum") else each for each in values]


def _finite(values: list[float]) -> FloatArray:
    rewards = np.array(values, dtype=np.float64)
    rewards[~np.isfinite(rewards)] = np.nan
    return rewards
