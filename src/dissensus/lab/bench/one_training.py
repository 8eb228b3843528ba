"""One training of the benchmark, in this process, and what is kept of it."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.core.allocation import BudgetLedger
from dissensus.lab.bench.plan import Setting, Training
from dissensus.lab.bench.records import Evaluations, Steps, TrainingRecord
from dissensus.lab.evaluation import sample_completions
from dissensus.lab.model import load_model
from dissensus.lab.quiet import QUIET_ON_CPU, quiet_frameworks
from dissensus.lab.tasks import (
    MAX_COMPLETION_CHARS,
    Problem,
    Split,
    exact_match_reward,
    make_problems,
    to_dataset,
)
from dissensus.lab.tokenizer import build_tokenizer

__all__ = ["train_once", "versions"]

_CORRECT_FROM = 0.5  # between the two values of the reward
_PACKAGES = ("dissensus", "torch", "transformers", "trl", "numpy")


def train_once(
    training: Training, tell: Callable[[float], None] = lambda _: None
) -> TrainingRecord:
    """Train once, on the threads that torch has; the same training gives the same record.

    Args:
        training: What to do.
        tell: Told the share of the budget that is spent, after every step.

    Raises:
        InputError: The training cannot run as it is written.
        MissingDependencyError: The extra `lab` is not installed.
    """
    with quiet_frameworks(), tempfile.TemporaryDirectory(prefix="dissensus-bench-") as folder:
        return _Once(training, Path(folder), tell).run()


def versions() -> dict[str, str]:
    """Of Python and the packages that a training depends on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


class _Once:
    """One call of `train_once`."""

    def __init__(self, training: Training, folder: Path, tell: Callable[[float], None]) -> None:
        self.training, self.folder, self.tell = training, folder, tell
        setting = training.setting
        self.setting = setting
        self.problems = _problems(setting, "train", setting.train_prompts, training.seed)
        self.model = load_model()
        self.tokenizer = build_tokenizer()
        self.meter = _Meter()
        self.trained: list[int] = []  # rollouts that each step trained on
        self.checks = _Checks(self.model, self.tokenizer, training, self.meter)

    def run(self) -> TrainingRecord:
        from dissensus.runs import Recorder, Run

        training, run_dir = self.training, self.folder / "run"
        self.checks.measure(0, number=0)
        with Recorder(run_dir, correct=_CORRECT_FROM) as recorder:
            trainer = self._build_trainer(recorder)
            self.meter.ledger = lambda: trainer.ledger
            self.meter.start()
            trainer.train()
            self.meter.stop()
        self.checks.measure(trainer.state.global_step, number=self.setting.evaluations)
        steps = _read_steps(Run(run_dir).groups(split="train"), self.trained)
        return TrainingRecord(
            plan=training.plan,
            purpose=training.purpose,
            arm=training.arm,
            learning_rate=training.learning_rate,
            seed=training.seed,
            budget=self.setting.budget,
            evaluations=self.checks.columns(),
            steps=steps,
            settings=self.setting.to_json(),
            versions=versions(),
        )

    def step_ended(self, step: int) -> bool:
        """After an optimiser step: look at held-out prompts when another share is spent.

        Returns:
            Whether nothing is left to spend.
        """
        setting = self.setting
        self.tell(min(1.0, self.meter.generated / setting.budget))
        self.trained.append(self.meter.trained - sum(self.trained))
        due = self.meter.generated * setting.evaluations // setting.budget
        # The last check follows the training, with more samples.
        if self.checks.latest < due < setting.evaluations:
            self.meter.stop()
            self.checks.measure(step, number=due)
            self.meter.start()
        return self.meter.generated >= setting.budget

    def _build_trainer(self, recorder: Any) -> Any:
        from transformers import PrinterCallback
        from trl import GRPOConfig

        from dissensus.integrations.trl import DisagreementGRPOTrainer

        trainer = DisagreementGRPOTrainer(
            model=self.model,
            reward_funcs=self.meter.reward,
            args=GRPOConfig(**_trl_arguments(self.training, self.folder)),
            train_dataset=to_dataset(self.problems),
            processing_class=self.tokenizer,
            callbacks=[_make_callback(self)],
            recorder=recorder,
            estimator=self.training.arm.estimator,
            allocator=self.training.arm.allocator,
            rollout_budget=self.setting.budget,
        )
        trainer.remove_callback(PrinterCallback)
        return trainer


