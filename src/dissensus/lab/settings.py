"""What a training run of the lab is asked to do, tells while it goes, and returns."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dissensus.core import allocation
from dissensus.errors import InputError
from dissensus.lab.tasks import FAMILIES, LEVELS

if TYPE_CHECKING:
    from dissensus.core.advantages import AdvantageEstimator

__all__ = ["TrainEvent", "TrainResult", "TrainSettings"]


@dataclass(frozen=True)
class TrainSettings:
    """What one training run does; the defaults are the demo.

    Attributes:
        run: Folder of the run; None makes one under `runs/`.
        steps: Optimiser steps.
        prompts_per_step: Prompts in one step.
        group_size: Rollouts per prompt and step.
        seed: Of the training prompts, their order and the sampling.
        learning_rate: Of AdamW, its peak: it rises over an eighth of the steps, then falls
            linearly to 0, or stays.
        constant_rate: Whether it stays at its peak: then training with another number of steps is
            the same up to there.
        estimator: An estimator as it is written, `grpo(ddof=1)`; None leaves TRL's own advantages.
        silent: What happens to silent groups: `"keep"`, `"mask"` or `"resample"`.
        allocator: Who gets rollouts, as it is written, `contrast(least=4)`; None leaves it to TRL,
            where every prompt gets `group_size` in its turn.
        rollout_budget: Training ends when as many rollouts have been generated, even if `steps` are
            not done; needs an allocator.
        loss_type: TRL's loss.
        train_prompts: Size of the training set; a prompt comes back once per pass over it.
        families: Task families trained and tested on.
        levels: Difficulty levels trained and tested on.
        heldout_prompts: Held-out prompts.
        heldout_samples: Completions of each, before and after training.
        eval_every: Steps between held-out checks during training; 0 for none.
        eval_samples: Completions of each held-out prompt in those checks.
        snapshot_steps: After these steps (0 is before training) the weights are kept in the run.
        checkpoint: Weights to start from; None for the packaged ones.
        metadata: Goes into the run's description.
    """

    run: Path | None = None
    steps: int = 80
    prompts_per_step: int = 64
    group_size: int = 8
    seed: int = 0
    learning_rate: float = 2e-4
    constant_rate: bool = False
    estimator: str | None = None
    silent: Literal["keep", "mask", "resample"] = "keep"
    allocator: str | None = None
    rollout_budget: int | None = None
    loss_type: str = "dapo"
    train_prompts: int = 1280
    families: Sequence[str] = FAMILIES
    levels: Sequence[int] = LEVELS
    heldout_prompts: int = 400
    heldout_samples: int = 4
    eval_every: int = 10
    eval_samples: int = 1
    snapshot_steps: Sequence[int] = ()
    checkpoint: Path | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot run.

        Raises:
            InputError: A count is too small, there are fewer prompts than one step needs, there is
                no such estimator or allocator, or what goes with an allocator does not fit.
        """
        self.make_estimator()
        self._check_allocator()
        least = {"steps": 1, "prompts_per_step": 1, "group_size": 2, "heldout_samples": 1}
        for name, minimum in {**least, "eval_every": 0, "eval_samples": 1}.items():
            if getattr(self, name) < minimum:
                raise InputError(f"{name} must be at least {minimum}", got=getattr(self, name))
        if self.train_prompts < self.prompts_per_step:
            raise InputError(
                "train_prompts must be at least prompts_per_step",
                got=(self.train_prompts, self.prompts_per_step),
            )

    def _check_allocator(self) -> None:
        # The trainer refuses these too, but only when a run exists and was measured.
        if self.allocator is not None:
            allocation.read(self.allocator)
            if self.silent == "resample":
                raise InputError(
                    "an allocator decides itself what replaces silent groups",
                    got="silent resample",
                    hint="the allocator dapo does the same, or silent mask",
                )
        elif self.rollout_budget is not None:
            raise InputError(
                "a number of rollouts to end at needs an allocator, which counts them",
                got=self.rollout_budget,
                hint="the allocator uniform gives every prompt the same number",
            )

    def make_estimator(self) -> AdvantageEstimator | None:
        """The advantage estimator that is asked for; None leaves TRL's own advantages.

        Raises:
            InputError: There is no such estimator, or it does not take these parameters.
        """
        from dissensus.core import advantages

        if self.estimator is None:
            return None
        return advantages.get(self.estimator)


@dataclass(frozen=True)
class TrainEvent:
    """The state after one step, for whoever watches.

    Attributes:
        step: Steps done; 0 after the first held-out check.
        total: Steps to do.
        reward: Mean reward of the step's rollouts; None at step 0.
        heldout: Latest held-out solve rate.
        heldout_standard_error: Its standard error over prompts.
        heldout_is_new: Whether it was measured at this step.
        metrics: `disagreement/…` metrics of the step, without the prefix.
        elapsed_s: Seconds since training was asked for.
        remaining_s: Expected seconds to go; None before the first step.
    """

    step: int
    total: int
    reward: float | None
    heldout: float
    heldout_standard_error: float
    heldout_is_new: bool
    metrics: Mapping[str, float]
    elapsed_s: float
    remaining_s: float | None


@dataclass(frozen=True)
class TrainResult:
    """What a training run did. `to_json` gives the document of ``dissensus train --json``.

    Attributes:
        run: Folder of the run.
        steps: Optimiser steps done.
        rollouts: Training rollouts generated, the discarded ones included.
        trained_rollouts: Training rollouts that reached the optimiser.
        seconds: Wall clock from the call on, imports and held-out checks included.
        heldout_before: Held-out solve rate before training.
        heldout_after: The same after it, or the latest one when interrupted.
        heldout_before_standard_error: Over prompts.
        heldout_after_standard_error: Over prompts.
        unanimous: Fractions `total`, `all_wrong`, `all_correct` of the training groups; None where
            there is no group.
        interrupted: Whether it was stopped before its last step.
        heldout_rates_before: (P,) solve rate of each held-out prompt; not in the JSON.
        heldout_rates_after: (P,) the same after training.
    """

    run: str
    steps: int
    rollouts: int
    trained_rollouts: int
    seconds: float
    heldout_before: float
    heldout_after: float
    heldout_before_standard_error: float
    heldout_after_standard_error: float
    unanimous: Mapping[str, float | None]
    interrupted: bool
    heldout_rates_before: np.ndarray[Any, Any] = field(repr=False, compare=False)
    heldout_rates_after: np.ndarray[Any, Any] = field(repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        rows = dataclasses.asdict(self)
        return {name: value for name, value in rows.items() if not name.startswith("heldout_rates")}
