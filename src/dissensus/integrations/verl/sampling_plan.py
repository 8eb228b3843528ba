"""An allocator in verl's driver: which rows are generated, how often, and what is trained on.

verl fetches rows from its data set and finished groups from its replay buffer, both on the driver.
The plan stands between the two: rows ask it what comes next, the buffer tells it what came back.
Nothing here needs verl.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dissensus.core.allocation import Allocator, BudgetLedger, Draw, Selection, Written
from dissensus.core.correctness import InferredCorrectness
from dissensus.core.groups import RewardGroups
from dissensus.errors import RunError
from dissensus.integrations.guard import Guard
from dissensus.integrations.verl.sampling_options import SamplingOptions

__all__ = ["Answer", "Chosen", "Order", "Plan", "current"]

log = logging.getLogger("dissensus.verl")


class Order(NamedTuple):
    """One row for verl: row number, and how many rollouts of it; 0 only fills verl's batch."""

    row: int
    rollouts: int


class Answer(NamedTuple):
    """One rollout that came back: of which row, what it got, its tokens, and its name."""

    row: int
    reward: float
    length: float
    name: str


class Chosen(NamedTuple):
    """A group that is trained on: the names of its rollouts, and the factor of its advantages."""

    names: tuple[str, ...]
    weight: float

    @property
    def uid(self) -> str:
        """That of its first rollout, whose name begins with it."""
        return self.names[0].partition("_")[0]