class _Meter:
    """What a training has spent: it is the reward function, which sees every rollout."""

    def __init__(self) -> None:
        self.generated = self.tokens = 0
        self.seconds = self.processor_seconds = 0.0
        self.ledger: Callable[[], BudgetLedger | None] = lambda: None
        self._started: tuple[float, float] | None = None

    @property
    def trained(self) -> int:
        """Rollouts trained on; a stored one counts each time it is used."""
        ledger = self.ledger()
        return 0 if ledger is None else ledger.trained

    @property
    def extra(self) -> int:
        """Passes besides sampling and training."""
        ledger = self.ledger()
        return 0 if ledger is None else ledger.extra

    def reward(
        self, completions: Sequence[object], answer: Sequence[str], **columns: Any
    ) -> list[float]:
        """The reward of the lab's tasks; counts what it is given."""
        self.generated += len(completions)
        self.tokens += sum(map(len, columns["completion_ids"]))
        return exact_match_reward(completions, answer)

    def start(self) -> None:
        self._started = time.monotonic(), time.process_time()

    def stop(self) -> None:
        if self._started is not None:
            self.seconds += time.monotonic() - self._started[0]
            self.processor_seconds += time.process_time() - self._started[1]
        self._started = None


class _Checks:
    """The held-out checks, and what was spent at each of them."""

    def __init__(self, model: Any, tokenizer: Any, training: Training, meter: _Meter) -> None:
        self._model, self._tokenizer, self._meter = model, tokenizer, meter
        self._seed, setting = training.seed, training.setting
        self._setting = setting
        self._problems = _problems(
            setting, "heldout", setting.heldout_prompts, setting.heldout_seed
        )
        self._rows: list[dict[str, Any]] = []
        self.latest = 0

    def measure(self, step: int, *, number: int) -> None:
        """Check `number`, counted in shares of the budget."""
        setting, self.latest = self._setting, number
        samples = setting.final_samples if number == setting.evaluations else setting.samples
        # All arms draw alike, so that they pair. Seeds and checks do not: one draw's luck would be
        # in every training, and would not average out of the rollouts that a target takes.
        seed = np.random.SeedSequence([setting.heldout_seed, self._seed, number])
        drawn = sample_completions(
            self._model,
            self._tokenizer,
            self._problems,
            samples,
            seed=int(seed.generate_state(1)[0]),
        )
        meter = self._meter
        if self._rows and self._rows[-1]["steps"] == step:
            self._rows.pop()  # what the last check saw, seen again with more samples
        self._rows.append(
            {
                "generated": meter.generated,
                "trained": meter.trained,
                "steps": step,
                "tokens": meter.tokens,
                "extra": meter.extra,
                "seconds": round(meter.seconds, 3),
                "processor_seconds": round(meter.processor_seconds, 3),
                "samples": samples,
                "correct": drawn.correct.sum(axis=1),
            }
        )

    def columns(self) -> Evaluations:
        """All of them."""
        names = self._rows[0].keys()
        return Evaluations(**{name: np.array([row[name] for row in self._rows]) for name in names})


def _problems(setting: Setting, split: Split, count: int, seed: int) -> list[Problem]:
    return make_problems(split, count, seed=seed, families=setting.families, levels=setting.levels)


def _trl_arguments(training: Training, folder: Path) -> dict[str, Any]:
    setting = training.setting
    per_step = setting.prompts_per_step * setting.group_size
    return {
        "output_dir": str(folder / "trainer"),
        "per_device_train_batch_size": per_step,
        "num_generations": setting.group_size,
        "max_completion_length": MAX_COMPLETION_CHARS + 1,
        "max_steps": setting.budget,  # never reached: the budget of rollouts ends the training
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": setting.warmup_steps,
        "loss_type": setting.loss_type,
        "seed": training.seed,
        **QUIET_ON_CPU,
    }


def _make_callback(once: _Once) -> Any:
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
        def on_step_end(self, *given: Any, **_: Any) -> None:
            _, state, control = given
            control.should_training_stop |= once.step_ended(state.global_step)

    return Watch()


def _read_steps(groups: Any, trained: Sequence[int]) -> Steps:
    """What each step saw, from the recorded groups and the rollouts that it trained on."""
    column = {name: _column(groups, name) for name in _GROUP_COLUMNS}
    step = column["step"].astype(np.int64)
    length = len(trained)

    def total(values: NDArray[Any]) -> NDArray[np.float64]:
        known = np.nan_to_num(values.astype(np.float64))
        return np.bincount(step, known, minlength=length).astype(np.float64)

    rollouts, size = column["rollouts"], column["size"]
    is_right = column["correct"] == size
    whole = {
        "generated": total(rollouts),
        "trained": np.asarray(trained),
        "all_wrong": total(rollouts * (column["correct"] == 0)),
        "all_correct": total(rollouts * (is_right & (size > 0))),
        "groups": total(np.ones(len(step))),
    }
    counted = {name: values.astype(np.int64) for name, values in whole.items()}
    contrast = total(column["contrast"] * (column["trained"] > 0))
    return Steps(contrast=np.round(contrast, 6), **counted)


_GROUP_COLUMNS = ("step", "rollouts", "size", "correct", "trained", "contrast")


def _column(groups: Any, name: str) -> NDArray[Any]:
    return np.asarray(groups.column(name).to_numpy(zero_copy_only=False))
