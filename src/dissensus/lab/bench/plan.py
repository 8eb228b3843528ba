"""What the benchmark trains: arms, learning rates, seeds and sizes, all written down beforehand."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from dissensus.core import advantages
from dissensus.core.allocation import written
from dissensus.errors import InputError
from dissensus.lab.bench.records import Arm, Purpose
from dissensus.lab.tasks import FAMILIES, LEVELS

__all__ = ["OWN", "ArmPlan", "Plan", "Setting", "Training", "load_plan", "read_arm", "read_arms"]

OWN = "own"
_OF = "of:"
_PLANS = Path(__file__).parent / "plans"
_CROSS = re.compile(r"\s+[x×]\s+")


@dataclass(frozen=True)
class ArmPlan:
    """An arm and how its learning rate is found.

    Attributes:
        arm: Estimator and allocator.
        learning_rates: Its grid, ascending.
        tune: `"own"`: its own trainings at the tuning seeds. `"of:grpo x uniform"`: those of
            another arm, which says that both take the same step for the same learning rate.
    """

    arm: Arm
    learning_rates: tuple[float, ...]
    tune: str = OWN

    @property
    def tuned_by(self) -> Arm:
        """The arm whose trainings choose the learning rate."""
        return self.arm if self.tune == OWN else read_arm(self.tune.removeprefix(_OF))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Everything that determines a training besides arm, learning rate and seed.

    Attributes:
        budget: R, rollouts that each training generates.
        train_prompts: Size of the training set.
        prompts_per_step: Prompts of a step, where the allocator does not decide otherwise.
        group_size: Rollouts of each, likewise.
        families: Task families trained and tested on.
        levels: Their levels.
        warmup_steps: Steps in which the learning rate rises; it stays where it is afterwards,
            because how many steps a budget makes depends on the allocator.
        loss_type: TRL's loss.
        evaluations: Held-out checks after the first, at equal shares of the budget.
        heldout_prompts: Held-out prompts.
        heldout_seed: Of the held-out prompts, the same in all trainings; and, with the seed of the
            training and the number of the check, of their sampling, the same for all arms.
        samples: Completions of each held-out prompt in a check.
        final_samples: The same in the last one.
    """

    budget: int
    train_prompts: int
    prompts_per_step: int
    group_size: int = 8
    families: tuple[str, ...] = FAMILIES
    levels: tuple[int, ...] = LEVELS
    warmup_steps: int = 5
    loss_type: str = "dapo"
    evaluations: int = 10
    heldout_prompts: int = 400
    heldout_seed: int = 20_000
    samples: int = 1
    final_samples: int = 4

    def __post_init__(self) -> None:
        """Refuse sizes that cannot run."""
        for name in ("families", "levels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        counts = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        words = {"families", "levels", "loss_type"}
        for name, value in counts.items():
            least = 0 if name in {"warmup_steps", "heldout_seed"} else 1
            if name not in words and (not isinstance(value, int) or value < least):
                raise InputError(
                    f"{name} must be a whole number ≥ {least}", where="the plan", got=value
                )
        if self.budget < self.prompts_per_step * self.group_size:
            raise InputError(
                "the budget does not pay for one step",
                where="the plan",
                got=(self.budget, self.prompts_per_step * self.group_size),
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values, as a record keeps them."""
        return dataclasses.asdict(self) | {
            "families": list(self.families),
            "levels": list(self.levels),
        }


class Training(NamedTuple):
    """One training to do."""

    plan: str
    setting: Setting
    purpose: Purpose
    arm: Arm
    learning_rate: float
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `from_json` reads them."""
        return self._asdict() | {"setting": self.setting.to_json(), "arm": list(self.arm)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        made = {"setting": Setting(**document["setting"]), "arm": Arm(*document["arm"])}
        return cls(**{**document, **made})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All trainings of a benchmark.

    Attributes:
        name: Its name.
        arms: What competes; the first is what the others are compared with.
        setting: What all trainings share.
        tuning_seeds: Seeds that choose the learning rate, and are never reported.
        report_seeds: Seeds that are reported.
        widen: How often a grid is widened by half or twice its end, as long as its end is best.
    """

    name: str
    arms: tuple[ArmPlan, ...]
    setting: Setting
    tuning_seeds: tuple[int, ...] = (1000, 1001)
    report_seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    widen: int = 0

    def __post_init__(self) -> None:
        """Refuse what would not be honest, or cannot run."""
        _require(bool(self.arms), "a plan needs an arm", self.name)
        both = set(self.tuning_seeds) & set(self.report_seeds)
        _require(not both, "a seed that tunes cannot be reported", sorted(both))
        _require(bool(self.report_seeds), "a plan needs seeds to report", self.name)
        listed = [each.arm for each in self.arms]
        for each in self.arms:
            text = str(each.arm)
            _require(listed.count(each.arm) == 1, "an arm stands there twice", text)
            rates = each.learning_rates
            _require(
                bool(rates) and list(rates) == sorted({*rates}) and rates[0] > 0,
                "learning rates must be > 0 and ascending",
                (text, rates),
            )
            by = next((other for other in self.arms if other.arm == each.tuned_by), None)
            _require(
                by is not None and by.tune == OWN,
                "tune must be own, or of: an arm of the plan that is tuned itself",
                (text, each.tune),
            )
            needs_tuning = len(rates) > 1 and not self.tuning_seeds
            _require(not needs_tuning, "several learning rates need tuning seeds", text)
        for arm in listed:
            _check_arm(arm)

    @property
    def baseline(self) -> Arm:
        """What the others are compared with."""
        return self.arms[0].arm

    def of(self, arms: Sequence[Arm]) -> Plan:
        """The same plan with these arms only.

        Those that tune them stay; an arm that the plan does not have gets the first one's grid.
        """
        known = {each.arm: each for each in self.arms}
        grid = self.arms[0].learning_rates
        chosen = [known.get(arm, ArmPlan(arm, grid)) for arm in arms]
        tuners = [known[each.tuned_by] for each in chosen if each.tune != OWN]
        unique = dict.fromkeys([*tuners, *chosen])
        return dataclasses.replace(self, arms=tuple(unique))

    @classmethod
    def from_json(cls, document: Mapping[str, Any], *, where: str) -> Self:
        """Read a plan.

        Args:
            document: `{"name", "arms": [{"estimator", "allocator", "learning_rates", "tune"}],
                "setting": {…}, "tuning_seeds", "report_seeds"}`; `learning_rates` beside `arms` is
                the grid of the arms that have none. `"widen"`: 0 without it.
            where: Where it stands, for the error.

        Raises:
            InputError: Something is missing, unknown, or cannot run.
        """
        try:
            grid = document.get("learning_rates", ())
            arms = [
                ArmPlan(
                    Arm(str(each["estimator"]), str(each["allocator"])),
                    tuple(float(rate) for rate in each.get("learning_rates", grid)),
                    str(each.get("tune", OWN)),
                )
                for each in document["arms"]
            ]
            seeds = {
                name: tuple(int(seed) for seed in document[name])
                for name in ("tuning_seeds", "report_seeds")
                if name in document
            }
            setting = Setting(**document["setting"])
            return cls(
                name=str(document["name"]),
                arms=tuple(arms),
                setting=setting,
                widen=int(document.get("widen", 0)),
                **seeds,
            )
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            text = f"{type(error).__name__}: {error}"
            raise InputError("not a plan of the benchmark", where=where, got=text) from error


def load_plan(name: str) -> Plan:
    """A plan of the package, or one from a JSON file.

    Args:
        name: `"serious"`, `"quick"`, or a path that ends in .json.

    Raises:
        InputError: There is no such plan, or it cannot be read.
    """
    path = Path(name) if name.endswith(".json") else _PLANS / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in _PLANS.glob("*.json")))
        raise InputError("no such plan", where="--plan", got=name, hint=f"{known}, or FILE.json")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("cannot read the plan", where=str(path), got=str(error)) from error
    return Plan.from_json(document, where=str(path))


def read_arm(text: str) -> Arm:
    """An arm as it is written.

    Raises:
        InputError: It is not written so.

    Example:
        >>> read_arm("weighted(grpo, power(0.5)) x uniform")
        Arm(estimator='weighted(grpo, power(0.5))', allocator='uniform')
    """
    parts = _CROSS.split(text.strip())
    if len(parts) != 2 or not all(parts):
        raise InputError(
            "an arm is an estimator and an allocator",
            got=text.strip(),
            hint='for example "grpo x contrast(least=4)"',
        )
    return Arm(*parts)


def read_arms(text: str) -> list[Arm]:
    """Arms, separated by semicolons.

    Example:
        >>> [str(arm) for arm in read_arms("grpo x uniform; maxrl x dapo")]
        ['grpo × uniform', 'maxrl × dapo']
    """
    return list(dict.fromkeys(read_arm(part) for part in text.split(";") if part.strip()))


def _check_arm(arm: Arm) -> None:
    advantages.get(arm.estimator)
    written.read(arm.allocator, where="the plan")


def _require(holds: bool, what: str, got: object) -> None:
    if not holds:
        raise InputError(what, where="the plan", got=got)
