"""Kill a recording process at random moments, and check what is left on disk.

    python benchmarks/kills.py [--kills 100] [--seed 0] [--json]

A child process records generations as fast as it can, flushes after some of them, writes the
number of every flushed generation to a pipe, and compacts in the background. It is killed with
SIGKILL at a random moment; then it starts again in the same run as the next attempt, after the step
it last flushed. After every kill: every flushed generation is there with all its groups and
rollouts, no generation is there twice, every visible file can be read to its end, and the run can
be resumed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from dissensus import Recorder, Run
from dissensus.runs import store

GROUPS, SIZE = 4, 4
COMPACT_EVERY = 7


def child(run_dir: str, start_step: int) -> None:
    """Record for ever; say on standard output what has been flushed."""
    n = GROUPS * SIZE
    recorder = Recorder(run_dir, start_step, compact_every=COMPACT_EVERY)
    print("start", recorder.generation, flush=True)
    step = start_step
    while True:
        generation = recorder.record(
            step=step,
            group_ids=[f"{step}-{i // SIZE}" for i in range(n)],
            prompt_ids=[f"p{i // SIZE}" for i in range(n)],
            rewards=[float((step + i) % 3 == 0) for i in range(n)],
            completions=["x" * 200] * n,
        )
        recorder.scalars(step=step, values={"loss": 1.0})
        if step % 3 == 0 and recorder.flush():
            print("flushed", step, generation, flush=True)
        step += 1


def kill_once(run_dir: Path, start_step: int, delay_s: float) -> dict[int, int]:
    """Run the child, kill it after `delay_s`; step → generation of what it had flushed."""
    command = [sys.executable, __file__, "--child", str(run_dir), str(start_step)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()  # it has opened the run: imports are not what is measured
    time.sleep(delay_s)
    os.kill(process.pid, signal.SIGKILL)
    lines = process.stdout.read().splitlines()
    process.wait()
    pairs = [line.split()[1:] for line in lines if line.startswith("flushed") and len(line) > 8]
    return {int(step): int(generation) for step, generation in pairs if generation}


def check(run_dir: Path, flushed: dict[int, int]) -> dict[str, int]:
    """Problems of each kind after one kill."""
    torn = 0
    for table in ("groups", "rollouts", "prompts", "scalars", "rollups"):
        for path in (run_dir / table).rglob("*.parquet"):
            try:
                pq.ParquetFile(path).read()
            except Exception:  # noqa: BLE001 - whatever it is, the file is broken
                torn += 1
    run = Run(run_dir)
    counts = count_by_generation(run, "groups")
    rollouts = count_by_generation(run, "rollouts")
    steps = run.sql("SELECT step, count(DISTINCT generation) AS n FROM groups GROUP BY ALL")
    lost = sum(
        counts.get(g, 0) < GROUPS or rollouts.get(g, 0) < GROUPS * SIZE for g in flushed.values()
    )
    twice = sum(n > GROUPS for n in counts.values())
    twice += sum(n > GROUPS * SIZE for n in rollouts.values())
    twice += sum(n > 1 for n in steps["n"].to_pylist())
    # Steps follow each other without a gap: what is left is one training run.
    live = sorted(steps["step"].to_pylist())
    gaps = sum(b != a + 1 for a, b in itertools.pairwise(live))
    sums = sum(row["groups"] for row in run.steps().to_pylist())
    return {
        "lost": lost,
        "twice": twice,
        "torn": torn,
        "gaps": gaps,
        "steps_disagree": int(sums != sum(counts.values())),
        "not_died": int(run.state != "died"),
    }


def count_by_generation(run: Run, table: str) -> dict[int, int]:
    found = run.sql(f"SELECT generation, count(*) AS n FROM {table} GROUP BY ALL")  # noqa: S608
    return dict(zip(found["generation"].to_pylist(), found["n"].to_pylist(), strict=True))


def run_kills(kills: int, seed: int) -> dict:
    """Kill `kills` times in one run; problems, summed, and what was exercised."""
    rng = random.Random(seed)  # noqa: S311
    run_dir = Path(tempfile.mkdtemp())
    problems: dict[str, int] = {}
    flushed: dict[int, int] = {}
    start_step, resumed, covered = 0, 0, 0
    temporary: set[Path] = set()
    for number in range(kills):
        new = kill_once(run_dir, start_step, rng.uniform(0.0, 1.2))
        flushed = {step: g for step, g in flushed.items() if step < start_step} | new
        for name, count in check(run_dir, flushed).items():
            problems[name] = problems.get(name, 0) + count
        resumed += len(Run(run_dir).attempts) == number + 1
        temporary.update(store.temporary_files(run_dir))
        covered = len(store.list_segments(run_dir, "groups")) - len(
            store.list_live(run_dir, "groups")
        )
        start_step = max(flushed, default=-1) + 1
    with Recorder(run_dir, start_step) as recorder:
        generations = recorder.generation
    parts = sum(segment.is_part for segment in store.list_live(run_dir, "groups"))
    shutil.rmtree(run_dir)
    return {
        "kills": kills,
        "resumed": resumed,
        "problems": problems,
        "generations": generations,
        "flushed_and_live": len(flushed),
        "parts": parts,
        "temporary_files_left": len(temporary),
        "covered_segments_left": covered,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], int(options.child[1]))
    result = run_kills(options.kills, options.seed)
    print(json.dumps(result, indent=None if options.json else 2))
    return int(any(result["problems"].values()) or result["resumed"] < result["kills"])


if __name__ == "__main__":
    sys.exit(main())
