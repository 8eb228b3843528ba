"""Held-out solve rate before and after `dissensus train` with its defaults, over seeds.

The same held-out prompts are sampled before and after, so the lift is a paired difference. Two
intervals: over training seeds (Student t on the seeds' lifts), and over prompts (percentile
bootstrap of the mean lift, prompts resampled, seeds kept).

    python -m benchmarks.train_lift [--seeds 3] [--steps N] [--runs FOLDER] [--json]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy import stats

from dissensus.lab.training import TrainResult, TrainSettings, train

LIFT, SECONDS = 0.15, 240.0


def interval_over_seeds(lifts: np.ndarray) -> tuple[float, float]:
    """95 % Student interval of the mean lift; NaN for one seed."""
    if len(lifts) < 2:
        return math.nan, math.nan
    half = stats.t.ppf(0.975, len(lifts) - 1) * lifts.std(ddof=1) / math.sqrt(len(lifts))
    return float(lifts.mean() - half), float(lifts.mean() + half)


def interval_over_prompts(
    lifts_S_P: np.ndarray, rng: np.random.Generator, resamples: int = 10_000
) -> tuple[float, float]:
    """95 % bootstrap interval of the mean lift over prompts."""
    by_prompt = lifts_S_P.mean(axis=0)
    drawn = rng.integers(0, len(by_prompt), (resamples, len(by_prompt)))
    low, high = np.quantile(by_prompt[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def summarise(results: list[TrainResult]) -> dict:
    lifts = np.array([r.heldout_after - r.heldout_before for r in results])
    by_prompt = np.array([r.heldout_rates_after - r.heldout_rates_before for r in results])
    slowest = max(r.seconds for r in results)
    return {
        "seeds": [
            {**r.to_json(), "lift": float(lift)} for r, lift in zip(results, lifts, strict=True)
        ],
        "mean_lift": float(lifts.mean()),
        "interval_over_seeds": interval_over_seeds(lifts),
        "interval_over_prompts": interval_over_prompts(by_prompt, np.random.default_rng(0)),
        "heldout_prompts": by_prompt.shape[1],
        "slowest_seconds": slowest,
        "cpus": os.cpu_count(),
        "limits": {"lift": LIFT, "seconds": SECONDS},
        "met": bool(lifts.min() >= LIFT and slowest <= SECONDS),
    }


def show(summary: dict) -> None:
    print(f"{'seed':>4} {'before':>7} {'after':>7} {'lift':>7} {'unanimous':>10} {'seconds':>8}")
    for seed, row in enumerate(summary["seeds"]):
        print(
            f"{seed:>4} {row['heldout_before']:>7.1%} {row['heldout_after']:>7.1%} "
            f"{row['lift']:>+7.1%} {row['unanimous']['total']:>10.1%} {row['seconds']:>8.0f}"
        )
    for name in ("interval_over_seeds", "interval_over_prompts"):
        low, high = summary[name]
        print(
            f"mean lift {summary['mean_lift']:+.1%}, 95 % {name.replace('_', ' ')} "
            f"[{low:+.1%}, {high:+.1%}]"
        )
    print("met" if summary["met"] else f"NOT met: {summary['limits']}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=TrainSettings.steps)
    parser.add_argument("--runs", type=Path, help="keep the runs here; default: a temporary folder")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.runs or Path(temporary)
        results = []
        for seed in range(arguments.seeds):
            settings = TrainSettings(run=folder / f"seed-{seed}", seed=seed, steps=arguments.steps)
            results.append(train(settings))
            print(f"seed {seed}: {results[-1].seconds:.0f} s", file=sys.stderr, flush=True)
    summary = summarise(results)
    if arguments.json:
        print(json.dumps(summary))
    else:
        show(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
