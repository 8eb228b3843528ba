"""What the trainer was asked to do beyond TRL, and what it refuses before training starts."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from dissensus.core import advantages, allocation
from dissensus.core.advantages import AdvantageEstimator
from dissensus.core.allocation import Allocator, Written
from dissensus.core.groups import DEFAULT_TOL
from dissensus.errors import InputError, UnsupportedError
from dissensus.runs import Recorder
from dissensus.runs.recorder import TEXT_BUDGET_BYTES

__all__ = [
    "Correct",
    "Settings",
    "Silent",
    "check_recorder",
    "check_supported",
    "with_estimator",
]

Silent: TypeAlias = Literal["keep", "mask", "resample"]
Correct: TypeAlias = float | str | tuple[str, float] | None

LOSS_TYPES = ("bnpo", "cispo", "dapo", "dr_grpo", "grpo", "luspo", "sapo", "vespo")
"""Loss types whose denominator `silent="mask"` knows how to correct."""

_PER_ROLLOUT_CONTEXT = {"lengths", "rewards_by_function", "token_offsets", "state", "step"}
_PER_TOKEN_CONTEXT = {"token_offsets", "token_entropies"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The keyword arguments that `DisagreementMixin` adds to a GRPO trainer, validated."""

    run_dir: str | os.PathLike[str] | Literal[False] | None = None
    recorder: Recorder | None = None
    estimator: AdvantageEstimator | None = None
    silent: Silent = "keep"
    max_resample: int = 4
    allocator: Allocator | Written | None = None
    rollout_budget: int | None = None
    correct: Correct = None
    tol: float = DEFAULT_TOL
    text_budget_bytes: float | None = TEXT_BUDGET_BYTES

    @classmethod
    def of(
        cls,
        *,
        estimator: AdvantageEstimator | str | None = None,
        allocator: Allocator | str | None = None,
        **given: Any,
    ) -> Settings:
        """Check the arguments; an estimator and an allocator may be given as they are written.

        Raises:
            InputError: An argument that cannot be used.
        """
        rule = advantages.get(estimator) if isinstance(estimator, str) else estimator
        who = allocation.read(allocator) if isinstance(allocator, str) else allocator
        settings = cls(estimator=rule, allocator=who, **given)
        settings._validate()
        return settings

    def _validate(self) -> None:
        is_rule = callable(self.estimator) or self.estimator is None
        _require(is_rule, "an estimator or its name", "estimator", self.estimator)
        _require(
            self.silent in get_args(Silent), f"one of {get_args(Silent)}", "silent", self.silent
        )
        is_count = isinstance(self.max_resample, int) and self.max_resample >= 1
        _require(is_count, "a whole number ≥ 1", "max_resample", self.max_resample)
        self._validate_allocator()
        is_finite = 0 <= self.tol < float("inf")
        _require(is_finite, "a finite number ≥ 0", "tol", self.tol)
        if self.recorder is not None and self.run_dir is not None:
            raise InputError("give either run_dir or recorder, not both", got=str(self.run_dir))

    def _validate_allocator(self) -> None:
        is_one = isinstance(self.allocator, (Allocator, Written)) or self.allocator is None
        _require(is_one, "an allocator or its name", "allocator", self.allocator)
        budget = self.rollout_budget
        is_budget = budget is None or (isinstance(budget, int) and budget >= 1)
        _require(is_budget, "a whole number ≥ 1", "rollout_budget", budget)
        if budget is not None and self.allocator is None:
            raise InputError(
                "rollout_budget needs an allocator, which counts what it spends",
                got=budget,
                hint="allocator='uniform' samples as TRL does",
            )
        if self.allocator is not None and self.silent == "resample":
            raise InputError(
                "an allocator decides itself what replaces silent groups",
                got="silent='resample'",
                hint="allocator='dapo', or silent='mask'",
            )

    @property
    def correct_function(self) -> str | None:
        """Name of the reward function that declares correctness, when one does."""
        if isinstance(self.correct, str):
            return self.correct
        return self.correct[0] if isinstance(self.correct, tuple) else None

    @property
    def correct_from(self) -> float | None:
        """Reward from which a rollout is correct; 0.5 for a function named without one."""
        if isinstance(self.correct, str):
            return 0.5
        return self.correct[1] if isinstance(self.correct, tuple) else self.correct


