"""Make the packaged checkpoint: ``python -m dissensus.lab.warmstart``.

A short supervised run from random weights, on demonstrations of training prompts; held-out prompts
are never shown. It leaves room for reinforcement learning on purpose. It is short, so hard levels
stay unsolved; and its last phase learns from demonstrators who slip: a share of the digits is
wrong (`RECIPE`), so the model samples wrong answers to prompts whose right answer it prefers. What
GRPO gains first is the removal of that noise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dissensus._optional import require
from dissensus.lab.model import CHECKPOINT, build_model, load_model, round_weights, save_weights
from dissensus.lab.tasks import Problem, iterate_problems
from dissensus.lab.tokenizer import build_tokenizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["RECIPE", "Phase", "Recipe", "corrupt", "main", "recipe_hash", "warm_start"]

_DIGITS = "0123456789"


@dataclass(frozen=True)
class Phase:
    """One supervised stretch with its own optimiser, problems and noise.

    Attributes:
        seed: Of the problems and the noise.
        steps: Optimiser steps.
        learning_rate: Its peak; linear warm-up, then cosine to a tenth.
        warmup_steps: Length of the warm-up.
        noise: By family and level, the probability that a digit of a demonstration is replaced
            by a random one; a family that is not named has none.
    """

    seed: int
    steps: int
    learning_rate: float
    warmup_steps: int
    noise: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """Everything the checkpoint depends on, apart from the versions of torch and the processor.

    Attributes:
        phases: One after the other; the weights are rounded to 16 bits between them, so that each
            can start from the file the one before it left.
        seed: Of the initial weights.
        batch_size: Demonstrations per step.
        weight_decay: Of AdamW.
        threads: CPU threads; the order of sums depends on it, so it is part of the recipe.
    """

    phases: tuple[Phase, ...]
    seed: int = 0
    batch_size: int = 256
    weight_decay: float = 0.01
    threads: int = 2


RECIPE = Recipe(
    phases=(
        Phase(seed=0, steps=900, learning_rate=3e-3, warmup_steps=50),
        Phase(seed=1, steps=400, learning_rate=2e-3, warmup_steps=20),
        Phase(
            seed=7,
            steps=150,
            learning_rate=6e-4,
            warmup_steps=10,
            noise={
                "addition": (0.0, 0.25, 0.25, 0.25),
                "modulo": (0.0, 0.25, 0.25, 0.25),
                "sorting": (0.0, 0.25, 0.3, 0.3),
                "chain": (0.0, 0.2, 0.2, 0.2),
            },
        ),
    )
)


def recipe_hash(recipe: Recipe = RECIPE) -> str:
    """A name for a recipe; the tests hold the packaged checkpoint's to the one in this file.

    Example:
        >>> recipe_hash(Recipe(phases=(), seed=1)) == recipe_hash(Recipe(phases=(), seed=2))
        False
    """
    return hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()[:16]


def corrupt(demonstration: str, noise: float, rng: np.random.Generator) -> str:
    """The demonstration with each digit replaced by a random digit with probability `noise`.

    Example:
        >>> corrupt("12 9 18", 0.0, np.random.default_rng(0))
        '12 9 18'
    """
    return "".join(
        _DIGITS[int(rng.integers(10))] if char in _DIGITS and rng.random() < noise else char
        for char in demonstration
    )


def warm_start(
    recipe: Recipe = RECIPE,
    *,
    start: LlamaForCausalLM | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> LlamaForCausalLM:
    """Train a model by the recipe.

    Args:
        recipe: What to do.
        start: The model to go on from; None for random weights.
        on_step: Called after every step with its number (from 1, over all phases) and its loss.

    Example:
        >>> phase = Phase(seed=0, steps=1, learning_rate=1e-3, warmup_steps=1)
        >>> model = warm_start(Recipe(phases=(phase,), batch_size=2))
        >>> sum(p.numel() for p in model.parameters())
        999648
    """
    torch = require("torch", "lab")
    threads_before = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        model = start if start is not None else build_model(recipe.seed)
        done = 0
        for phase in recipe.phases:
            for loss in _train_phase(model, phase, recipe):
                done += 1
                if on_step is not None:
                    on_step(done, loss)
            round_weights(model)
    finally:
        torch.set_num_threads(threads_before)
    return model.eval()


def _train_phase(model: LlamaForCausalLM, phase: Phase, recipe: Recipe) -> Iterator[float]:
    torch = require("torch", "lab")
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), betas=(0.9, 0.98), weight_decay=recipe.weight_decay
    )
    for step, batch in enumerate(_batches(phase, recipe.batch_size), start=1):
        for group in optimizer.param_groups:
            group["lr"] = phase.learning_rate * _schedule(step, phase)
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()


def _schedule(step: int, phase: Phase) -> float:
    if step <= phase.warmup_steps:
        return step / phase.warmup_steps
    done = (step - phase.warmup_steps) / max(1, phase.steps - phase.warmup_steps)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


def _batches(phase: Phase, batch_size: int) -> Iterator[dict[str, Tensor]]:
    tokenizer = build_tokenizer()
    problems = iterate_problems("train", seed=phase.seed)
    rng = np.random.default_rng([phase.seed, 1])
    for _ in range(phase.steps):
        chosen = [next(problems) for _ in range(batch_size)]
        demonstrations = [corrupt(p.demonstration, _noise(phase, p), rng) for p in chosen]
        yield _encode(tokenizer, chosen, demonstrations)


def _noise(phase: Phase, problem: Problem) -> float:
    by_level = phase.noise.get(problem.family)
    return by_level[problem.level - 1] if by_level else 0.0


def _encode(
    tokenizer: PreTrainedTokenizerFast, problems: list[Problem], demonstrations: list[str]
) -> dict[str, Any]:
    torch = require("torch", "lab")
    prompts = tokenizer([problem.prompt for problem in problems])["input_ids"]
    answers = tokenizer(demonstrations)["input_ids"]
    rows = [p + a + [tokenizer.eos_token_id] for p, a in zip(prompts, answers, strict=True)]
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    labels = torch.full((len(rows), width), -100)
    # Padded on the right: causal attention never looks there, so no mask is needed.
    for number, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
        ids[number, : len(row)] = torch.tensor(row)
        labels[number, len(prompt) : len(row)] = torch.tensor(row[len(prompt) :])
    return {"input_ids": ids, "labels": labels}


def largest_difference(first: Path, second: Path) -> float:
    """The largest absolute difference between the weights of two checkpoints; 0.0 if identical."""
    ours, theirs = load_model(first).state_dict(), load_model(second).state_dict()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def main(argv: list[str] | None = None) -> int:
    """Write the checkpoint, or with `--check` make it elsewhere and compare with the packaged one.

    Exit status 1 with `--check` when a weight differs.
    """
    parser = argparse.ArgumentParser(prog="python -m dissensus.lab.warmstart")
    parser.add_argument("--out", type=Path, default=CHECKPOINT, help="where to write the weights")
    parser.add_argument(
        "--check", action="store_true", help="compare with the packaged weights, which stay"
    )
    arguments = parser.parse_args(argv)
    out = arguments.out
    if arguments.check and out == CHECKPOINT:
        out = Path(tempfile.mkdtemp()) / CHECKPOINT.name
    started, total = time.monotonic(), sum(phase.steps for phase in RECIPE.phases)

    def show(step: int, loss: float) -> None:
        if step % 20 == 0 or step == total:
            elapsed = time.monotonic() - started
            sys.stderr.write(f"step {step}/{total}  loss {loss:.3f}  {elapsed:.0f} s\n")

    save_weights(warm_start(RECIPE, on_step=show), out, recipe=recipe_hash())
    if not arguments.check:
        return 0
    difference = largest_difference(out, CHECKPOINT)
    sys.stdout.write(f"largest difference from the packaged weights: {difference:.2e}\n")
    return int(difference > 0)


if __name__ == "__main__":
    sys.exit(main())
