"""The identity on the live model: one backward of TRL's own loss, against coefficient × direction.

Left: the update g of each prompt, by one backward pass through `GRPOTrainer.compute_loss`. Right: a
coefficient made of the rewards alone, times a direction made of per-rollout scores alone.

    GRPO σ·Δs      Dr. GRPO σ²·Δs      RLOO G/(G−1)·σ²·Δs
    real-valued rewards: σ·β and σ²·β, β the least-squares slope of the score on the reward
    TRL's own advantages (ddof 1, eps 1e-4)  σ²/(σ·sqrt(G/(G−1)) + 1e-4)·Δs

transformers' Llama computes its norms and rotary angles in float32 whatever the model's precision:
that, not the identity, is what is left in float64.

    python -m benchmarks.identity [--prompts 16] [--group-size 8] [--seed 0] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from typing import Any

import numpy as np
import torch

from dissensus import RewardGroups, advantages
from dissensus.integrations.autograd import RolloutTokens, gradient, rollout_scores
from dissensus.lab.model import CHECKPOINT, build_model, load_model
from dissensus.lab.quiet import quiet_frameworks
from dissensus.lab.tasks import MAX_COMPLETION_CHARS, check, make_problems, to_dataset
from dissensus.lab.tokenizer import build_tokenizer

LIMIT = 1e-5
LOSSES = ("grpo", "dr_grpo", "dapo")
WIDTH = MAX_COMPLETION_CHARS + 1


def exact_match(text: str, answer: str) -> float:
    return float(check(text, answer))


def holds_an_even_digit(text: str, answer: str) -> float:
    """A property an untrained model has now and then."""
    return float(any(c in "02468" for c in text) and bool(answer))


def matching_part(text: str, answer: str) -> float:
    """Share of the answer's characters that stand in place, less a little for length."""
    tail = text.rpartition(" ")[2]
    same = sum(a == b for a, b in zip(tail, answer, strict=False))
    return same / len(answer) - 0.01 * len(text)


def build_trainer(model: Any, options: argparse.Namespace, folder: str, correct: Any) -> Any:
    """TRL's own trainer on the lab's model and tasks; nothing of ours is in its loss."""
    from trl import GRPOConfig, GRPOTrainer

    def reward(completions: list[str], answer: list[str], **_: Any) -> list[float]:
        return [correct(text, right) for text, right in zip(completions, answer, strict=True)]

    arguments = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=options.prompts * options.group_size,
        num_generations=options.group_size,
        max_completion_length=WIDTH,
        seed=options.seed,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
    )
    return GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=arguments,
        train_dataset=to_dataset(make_problems("train", 8 * options.prompts, seed=options.seed)),
        processing_class=build_tokenizer(),
    )


def sample(
    trainer: Any, options: argparse.Namespace
) -> tuple[dict[str, Any], list[str], list[str]]:
    """One generation batch by TRL: its tensors, the completions and the answers."""
    rows = [trainer.train_dataset[i] for i in range(options.prompts)]
    inputs = [dict(row) for row in rows for _ in range(options.group_size)]
    torch.manual_seed(options.seed)
    trainer.model.train()
    with torch.no_grad():
        output = trainer._generate_and_score_completions(inputs)
    texts = trainer.processing_class.batch_decode(
        output["completion_ids"], skip_special_tokens=True
    )
    return output, texts, [row["answer"] for row in inputs]


def trl_update(trainer: Any, output: dict[str, Any], rows: slice, values: Any, loss: str) -> Any:
    """Update of one prompt: minus the gradient of TRL's loss on its rows, by one backward pass."""
    names = RolloutTokens._fields
    inputs = {name: output[name][rows] for name in names}
    inputs["advantages"] = values
    inputs["num_items_in_batch"] = inputs["completion_mask"].sum()
    trainer.loss_type = loss
    trainer.current_gradient_accumulation_steps = 1
    return -gradient(trainer.compute_loss(trainer.model, inputs), trainer.model)


def directions(scores: Any, rewards: np.ndarray) -> Any:
    """Least-squares slope of the score on the reward; for two rewards 0 and 1 this is Δs."""
    design = torch.tensor(np.stack([np.ones_like(rewards), rewards], axis=1)).double()
    return torch.linalg.lstsq(design, scores.double()).solution[1]


def mean_difference(scores: Any, rewards: np.ndarray) -> Any:
    right = torch.tensor(rewards == rewards.max())
    wide = scores.double()
    return wide[right].mean(dim=0) - wide[~right].mean(dim=0)


