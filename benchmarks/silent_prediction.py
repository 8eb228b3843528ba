"""Unanimous groups: measured in the recorded trainer, against the prediction from other samples.

One training run leaves snapshots of its weights. At each of them, for each prompt,

    prediction  from n = 64 independent samples, k correct: [C(k,G) + C(n−k,G)] / C(n,G)
    measured    the fraction of unanimous groups that DisagreementGRPOTrainer generates and a run
                records, with learning rate 0; each group of 16 is also cut into 2 of 8 and 4 of 4

Both are averaged over bins of snapshot × difficulty: prompts sorted by a pilot of 16 more samples
that enters neither side, so that there is no regression to the mean, and cut into ten equal bins.
R² = 1 − Σ(measured − prediction)² / Σ(measured − mean measured)², with nothing fitted. The same
over bins of snapshot × family × level, half as large, shows how much is sampling noise.

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
from dissensus.lab.paper.intervals import r_squared
from dissensus.lab.quiet import quiet_frameworks
from dissensus.lab.tasks import make_problems
from dissensus.lab.tokenizer import build_tokenizer
from dissensus.lab.training import TrainSettings, train

GROUP_SIZES = (4, 8, 16)
SAMPLES, PILOT, BINS = 64, 16, 10
LIMIT = 0.98


def predicted_rates(
    weights: Path, prompts: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """By prompt id: the unbiased estimate at every group size, and the pilot's solve rate."""
    problems = make_problems("train", prompts, seed=seed)
    with quiet_frameworks():
        model, tokenizer = load_model(weights), build_tokenizer()
        drawn = sample_completions(model, tokenizer, problems, SAMPLES, seed=seed + 1)
        pilot = sample_completions(model, tokenizer, problems, PILOT, seed=seed + 2)
    correct = drawn.correct.sum(axis=1)
    rates = np.stack([laws.unbiased_unanimous_rate(correct, SAMPLES, G) for G in GROUP_SIZES], 1)
    ids = [problem.prompt_id for problem in problems]
    return (
        dict(zip(ids, rates, strict=True)),
        dict(zip(ids, pilot.correct.mean(axis=1).tolist(), strict=True)),
    )


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
    problems = make_problems("train", arguments.prompts, seed=probe.seed)
    bins: dict[str, list[dict]] = {"difficulty": [], "family and level": []}
    for step in steps:
        weights = folder / "train" / "weights" / f"step-{step:06d}.safetensors"
        predicted, pilot = predicted_rates(weights, arguments.prompts, probe.seed)
        measured = measured_rates(weights, replace(probe, run=folder / f"probe-{step}"))
        problems = [p for p in problems if p.prompt_id in measured]
        # The id breaks ties; it is a hash of the prompt, so it is not about difficulty.
        by_difficulty = sorted((p.prompt_id for p in problems), key=lambda i: (pilot[i], i))
        cells: dict[str, list[str]] = {}
        for problem in problems:
            cells.setdefault(f"{problem.family} {problem.level}", []).append(problem.prompt_id)
        deciles = {str(n): list(ids) for n, ids in enumerate(np.array_split(by_difficulty, BINS))}
        for kind, members in (("difficulty", deciles), ("family and level", cells)):
            for name, ids in sorted(members.items()):
                bins[kind].append(
                    {
                        "step": step,
                        "bin": name,
                        "prompts": len(ids),
                        "measured": np.mean([measured[i] for i in ids], axis=0).tolist(),
                        "predicted": np.mean([predicted[i] for i in ids], axis=0).tolist(),
                    }
                )
        print(f"step {step}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return summarise(bins, arguments, time.perf_counter() - started)


def summarise(bins: dict[str, list[dict]], arguments: argparse.Namespace, seconds: float) -> dict:
    """R² over both kinds of bins, and the means."""
    found = {}
    for kind, rows in bins.items():
        measured = np.array([row["measured"] for row in rows])
        predicted = np.array([row["predicted"] for row in rows])
        found[kind] = {
            str(G): {
                "r_squared": r_squared(measured[:, i], predicted[:, i]),
                "mean_measured": float(measured[:, i].mean()),
                "mean_predicted": float(predicted[:, i].mean()),
            }
            for i, G in enumerate(GROUP_SIZES)
        }
    return {
        "over": found,
        "bins": bins,
        "settings": {
            "snapshots": list(arguments.snapshots),
            "prompts": arguments.prompts,
            "visits": arguments.visits,
            "samples": SAMPLES,
            "pilot": PILOT,
        },
        "seconds": seconds,
        "limit": LIMIT,
        "met": min(each["r_squared"] for each in found["difficulty"].values()) >= LIMIT,
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
    for kind, sizes in result["over"].items():
        print(f"{len(result['bins'][kind])} bins of snapshot and {kind}")
        print(f"{'G':>3} {'measured':>9} {'predicted':>9} {'R²':>7}")
        for size, row in sizes.items():
            print(
                f"{size:>3} {row['mean_measured']:>9.1%} "
                f"{row['mean_predicted']:>9.1%} {row['r_squared']:>7.4f}"
            )
    print("met" if result["met"] else f"NOT met: {LIMIT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
