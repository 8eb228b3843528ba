"""The held-out checks of a training run, recorded beside the training rollouts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dissensus.lab.evaluation import Samples, SolveRate, sample_completions, solve_rate
from dissensus.lab.tasks import Problem

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from dissensus.runs import Recorder

__all__ = ["HeldoutCheck"]

_NOTHING_YET = SolveRate(float("nan"), float("nan"))


class HeldoutCheck:
    """Samples the held-out prompts and records them with ``split="eval"``.

    Args:
        model: What is trained.
        tokenizer: Its tokenizer.
        recorder: Of the run.
        problems: (P,) held-out prompts.
        seed: Of the sampling.

    Attributes:
        first: The solve rate of the first check, before training; NaN before it.
        latest: That of the latest one.
        latest_step: Its step.
        first_rates: (P,) the first check by prompt.
        latest_rates: (P,) the latest one by prompt.
        first_seconds: How long the first check took.
    """

    def __init__(
        self,
        model: LlamaForCausalLM,
        tokenizer: PreTrainedTokenizerFast,
        recorder: Recorder,
        problems: Sequence[Problem],
        *,
        seed: int,
    ) -> None:
        self._model, self._tokenizer, self._recorder = model, tokenizer, recorder
        self._problems, self._seed = problems, seed
        self.first = self.latest = _NOTHING_YET
        self.first_rates: NDArray[np.float64] = np.empty(0)
        self.latest_rates: NDArray[np.float64] = np.empty(0)
        self.latest_step = -1
        self.first_seconds = 0.0

    def measure(self, step: int, samples: int) -> None:
        """Draw `samples` completions of every held-out prompt with the present weights."""
        started = time.monotonic()
        drawn = sample_completions(
            self._model, self._tokenizer, self._problems, samples, seed=self._seed
        )
        self._record(step, drawn)
        self.latest, self.latest_step = solve_rate(drawn.correct), step
        self.latest_rates = drawn.correct.mean(axis=1)
        if not len(self.first_rates):
            self.first, self.first_rates = self.latest, self.latest_rates
            self.first_seconds = time.monotonic() - started

    def _record(self, step: int, drawn: Samples) -> None:
        samples = drawn.correct.shape[1]
        rows = [problem for problem in self._problems for _ in range(samples)]
        self._recorder.record(
            step=step,
            split="eval",
            group_ids=[f"eval-{step}-{row.prompt_id}" for row in rows],
            prompt_ids=[row.prompt_id for row in rows],
            rewards=drawn.correct.ravel().astype(np.float64),
            prompts=[row.prompt for row in rows],
            references=[row.answer for row in rows],
            completions=[text for texts in drawn.texts for text in texts],
            lengths=drawn.lengths.ravel(),
            truncated=drawn.truncated.ravel(),
        )
