"""The mixin that records a GRPO trainer, measures disagreement, and uses it."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissensus.core.allocation import BudgetLedger
from dissensus.core.disagreement import GroupSummary
from dissensus.core.groups import BoolArray
from dissensus.integrations.trl.allocated import recorded, used
from dissensus.integrations.trl.allocating import Allocation
from dissensus.integrations.trl.callbacks import LifecycleCallback
from dissensus.integrations.trl.estimating import Estimate, replace_advantages
from dissensus.integrations.trl.held import Source
from dissensus.integrations.trl.likelihoods import keep_log_likelihoods
from dissensus.integrations.trl.masking import SCALE_KEY, mask_silent
from dissensus.integrations.trl.merging import LogTables, join_outputs
from dissensus.integrations.trl.resampling import Refilled, Round, refill
from dissensus.integrations.trl.sampling import Rows, Sampling, collect
from dissensus.integrations.trl.session import Session
from dissensus.integrations.trl.settings import Settings, check_supported, with_estimator
from dissensus.runs import Recorder

__all__ = ["DisagreementMixin"]

_OWN = (
    "run_dir", "recorder", "estimator", "silent", "max_resample", "allocator", "rollout_budget",
    "correct", "tol", "text_budget_bytes",
)  # fmt: skip


class DisagreementMixin:
    """Records every generation batch of a GRPO trainer, and acts on its groups.

    Put it before the trainer: `class Mine(DisagreementMixin, MyGRPOTrainer)`. It calls the methods
    it wraps and copies none. With the defaults, training is bit for bit what it was.

    Keyword Args:
        run_dir: Folder of the run; None: `<output_dir>/dissensus`, or `_dissensus` there when the
            output folder is pushed to the hub; False: nothing is recorded.
        recorder: An open `Recorder`, instead of `run_dir`. The caller closes it, and gives it the
            right `start_step` when training resumes.
        estimator: An `AdvantageEstimator`, or one as it is written (`"grpo(ddof=1)"`,
            `"weighted(grpo, power(0.5))"`): replaces TRL's advantages, in the loss and in TRL's
            completions table. None: TRL's own.
        silent: What happens in training to groups whose advantages are all 0. "keep": as in TRL,
            they count in the loss denominator and in the KL term. "mask": they leave both.
            "resample": fresh prompts replace them.
        max_resample: Refill rounds per generation at most.
        allocator: An `Allocator` over the rows of the training set, or one as it is written
            (`"contrast(least=4)"`): it says which prompts are sampled, how often, in how many
            rounds, and what is trained on. One optimiser step may then hold groups of any size.
            Rows that TRL's loader gives are not used. None: TRL's own sampling.
        rollout_budget: Training ends when this many rollouts have been generated, discarded ones
            included; needs an allocator. None: no limit.
        correct: Reward from which a rollout is correct; or the name of the reward function that
            says so (from 0.5), or (name, threshold). None: read from two-valued rewards.
        tol: Rewards of a group closer than this are equal; in reward units.
        text_budget_bytes: Text the run may keep, before compression; None: no limit.

    Raises:
        InputError: An argument that cannot be used.
        UnsupportedError: A combination with TRL's settings that would train on something else.
    """

    accelerator: Any
    args: Any
    model: Any
    state: Any
    num_generations: int
    _buffered_inputs: Any
    _logs: Any
    _metrics: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings = Settings.of(**{name: kwargs.pop(name) for name in _OWN if name in kwargs})
        super().__init__(*args, **kwargs)
        check_supported(self, settings)
        settings = with_estimator(self, settings)
        self._dissensus = Session(self, settings)
        self.add_callback(LifecycleCallback(self._dissensus))  # type: ignore[attr-defined]

    @property
    def recorder(self) -> Recorder | None:
        """The run's writer; None before the first generation and where recording is off."""
        return self._dissensus.writer.recorder

    @property
    def ledger(self) -> BudgetLedger | None:
        """What an allocator has spent so far; None without one, and before training."""
        allocation = self._dissensus.allocation
        return None if allocation is None else allocation.ledger

    # ---- wrapped methods of TRL ----------------------------------------------------------------

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train, and restore the estimator's memory and the refill stream when resuming."""
        self._dissensus.resume_from = _checkpoint(self.args.output_dir, resume_from_checkpoint)
        return super().train(resume_from_checkpoint, *args, **kwargs)  # type: ignore[misc]

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate; each set of a dictionary is a split of its own in the run."""
        with self._dissensus.evaluating(_metric_key_prefix(args, kwargs, default="eval")):
            return super().evaluate(*args, **kwargs)  # type: ignore[misc]

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predict; a split of its own in the run, and in no metric of an evaluation."""
        with self._dissensus.evaluating(_metric_key_prefix(args, kwargs, default="test")):
            return super().predict(*args, **kwargs)  # type: ignore[misc]

    def _calculate_rewards(
        self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any
    ) -> Any:
        rewards = super()._calculate_rewards(  # type: ignore[misc]
            inputs, prompts, completions, completion_ids_list
        )
        self._dissensus.rows = Rows(inputs, prompts, completions, completion_ids_list, rewards)
        return rewards

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        is_train = self.model.training
        settings = self._dissensus.settings
        if is_train and self._dissensus.allocation is not None:
            return self._allocate(self._dissensus.allocation, inputs)
        if settings.estimator is None and (settings.silent == "keep" or not is_train):
            return self._watch(inputs)
        if not is_train or settings.silent != "resample":
            return self._observe(self._sample(inputs, is_final=is_train))
        tables = LogTables(self)
        tables.clear()
        first = self._sample(inputs, is_final=False)
        tables.keep()
        return self._refill(first, tables)

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """TRL's loss; without the silent groups in its denominator when they are masked."""
        loss = super().compute_loss(model, inputs, *args, **kwargs)  # type: ignore[misc]
        if SCALE_KEY not in inputs:
            return loss
        if self.loss_type == "bnpo":  # type: ignore[attr-defined]
            return loss * self._dissensus.micro_batch_scale(self)
        return loss * inputs[SCALE_KEY]

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """TRL's log, with `disagreement/*` among its metrics."""
        mode = "train" if self.model.training else "eval"
        self._dissensus.window.flush_into(self._metrics[mode], self._dissensus.split(self))
        super().log(logs, *args, **kwargs)  # type: ignore[misc]

    # ---- one generation --------------------------------------------------------------------------

    def _watch(self, inputs: Any) -> Any:
        """A batch that nothing is changed in: what goes wrong here is not the training's."""
        output = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        with self._dissensus.writer.guard("measure"):
            self._observe(self._score(output, is_final=self.model.training))
        return output

    def _sample(self, inputs: Any, *, is_final: bool) -> Round:
        """TRL's generation and scoring, and what the estimator makes of it."""
        output = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        return self._score(output, is_final=is_final)

    def _score(self, output: dict[str, Any], *, is_final: bool) -> Round:
        sampling = self._collect(output)
        step = self.state.global_step
        return Round(
            output, sampling, self._dissensus.estimate(sampling, step=step, is_final=is_final)
        )

    def _collect(self, output: dict[str, Any]) -> Sampling:
        session = self._dissensus
        if session.rows is None:
            raise RuntimeError("TRL scored a batch without calling _calculate_rewards")
        rows, session.rows = session.rows, None
        return collect(self, rows, output, session.settings)

    def _draw(self, allocation: Allocation, rows: Any) -> Source:
        """TRL's generation and scoring of a part of an allocator's draw."""
        output = super()._generate_and_score_completions(rows)  # type: ignore[misc]
        sampling = self._collect(output)
        if allocation.allocator.reuses_rollouts:
            keep_log_likelihoods(self, output)
        return output, sampling

    def _observe(self, one: Round) -> dict[str, Any]:
        """A batch without refills: replace, mask, measure, record."""
        session, is_train = self._dissensus, self.model.training
        output, sampling, found = one
        self._use_estimator(output, sampling, found)
        is_kept = np.full(len(sampling.rewards), is_train)
        if is_train and session.settings.silent == "mask":
            is_kept = ~sampling.groups.expand(found.is_silent)
            mask_silent(self, output, is_kept=is_kept, local=sampling.local)
        with session.writer.guard("measure"):
            session.window.add(
                session.split(self),
                found.summary,
                trained=_per_group(sampling, is_kept) if is_train else None,
                rollouts_generated=len(sampling.rewards),
            )
        self._record(sampling, found, trained=is_kept, round_=0)
        return output

    def _refill(self, first: Round, tables: LogTables) -> dict[str, Any]:
        """A batch with refills: join the rounds, then measure and record each of them."""
        session = self._dissensus
        if session.stream is None:
            raise RuntimeError("resampling without a stream")
        filled = refill(
            self,
            first,
            lambda rows: self._sample(rows, is_final=False),
            stream=session.stream,
            settings=session.settings,
            tables=tables,
        )
        if filled.shortfall is not None:
            kind, text = filled.shortfall
            session.writer.guard.say(
                f"shortfall: {kind}", f"silent groups stay in the batch: {text}"
            )
        final = session.estimate(filled.sampling, step=self.state.global_step, is_final=True)
        self._use_estimator(filled.output, filled.sampling, final)
        with session.writer.guard("measure"):
            self._measure_rounds(filled, final)
        for number, one in enumerate(filled.rounds):
            self._record(
                one.sampling,
                one.found._replace(values=filled.advantages(number, final.values)),
                trained=filled.trained(number),
                round_=number,
            )
        return filled.output

    def _allocate(self, allocation: Allocation, inputs: Any) -> dict[str, Any]:
        """A batch that an allocator decides on: weigh, mask, measure, record."""
        session, tables = self._dissensus, LogTables(self)
        made = allocation.sample(lambda rows: self._draw(allocation, rows), tables)
        if made is None:
            if not allocation.leave_to_trl(len(inputs) * self.accelerator.num_processes):
                return self._idle()
            session.writer.guard.say(
                "nothing drawn", "the allocator draws no prompt; training goes on as TRL samples"
            )
            return self._observe(self._sample(inputs, is_final=True))
        if made.n_missing:
            session.writer.guard.say(
                "missing",
                f"{made.n_missing} selected rollouts do not fit a generation batch, or were lost "
                "with another checkpoint; give the allocator a smaller batch=",
            )
        everyone = session.estimate(made.generated, step=self.state.global_step, is_final=False)
        batch = session.estimate(made.batch, step=self.state.global_step, is_final=True)
        final = used(made, batch, everyone)
        replace_advantages(made.output, made.batch, final)
        tables.replace_advantages(final.values[made.is_logged].tolist())
        is_kept = ~made.is_padding
        if session.settings.silent == "mask":
            is_kept &= ~made.batch.groups.expand(final.is_silent)
        if not is_kept.all():
            mask_silent(self, made.output, is_kept=is_kept, local=made.batch.local)
        trained = np.zeros(made.n_generated, dtype=np.bool_)
        trained[made.place[is_kept & made.is_logged]] = True
        found = recorded(made, final, everyone)
        with session.writer.guard("measure"):
            session.window.add(
                "train",
                found.summary,
                trained=_per_group(made.generated, trained),
                rollouts_generated=made.n_generated,
                more=made.numbers(is_kept),
            )
        self._record(made.generated, found, trained=trained, round_=0)
        return made.output

    def _idle(self) -> dict[str, Any]:
        """The last batch, all masked: the budget ends before the optimiser step is complete."""
        parts = self._buffered_inputs
        picks = [
            (part, row) for part, one in enumerate(parts) for row in range(len(one["advantages"]))
        ]
        output = join_outputs(self, parts, picks)
        start = len(picks) * self.accelerator.process_index
        nothing = np.zeros(len(picks) * self.accelerator.num_processes, dtype=np.bool_)
        mask_silent(self, output, is_kept=nothing, local=slice(start, start + len(picks)))
        return output

    def _measure_rounds(self, filled: Refilled, final: Estimate) -> None:
        session = self._dissensus
        summaries = [filled.summary(r, final.summary) for r in range(len(filled.rounds))]
        joined: list[Any] = [
            None if any(part is None for part in parts) else np.concatenate(parts)
            for parts in zip(*summaries, strict=True)
        ]
        trained = [
            _per_group(one.sampling, filled.trained(r)) for r, one in enumerate(filled.rounds)
        ]
        session.window.add(
            "train",
            GroupSummary(*joined),
            trained=np.concatenate(trained),
            rollouts_generated=sum(len(one.sampling.rewards) for one in filled.rounds),
            more={"resample_rounds": len(filled.rounds) - 1},
        )

    def _use_estimator(self, output: dict[str, Any], sampling: Sampling, found: Estimate) -> None:
        if self._dissensus.settings.estimator is None:
            return
        replace_advantages(output, sampling, found)
        LogTables(self).replace_advantages(found.values.tolist())

    def _record(
        self,
        sampling: Sampling,
        found: Estimate,
        *,
        trained: BoolArray,
        round_: int,
    ) -> None:
        self._dissensus.writer.record(
            sampling,
            found,
            trained=trained,
            split=self._dissensus.split(self),
            round_=round_,
            step=self.state.global_step,
            epoch=self.state.epoch,
        )


def _per_group(sampling: Sampling, is_trained: BoolArray) -> Any:
    return sampling.groups.sum_by_group(is_trained).astype(np.int64)


def _metric_key_prefix(args: tuple[Any, ...], kwargs: dict[str, Any], *, default: str) -> str:
    """The third argument of the Trainer's `evaluate` and `predict`."""
    return str(args[2] if len(args) > 2 else kwargs.get("metric_key_prefix", default))


def _checkpoint(output_dir: str, resume_from_checkpoint: Any) -> str | None:
    """The folder that the Trainer resumes from, read as the Trainer reads its argument."""
    if resume_from_checkpoint is True:
        from transformers.trainer_utils import get_last_checkpoint

        found: str | None = get_last_checkpoint(output_dir)
        return found
    return str(resume_from_checkpoint) if resume_from_checkpoint else None
