"""What a training thread waits for: record() of 512 rollouts while the writer works.

    python -m benchmarks.recorder [--calls 2000] [--json]

Each call comes --pause-ms after the last one, so that caches are cold, as they are after a real
step; meanwhile the writer thread computes the statistics of the last generation, puts it on disk
and compacts. `record` is the call alone. `metrics` is what a trainer that logs them does before on
its own thread: RewardGroups, summarise_groups and disagreement_metrics. `alone` is the same without
a writer, hot (one call after the other) and cold (after a pause); `bare` is the least that numpy
can do: the same numbers for groups of one size in order, two rewards, and no checks.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from dissensus import Recorder, RewardGroups
from dissensus.core.disagreement import disagreement_metrics, summarise_groups

GROUPS, SIZE = 64, 8


def make_batch(rng: np.random.Generator, step: int) -> dict:
    """One generation of 512 rollouts as a trainer holds it: lists of text, arrays of numbers."""
    n = GROUPS * SIZE
    rewards = (rng.random(n) < np.repeat(rng.random(GROUPS), SIZE)).astype(np.float64)
    words = rng.integers(0, 10, (n, 40))
    prompt_ids = [f"prompt-{p}" for p in np.repeat(rng.integers(0, 4000, GROUPS), SIZE)]
    return {
        "step": step,
        "group_ids": np.repeat(np.arange(GROUPS) + step * GROUPS, SIZE),
        "prompt_ids": prompt_ids,
        "rewards": rewards,
        "prompts": prompt_ids,
        "completions": [" ".join(map(str, row)) * 4 for row in words.tolist()],
        "lengths": rng.integers(20, 400, n),
        "truncated": rng.random(n) < 0.1,
        "rewards_by_function": {"accuracy": rewards, "format": rng.random(n)},
        "advantages_framework": rewards - 0.5,
    }


def measure_groups(batch: dict) -> np.ndarray:
    """What a trainer does to log metrics; returns the advantages."""
    groups = RewardGroups.from_flat(batch["rewards"], batch["group_ids"])
    disagreement_metrics(summarise_groups(groups, groups.centered))
    return groups.centered


def time_calls(calls: int, pause_s: float) -> dict:
    """Both parts of each call; calls come a little slower than the disk takes them."""
    rng = np.random.default_rng(0)
    batches = [make_batch(rng, step) for step in range(64)]
    folder = tempfile.mkdtemp()
    metrics, record = [], []
    # Few generations per part, so that compaction falls into the measurement.
    with Recorder(folder, compact_every=200) as recorder:
        for step in range(calls):
            batch = {**batches[step % 64], "step": step}
            start = time.perf_counter()
            advantages = measure_groups(batch)
            middle = time.perf_counter()
            recorder.record(**batch, advantages_used=advantages)
            end = time.perf_counter()
            metrics.append(1e3 * (middle - start))
            record.append(1e3 * (end - middle))
            time.sleep(pause_s)
        dropped = recorder.dropped
    shutil.rmtree(folder)
    return {
        "calls": calls,
        "record_ms": percentiles(record),
        "metrics_ms": percentiles(metrics),
        "both_ms": percentiles(np.add(metrics, record)),
        "alone_ms": time_alone(measure_groups, batches, pause_s),
        "bare_ms": time_alone(measure_barely, batches, pause_s),
        "dropped": dropped,
    }


def measure_barely(batch: dict) -> dict:
    """The metrics of dense 0/1 rewards in as few operations as numpy allows."""
    rewards = np.array(batch["rewards"]).reshape(-1, SIZE)
    centered = rewards - rewards.mean(1)[:, None]
    squares = np.einsum("pg,pg->p", centered, centered)
    is_unanimous = rewards.max(1) - rewards.min(1) <= 1e-6
    correct = rewards.sum(1)
    is_silent = (centered == 0).all(1)
    return {
        "unanimous_frac": is_unanimous.mean(),
        "all_wrong_frac": (is_unanimous & (correct == 0)).mean(),
        "all_correct_frac": (is_unanimous & (correct == SIZE)).mean(),
        "group_std_mean": np.sqrt(squares / SIZE).mean(),
        "silent_frac": is_silent.mean(),
        "effective_rollout_frac": (~is_silent).mean(),
        "contrast_per_1000_rollouts": 1000 * squares.mean() / SIZE**2,
    }


def time_alone(call: Callable, batches: list[dict], pause_s: float) -> dict:
    """Median milliseconds of a call, one after the other and after pauses."""
    found = {}
    for name, pause in (("hot", 0.0), ("cold", pause_s)):
        times = []
        for batch in batches * 3:
            start = time.perf_counter()
            call(batch)
            times.append(1e3 * (time.perf_counter() - start))
            time.sleep(pause)
        found[name] = round(float(np.median(times)), 3)
    return found


def percentiles(values: ArrayLike) -> dict[str, float]:
    names = {"median": 50, "p90": 90, "p99": 99, "max": 100}
    return {name: round(float(np.percentile(values, q)), 3) for name, q in names.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--pause-ms", type=float, default=50.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = time_calls(options.calls, options.pause_ms / 1e3)
    print(json.dumps(result, indent=None if options.json else 2))


if __name__ == "__main__":
    main()
