"""A run whose truth is known: prompts with Bernoulli solve rates that drift upwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dissensus import Recorder, Run

Text = Callable[[int, bool], str]


def plain_text(prompt: int, is_correct: bool) -> str:
    """A completion such as the lab's model writes."""
    answer = prompt + 7 if is_correct else prompt + 8
    return f"{prompt} + 7: carry nothing.\nanswer {answer}"


def record_run(
    folder: Path,
    *,
    generations: int = 40,
    prompts_per_generation: int = 32,
    group_size: int = 8,
    n_prompts: int = 200,
    spread: float = 2.5,
    drift: float = 2.0,
    seed: int = 0,
    heldout_every: int = 10,
    texts: Text | None = plain_text,
    noise: float = 0.0,
    advantages: bool = True,
    metadata: dict[str, Any] | None = None,
    prompt_text: Callable[[int], str] | None = None,
    mask_silent: bool = False,
) -> Run:
    """Record GRPO on `n_prompts` prompts, logit(p) ~ N(0, spread²) + drift · progress.

    `noise` > 0 adds a real-valued part to the reward, which makes correctness unknown.
    """
    rng = np.random.default_rng(seed)
    logit = rng.normal(0.0, spread, n_prompts)
    with Recorder(folder, metadata=metadata) as recorder:
        for step in range(generations):
            shift = drift * step / max(1, generations - 1)
            if heldout_every and step % heldout_every == 0:
                some = np.arange(min(50, n_prompts))
                drifted = logit[some] + shift
                _record(
                    recorder,
                    rng,
                    some,
                    drifted,
                    size=1,
                    step=step,
                    noise=noise,
                    prompt_text=prompt_text,
                )
            chosen = rng.permutation(n_prompts)[:prompts_per_generation]
            _record(
                recorder,
                rng,
                chosen,
                logit[chosen] + shift,
                size=group_size,
                step=step,
                noise=noise,
                split="train",
                texts=texts,
                with_advantages=advantages,
                prompt_text=prompt_text,
                mask_silent=mask_silent,
            )
        recorder.flush()
    return Run(folder)


def _record(
    recorder: Recorder,
    rng: np.random.Generator,
    prompts: np.ndarray,
    logit: np.ndarray,
    *,
    size: int,
    step: int,
    noise: float,
    split: str = "eval",
    texts: Text | None = None,
    with_advantages: bool = False,
    prompt_text: Callable[[int], str] | None = None,
    mask_silent: bool = False,
) -> None:
    correct = rng.random((len(prompts), size)) < (1 / (1 + np.exp(-logit)))[:, None]
    rewards = correct + noise * rng.random(correct.shape)
    std = rewards.std(axis=1, keepdims=True)
    advantage = np.where(std > 1e-9, (rewards - rewards.mean(axis=1, keepdims=True)), 0.0)
    advantage = np.divide(advantage, std, out=np.zeros_like(advantage), where=std > 1e-9)
    ids = np.repeat(prompts, size).tolist()
    flat = correct.ravel().tolist()
    name = prompt_text or (lambda prompt: f"What is {prompt} + 7?")
    recorder.record(
        step=step,
        split=split,
        group_ids=[f"{split}-{step}-{i}" for i in ids],
        prompt_ids=ids,
        rewards=rewards.ravel(),
        prompts=[name(i) for i in ids],
        references=[str(i + 7) for i in ids],
        completions=None if texts is None else _texts(texts, ids, flat),
        lengths=[20 + 3 * (i % 5) for i in range(len(ids))],
        truncated=[i % 50 == 0 for i in range(len(ids))],
        advantages_used=advantage.ravel() if with_advantages else None,
        trained=np.repeat(std.ravel() > 1e-9, size) if mask_silent else None,
    )


def _texts(texts: Text, ids: Sequence[int], correct: Sequence[bool]) -> list[str]:
    return [texts(i, c) for i, c in zip(ids, correct, strict=True)]