def cases(groups: RewardGroups, real: RewardGroups, trl_own: np.ndarray) -> list[tuple[Any, ...]]:
    """(name, advantages, coefficients per group, rewards, direction)."""
    size = groups.size.astype(float)
    std, real_std = groups.std(), real.std()
    own = std**2 / (std * np.sqrt(size / (size - 1)) + 1e-4)
    of = lambda name, over: advantages.get(name)(over)  # noqa: E731
    return [
        ("GRPO  σ·Δs", of("grpo", groups), std, groups, mean_difference),
        ("Dr. GRPO  σ²·Δs", of("dr_grpo", groups), std**2, groups, mean_difference),
        ("RLOO  G/(G−1)·σ²·Δs", of("rloo", groups), size / (size - 1) * std**2, groups,
         mean_difference),
        ("TRL's own  W·Δs", trl_own, own, groups, mean_difference),
        ("real-valued GRPO  σ·β", of("grpo", real), real_std, real, directions),
        ("real-valued Dr. GRPO  σ²·β", of("dr_grpo", real), real_std**2, real, directions),
    ]  # fmt: skip


def measure(options: argparse.Namespace) -> dict[str, Any]:
    trained = CHECKPOINT.is_file()
    model = load_model() if trained else build_model(options.seed)
    correct = exact_match if trained else holds_an_even_digit
    rows: list[dict[str, Any]] = []
    with quiet_frameworks(), tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(model, options, folder, correct)
        output, texts, answers = sample(trainer, options)
        rewards = np.array([correct(t, a) for t, a in zip(texts, answers, strict=True)])
        values = np.array([matching_part(t, a) for t, a in zip(texts, answers, strict=True)])
        ids = np.repeat(np.arange(options.prompts), options.group_size)
        groups = RewardGroups.from_flat(rewards, ids, correct=0.5)
        real = RewardGroups.from_flat(values, ids)
        table = cases(groups, real, output["advantages"].double().numpy())
        for precision in (torch.float64, torch.float32):
            trainer.model.to(precision)
            rows += compare(trainer, output, table, options.group_size, precision)
    return {
        "model": "warm-started" if trained else "untrained",
        "parameters": sum(p.numel() for p in model.parameters()),
        "prompts": options.prompts,
        "group_size": options.group_size,
        "split_groups": int((~groups.is_unanimous()).sum()),
        "limit": LIMIT,
        "rows": rows,
        "met": all(row["max_relative_error"] <= LIMIT for row in rows),
    }


def compare(
    trainer: Any, output: dict[str, Any], table: list[Any], size: int, precision: torch.dtype
) -> list[dict[str, Any]]:
    """Worst and median relative error over split groups, for every case and loss."""
    tokens = RolloutTokens.from_trl(output)
    found: dict[tuple[str, str], list[float]] = {}
    silent = 0.0
    for x in range(len(table[0][3])):
        rows = slice(x * size, (x + 1) * size)
        plain = rollout_scores(trainer.model, tokens.rows(rows)).double()
        for loss in LOSSES:
            scores = plain * loss_weights(tokens.completion_mask[rows], loss)[:, None]
            for name, advantage, coefficient, groups, direction in table:
                given = torch.tensor(np.array(advantage[rows])).to(precision)
                update = trl_update(trainer, output, rows, given, loss).double()
                if groups.is_unanimous()[x]:
                    silent = max(silent, float(update.norm()))
                    continue
                expected = float(coefficient[x]) * direction(scores, groups.rewards[rows])
                error = float((update - expected).norm() / expected.norm())
                found.setdefault((name, loss), []).append(error)
    assert silent < 1e-12, "a unanimous group moved the model"
    return [
        {
            "rule": name,
            "loss_type": loss,
            "precision": str(precision).removeprefix("torch."),
            "groups": len(errors),
            "max_relative_error": max(errors),
            "median_relative_error": float(np.median(errors)),
        }
        for (name, loss), errors in sorted(found.items())
    ]


def loss_weights(mask: Any, loss: str) -> Any:
    """What each loss divides a rollout's score by, written out from TRL's documentation."""
    count = mask.sum(dim=1).double()
    if loss == "grpo":
        return 1 / count
    if loss == "dr_grpo":
        return torch.full_like(count, 1 / WIDTH)
    return torch.full_like(count, len(count) / float(count.sum()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options)
    if options.json:
        print(json.dumps(found))
        return 0
    print(
        f"{found['model']} model of {found['parameters']:,} parameters, {found['prompts']} prompts "
        f"of {found['group_size']}, {found['split_groups']} of them split"
    )
    print(f"{'rule':<28}{'loss_type':<10}{'precision':<10}{'groups':>7}{'worst':>10}{'median':>10}")
    for row in found["rows"]:
        print(
            f"{row['rule']:<28}{row['loss_type']:<10}{row['precision']:<10}{row['groups']:>7}"
            f"{row['max_relative_error']:>10.1e}{row['median_relative_error']:>10.1e}"
        )
    print(f"limit {found['limit']:.0e}: {'met' if found['met'] else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
