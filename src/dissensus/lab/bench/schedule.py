"""Which trainings of a plan are to be done next, given those that are done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dissensus.errors import InputError
from dissensus.lab.bench.plan import ArmPlan, Plan, Training
from dissensus.lab.bench.records import Arm, Purpose, TrainingRecord
from dissensus.lab.bench.tuning import choose_rate

__all__ = ["Schedule"]


class _Key(NamedTuple):
    arm: Arm
    learning_rate: float
    seed: int


class Schedule:
    """The trainings of a plan, in order: tuning first, then seed after seed of all arms.

    So a benchmark that is stopped half-way has complete pairs.

    Args:
        plan: What is to be done.
        records: What is done.
        where: Where the records lie, for messages.

    Raises:
        InputError: A record is of other settings than the plan's.
    """

    def __init__(self, plan: Plan, records: Iterable[TrainingRecord], *, where: Path) -> None:
        self.plan = plan
        self._finals: dict[_Key, float] = {}
        self._taken: set[_Key] = set()
        self._failed: set[_Key] = set()
        for record in records:
            _check_settings(plan, record, where)
            self.add(record)

    @property
    def total(self) -> int:
        """Trainings of the plan, as far as is known now: grids may become wider."""
        return len(self._tuning()) + len(self.plan.arms) * len(self.plan.report_seeds)

    @property
    def done(self) -> int:
        """Trainings of the plan that are done."""
        return sum(_key(each) in self._finals for each in (*self._tuning(), *self._reports()))

    def take(self) -> Training | None:
        """The next training that can be done; None where there is none, perhaps for now."""
        for training in (*self._tuning(), *self._reports()):
            key = _key(training)
            if key not in self._finals and key not in self._taken and key not in self._failed:
                self._taken.add(key)
                return training
        return None

    @property
    def is_waiting(self) -> bool:
        """Whether a training is under way, after which there may be others to do."""
        return bool(self._taken)

    def add(self, record: TrainingRecord) -> None:
        """A training is done."""
        key = _Key(record.arm, record.learning_rate, record.seed)
        self._finals[key] = record.final
        self._taken.discard(key)

    def fail(self, training: Training) -> None:
        """A training failed: not again this time, and nothing that depends on it."""
        self._taken.discard(_key(training))
        self._failed.add(_key(training))

    def rate(self, arm_plan: ArmPlan) -> float | None:
        """The learning rate that the arm is reported at; None while that is open."""
        tuner = self._tuner(arm_plan)
        return self._best(tuner.arm, self._grid(tuner))

    def _grid(self, tuner: ArmPlan) -> list[float]:
        """The learning rates to be tried, as far as is known now."""
        rates = list(tuner.learning_rates)
        for _ in range(self.plan.widen if len(rates) > 1 else 0):
            best = self._best(tuner.arm, rates)
            if best == rates[0]:
                rates.insert(0, best / 2)
            elif best == rates[-1]:
                rates.append(best * 2)
            else:
                break
        return rates

    def _best(self, arm: Arm, rates: Sequence[float]) -> float | None:
        """The best of these learning rates; None while a training of theirs is not done."""
        if len(rates) == 1:
            return rates[0]
        finals = {
            rate: [self._finals.get(_Key(arm, rate, seed)) for seed in self.plan.tuning_seeds]
            for rate in rates
        }
        known = {rate: [f for f in each if f is not None] for rate, each in finals.items()}
        is_complete = all(len(each) == len(self.plan.tuning_seeds) for each in known.values())
        return choose_rate(known) if is_complete else None

    def _tuner(self, arm_plan: ArmPlan) -> ArmPlan:
        return next(each for each in self.plan.arms if each.arm == arm_plan.tuned_by)

    def _tuning(self) -> Sequence[Training]:
        return [
            self._training("tune", each.arm, rate, seed)
            for each in self.plan.arms
            if each.tuned_by == each.arm and len(each.learning_rates) > 1
            for seed in self.plan.tuning_seeds
            for rate in self._grid(each)
        ]

    def _reports(self) -> Iterator[Training]:
        rates = [(each.arm, self.rate(each)) for each in self.plan.arms]
        for seed in self.plan.report_seeds:
            for arm, rate in rates:
                if rate is not None:
                    yield self._training("report", arm, rate, seed)

    def _training(self, purpose: Purpose, arm: Arm, rate: float, seed: int) -> Training:
        return Training(self.plan.name, self.plan.setting, purpose, arm, rate, seed)


def _key(training: Training) -> _Key:
    return _Key(training.arm, training.learning_rate, training.seed)


def _check_settings(plan: Plan, record: TrainingRecord, where: Path) -> None:
    expected, found = plan.setting.to_json(), dict(record.settings)
    names = [name for name in expected | found if expected.get(name) != found.get(name)]
    if names:
        name = names[0]
        raise InputError(
            f"the folder holds trainings of another plan: {name} is {found.get(name)} there "
            f"and {expected.get(name)} in {plan.name}",
            where=str(where),
            hint="name another folder, or analyse what is there with --no-run",
        )
