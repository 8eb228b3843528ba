"""An allocator inside TRL's generation step: who is sampled, how often, and what is trained on."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.core.allocation import Allocator, BudgetLedger, Draw, Selection, Written
from dissensus.core.groups import RewardGroups
from dissensus.errors import InputError, RunError
from dissensus.integrations.trl.allocated import Allocated, join_generated, join_selected
from dissensus.integrations.trl.held import Held, Source, load_held, save_held
from dissensus.integrations.trl.located import Located
from dissensus.integrations.trl.merging import LogTables
from dissensus.integrations.trl.processes import from_main, gather, together
from dissensus.integrations.trl.round_metrics import RoundMetrics
from dissensus.integrations.trl.sampling import Sampling, make_groups
from dissensus.integrations.trl.settings import Settings
from dissensus.runs import store
from dissensus.runs.rows import prompt_id

__all__ = ["Allocation"]

_MOST_PER_STEP = 16  # rollouts that one step may cost, in generation batches
_STATE_FILE = "dissensus_allocator.npz"

Generate = Callable[[list[dict[str, Any]]], Source]
"""Rows of this process → TRL's generation batch, and what all processes know of theirs."""


class Allocation:
    """An allocator at work in a trainer.

    Process 0 asks and tells it, and broadcasts what it says. All processes sample their share of
    every draw, and train on those of the selected rollouts that they sampled. While rounds are
    sampled TRL is told that groups have one rollout, so it centres nothing: the advantages are an
    estimator's, on the groups that the allocator made.

    Args:
        trainer: The GRPO trainer.
        settings: What it was asked for; `settings.allocator` is not None.
        rows: The training set, rows by number.
        with_correctness: Groups → the same, knowing which rollouts are correct where that shows.

    Attributes:
        allocator: On process 0 the one that is asked; elsewhere one that knows nothing.
        ledger: What was spent, on every process.

    Raises:
        InputError: The allocator does not choose among the rows of the training set.
    """

    def __init__(
        self,
        trainer: Any,
        settings: Settings,
        rows: Any,
        with_correctness: Callable[[RewardGroups], RewardGroups],
    ) -> None:
        self._trainer, self._settings, self._rows = trainer, settings, rows
        self._with_correctness = with_correctness
        self._world = trainer.accelerator.num_processes
        args = trainer.args
        per_process = args.per_device_train_batch_size * args.steps_per_generation
        self._capacity = per_process * self._world
        self.allocator = _build(settings.allocator, trainer.num_generations, self._capacity, rows)
        self._row_of = _rows_by_id(self.allocator, rows)
        self.ledger = BudgetLedger(limit=settings.rollout_budget)
        self._rng = np.random.default_rng([args.seed, 0xA110C])
        self._held = Held.nothing()
        self._told = self.allocator.told
        self._step_budget = 0
        self._waiting: Draw | None = None
        self._has_ended = False

    def sample(self, generate: Generate, tables: LogTables) -> Allocated | None:
        """One step: draw, look, and draw again until it is clear what to train on. Collective.

        Args:
            generate: Samples and scores rows of this process.
            tables: TRL's completions tables.

        Returns:
            None where the allocator drew nothing: no prompt is left, or no budget.
        """
        rounds: list[Source] = []
        located: list[Located] = []
        draws, self._step_budget = 0, _MOST_PER_STEP * self._capacity
        metrics = RoundMetrics(self._trainer)
        with _groups_of_one(self._trainer):
            while isinstance(ask := self._ask(), Draw):
                draws += 1
                for prompts in self._pieces(ask):
                    tables.clear()
                    rounds.append(generate(self._own_rows(prompts)))
                    tables.keep()
                    metrics.add_round(len(prompts))
                    located.append(self._tell(rounds[-1][1], prompts, len(rounds) - 1))
        if not rounds:
            return None
        fresh = Located.of(located)
        settings = self._settings
        generated = join_generated(self._trainer, rounds, fresh, settings)
        metrics.merge(generated)
        sources, known = list(rounds), fresh
        if self._held.source is not None:
            earlier = self._held.located
            sources.append(self._held.source)
            known = Located.of([fresh, earlier.moved_to(len(rounds))])
        selected = join_selected(
            self._trainer,
            sources,
            known,
            ask,
            tables=tables,
            settings=settings,
            n_fresh=len(fresh),
            capacity=self._capacity,
        )
        self.ledger.select(ask, left_out=selected["n_missing"])
        self._hold(sources, known)
        return Allocated(**selected, generated=generated, selection=ask, draws=draws)

    def ends_now(self) -> bool:
        """Whether the budget pays for no further draw. Collective; between two steps."""
        left = self.ledger.left
        is_near = left is not None and left < _MOST_PER_STEP * self._capacity
        if self._waiting is not None and left is not None and left < self._waiting.total:
            self._has_ended = True  # a resumed training may have a smaller budget
        if is_near and self._waiting is None and not self._has_ended:
            self._step_budget = _MOST_PER_STEP * self._capacity
            ask = self._ask()
            self._waiting = ask if isinstance(ask, Draw) else None
            self._has_ended = self._waiting is None
        return self._has_ended

    def leave_to_trl(self, rollouts: int) -> bool:
        """Count what TRL samples where the allocator draws nothing; False if that is too much."""
        left = self.ledger.left
        if left is not None and left < rollouts:
            return False
        self.ledger.spend(generated=rollouts)
        return True

    def save(self, folder: Path) -> dict[str, Any]:
        """Write arrays and kept rollouts into a checkpoint; returns what fits JSON."""
        rank = self._trainer.accelerator.process_index
        save_held(self._held, folder / _held_file(rank))
        if rank == 0:
            arrays = self.allocator.state_dict()
            if self._waiting is not None:
                arrays["waiting.prompts"] = self._waiting.prompts
                arrays["waiting.counts"] = self._waiting.counts
            content = io.BytesIO()
            np.savez(content, **arrays)
            store.commit_bytes(folder / _STATE_FILE, content.getbuffer())
        return {
            "ledger": self.ledger.state_dict(),
            "rng": self._rng.bit_generator.state,
            "told": self._told,
            "is_waiting": self._waiting is not None,
            "has_ended": self._has_ended,
            "world": self._world,
        }

    def load(self, folder: Path, values: Mapping[str, Any]) -> None:
        """Go on as the allocation that wrote this checkpoint would. Collective.

        Raises:
            RunError: On every process, when the first one cannot read its state, or one of them
                its rollouts.
        """
        self.ledger = BudgetLedger.from_state_dict(values["ledger"])
        is_same = self.ledger.limit == self._settings.rollout_budget
        self.ledger.limit = self._settings.rollout_budget
        self._told, self._has_ended = int(values["told"]), bool(values["has_ended"]) and is_same
        arrays = self._decide(lambda: self._load(folder, values))
        self._waiting = Draw(*arrays) if values["is_waiting"] else None
        self._held = Held.nothing()
        if values["world"] == self._world:
            rank = self._trainer.accelerator.process_index
            self._held = self._load_held(folder / _held_file(rank))

    # ---- private ---------------------------------------------------------------------------------

    def _load(self, folder: Path, values: Mapping[str, Any]) -> tuple[Any, Any] | None:
        path = folder / _STATE_FILE
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError) as error:
            raise RunError(
                "the state of the allocator cannot be read", where=str(path), got=repr(error)
            ) from error
        self.allocator.load_state_dict(arrays)
        self._row_of = _rows_by_id(self.allocator, self._rows)
        self._rng.bit_generator.state = values["rng"]
        if not values["is_waiting"]:
            return None
        return arrays["waiting.prompts"], arrays["waiting.counts"]

    def _load_held(self, path: Path) -> Held:
        """Rollouts that wait. Without its own a process cannot train on them: then none does."""

        def read() -> Held:
            try:
                return load_held(path, self._trainer.accelerator.device, self._settings)
            except Exception as error:
                raise RunError(
                    "the rollouts that wait cannot be read",
                    where=str(path),
                    got=repr(error),
                    hint="delete these files to go on without them",
                ) from error

        held = together(read)
        return held if all(gather(held.source is not None)) else Held.nothing()

    def _ask(self) -> Draw | Selection:
        if self._waiting is not None:
            ask, self._waiting = self._waiting, None
            return ask
        left = self.ledger.left
        budget = max(0, self._step_budget if left is None else min(self._step_budget, left))
        answer: Draw | Selection = self._decide(lambda: self.allocator.ask(budget, self._rng))
        return answer

    def _decide(self, decide: Callable[[], Any]) -> Any:
        """What process 0 decides, on all; its error is everyone's."""
        answer, failure, cause = None, None, None
        if self._trainer.accelerator.is_main_process:
            try:
                answer = decide()
            except Exception as error:  # noqa: BLE001 - raised below, when the others know of it
                failure, cause = str(error) or repr(error), error
        answer, failure = from_main((answer, failure))
        if failure is not None:
            raise RunError(
                f"the allocator cannot go on: {failure}", where="DisagreementGRPOTrainer"
            ) from cause
        return answer

    def _pieces(self, ask: Draw) -> Iterator[NDArray[Any]]:
        """A draw, one prompt per rollout, no more at a time than a generation batch holds."""
        prompts = np.repeat(ask.prompts, ask.counts)
        for start in range(0, len(prompts), self._capacity):
            yield prompts[start : start + self._capacity]

    def _own_rows(self, prompts: NDArray[Any]) -> list[dict[str, Any]]:
        """This process's share, every world-th rollout, so that groups spread over processes.

        With a few too many for an equal share the last prompt is sampled once more.
        """
        n_each = -(-len(prompts) // self._world)
        mine = self._trainer.accelerator.process_index + self._world * np.arange(n_each)
        wanted = prompts[np.minimum(mine, len(prompts) - 1)].tolist()
        rows = {name: self._rows[self._row_of(name)] for name in set(wanted)}
        # Copies, because TRL writes the extra fields of a rollout function into each row.
        return [dict(rows[name]) for name in wanted]

    def _tell(self, sampling: Sampling, prompts: NDArray[Any], round_: int) -> Located:
        n_each = len(sampling.rewards) // self._world
        rank = np.repeat(np.arange(self._world), n_each)
        drawn = rank + self._world * np.tile(np.arange(n_each), self._world)
        rows = np.flatnonzero(drawn < len(prompts))
        self._spend(len(drawn))
        names = prompts[drawn[rows]]
        by_function = {name: each[rows] for name, each in sampling.rewards_by_function.items()}
        groups = make_groups(sampling.rewards[rows], by_function, names, self._settings)
        groups = self._with_correctness(groups)
        self._decide(lambda: self.allocator.tell(groups, lengths=sampling.lengths[rows]))
        number = self._told + np.arange(len(rows))
        self._told += len(rows)
        return Located(number, np.full(len(rows), round_), rows, rank[rows], names)

    def _spend(self, rollouts: int) -> None:
        left = self.ledger.left
        # A rollout that only makes the processes even may be one more than the budget has.
        self.ledger.spend(generated=rollouts if left is None else min(rollouts, left))
        self._step_budget -= rollouts

    def _hold(self, sources: list[Source], known: Located) -> None:
        """Keep the rollouts of which the allocator says that it may come back to them."""
        if not self.allocator.reuses_rollouts:
            return
        numbers = self._decide(lambda: self.allocator.held)
        at = known.find(numbers)
        kept = known.take(np.sort(at[at >= 0]))
        self._held = Held.of(self._trainer, sources, kept, self._settings)


def _build(wanted: Any, group_size: int, capacity: int, rows: Any) -> Allocator:
    if isinstance(wanted, Allocator):
        return wanted
    written: Written = wanted
    return written.fit(len(rows), rollouts=capacity, group_size=group_size)


def _rows_by_id(allocator: Allocator, rows: Any) -> Callable[[Any], int]:
    """Prompt id → row of the data set."""
    ids = allocator.pool.ids
    if ids.dtype.kind in "iu":
        if len(ids) and (ids.min() < 0 or ids.max() >= len(rows)):
            raise InputError(
                "the allocator's prompts must be rows of the training set",
                where="allocator",
                got=f"ids up to {ids.max()}, {len(rows)} rows",
                hint="make it over len(train_dataset) prompts",
            )
        return int
    place = {prompt_id(rows[number]): number for number in range(len(rows))}
    unknown = next((name for name in ids.tolist() if name not in place), None)
    if unknown is not None:
        raise InputError(
            "the allocator has a prompt that the training set lacks",
            where="allocator",
            got=unknown,
            hint="its ids are row numbers, or prompt ids as the run records them",
        )
    return place.__getitem__


def _held_file(rank: int) -> str:
    return f"dissensus_held_{rank}.safetensors"


@contextmanager
def _groups_of_one(trainer: Any) -> Iterator[None]:
    before = trainer.num_generations
    trainer.num_generations = 1
    try:
        yield
    finally:
        trainer.num_generations = before