class Plan:
    """An allocator at work, one step of verl after the other.

    Args:
        options: Its allocator is not None.

    Attributes:
        ledger: Rollouts generated and trained on since the beginning, across restarts.
    """

    def __init__(self, options: SamplingOptions) -> None:
        self.options, self.ledger = options, BudgetLedger()
        self._allocator: Allocator | None = None
        self._rng = np.random.default_rng([options.seed, 0xA110C])
        self._inferred = InferredCorrectness(options.tol)
        self._draw: Draw | None = None
        self._selection: Selection | None = None
        self._served = self._left = self._most = self._rows = self._batch = 0
        self._chunk: Callable[[], int] = lambda: 1
        self._is_own = False
        self._names: dict[int, str] = {}
        self.say = Guard(log).say

    # ---- rows ------------------------------------------------------------------------------------

    def open(self, rows: int, batch: int, chunk: Callable[[], int] = lambda: 1) -> None:
        """Make the allocator.

        Args:
            rows: Rows of the training set.
            batch: Prompts that verl trains on in a step.
            chunk: Rows that verl fetches at a time; it settles that later.
        """
        self._chunk = chunk
        written, size = self.options.allocator, self.options.group_size
        assert isinstance(written, Written) and size is not None  # noqa: S101, PT018
        self._rows, capacity = rows, batch * size
        self._allocator = written.fit(rows, rollouts=capacity, group_size=size)
        self._batch, self._most = self._allocator.batch, self.options.most_batches * capacity

    @property
    def is_open(self) -> bool:
        """Whether the data set has said how many rows there are."""
        return self._allocator is not None

    @property
    def chunk(self) -> int:
        """Rows that verl fetches at a time."""
        return self._chunk()

    @property
    def has_draw(self) -> bool:
        """Whether the rows of this step are the allocator's."""
        return self._draw is not None

    @property
    def drawn(self) -> int:
        """Rollouts of this draw."""
        return 0 if self._draw is None else self._draw.total

    @property
    def unserved(self) -> int:
        """Rows of the draw that verl has not fetched yet."""
        return 0 if self._draw is None else len(self._draw.prompts) - self._served

    def next_row(self, offered: int) -> Order:
        """What verl fetches in place of the row that it offers."""
        size = self.options.group_size or 1
        if self._draw is None and not self._is_own:
            self._left = self._most
            self._begin()
        if self._draw is None:
            return Order(offered, size)
        if not self.unserved:
            return Order(offered, 0)
        at, self._served = self._served, self._served + 1
        return Order(int(self._draw.prompts[at]), int(self._draw.counts[at]))

    # ---- groups ----------------------------------------------------------------------------------

    def tell(self, answers: Iterable[Answer]) -> int:
        """All that came back of the draw; what is missing counts as lost.

        Returns:
            How many answers nobody asked for: of other rows, or more than were drawn.
        """
        assert self._draw is not None  # noqa: S101
        by_row: dict[int, list[Answer]] = {int(row): [] for row in self._draw.prompts}
        strays = 0
        counts = dict(zip(by_row, self._draw.counts.tolist(), strict=True))
        for answer in answers:
            mine = by_row.get(answer.row)
            if mine is None or len(mine) == counts[answer.row]:
                strays += 1
            else:
                mine.append(answer)
        self._tell(by_row, counts)
        return strays

    def ask(self) -> bool:
        """Whether the allocator draws again; otherwise `choose` says what is trained on."""
        self._draw, self._served, self._selection = None, 0, None
        answer = self._made.ask(max(0, self._left), self._rng)
        if isinstance(answer, Draw):
            self._draw = answer
            self._left -= answer.total
            self.ledger.draw(answer)
            return True
        self._selection = answer
        return False

    def choose(self) -> list[Chosen]:
        """The groups of the selection."""
        selection = self._selection
        if selection is None:
            return []
        self.ledger.select(selection)
        groups: list[list[str]] = [[] for _ in selection.prompts]
        for number, group in zip(
            selection.rollouts.tolist(), selection.groups.tolist(), strict=True
        ):
            groups[group].append(self._names[number])
        return [
            Chosen(tuple(names), float(weight))
            for names, weight in zip(groups, selection.weights, strict=True)
        ]

    @property
    def drawn_names(self) -> frozenset[str]:
        """Rollouts of this step that came back and had been asked for."""
        return frozenset(self._names.values())

    def count_own(self, *, generated: int, trained: int) -> None:
        """What verl generated and trained on in a step that the allocator did not decide."""
        self.ledger.spend(generated=generated)
        self.ledger.trained += trained

    def short_of(self, groups: int) -> int:
        """Groups that a refilling strategy wanted for this step and did not get; says so once."""
        rounds, wanted = getattr(self._allocator, "max_rounds", None), self._batch
        if rounds is None or groups >= wanted:
            return 0
        self.say(
            "short",
            f"a step trains on {groups} groups where {self.options.allocator} wanted {wanted}: "
            f"{rounds} rounds, or {self.options.most_batches} training batches, did not hold more",
        )
        return wanted - groups

    def end_step(self) -> None:
        """Once verl has its batch: the next row that it fetches begins the next step."""
        self._draw, self._selection, self._served, self._is_own = None, None, 0, False
        self._names.clear()

    def abandon(self) -> None:
        """Leave this step to verl: what is out counts as lost, and nothing is selected."""
        try:
            if self._draw is not None:
                if self._made.outstanding:
                    self.tell(())
                self._left = 0
                self.ask()
        except Exception as error:  # noqa: BLE001 - training goes on
            self.say("abandon", f"the allocator cannot end a step ({error}); verl samples on")
        self.end_step()
        self._is_own = True

    # ---- checkpoints -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """All memory between two steps, as plain values and arrays."""
        return {
            "allocator": self._made.state_dict(),
            "rng": self._rng.bit_generator.state,
            "ledger": self.ledger.state_dict(),
            "values": list(self._inferred.values),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as the plan that wrote `state` would.

        Raises:
            RunError: Another strategy or another training set wrote it.
        """
        where, hint = "data.pt", "resume with the same allocator and training set"
        try:
            self._made.load_state_dict(state["allocator"])
            self._rng.bit_generator.state = state["rng"]
            self.ledger = BudgetLedger.from_state_dict(state["ledger"])
            self._inferred = InferredCorrectness(self.options.tol, state["values"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"the allocator's state cannot be used: {error}", where=where, hint=hint
            ) from error
        ids = self._made.pool.ids
        if len(ids) != self._rows:
            raise RunError(
                "the allocator knew another training set",
                where=where,
                got=f"{len(ids)} rows, now {self._rows}",
                hint=hint,
            )

    # ---- private ---------------------------------------------------------------------------------

    @property
    def _made(self) -> Allocator:
        assert self._allocator is not None, "the data set opens the plan first"  # noqa: S101
        return self._allocator

    def _begin(self) -> None:
        try:
            is_drawn = self.ask()
        except Exception as error:  # noqa: BLE001 - training goes on
            self.say("ask", f"the allocator cannot draw ({error}); verl samples its own rows")
            is_drawn = False
        else:
            if not is_drawn:
                self.say("nothing", "the allocator drew nothing; verl samples its own rows")
        self._is_own = not is_drawn

    def _tell(self, by_row: dict[int, list[Answer]], counts: dict[int, int]) -> None:
        lost = Answer(-1, np.nan, np.nan, "")
        told = [
            (row, answer)
            for row, answers in by_row.items()
            for answer in (*answers, *[lost] * (counts[row] - len(answers)))
        ]
        rewards = np.array([answer.reward for _, answer in told], dtype=np.float64)
        rewards[~np.isfinite(rewards)] = np.nan
        correct = self.options.correct
        groups = RewardGroups.from_flat(
            rewards,
            np.array([row for row, _ in told], dtype=np.int64),
            correct=self._inferred.declare(rewards) if correct is None else correct,
            tol=self.options.tol,
        )
        first = self._made.told
        self._made.tell(groups, lengths=np.array([answer.length for _, answer in told]))
        self._names |= {first + i: answer.name for i, (_, answer) in enumerate(told) if answer.name}


_current: Plan | None = None


def current(plan: Plan | None = None) -> Plan | None:
    """The plan of this process's trainer; with an argument, make that the one.

    verl constructs the replay buffer and the data set apart from each other, in one process, and
    hands neither to the other.
    """
    global _current  # noqa: PLW0603 - there is one trainer in a process
    _current = plan if plan is not None else _current
    return _current
