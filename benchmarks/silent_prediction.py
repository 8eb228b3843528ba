"""Unanimous groups: measured in the recorded trainer, against the prediction from other samples.

One training run leaves snapshots of its weights. At each of them, for each prompt,

    prediction  from n = 64 independent samples, k correct: [C(k,G) + C(n−k,G)] / C(n,G)
    measured    the fraction of unanimous groups that DisagreementGRPOTrainer generates and a run
                records, with learning rate 0; each group of 16 is also cut into 2 of 8 and 4 of 4

Both are averaged over bins of snapshot × family × level, which no sample decides, so there is no
regression to the mean. R² = 1 − Σ(measured − prediction)² / Σ(measured − mean measured)², with
nothing fitted.

    python -m benchmarks.silent_prediction [--prompts 400] [--visits 8] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from dissensus import Run, laws
from dissensus.lab.evaluation import sample_completions
from dissensus.lab.model import load_model
from dissensus.lab.quiet import quiet_frameworks
from dissensus.lab.tasks import make_problems
from dissensus.lab.tokenizer import build_tokenizer
from dissensus.lab.training import TrainSettings, train

GROUP_SIZES = (4, 8, 16)
SAMPLES = 64
LIMIT = 0.98


def predicted_rates(weights: Path, prompts: int, seed: int) -> dict[str, np.ndarray]:
    """By prompt id, the unbiased estimate at every group size."""
    problems = make_problems("train", prompts, seed=seed)
    with quiet_frameworks():
        drawn = sample_completions(
            load_model(weights), build_tokenizer(), problems, SAMPLES, seed=seed + 1
        )
    correct = drawn.correct.sum(axis=1)
    rates = np.stack([laws.unbiased_unanimous_rate(correct, SAMPLES, G) for G in GROUP_SIZES], 1)
    return {problem.prompt_id: row for problem, row in zip(problems, rates, strict=True)}


def measured_rates(weights: Path, settings: TrainSettings) -> dict[str, np.ndarray]:
    """By prompt id, the fraction of unanimous groups in a recorded run that learns nothing."""
    train(replace(settings, checkpoint=weights, learning_rate=0.0, snapshot_steps=()))
    rollouts = Run(settings.run).rollouts(
        split="train", columns=["group_id", "prompt_id", "row", "generation", "reward"]
    )
    table = rollouts.sort_by([("generation", "ascending"), ("row", "ascending")]).to_pydict()
    rewards_N_G = np.array(table["reward"]).reshape(-1, settings.group_size)
    ids_N_G = np.array(table["group_id"]).reshape(rewards_N_G.shape)
    assert (ids_N_G == ids_N_G[:, :1]).all(), "rows of a group are not together"
    owners = table["prompt_id"][:: settings.group_size]
    found: dict[str, list[list[float]]] = {}
    for owner, rewards in zip(owners, rewards_N_G, strict=True):
        parts = [rewards.reshape(-1, G) for G in GROUP_SIZES]
        row = [float((np.ptp(part, axis=1) == 0).mean()) for part in parts]
        found.setdefault(owner, []).append(row)
    return {owner: np.mean(rows, axis=0) for owner, rows in found.items()}


def r_squared(measured: np.ndarray, predicted: np.ndarray) -> float:
    residual = np.square(measured - predicted).sum()
    return float(1 - residual / np.square(measured - measured.mean()).sum())


def run_benchmark(arguments: argparse.Namespace, folder: Path) -> dict:
    started = time.perf_counter()
    steps = arguments.snapshots
    train(
        TrainSettings(
            run=folder / "train",
            steps=max(steps),
            snapshot_steps=steps,
            eval_every=0,
            seed=arguments.seed,
        )
    )
    per_step = 32
    probe = TrainSettings(
        seed=arguments.seed + 100,
        steps=arguments.prompts * arguments.visits // per_step,
        prompts_per_step=per_step,
        group_size=max(GROUP_SIZES),
        train_prompts=arguments.prompts,
        heldout_prompts=20,
        heldout_samples=1,
        eval_every=0,
    )
    cells = {
        p.prompt_id: f"{p.family} {p.level}"
        for p in make_problems("train", arguments.prompts, seed=probe.seed)
    }
    bins = []
    for step in steps:
        weights = folder / "train" / "weights" / f"step-{step:06d}.safetensors"
        predicted = predicted_rates(weights, arguments.prompts, probe.seed)
        measured = measured_rates(weights, replace(probe, run=folder / f"probe-{step}"))
        for cell in sorted(set(cells.values())):
            ids = [i for i, name in cells.items() if name == cell and i in measured]
            bins.append(
                {
                    "step": step,
                    "cell": cell,
                    "prompts": len(ids),
                    "measured": np.mean([measured[i] for i in ids], axis=0).tolist(),
                    "predicted": np.mean([predicted[i] for i in ids], axis=0).tolist(),
                }
            )
        print(f"step {step}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    measured_B_G = np.array([b["measured"] for b in bins])
    predicted_B_G = np.array([b["predicted"] for b in bins])
    by_size = {
        str(G): r_squared(measured_B_G[:, i], predicted_B_G[:, i])
        for i, G in enumerate(GROUP_SIZES)
    }
    return {
        "r_squared": by_size,
        "mean_measured": dict(
            zip(map(str, GROUP_SIZES), measured_B_G.mean(0).tolist(), strict=True)
        ),
        "mean_predicted": dict(
            zip(map(str, GROUP_SIZES), predicted_B_G.mean(0).tolist(), strict=True)
        ),
        "bins": bins,
        "settings": {
            "snapshots": list(steps),
            "prompts": arguments.prompts,
            "visits": arguments.visits,
            "samples": SAMPLES,
        },
        "seconds": time.perf_counter() - started,
        "limit": LIMIT,
        "met": min(by_size.values()) >= LIMIT,
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=400)
    parser.add_argument("--visits", type=int, default=8, help="groups of 16 per prompt, measured")
    parser.add_argument("--snapshots", type=int, nargs="+", default=[0, 15, 60])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        result = run_benchmark(arguments, Path(folder))
    if arguments.json:
        print(json.dumps(result))
        return 0
    print(f"{'G':>3} {'measured':>9} {'predicted':>9} {'R²':>7}   over {len(result['bins'])} bins")
    for size, value in result["r_squared"].items():
        print(
            f"{size:>3} {result['mean_measured'][size]:>9.1%} "
            f"{result['mean_predicted'][size]:>9.1%} {value:>7.4f}"
        )
    print("met" if result["met"] else f"NOT met: {LIMIT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
