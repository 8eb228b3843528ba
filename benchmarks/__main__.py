"""Run every benchmark, or those named: `python -m benchmarks [NAME …]`; JSON goes to results/."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
# Cheap ones first, so that a broken set-up shows early.
ORDER = (
    "groups",
    "rules",
    "readers",
    "recorder",
    "identity",
    "score_noise",
    "forecast",
    "plan_real_data",
    "plan_coverage",
    "bench_intervals",
    "recording_cost",
    "kills",
    "scale",
    "silent_prediction",
    "train_lift",
)


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; each prints its table and leaves its JSON."""
    unknown = sorted(set(names) - set(ORDER))
    if unknown:
        print(f"no benchmark named {unknown[0]!r}; there are: {', '.join(ORDER)}", file=sys.stderr)
        return 2
    results = FOLDER / "results"
    results.mkdir(exist_ok=True)
    failed = []
    for name in names or ORDER:
        start = time.perf_counter()
        print(f"── {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            failed.append(name)
            print(f"   failed with exit code {done.returncode}", flush=True)
            continue
        document = json.loads(done.stdout)
        (results / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
        seconds = time.perf_counter() - start
        print(f"   {seconds:.0f} s → {results / f'{name}.json'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
