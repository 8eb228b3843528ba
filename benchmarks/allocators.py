"""How long a step's choice takes, by allocator and size of the pool.

    python -m benchmarks.allocators [--prompts 10000 10000000] [--names contrast …]

One thread, a process each. `first ask` includes the first shuffle of an epoch; `ask` and `tell` are
medians over the later steps, all calls of a step together. Memory is the peak of the process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from dissensus import RewardGroups
from dissensus.core import allocation
from dissensus.core.allocation import Draw


def measure(name: str, prompts: int, steps: int) -> dict[str, float]:
    """Seconds of asking and telling, per step, and bytes."""
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    made = allocation.get(name, prompts)
    built = time.perf_counter() - start
    asking, telling = [], []
    for _ in range(steps):
        spent, told, left = 0.0, 0.0, made.batch * made.group_size
        while True:
            start = time.perf_counter()
            ask = made.ask(left, rng)
            spent += time.perf_counter() - start
            if not isinstance(ask, Draw):
                break
            left -= ask.total
            rewards = (rng.random(ask.total) < 0.4).astype(float)
            groups = RewardGroups.from_flat(rewards, np.repeat(ask.prompts, ask.counts))
            lengths = rng.integers(1, 100, ask.total)
            start = time.perf_counter()
            made.tell(groups, lengths=lengths)
            told += time.perf_counter() - start
        asking.append(spent)
        telling.append(told)
    return {
        "build_s": built,
        "first_ask_s": asking[0],
        "ask_s": float(np.median(asking[1:])),
        "tell_s": float(np.median(telling[1:])),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, nargs="+", default=[10_000, 10_000_000])
    parser.add_argument("--names", nargs="+", default=list(allocation.names()))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--one", action="store_true", help="measure here, as JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.names[0], options.prompts[0], options.steps)))
        return
    print(f"{'allocator':24}{'prompts':>12}{'first ask':>12}{'ask':>10}{'tell':>10}{'peak':>10}")
    for prompts in options.prompts:
        for name in options.names:  # a process each, for its own peak memory
            command = [sys.executable, "-m", "benchmarks.allocators", "--one", "--names", name]
            command += ["--prompts", str(prompts), "--steps", str(options.steps)]
            row = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            times = "".join(
                f"{row[key] * 1e3:9.1f}ms" for key in ("first_ask_s", "ask_s", "tell_s")
            )
            print(f"{name:24}{prompts:12,}{times}{row['peak_bytes'] / 2**20:7.0f}MiB", flush=True)


if __name__ == "__main__":
    main()
