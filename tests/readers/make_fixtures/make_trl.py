"""TRL's completions Parquet, by a real GRPOTrainer on a random two-layer model.

`python make_trl.py OUT` (needs trl, torch, transformers, datasets). With a release before 1.10 the
chat prompts of `decoded` become text, later they are messages (`messages`).
"""

# ruff: noqa: E402  (frameworks are imported when their surroundings are ready)
from __future__ import annotations

import shutil
import sys
import tempfile
import warnings
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "integrations")]

import trl
from datasets import Dataset
from scenario import GROUPS
from tiny import build
from tiny import tokenizer as plain_tokenizer
from trl import GRPOTrainer

PROMPTS = ["2 + 2 =", "3 + 4 =", "2 + 2 =", "9 + 0 ="]
TEMPLATE = "{% for m in messages %}{{ m['content'] }} {% endfor %}"


def scripted(name: str, values: list[float | None]):
    """A reward function that gives these values, whatever the completions are."""
    left = list(values)

    def function(completions, **_):
        taken = left[: len(completions)]
        del left[: len(completions)]
        return taken

    function.__name__ = name
    return function


def run(folder: Path, prompts, functions, **args) -> None:
    tokenizer = plain_tokenizer()
    tokenizer.chat_template = TEMPLATE
    with tempfile.TemporaryDirectory() as out, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = build(
            GRPOTrainer,
            out,
            args={"log_completions": True, "shuffle_dataset": False, **args},
            reward_funcs=functions,
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            processing_class=tokenizer,
        )
        trainer.train()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(Path(out) / "completions", folder)


def main(out: Path) -> None:
    right = [value for group in GROUPS for value in group.rewards]
    chat = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    is_old = tuple(map(int, trl.__version__.split(".")[:2])) < (1, 10)
    run(out / ("decoded" if is_old else "messages"), chat, [scripted("exact_match", right)])
    if is_old:
        return
    run(out / "strings", PROMPTS, [scripted("exact_match", right)])

    # Two functions and a logged number beside them; one rollout that no function scores.
    first = [None, *right[1:]]
    second = [None, *[0.5 if i % 2 else 0.0 for i in range(1, 16)]]
    function = scripted("style", second)

    def style(completions, log_extra=None, **_):
        log_extra("difficulty", [0.25 * (i % 4) for i in range(len(completions))])
        return function(completions)

    run(out / "two_functions", PROMPTS, [scripted("exact_match", first), style])
    # Every batch is used twice, so the same rows are written at two steps.
    run(out / "repeated", PROMPTS, [scripted("exact_match", right)], num_iterations=2, max_steps=4)
    # Only the last of two generations of each logging interval is written.
    run(out / "skipped", PROMPTS, [scripted("exact_match", right)], logging_steps=2)
    # The two groups of step 1 have the same prompt.
    run(out / "equal_prompts", [PROMPTS[0], *PROMPTS[:3]], [scripted("exact_match", right)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
