"""`silent="resample"`: fresh prompts replace silent groups, round after round (DAPO)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dissensus.core.disagreement import GroupSummary
from dissensus.core.groups import BoolArray, FloatArray, IntArray
from dissensus.integrations.trl.estimating import Estimate
from dissensus.integrations.trl.merging import LogTables, Pick, join_outputs
from dissensus.integrations.trl.prompt_stream import PromptStream
from dissensus.integrations.trl.sampling import Sampling, join_samplings
from dissensus.integrations.trl.settings import Settings

__all__ = ["Refilled", "Round", "Shortfall", "refill"]


_REASONS = {
    "rounds": "max_resample={settings.max_resample} rounds did not find enough",
    "prompts": "the data set has no other prompts left for this generation",
    "scores": "the reward functions scored no rollout of a refill round",
}


class Round(NamedTuple):
    """One round: what TRL made of it, and what its rewards say."""

    output: dict[str, Any]
    sampling: Sampling
    found: Estimate


class Shortfall(NamedTuple):
    """Why silent groups are left: the kind of reason, and all of it in words."""

    kind: str
    text: str


class Refilled(NamedTuple):
    """The batch to train on, and where each of its groups was sampled.

    Attributes:
        output: TRL's generation batch, joined.
        sampling: Its gathered numbers.
        rounds: All rounds, the first one included.
        sources: (P, 2) round and group in that round, for each group of the batch.
        shortfall: Why silent groups are left, or None.
    """

    output: dict[str, Any]
    sampling: Sampling
    rounds: list[Round]
    sources: IntArray
    shortfall: Shortfall | None

    def trained(self, round_: int) -> BoolArray:
        """(N,) which rollouts of a round are trained on."""
        sampling = self.rounds[round_].sampling
        is_used = np.zeros(sampling.n_groups, dtype=np.bool_)
        is_used[self.sources[self.sources[:, 0] == round_, 1]] = True
        return np.asarray(sampling.groups.expand(is_used), dtype=np.bool_)

    def summary(self, round_: int, final: GroupSummary) -> GroupSummary:
        """Statistics of a round's groups, under the final advantages where they are trained on."""
        mine = self.rounds[round_].found.summary
        by_advantage = ("is_silent", "contrast", "push")
        return mine._replace(
            **{
                name: self._updated(round_, getattr(mine, name), getattr(final, name))
                for name in by_advantage
            }
        )

    def advantages(self, round_: int, final: FloatArray) -> FloatArray:
        """(N,) advantages of a round, with the final ones where the rollout is trained on."""
        shape = (-1, self.sampling.group_size)
        values = self.rounds[round_].found.values.reshape(shape)
        return self._updated(round_, values, final.reshape(shape)).ravel()

    def _updated(self, round_: int, mine: NDArray[Any], final: NDArray[Any]) -> NDArray[Any]:
        """A round's values by group, with those of the batch where the group is in it."""
        is_here = self.sources[:, 0] == round_
        updated = mine.copy()
        updated[self.sources[is_here, 1]] = final[is_here]
        return updated


def refill(
    trainer: Any,
    first: Round,
    generate: Callable[[list[dict[str, Any]]], Round],
    *,
    stream: PromptStream,
    settings: Settings,
    tables: LogTables,
) -> Refilled:
    """Sample until no group is silent, `max_resample` times at most.

    A round asks each process for as many groups as the one with most silent groups needs: TRL
    wants equally many rows everywhere. All processes know all rewards, so all run equally many
    rounds. TRL's own metrics stay those of the first round, which samples the data set as it is;
    its token counter counts every round.
    """
    world = trainer.accelerator.num_processes
    per_process = first.sampling.n_groups // world
    rounds = [first]
    sources = np.stack([np.zeros(per_process * world), np.arange(per_process * world)], axis=1)
    sources = sources.astype(np.int64)
    is_silent = first.found.is_silent.copy()
    used = set(first.sampling.prompt_ids)
    kind = "rounds"
    with _first_round_metrics(trainer):
        for _ in range(settings.max_resample):
            n_each = int(is_silent.reshape(world, per_process).sum(axis=1).max())
            if n_each == 0:
                break
            rows = stream.draw(n_each * world, without=used)
            n_each = len(rows) // world
            if n_each == 0:
                kind = "prompts"
                break
            tables.clear()
            rounds.append(generate(_own_rows(trainer, rows, n_each)))
            tables.keep()
            used.update(rounds[-1].sampling.prompt_ids)
            _fill(sources, is_silent, rounds, world)
            if not rounds[-1].found.summary.size.any():
                kind = "scores"
                break
    joined = _join(trainer, rounds, sources, settings=settings, tables=tables)
    if not is_silent.any():
        return joined
    reason = _REASONS[kind].format(settings=settings)
    left = _left(first.found.summary, is_silent)
    return joined._replace(shortfall=Shortfall(kind, f"{reason} ({left})"))


