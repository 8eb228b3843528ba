"""What recording costs: record() in the training thread, and recording against a training step.

    python benchmarks/recorder.py [--calls 2000] [--json]

`record` times what a trainer does for 512 rollouts on its own thread: RewardGroups,
summarise_groups and disagreement_metrics, then record() with completions, while the writer thread
puts generations on disk and compacts. `step` times pairs of training steps, with and without
recording in turn, in one process: a step is about --step-ms milliseconds of numpy products.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time

import numpy as np

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


def train_side(recorder: Recorder, batch: dict) -> tuple[float, float]:
    """Seconds of the whole and of record() alone."""
    start = time.perf_counter()
    groups = RewardGroups.from_flat(batch["rewards"], batch["group_ids"])
    advantages = groups.centered
    disagreement_metrics(summarise_groups(groups, advantages))
    middle = time.perf_counter()
    recorder.record(**batch, advantages_used=advantages)
    end = time.perf_counter()
    return end - start, end - middle


def time_record(calls: int, pause_s: float) -> dict:
    """record() while the writer works: calls come a little slower than the disk takes them."""
    rng = np.random.default_rng(0)
    batches = [make_batch(rng, step) for step in range(64)]
    folder = tempfile.mkdtemp()
    total, alone = [], []
    # Few generations per part, so that compaction falls into the measurement.
    with Recorder(folder, compact_every=200) as recorder:
        for step in range(calls):
            whole, part = train_side(recorder, {**batches[step % 64], "step": step})
            total.append(whole * 1e3)
            alone.append(part * 1e3)
            time.sleep(pause_s)
        dropped = recorder.dropped
        start = time.perf_counter()
        recorder.flush()
        flush_s = time.perf_counter() - start
    shutil.rmtree(folder)
    return {
        "calls": calls,
        "with_metrics_ms": percentiles(total),
        "record_alone_ms": percentiles(alone),
        "dropped": dropped,
        "flush_s": round(flush_s, 3),
    }


def time_step(pairs: int, step_ms: float) -> dict:
    """Extra time of a training step with recording, as a median over pairs."""
    rng = np.random.default_rng(1)
    batches = [make_batch(rng, step) for step in range(32)]
    a = rng.random((384, 384))
    folder = tempfile.mkdtemp()
    ratios = []
    with Recorder(folder) as recorder:
        for pair in range(pairs):
            seconds = {}
            for is_recorded in (True, False) if pair % 2 else (False, True):
                start = time.perf_counter()
                while time.perf_counter() - start < step_ms / 2e3:
                    a @ a
                if is_recorded:
                    train_side(recorder, {**batches[pair % 32], "step": pair})
                for _ in range(max(1, int(step_ms / 8))):
                    a @ a
                seconds[is_recorded] = time.perf_counter() - start
            ratios.append(seconds[True] / seconds[False] - 1)
    shutil.rmtree(folder)
    low, high = np.quantile(bootstrap_medians(np.array(ratios)), [0.025, 0.975])
    return {
        "pairs": pairs,
        "extra_frac_median": round(float(np.median(ratios)), 5),
        "interval_95": [round(float(low), 5), round(float(high), 5)],
    }


def bootstrap_medians(values: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(2)
    return np.median(values[rng.integers(0, len(values), (2000, len(values)))], axis=1)


def percentiles(values: list[float]) -> dict[str, float]:
    names = {"median": 50, "p90": 90, "p99": 99, "max": 100}
    return {name: round(float(np.percentile(values, q)), 3) for name, q in names.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--pause-ms", type=float, default=50.0)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--step-ms", type=float, default=500.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = {
        "record": time_record(options.calls, options.pause_ms / 1e3),
        "step": time_step(options.pairs, options.step_ms) if options.pairs else None,
    }
    print(json.dumps(result, indent=None if options.json else 2))


if __name__ == "__main__":
    main()
