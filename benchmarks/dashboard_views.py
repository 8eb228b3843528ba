"""How long each view of the dashboard takes over a run, and how much memory: without a browser.

    python -m benchmarks.dashboard_run FOLDER
    python -m benchmarks.dashboard_views [FOLDER] [--calls 30] [--json]

Every call asks for something else, so that nothing is answered from what was made before but the
sums that are held. `first` is the first call of a view in the process, which loads its sums, and
`processor` what a later one costs in processor time over all threads, whoever else is at work.
Without a folder a run of 200,000 groups is made for the occasion.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.dashboard_run import Size, write_run
from dissensus import Run
from dissensus.core import advantages
from dissensus.views.live_views import VIEWS, LiveSource
from dissensus.views.live_views.prompts import SORTS

SMALL = Size(groups=200_000, prompts=20_000)
LIMITS = {"first_s": 1.5, "p95_s": 0.3, "memory_mb": 1024}


def asked(rng: random.Random, source: LiveSource) -> dict[str, Callable[[], dict[str, Any]]]:
    """What each view is asked for: another thing at every call."""
    last = int(source.sql("SELECT max(step) AS s FROM generations")["s"][0].as_py())
    known = source.groups(0)["prompt_id"].to_pylist()  # without loading what a view has to load

    def window() -> dict[str, Any]:
        start = rng.randrange(last)
        return {"first_step": start, "last_step": start + rng.randrange(1, last + 1)}

    def group() -> dict[str, Any]:
        table = VIEWS["step"].make(source, "light", step=rng.randrange(last), limit=20).table
        _, group_id, generation = rng.choice(table.rows)[0]
        return {"group_id": group_id, "generation": generation}

    return {
        "reward": window,
        "effective": window,
        "rollouts": window,
        "unanimous": lambda: {"stretches": rng.randrange(8, 96)},
        "group_std": lambda: {"stretches": rng.randrange(60, 300)},
        "outcomes": dict,
        "mass": lambda: {"estimator": rng.choice(advantages.names())},
        "findings": lambda: {"generations": rng.randrange(8, 16)},
        "taught": lambda: {"limit": rng.randrange(1, 500)},
        "prompts": lambda: {
            "sort": rng.choice(SORTS),
            "low": rng.random() / 2,
            "offset": rng.randrange(1000),
        },
        "scatter": lambda: {"cells": rng.randrange(32, 64)},
        "step": lambda: {"step": rng.randrange(last)},
        "history": lambda: {"prompt_id": rng.choice(known)},
        "group": group,
        "compare": lambda: {"measure": "solve_rate", "points": rng.randrange(50, 200)},
    }


def measure(folder: Path, calls: int) -> dict[str, Any]:
    """Time every view over one run."""
    started = time.perf_counter()
    source = LiveSource(Run(folder))
    source.measures()
    opened_s = time.perf_counter() - started
    found = {}
    for name, ask in asked(random.Random(0), source).items():  # noqa: S311
        over = [("a", source), ("b", source)] if VIEWS[name].scope == "several" else source
        walls, processor = [], []
        for _ in range(calls + 1):
            given = ask()
            before, wall = time.process_time(), time.perf_counter()
            VIEWS[name].make(over, "light", **given)
            walls.append(time.perf_counter() - wall)
            processor.append(time.process_time() - before)
        found[name] = {
            "first_s": walls[0],
            "p50_s": float(np.quantile(walls[1:], 0.5)),
            "p95_s": float(np.quantile(walls[1:], 0.95)),
            "processor_s": float(np.median(processor[1:])),
        }
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    groups = int(source.measures().groups)
    return {"groups": groups, "opened_s": opened_s, "memory_mb": peak_mb, "views": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.folder is None:
            write_run(Path(folder) / "run", SMALL)
        found = measure(given.folder or Path(folder) / "run", given.calls)
    if given.json:
        print(json.dumps(found | {"limits": LIMITS}, indent=1))
        return
    print(
        f"{found['groups']:,} groups: opened in {found['opened_s']:.2f} s, "
        f"{found['memory_mb']:,.0f} MB at most"
    )
    print(f"{'view':<12}{'first':>8}{'p50':>8}{'p95':>8}{'processor':>11}   (ms)")
    for name, row in found["views"].items():
        first, p50, p95, processor = (1000 * value for value in row.values())
        print(f"{name:<12}{first:>8.0f}{p50:>8.0f}{p95:>8.0f}{processor:>11.0f}")


if __name__ == "__main__":
    main()