def _left(summary: GroupSummary, is_silent: BoolArray) -> str:
    """How many silent groups are of which kind; only groups of the first round are left."""
    is_unscored = summary.size == 0
    kinds = {"unscored": is_unscored}
    if summary.is_all_wrong is not None and summary.is_all_correct is not None:
        kinds |= {"all wrong": summary.is_all_wrong, "all correct": summary.is_all_correct}
    counts = {name: int((is_kind & is_silent).sum()) for name, is_kind in kinds.items()}
    counts["silent for another reason"] = int(is_silent.sum()) - sum(counts.values())
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _own_rows(trainer: Any, rows: list[dict[str, Any]], n_each: int) -> list[dict[str, Any]]:
    start = trainer.accelerator.process_index * n_each
    # Copies, because TRL writes the extra fields of a rollout function into each row.
    own = rows[start : start + n_each]
    return [dict(row) for row in own for _ in range(trainer.num_generations)]


def _fill(sources: IntArray, is_silent: BoolArray, rounds: list[Round], world: int) -> None:
    """Give the split groups of the last round to silent slots of the same process."""
    split_by_process = ~rounds[-1].found.is_silent.reshape(world, -1)
    slots_by_process = is_silent.reshape(world, -1)  # a view: assignments reach `is_silent`
    per_process, n_fresh = slots_by_process.shape[1], split_by_process.shape[1]
    for process in range(world):
        slots = np.flatnonzero(slots_by_process[process])
        fresh = np.flatnonzero(split_by_process[process])[: len(slots)]
        slots = slots[: len(fresh)]
        sources[process * per_process + slots, 0] = len(rounds) - 1
        sources[process * per_process + slots, 1] = process * n_fresh + fresh
        slots_by_process[process, slots] = False


def _join(
    trainer: Any,
    rounds: list[Round],
    sources: IntArray,
    *,
    settings: Settings,
    tables: LogTables,
) -> Refilled:
    if len(rounds) == 1:
        tables.restore([(0, row) for row in range(len(rounds[0].sampling.rewards))])
        only = rounds[0]
        return Refilled(only.output, only.sampling, rounds, sources, None)
    first = rounds[0].sampling
    size = first.group_size
    picks = np.repeat(sources, size, axis=0)
    picks[:, 1] = picks[:, 1] * size + np.tile(np.arange(size), len(sources))
    local_picks: list[Pick] = [
        (r, row - rounds[r].sampling.local.start) for r, row in picks[first.local].tolist()
    ]
    output = join_outputs(trainer, [each.output for each in rounds], local_picks)
    tables.restore([(r, row) for r, row in picks.tolist()])
    sampling = join_samplings(
        [each.sampling for each in rounds],
        picks,
        group_ids=np.arange(len(picks)) // size,
        local=first.local,
        settings=settings,
        group_size=size,
    )
    return Refilled(output, sampling, rounds, sources, None)


class _first_round_metrics:  # noqa: N801 - used as a function
    """Put TRL's metrics back to those of the first round when the refills are done."""

    def __init__(self, trainer: Any) -> None:
        self._metrics = trainer._metrics["train"]  # noqa: SLF001
        self._lengths = {name: len(values) for name, values in self._metrics.items()}

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        for name, values in list(self._metrics.items()):
            if name == "num_tokens":
                continue  # one cumulative number: the refills' tokens count
            del values[self._lengths.get(name, 0) :]
            if not values:
                del self._metrics[name]
