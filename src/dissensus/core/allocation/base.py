"""What an allocator is: it is asked who gets rollouts, and told what came of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.core.allocation.asks import Draw, Selection
from dissensus.core.allocation.pool import Epochs, Pool, Prompts
from dissensus.core.allocation.step import CARRIED, ROW, Outcomes, Step
from dissensus.core.groups import DEFAULT_TOL, BoolArray, FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError, MissingContextError

__all__ = ["Allocator", "Choice", "Request", "each", "play_step"]


class Request(NamedTuple):
    """Rollouts a strategy wants next: positions in the pool and counts, most wanted first."""

    prompts: IntArray
    counts: IntArray


def each(prompts: IntArray, count: int) -> Request:
    """The same number of rollouts of each prompt."""
    return Request(prompts, np.full(len(prompts), count, dtype=np.int64))


class Choice(NamedTuple):
    """What a strategy trains on.

    Attributes:
        keep: (T,) which rollouts of the step are trained on.
        weights: (P,) factor of each group of the step; None: 1.
        baselines: (P,) reward to centre on; None: the mean of what is kept.
        carry: (T,) which rollouts stay for the next step; None: none.
    """

    keep: BoolArray
    weights: FloatArray | None = None
    baselines: FloatArray | None = None
    carry: BoolArray | None = None


class Allocator(ABC):
    """Chooses who gets rollouts, by turns of `ask` and `tell`.

        ask(budget, rng) → Draw        sample these now, and tell what they got
                         → Selection   the step is complete; the next ask begins the next one
        tell(groups)                   results, in any order and a few at a time

    One rule for all strategies: an `ask` while results are still out is an error. A rollout that
    was lost is told as an unscored one, NaN. The order in which groups come back changes nothing
    but the running numbers of rollouts.

    Never more rollouts are asked for than `budget`; what does not fit is left out from the end,
    whole prompts at a time. With too small a budget, or no prompt to draw, the step ends early.
    All randomness comes from the `rng` of `ask`.

    Solve rates are shares of correct rollouts. Where `RewardGroups` does not know which are
    correct, a reward clipped to [0, 1] counts as that much of a correct one.

    Args:
        prompts: Number of prompts (then their ids are 0 … n−1), or their ids.
        batch: Prompts that one step is meant to train on.
        group_size: Rollouts of each, where the strategy does not decide otherwise.

    Example:
        >>> from dissensus.core import allocation
        >>> uniform = allocation.get("uniform", 10, batch=2, group_size=4)
        >>> draw = uniform.ask(100, np.random.default_rng(0))
        >>> draw.counts.tolist()
        [4, 4]
        >>> uniform.tell(RewardGroups.from_dense([[1, 0, 0, 0], [1, 1, 1, 1]], ids=draw.prompts))
        >>> len(uniform.ask(92, np.random.default_rng(0)).rollouts)
        8
    """

    name: ClassVar[str] = ""
    needs_lengths: ClassVar[bool] = False
    reuses_rollouts: ClassVar[bool] = False  # of earlier steps: `held` says which

    def __init__(self, prompts: Prompts, *, batch: int = 64, group_size: int = 8) -> None:
        self.batch = self._whole("batch", batch)
        self.group_size = self._whole("group_size", group_size)
        self.pool = Pool(prompts)
        self.epochs = Epochs(self.pool)
        self._columns: dict[str, NDArray[Any]] = {}
        self._fills: dict[str, Any] = {}
        self._notes: dict[str, NDArray[Any]] = {}
        self._asked = Request(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
        self._out: IntArray = self._asked.counts.copy()
        self._told: NDArray[Any] = np.empty(0, dtype=ROW)
        self._step = Step(np.empty(0, dtype=ROW), 0, DEFAULT_TOL)
        self._number = self._first = 0

    # ---- what a strategy says --------------------------------------------------------------------

    @abstractmethod
    def _next(self, step: Step, budget: int, rng: np.random.Generator) -> Request | None:
        """Rollouts wanted next in this step, or None when it has enough."""

    def _learn(self, seen: Outcomes) -> None:  # noqa: B027 - most strategies have no memory
        """Take in the scored groups of a round that is complete."""

    def _choose(self, step: Step, rng: np.random.Generator) -> Choice:  # noqa: ARG002
        """What the step, which has at least one rollout, trains on; default: everything."""
        return Choice(np.ones(len(step), dtype=np.bool_))

    # ---- what the caller says --------------------------------------------------------------------

    def ask(self, budget: int, rng: np.random.Generator) -> Draw | Selection:
        """The next rollouts of this step, or what it trains on.

        Args:
            budget: Rollouts that may still be generated in this step, ≥ 0.
            rng: The only source of randomness.

        Raises:
            InputError: Results of the last draw are still out, or budget is not a whole number ≥ 0.
        """
        if self.outstanding:
            raise InputError(
                f"{self.outstanding} rollouts of the last draw have not been told",
                where=f"{self.name}.ask",
                hint="tell lost rollouts as NaN",
            )
        if budget != int(budget) or budget < 0:
            raise InputError("budget must be a whole number ≥ 0", where=self.name, got=budget)
        request = None
        if budget > 0 and self.pool.is_present.any():
            request = self._next(self._step, int(budget), rng)
        asked = self._fitted(request, int(budget))
        if not len(asked.prompts):
            return self._finish(rng)
        self._asked, self._out = asked, asked.counts.copy()
        return Draw(self.pool.ids[asked.prompts], asked.counts.copy())

    def tell(self, groups: RewardGroups, *, lengths: ArrayLike | None = None) -> None:
        """Rewards of rollouts that were asked for.

        Args:
            groups: Its ids are the prompts of the draw; a few of them, or a part of a group, will
                do. Running numbers of rollouts follow the order of its rows.
            lengths: (N,) completion lengths in tokens, where the strategy looks at them.

        Raises:
            InputError: More rollouts of a prompt than were asked for, or lengths that do not match.
            MissingContextError: The strategy looks at lengths, and there are none.
        """
        prompts = self.pool.positions(groups.ids)
        slot = self._slots(prompts, groups)
        if lengths is None and self.needs_lengths:
            raise MissingContextError(
                "this strategy needs the lengths of completions",
                where=f"{self.name}.tell",
                hint="pass lengths=…, one per rollout",
            )
        if lengths is not None and np.shape(lengths) != (groups.n_rollouts,):
            raise InputError(
                "lengths must have one number per rollout",
                where=f"{self.name}.tell",
                got=(np.shape(lengths), groups.n_rollouts),
            )
        rows = np.empty(groups.n_rollouts, dtype=ROW)
        rows["number"] = self._number + np.arange(len(rows))
        rows["prompt"] = prompts[groups.index]
        rows["reward"] = groups.rewards
        known = groups.is_correct
        rows["credit"] = np.clip(groups.rewards, 0.0, 1.0) if known is None else known
        rows["length"] = np.nan if lengths is None else lengths
        rows["round"] = self._step.rounds
        self._number += len(rows)
        self._told = np.concatenate([self._told, rows])
        self._out[slot] -= groups.rollouts
        self._step.tol = groups.tol
        if not self.outstanding:
            self._close_round()

    @property
    def outstanding(self) -> int:
        """Rollouts asked for and not yet told."""
        return int(self._out.sum())

    @property
    def told(self) -> int:
        """Rollouts told so far, which is the running number of the next one."""
        return self._number

    @property
    def trained_per_prompt(self) -> int:
        """Rollouts of a prompt that a step trains on, where that does not depend on outcomes."""
        return self.group_size

    @property
    def held(self) -> IntArray:
        """Running numbers of rollouts of earlier steps that may still be trained on, ascending."""
        rows = self._step.rows
        return np.sort(rows["number"][rows["round"] == CARRIED])

    def add(self, prompts: Prompts) -> None:
        """Prompts that may be drawn from now on; one that was removed comes back as it was."""
        new = self.pool.add(prompts)
        for name, values in self._columns.items():
            added = np.full((new, *values.shape[1:]), self._fills[name], dtype=values.dtype)
            self._columns[name] = np.concatenate([values, added])

    def remove(self, prompts: Prompts) -> None:
        """Prompts that are not drawn any more; results that are out are still taken.

        Raises:
            InputError: A prompt was never added.
        """
        self.pool.remove(prompts)

    def state_dict(self) -> dict[str, Any]:
        """All memory as plain arrays by name, also in the middle of a round."""
        rows = {
            f"{kind}.{name}": values[name].copy()
            for kind, values in (("step", self._step.rows), ("told", self._told))
            for name in ROW.names or ()
        }
        numbers = (self._number, self._first, self._step.rounds)
        return {
            "strategy": np.array(self.name),
            "ids": self.pool.ids.copy(),
            "is_present": self.pool.is_present.copy(),
            "numbers": np.array(numbers, dtype=np.int64),
            "tol": np.array(self._step.tol),
            "asked": self._asked.prompts.copy(),
            "counts": self._asked.counts.copy(),
            "out": self._out.copy(),
            **self.epochs.state_dict(),
            **rows,
            **{f"column.{name}": values.copy() for name, values in self._columns.items()},
            **{f"note.{name}": values.copy() for name, values in self._notes.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly as the allocator that wrote `state` would.

        Raises:
            InputError: Another strategy wrote it, or a part is missing.
        """
        where = f"{self.name}.load_state_dict"
        if str(state.get("strategy")) != self.name:
            raise InputError("state of another strategy", where=where, got=state.get("strategy"))
        try:
            self.pool.load(np.array(state["ids"]), state["is_present"])
            self._number, self._first, rounds = (int(each) for each in state["numbers"])
            self._step = Step(_rows(state, "step"), rounds, float(state["tol"]))
            self._told = _rows(state, "told")
            self._asked = Request(np.array(state["asked"]), np.array(state["counts"]))
            self._out = np.array(state["out"])
            self.epochs.load_state_dict(dict(state))
            for kind, memory in (("column", self._columns), ("note", self._notes)):
                for name, values in memory.items():
                    memory[name] = np.array(state[f"{kind}.{name}"], dtype=values.dtype)
        except KeyError as error:
            raise InputError("a part is missing", where=where, got=error.args[0]) from None

    # ---- what strategies build with --------------------------------------------------------------

    def _column(self, name: str, fill: Any, dtype: Any = np.float64) -> None:
        """Keep an array with one value per prompt in `self._columns`."""
        self._fills[name] = fill
        self._columns[name] = np.full(len(self.pool), fill, dtype=dtype)

    def _note(self, name: str, value: Any) -> None:
        """Keep an array of any shape in `self._notes`."""
        self._notes[name] = np.array(value)

    def _fresh(
        self,
        count: int,
        step: Step,
        rng: np.random.Generator,
        accept: Callable[[IntArray], BoolArray] | None = None,
    ) -> IntArray:
        """Next prompts of the epoch that are not in this step yet."""
        used = np.unique(step.rows["prompt"])
        if not len(used):
            return self.epochs.take(count, rng, accept=accept)

        def unused(prompts: IntArray) -> BoolArray:
            wanted = ~np.isin(prompts, used)
            if accept is not None:
                wanted[wanted] = accept(prompts[wanted])
            return wanted

        return self.epochs.take(count, rng, accept=unused)

    def _groups(
        self,
        count: int,
        step: Step,
        budget: int,
        rng: np.random.Generator,
        accept: Callable[[IntArray], BoolArray] | None = None,
    ) -> Request:
        """`group_size` rollouts of fresh prompts, no more of them than the budget pays for."""
        return each(
            self._fresh(min(count, budget // self.group_size), step, rng, accept), self.group_size
        )

    @staticmethod
    def _whole(name: str, value: int, least: int = 1) -> int:
        if value != int(value) or value < least:
            raise InputError(f"The '{name}' parameter must be a whole number ≥ {least}", got=value)
        return int(value)

    @staticmethod
    def _share(name: str, value: float, *, least: float = 0.0, most: float = 1.0) -> float:
        if not least <= value <= most:
            raise InputError(f"The '{name}' parameter must lie in [{least}, {most}]", got=value)
        return float(value)

    # ---- private ---------------------------------------------------------------------------------

    def _fitted(self, request: Request | None, budget: int) -> Request:
        """What fits into the budget, from the front; prompts removed meanwhile are left out."""
        if request is None:
            return Request(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
        wanted = (request.counts > 0) & self.pool.is_present[request.prompts]
        prompts, counts = request.prompts[wanted], request.counts[wanted].astype(np.int64)
        fits = np.cumsum(counts) <= budget
        return Request(prompts[fits], counts[fits])

    def _slots(self, prompts: IntArray, groups: RewardGroups) -> IntArray:
        """Place of each group in the draw, once it is clear that all rollouts were asked for."""
        slot = self._place_in_draw(prompts)
        allowed = np.append(self._out, 0)[slot]
        if (groups.rollouts > allowed).any():
            worst = int(np.flatnonzero(groups.rollouts > allowed)[0])
            raise InputError(
                "more rollouts of a prompt than were asked for",
                where=f"{self.name}.tell",
                got=(groups.ids[worst].item(), int(groups.rollouts[worst])),
            )
        return slot

    def _place_in_draw(self, prompts: IntArray) -> IntArray:
        """Place of each prompt in the last draw; one past its end where it was not asked for."""
        asked = self._asked.prompts
        order = np.append(np.argsort(asked), len(asked))
        slot = order[np.searchsorted(asked, prompts, sorter=order[:-1])]
        return np.where(np.append(asked, -1)[slot] == prompts, slot, len(asked))

    def _close_round(self) -> None:
        rows = self._told[np.argsort(self._place_in_draw(self._told["prompt"]), kind="stable")]
        step = self._step
        self._step = Step(np.concatenate([step.rows, rows]), step.rounds + 1, step.tol)
        self._told = self._told[:0]
        seen = Step(rows, step.rounds, step.tol).outcomes
        self._learn(seen.where(seen.size > 0))

    def _finish(self, rng: np.random.Generator) -> Selection:
        step = self._step
        choice = self._choose(step, rng) if len(step) else Choice(np.empty(0, dtype=np.bool_))
        keep = choice.keep & ~np.isnan(step.rows["reward"])
        selection = self._selection(step, choice, keep)
        carried = step.rows[:0] if choice.carry is None else step.rows[choice.carry].copy()
        carried["round"] = CARRIED
        self._step, self._first = Step(carried, 0, step.tol), self._number
        return selection

    def _selection(self, step: Step, choice: Choice, keep: BoolArray) -> Selection:
        if not len(step):
            none = np.empty(0)
            whole = none.astype(np.int64)
            return Selection(
                self.pool.ids[:0].copy(), whole, whole.copy(), none, none.copy(), self._first
            )
        groups = step.groups
        used, group = np.unique(groups.index[keep], return_inverse=True)
        weights = np.ones(len(groups)) if choice.weights is None else choice.weights
        baselines = np.full(len(groups), np.nan) if choice.baselines is None else choice.baselines
        return Selection(
            prompts=self.pool.ids[groups.ids[used]],
            rollouts=step.rows["number"][keep],
            groups=group.astype(np.int64),
            weights=weights[used],
            baselines=baselines[used],
            first=self._first,
        )


def play_step(
    allocator: Allocator,
    budget: int,
    rng: np.random.Generator,
    sample: Callable[[Draw], RewardGroups],
    *,
    on_draw: Callable[[Draw], None] | None = None,
) -> Selection:
    """One whole step: ask, sample, tell, until the allocator has what it trains on.

    Args:
        allocator: Whose step it is.
        budget: Rollouts that the step may generate.
        rng: For the allocator.
        sample: Draw → rewards, by prompt id.
        on_draw: Called with each draw before it is sampled, such as `ledger.draw`.
    """
    while isinstance(ask := allocator.ask(budget, rng), Draw):
        if on_draw is not None:
            on_draw(ask)
        budget -= ask.total
        allocator.tell(sample(ask))
    return ask


def _rows(state: Mapping[str, Any], kind: str) -> NDArray[Any]:
    rows = np.empty(len(state[f"{kind}.number"]), dtype=ROW)
    for name in ROW.names or ():
        rows[name] = state[f"{kind}.{name}"]
    return rows
