"""What a summary costs as a run grows: here, and by Ray Data on this machine.

    python -m benchmarks.scale [--rollouts 1000000 10000000 100000000] [--folder DIR] [--json]

Runs of `benchmarks.dashboard_run`, numbers only, in groups of 8. Every time is that of a whole
`dissensus report --json` in a process of its own, imports included, and for Ray also the start and
the end of a cluster on this machine. Memory is the largest of the process. Both documents must be
equal to the last digit. "groups": without roll-ups, so that every group is read.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

_GROUP = 8


def measure(command: list[str]) -> tuple[str, dict[str, float]]:
    """What a command prints, its seconds, its processor seconds and its largest memory."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        printed: list[str] = []
        reader = threading.Thread(target=lambda: printed.append(child.stdout.read()))
        reader.start()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        reader.join()
        seconds = time.perf_counter() - started
        if child.returncode:
            errors.seek(0)
            sys.exit(errors.read().decode(errors="replace")[-2000:])
    return printed[0], {
        "seconds": seconds,
        "cpu_s": used.ru_utime + used.ru_stime,
        "memory_mib": used.ru_maxrss / 1024,
    }


def make(run: Path, rollouts: int) -> None:
    """Write a run, in a process of its own: a child's memory counts from what its parent had."""
    options = {"groups": rollouts // _GROUP, "rollouts-every": 1_000_000}
    named = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    unfinished = run.with_name(f"{run.name}-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    measure([sys.executable, "-m", "benchmarks.dashboard_run", str(unfinished), *named])
    unfinished.rename(run)


def report(run: Path, *more: str) -> tuple[str, dict[str, float]]:
    """Summarise a run by the command."""
    return measure([sys.executable, "-m", "dissensus", "report", str(run), "--json", *more])


def compare(run: Path, *, has_ray: bool) -> dict[str, dict[str, float]]:
    """The summary made here, and by Ray where it is installed."""
    mine, here = report(run)
    found = {"local": here}
    if has_ray:
        theirs, on_ray = report(run, "--ray", "local")
        if mine != theirs:
            sys.exit("Ray says something else than this process")
        found["ray"] = on_ray
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rollouts", type=int, nargs="+", default=[1_000_000, 10_000_000, 100_000_000]
    )
    parser.add_argument("--folder", type=Path, help="keep the runs there, and use what is there")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    has_ray = importlib.util.find_spec("ray") is not None
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for rollouts in given.rollouts:
            run = (given.folder or Path(temporary)) / f"{rollouts}"
            if not (run / "run.json").exists():
                make(run, rollouts)
            shutil.rmtree(run / "rollups", ignore_errors=True)
            row = {"rollouts": rollouts, "groups": compare(run, has_ray=has_ray)}
            measure([sys.executable, "-m", "dissensus", "compact", str(run)])
            found.append(row | {"roll-ups": compare(run, has_ray=has_ray)})
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    if given.json:
        print(json.dumps({"cores": os.cpu_count(), "runs": found}))
        return
    for row in found:
        for state in ("groups", "roll-ups"):
            for where, cost in row[state].items():
                print(
                    f"{row['rollouts']:>13,} rollouts from {state:<8} {where:<5}"
                    f"{cost['seconds']:7.1f} s {cost['cpu_s']:7.1f} s of processor"
                    f"{cost['memory_mib']:7.0f} MiB"
                )


if __name__ == "__main__":
    main()
