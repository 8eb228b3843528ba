"""Sampling a model on problems, and the held-out solve rate with its standard error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dissensus._optional import require
from dissensus.lab.tasks import MAX_COMPLETION_CHARS, Problem, check

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["Samples", "SolveRate", "sample_completions", "solve_rate"]


class Samples(NamedTuple):
    """Independent completions of P problems, S each.

    Attributes:
        correct: (P, S) whether each one is right.
        texts: P lists of S completions.
        lengths: (P, S) tokens, the end token included.
        truncated: (P, S) whether the end token is missing.
    """

    correct: NDArray[np.bool_]
    texts: list[list[str]]
    lengths: NDArray[np.int64]
    truncated: NDArray[np.bool_]


class SolveRate(NamedTuple):
    """A mean solve rate and its standard error over prompts."""

    mean: float
    standard_error: float


def solve_rate(correct: NDArray[np.bool_]) -> SolveRate:
    """Mean of the per-prompt solve rates.

    The standard error is the sample deviation (ddof 1) of those rates over sqrt(P): samples of one
    prompt are not independent draws of the population of prompts. NaN for a single prompt.

    Args:
        correct: (P, S).

    Example:
        >>> solve_rate(np.array([[True, True], [False, True]]))
        SolveRate(mean=0.75, standard_error=0.25)
    """
    rates = correct.mean(axis=1)
    error = float(rates.std(ddof=1) / np.sqrt(len(rates))) if len(rates) > 1 else float("nan")
    return SolveRate(float(rates.mean()), error)


def sample_completions(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    samples: int,
    *,
    seed: int,
    batch_size: int = 512,
) -> Samples:
    """Draw completions at temperature 1, the distribution that GRPO trains on.

    The global random state of torch and the model's mode are left as they were.

    Args:
        model: The model to sample from.
        tokenizer: Its tokenizer.
        problems: (P,) problems.
        samples: S, completions per problem.
        seed: Same seed and same model, same completions.
        batch_size: Completions generated at once; part of what the seed determines.
    """
    torch = require("torch", "lab")
    rows = [problem for problem in problems for _ in range(samples)]
    ids: list[list[int]] = []
    was_training = model.training
    model.eval()
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(seed)
        for start in range(0, len(rows), batch_size):
            ids += _generate(model, tokenizer, rows[start : start + batch_size])
    model.train(was_training)
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    shape = (len(problems), samples)
    correct = [check(text, row.answer) for text, row in zip(texts, rows, strict=True)]
    return Samples(
        correct=np.array(correct, dtype=np.bool_).reshape(shape),
        texts=[texts[start : start + samples] for start in range(0, len(texts), samples)],
        lengths=np.array([len(row) for row in ids], dtype=np.int64).reshape(shape),
        truncated=np.array([row[-1] != tokenizer.eos_token_id for row in ids]).reshape(shape),
    )


def _generate(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: Sequence[Problem]
) -> list[list[int]]:
    inputs: Any = tokenizer([row.prompt for row in rows], return_tensors="pt", padding=True)
    output = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=MAX_COMPLETION_CHARS + 1,
    )
    end = tokenizer.eos_token_id
    completions = output[:, inputs["input_ids"].shape[1] :].tolist()
    return [row[: row.index(end) + 1] if end in row else row for row in completions]
