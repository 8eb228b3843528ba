"""From verl's driver to a run on disk and to verl's own metrics, without ever stopping training."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np

from dissensus.core.correctness import InferredCorrectness
from dissensus.core.disagreement import disagreement_metrics, summarise_groups
from dissensus.core.groups import FloatArray, RewardGroups
from dissensus.integrations.guard import Guard
from dissensus.integrations.verl.options import Options
from dissensus.integrations.verl.rollouts import Rollouts
from dissensus.runs import Recorder, Run
from dissensus.runs.rows import as_text

__all__ = ["PREFIX", "BatchRecorder"]

log = logging.getLogger("dissensus.verl")

PREFIX = "dissensus/"

_CENTRED = {"grpo", "grpo_vectorized", "rloo", "rloo_vectorized", "opo", "gpg"}
"""verl's rules that subtract a group's mean and nothing else: what they leave on equal rewards is
rounding, up to 0.1 on constant float32 rewards, and counts as 0."""

_WAITING = 4  # batches whose text may wait for the tokenizer
_CLOSE_S = 60.0


class BatchRecorder:
    """Measures every training batch, and records it when there is a folder to record in.

    Every public method returns whatever happens: a failure is said once through `logging`, counted
    in `guard.failures`, and training goes on. Texts are made of tokens in a thread of its own.

    Args:
        options: What the configuration says.
        estimator: verl's `algorithm.adv_estimator`.
        metadata: What the run says about its training.
    """

    def __init__(self, options: Options, estimator: str, metadata: Mapping[str, Any]) -> None:
        self.guard = Guard(log)
        self.recorder: Recorder | None = None
        self._options, self._estimator, self._metadata = options, estimator, dict(metadata)
        self._inferred = InferredCorrectness(options.tol)
        self._is_open = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dissensus-text")
        self._pending: list[Future[None]] = []

    @property
    def has_folder(self) -> bool:
        """Whether the configuration names a folder to record in."""
        return self._options.run_dir is not None

    def observe(
        self,
        rollouts: Rollouts,
        *,
        step: int,
        generated: int | None = None,
        policy_version: int | None = None,
        decode: Callable[[Any], str] | None = None,
    ) -> dict[str, float]:
        """Record one batch and return its metrics, under the names that verl's trackers will show.

        Args:
            rollouts: The batch.
            step: verl's `global_steps`.
            generated: Rollouts generated for this batch, those that a filter dropped included.
            policy_version: Version of the weights that sampled.
            decode: Token ids to text; None: no text is kept.
        """
        metrics: dict[str, float] = {}
        with self.guard("measure the batch"):
            metrics = self._measure(rollouts, generated)
        with self.guard("record the batch"):
            self._record(rollouts, step, "train", policy_version, decode)
        return metrics

    def validation(
        self,
        rollouts: Rollouts,
        *,
        step: int,
        policy_version: int | None = None,
        decode: Callable[[Any], str] | None = None,
    ) -> None:
        """Record a validation of the weights that `step` trains on, as split `eval`."""
        with self.guard("record a validation"):
            self._record(rollouts, step, "eval", policy_version, decode)

    def scalars(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Record what verl measured itself."""
        if self.recorder is None:
            return
        with self.guard("record verl's metrics"):
            numbers = {k: float(v) for k, v in metrics.items() if np.ndim(v) == 0 and _is_real(v)}
            self.recorder.scalars(step=step, values=numbers)

    def close(self) -> None:
        """Put everything on disk; later batches are not recorded."""
        with self.guard("close the run"):
            wait(self._pending, timeout=_CLOSE_S)
            self._thread.shutdown(wait=False, cancel_futures=True)
            if self.recorder is not None:
                self.recorder.close(_CLOSE_S)

    # ---- private -----------------------------------------------------------------------------

    def _measure(self, rollouts: Rollouts, generated: int | None) -> dict[str, float]:
        declared = self._declared(rollouts)
        correct = self._inferred.declare(rollouts.rewards) if declared is None else declared
        groups = RewardGroups.from_flat(
            rollouts.rewards, rollouts.group_ids, correct=correct, tol=self._options.tol
        )
        total = groups.n_rollouts if generated is None else max(generated, groups.n_rollouts)
        summary = summarise_groups(groups, self._used(rollouts, groups))
        found = disagreement_metrics(summary, rollouts_generated=total)
        found["rollouts_generated"] = float(total)
        return {PREFIX + name: value for name, value in found.items()}

    def _used(self, rollouts: Rollouts, groups: RewardGroups) -> FloatArray | None:
        if self._estimator not in _CENTRED or rollouts.advantages is None:
            return rollouts.advantages
        agree = groups.is_unanimous() & (groups.rollouts > 1)
        return np.where(groups.expand(agree), 0.0, rollouts.advantages)

    def _declared(self, rollouts: Rollouts) -> Any:
        """`correct` for RewardGroups and the Recorder; None: as rewards show."""
        correct = self._options.correct
        if not isinstance(correct, tuple):
            return correct
        name, threshold = correct
        if name not in rollouts.extras:
            there = ", ".join(sorted(rollouts.extras)) or "none"
            self.guard.say(
                "correct",
                f"the reward function returns no number {name!r} (there is: {there}); correctness "
                "is read from the rewards",
            )
            return None
        return rollouts.extras[name] >= threshold - self._options.tol

    def _record(
        self,
        rollouts: Rollouts,
        step: int,
        split: str,
        policy_version: int | None,
        decode: Callable[[Any], str] | None,
    ) -> None:
        if not self.has_folder:
            return
        if not self._is_open:
            self._is_open = True
            self._open(step)
        if self.recorder is None:
            return
        self._pending = [each for each in self._pending if not each.done()]
        if len(self._pending) >= _WAITING:
            self.guard.say(
                "text", "the tokenizer cannot keep up; some batches are recorded without text"
            )
            decode = None
        job = self._thread.submit(self._write, rollouts, step, split, policy_version, decode)
        self._pending.append(job)

    def _open(self, step: int) -> None:
        correct, folder = self._options.correct, Path(self._options.run_dir or "")
        with self.guard("look for an earlier training"):
            self._say_what_is_replaced(folder, step)
        self.recorder = Recorder(
            folder,
            step,
            metadata=self._metadata,
            correct=None if isinstance(correct, tuple) else correct,
            tol=self._options.tol,
            text_budget_bytes=self._options.text_budget_bytes,
        )

        # Hydra drops a group of options that it cannot find: this line says that it was found.
        sys.stdout.write(f"Dissensus records into {folder}\n")

    def _say_what_is_replaced(self, folder: Path, step: int) -> None:
        if not (folder / "run.json").exists():
            return
        last = Run(folder).info["step"]
        if isinstance(last, int) and last >= step:
            self.guard.say(
                "replaced",
                f"{folder} holds an earlier training up to step {last}; from step {step} on this "
                "one takes its place there (another algorithm.dissensus.run_dir keeps both)",
            )

    def _write(
        self,
        rollouts: Rollouts,
        step: int,
        split: str,
        policy_version: int | None,
        decode: Callable[[Any], str] | None,
    ) -> None:
        texts: dict[str, Any] = {}
        if decode is not None:
            with self.guard("make text of tokens"):
                texts = _texts(rollouts, decode)
        with self.guard("record the batch"):
            assert self.recorder is not None  # noqa: S101 - _record opened it
            declared = self._declared(rollouts)
            self.recorder.record(
                step=step,
                split=split,
                group_ids=rollouts.group_ids,
                prompt_ids=rollouts.prompt_ids,
                rewards=rollouts.rewards,
                correct=declared if isinstance(declared, np.ndarray) else None,
                lengths=rollouts.lengths,
                truncated=rollouts.truncated,
                rewards_by_function=rollouts.extras or None,
                advantages_used=rollouts.advantages,
                policy_version=policy_version,
                **texts,
            )


def _texts(rollouts: Rollouts, decode: Callable[[Any], str]) -> dict[str, Any]:
    prompts: list[str] | None = None
    if rollouts.prompts is not None:
        prompts = [as_text(_plain(prompt)) for prompt in rollouts.prompts]
    elif rollouts.prompt_tokens is not None:
        prompts = [decode(tokens) for tokens in rollouts.prompt_tokens]
    tokens = rollouts.response_tokens
    return {
        "prompts": prompts,
        "references": rollouts.references,
        "completions": None if tokens is None else [decode(each) for each in tokens],
    }


def _plain(prompt: Any) -> Any:
    return prompt.tolist() if hasattr(prompt, "tolist") else prompt


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