def check_recorder(recorder: Recorder, process_index: int, num_processes: int) -> None:
    """Refuse a recorder that was not made for this process of the training.

    Raises:
        InputError: Every process would open a run of its own, or write the rows of another.
    """
    place, expected = (recorder.rank, recorder.world_size), (process_index, num_processes)
    if place != expected:
        raise InputError(
            f"process {process_index} of {num_processes} needs a recorder of that rank and world "
            "size",
            where="recorder",
            got=place,
            hint="make it with dissensus.integrations.trl.open_recorder(run_dir)",
        )


def check_supported(trainer: Any, settings: Settings) -> None:
    """Refuse what cannot work with this trainer, with the reason.

    Raises:
        InputError: `correct` names a reward function that is not there, or `recorder`
            is another process's.
        UnsupportedError: A combination that would silently train on something else.
    """
    if not hasattr(super(_mixin(), trainer), "_calculate_rewards"):
        _refuse(
            "this trainer has no _calculate_rewards to wrap (TRL before 0.20)",
            hint="record with recorder.wrap_reward and RecordingCallback",
        )
    if settings.recorder is not None:
        place = trainer.accelerator.process_index, trainer.accelerator.num_processes
        check_recorder(settings.recorder, *place)
    names = list(trainer.reward_func_names)
    if settings.correct_function is not None and settings.correct_function not in names:
        raise InputError(
            "correct names no reward function",
            got=settings.correct_function,
            hint=f"one of {names}",
        )
    if settings.estimator is not None:
        _check_estimator(trainer, settings.estimator)
    if settings.silent == "mask":
        _check_mask(trainer)
    if settings.silent == "resample":
        _check_resample(trainer, settings)
    if settings.allocator is not None:
        _check_allocator(trainer)


def with_estimator(trainer: Any, settings: Settings) -> Settings:
    """The settings, with TRL's own rule as an estimator where an allocator needs one.

    TRL cuts a batch into groups of one size, so it cannot make the advantages of an allocator's.

    Raises:
        UnsupportedError: TRL's rule is none of one group.
    """
    if settings.allocator is None or settings.estimator is not None:
        return settings
    scale = str(getattr(trainer, "scale_rewards", "group"))
    written = {"group": "grpo(ddof=1, eps=1e-4)", "none": "dr_grpo"}.get(scale)
    if getattr(trainer, "multi_objective_aggregation", "") == "normalize_then_sum":
        written = None
    if written is None:
        raise UnsupportedError(
            "an allocator makes groups of several sizes, for which TRL's advantages have no rule "
            "under these settings",
            where="DisagreementGRPOTrainer",
            hint="pass estimator=, for example 'lite_ppo', which divides by the batch std",
        )
    return replace(settings, estimator=advantages.get(written))


def _mixin() -> type:
    from dissensus.integrations.trl.mixin import DisagreementMixin  # it imports this module

    return DisagreementMixin


def _check_estimator(trainer: Any, estimator: AdvantageEstimator) -> None:
    given = set(_PER_ROLLOUT_CONTEXT)
    if _has_old_logps(trainer):
        given.add("log_likelihoods")
    missing = sorted(set(estimator.needs) - given)
    if missing:
        _refuse(
            f"estimator {estimator!r} needs {', '.join(missing)}, which TRL has not computed when "
            "advantages are made"
        )
    if _PER_TOKEN_CONTEXT & set(estimator.needs) and trainer.loss_type == "vespo":
        _refuse(
            f"estimator {estimator!r} gives one advantage per token, and loss_type 'vespo' weights "
            "whole sequences"
        )


