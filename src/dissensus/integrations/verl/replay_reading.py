"""What our replay buffers read of the finished rollouts in TransferQueue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dissensus.integrations.verl.sampling_options import GENERATED, METRICS, REWARD

if TYPE_CHECKING:
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer as _VerlBuffer
else:  # put beneath by `replay_buffer`, so that this module can be imported without verl
    _VerlBuffer = object

__all__ = ["ROW_FIELD", "Reads", "Told", "counts"]

ROW_FIELD = "dissensus_row"
"""Column of the data set that verl carries into every trajectory."""


class Told(NamedTuple):
    """One rollout in TransferQueue: its keys, first output first, and what it got."""

    name: str
    keys: tuple[str, ...]
    row: int
    reward: float
    length: float


class Reads(_VerlBuffer):  # type: ignore[misc]  # its type is not known
    """What both kinds read from TransferQueue."""

    _metric: str
    _say: Callable[[str, str], None]

    def _rollouts(self, partition_id: str, uids: set[str], *, rows: bool) -> list[Told]:
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
            Told(
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
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            self._say(
                "metric",
                f"some rollouts have no {self._metric}; they count as unscored",
            )
            return float("nan")


def counts(*, generated: int, trained: int, discarded: int) -> dict[str, Any]:
    """What every step says of its rollouts, in verl's metrics."""
    return {
        GENERATED: generated,
        f"{METRICS}/rollouts_trained": trained,
        f"{METRICS}/rollouts_discarded": discarded,
    }


def _place(key: str) -> tuple[str, ...]:
    """Sorts keys by uid and then by number."""
    uid, *numbers = key.split("_")
    return (uid, *(number.zfill(9) for number in numbers))


def _objects(column: Any) -> list[Any]:
    """A column as TransferQueue hands it out: a tensor, an array, a list or a stack."""
    values = column.unbind() if hasattr(column, "unbind") else column
    return [getattr(each, "data", each) if not hasattr(each, "sum") else each for each in values]
