"""What one trainer carries along: settings, run, metrics, memory of the estimator, checkpoint."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from dissensus.core.advantages import EstimatorState
from dissensus.core.allocation import Written
from dissensus.core.correctness import InferredCorrectness
from dissensus.core.groups import RewardGroups
from dissensus.errors import RunError
from dissensus.integrations.trl.allocating import Allocation
from dissensus.integrations.trl.estimating import Estimate, estimate
from dissensus.integrations.trl.masking import MicroBatchScale
from dissensus.integrations.trl.metrics import MetricWindow
from dissensus.integrations.trl.processes import from_main
from dissensus.integrations.trl.prompt_stream import PromptStream
from dissensus.integrations.trl.recording import RunWriter
from dissensus.integrations.trl.sampling import Rows, Sampling
from dissensus.integrations.trl.settings import Settings
from dissensus.runs import store

__all__ = ["STATE_FILE", "Session"]


STATE_FILE = "dissensus_state.json"
"""In every checkpoint: the estimator's memory and where the refills or the allocator stand."""


class Session:
    """The mixin's one attribute on the trainer, so that no name of TRL or of a user is taken."""

    def __init__(self, trainer: Any, settings: Settings) -> None:
        self.settings = settings
        self.rows: Rows | None = None
        self.evaluation: str | None = None
        self.window = MetricWindow()
        self._is_between_generations = functools.partial(_is_between_generations, trainer)
        self._correctness = InferredCorrectness(settings.tol)
        self.writer = RunWriter(settings, trainer.accelerator, _run_dir(trainer, settings))
        self.writer.describe(_metadata(trainer, settings))
        self.state = EstimatorState()
        self.stream = (
            PromptStream(_training_rows(trainer), trainer.args.seed)
            if settings.silent == "resample"
            else None
        )
        self.resume_from: str | None = None
        self.allocation = (
            None
            if settings.allocator is None
            else Allocation(trainer, settings, _training_rows(trainer), self.with_correctness)
        )
        self.micro_batch_scale = MicroBatchScale()
        self._per_function = (
            getattr(trainer, "multi_objective_aggregation", "") == "normalize_then_sum"
        )

    @contextmanager
    def evaluating(self, metric_key_prefix: str) -> Iterator[None]:
        """What is sampled and logged inside belongs to the evaluation of this name.

        Every evaluation set is a split of the run, with a window of metrics of its own; `predict`
        logs nothing, so its window ends with it.
        """
        # Held-out groups must not pass for trained ones, whatever the prefix.
        name = "eval_train" if metric_key_prefix == "train" else metric_key_prefix
        before, self.evaluation = self.evaluation, name
        try:
            yield
        finally:
            self.window.discard(name)
            self.evaluation = before

    def split(self, trainer: Any) -> str:
        """Split of what the trainer samples or logs now."""
        return "train" if trainer.model.training else self.evaluation or "eval"

    def estimate(self, sampling: Sampling, *, step: int, is_final: bool) -> Estimate:
        """Advantages and silence of a sampling; only a final call moves the estimator's memory."""
        sampling = replace(sampling, groups=self.with_correctness(sampling.groups))
        return estimate(
            sampling,
            estimator=self.settings.estimator,
            state=self.state if is_final else self.state.copy(),
            step=step,
            per_function=self._per_function,
        )

    def with_correctness(self, groups: RewardGroups) -> RewardGroups:
        """Groups that know what is correct: as declared, or as two-valued rewards show."""
        if self.settings.correct is not None:
            return groups
        return groups.with_correct(self._correctness.declare(groups.rewards))

    def begin_training(self, step: int) -> None:
        """Restore what the resumed checkpoint holds, and open the run at its step.

        Raises:
            RunError: The state that this training goes on from cannot be read, or no rollout is
                left of the budget.
        """
        rule = self.settings.estimator
        has_memory = self.stream is not None or self.allocation is not None
        has_memory |= rule is not None and "state" in rule.needs
        if self.resume_from is not None and has_memory:
            self._load(Path(self.resume_from) / STATE_FILE)
        budget = self.settings.rollout_budget
        if self.allocation is not None and budget is not None and self.allocation.ends_now():
            raise RunError(
                "the allocator draws nothing that the rollout budget still pays for",
                where="DisagreementGRPOTrainer.train",
                got=f"rollout_budget={budget}, {self.allocation.ledger.generated} generated",
                hint="a larger rollout_budget",
            )
        self.writer.begin_training(step)

    def save(self, args: Any, step: int) -> None:
        """Write the state file into the checkpoint of `step`, and the run to disk."""
        self.writer.flush()
        folder = Path(args.output_dir) / f"checkpoint-{step}"
        if not folder.is_dir():
            return
        state = {
            "estimator": self.state.state_dict(),
            "stream": self.stream.state_dict() if self.stream else None,
            "correct_values": self._correctness.values,
        }
        with self.writer.guard(f"save {STATE_FILE}"):
            if self.allocation is not None:
                state["allocation"] = self.allocation.save(folder)
            if not args.should_save:
                return
            store.commit_bytes(folder / STATE_FILE, json.dumps(state).encode())

    def has_spent_all(self) -> bool:
        """Whether the rollout budget is used up, and all of it was trained on. Collective."""
        if self.allocation is None or self.settings.rollout_budget is None:
            return False
        return self.allocation.ends_now() and self._is_between_generations()

    def _load(self, path: Path) -> None:
        # All go on from what the first process reads: the others may not see its folder, and
        # processes with different streams would wait for each other for ever.
        content = from_main(_content(path))
        if content is None:
            self.writer.guard.say("load", f"the checkpoint has no {STATE_FILE}; starting afresh")
            return
        try:
            state = json.loads(content)
            self.state = EstimatorState.from_state_dict(state["estimator"])
            seen = state.get("correct_values", ())
            self._correctness = InferredCorrectness(self.settings.tol, seen)
            if self.stream is not None and state["stream"] is not None:
                self.stream.load_state_dict(state["stream"])
            if self.allocation is not None and state.get("allocation") is not None:
                self.allocation.load(path.parent, state["allocation"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                "the state of the estimator and of the refills cannot be read",
                where=str(path),
                got=repr(error),
                hint="delete the file to start both afresh",
            ) from error


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        return b""  # which is no state either; an error here would leave the others waiting


def _run_dir(trainer: Any, settings: Settings) -> Path | None:
    if settings.run_dir is False or settings.recorder is not None:
        return None
    if settings.run_dir is not None:
        return Path(settings.run_dir)
    # What begins with "_" in the output folder, and that alone, is not uploaded.
    name = "_dissensus" if trainer.args.push_to_hub else "dissensus"
    return Path(trainer.args.output_dir) / name


def _training_rows(trainer: Any) -> Any:
    """The training set as TRL's own batches hold it, so that a row has one id in all rounds."""
    rows = trainer.train_dataset
    if not hasattr(rows, "remove_columns"):
        return rows
    return trainer._remove_unused_columns(rows, description="refill")  # noqa: SLF001


def _metadata(trainer: Any, settings: Settings) -> dict[str, Any]:
    from importlib.metadata import version

    args = trainer.args
    named = (
        "num_generations", "steps_per_generation", "num_iterations", "loss_type", "beta",
        "scale_rewards", "multi_objective_aggregation", "importance_sampling_level",
        "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate",
        "max_completion_length", "temperature", "mask_truncated_completions", "seed",
    )  # fmt: skip
    return {
        "framework": "trl",
        "trl": version("trl"),
        "trainer": type(trainer).__name__,
        "model": getattr(trainer.model.config, "_name_or_path", ""),
        "estimator": repr(settings.estimator) if settings.estimator else "TRL's own",
        "silent": settings.silent,
        "allocator": _written(settings.allocator),
        "rollout_budget": settings.rollout_budget,
        "reward_functions": list(trainer.reward_func_names),
        "reward_weights": trainer.reward_weights.tolist(),
        **{name: getattr(args, name) for name in named if hasattr(args, name)},
    }


def _written(allocator: Any) -> str | None:
    return str(allocator) if isinstance(allocator, Written) else getattr(allocator, "name", None)


def _is_between_generations(trainer: Any) -> bool:
    every = trainer.args.steps_per_generation * trainer.num_iterations
    return bool(trainer._step % every == 0)  # noqa: SLF001 - TRL has no public name for it