def _check_mask(trainer: Any, what: str = "silent='mask'") -> None:
    if trainer.loss_type not in LOSS_TYPES:
        _refuse(
            f"{what} does not know the denominator of loss_type {trainer.loss_type!r}",
            hint=f"one of {', '.join(LOSS_TYPES)}",
        )
    if not hasattr(trainer, "tools"):
        _refuse(
            f"{what} works through the tool mask, which this version of TRL has not",
            hint="pip install -U trl",
        )
    if getattr(trainer, "liger_grpo_loss", None) is not None or (
        getattr(trainer, "use_liger_kernel", False) or getattr(trainer, "use_liger_loss", False)
    ):
        _refuse(f"{what} cannot reach into Liger's fused GRPO loss", hint="turn it off")
    if getattr(trainer, "aux_loss_enabled", False):
        _refuse(
            f"{what} with a router auxiliary loss: that loss runs over the tokens of silent "
            "groups too",
            hint="set router_aux_loss_coef=0",
        )
    if getattr(trainer, "_entropy_bonus_enabled", False):
        _refuse(
            f"{what} with an entropy bonus: the bonus is a mean over each micro-batch and "
            "would be rescaled with the policy loss",
            hint="set entropy_coef=0",
        )


def _check_drawing(trainer: Any, what: str) -> None:
    """What draws rows itself and joins several rounds cannot do everything TRL can."""
    if not hasattr(trainer.train_dataset, "__getitem__") or not hasattr(
        trainer.train_dataset, "__len__"
    ):
        _refuse(f"{what} draws rows by number, and an IterableDataset has none")
    if getattr(trainer, "_is_vlm", False):
        _refuse(f"{what} does not merge the image tensors of several rounds")
    if getattr(trainer, "environment_factories", None) or getattr(
        trainer, "environment_factory", None
    ):
        _refuse(f"{what} draws rows, and here an environment owns the prompts")


def _check_allocator(trainer: Any) -> None:
    _check_drawing(trainer, "an allocator")
    _check_mask(trainer, "an allocator")  # rows that make the processes even are masked
    if getattr(trainer, "use_vllm", False) and trainer.vllm_mode == "server":
        _refuse(
            "an allocator gives prompts different numbers of rollouts, and TRL's vLLM server mode "
            "asks the server for num_generations completions of every num_generations-th row",
            hint="use vllm_mode='colocate'",
        )


def _check_resample(trainer: Any, settings: Settings) -> None:
    _check_drawing(trainer, "silent='resample'")
    if getattr(trainer, "use_vllm", False) and trainer.vllm_mode == "server":
        _refuse(
            "silent='resample' asks for batches of another size, which TRL's vLLM server mode "
            "does not promise to split by rank",
            hint="use vllm_mode='colocate'",
        )
    batch_rules = (
        getattr(trainer, "scale_rewards", "group") == "batch"
        or getattr(trainer, "multi_objective_aggregation", "") == "normalize_then_sum"
    )
    if settings.estimator is None and batch_rules:
        _refuse(
            "silent='resample' mixes rounds, and this TRL setting divides each round by its own "
            "batch std",
            hint="pass estimator=, for example 'lite_ppo', which runs on the final batch",
        )
    rows = trainer.args.per_device_train_batch_size * trainer.args.steps_per_generation
    if trainer.accelerator.num_processes > 1 and rows % trainer.num_generations:
        _refuse(
            f"silent='resample' replaces whole groups inside one process, and {rows} rows per "
            f"process do not hold whole groups of {trainer.num_generations}",
            hint="make per_device_train_batch_size × steps_per_generation a multiple of it",
        )


def _has_old_logps(trainer: Any) -> bool:
    """Whether TRL computes the log-likelihoods of the completions before the loss."""
    every = trainer.args.steps_per_generation * trainer.num_iterations
    return bool(trainer.args.gradient_accumulation_steps % every) or bool(
        getattr(trainer, "use_vllm", False)
        and getattr(trainer, "vllm_importance_sampling_correction", False)
    )


def _refuse(reason: str, *, hint: str | None = None) -> None:
    raise UnsupportedError(reason, where="DisagreementGRPOTrainer", hint=hint)


def _require(is_fine: bool, what: str, name: str, value: object) -> None:
    if not is_fine:
        raise InputError(f"The '{name}' parameter must be {what}", got=value)
