"""Reading logs against DuckDB's own readers with hand-written queries, paired in one process.

    python -m benchmarks readers

The baseline reads the same columns into the same groups: read_json as anyone would write it (types
found by DuckDB) and once more with the types given; a hand-written query for Parquet. Both sides
alternate, so that a busy machine hits them alike; the ratio of each pair is taken, and its median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dissensus.readers import open_log

_QUERY = """CREATE OR REPLACE TEMP TABLE found AS
    SELECT step, group_id, any_value(prompt_id) AS prompt_id, count(*) AS rollouts,
        count(reward) AS size, avg(reward) AS mean, stddev_pop(reward) AS std, min(reward) AS min,
        max(reward) AS max, avg(length) AS length, count(*) FILTER (advantage <> 0) AS loud,
        sum(advantage * reward) AS products, sum(advantage) AS advantages
    FROM {source} GROUP BY step, group_id"""
_TYPES = {
    "step": "BIGINT",
    "group_id": "VARCHAR",
    "prompt_id": "VARCHAR",
    "reward": "DOUBLE",
    "advantage": "DOUBLE",
    "length": "BIGINT",
}
_CHECK = "SELECT count(*) AS n, sum(rollouts), sum(mean), sum(std), sum(max - min)"
_GROUP = 8
_TEXT_BYTES = 1024


LIMITS = {"jsonl_over_read_json": 1.0, "parquet_over_duckdb": 1.3, "peak_mib": 1024}


def measure(rollouts: int, parquet_rollouts: int, pairs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        rows = write_jsonl(Path(folder) / "log.jsonl", rollouts)
        table = write_parquet(Path(folder) / "log.parquet", parquet_rollouts)
        found = {
            "jsonl_over_read_json": paired(rows, f"read_json('{rows}')", pairs),
            "jsonl_over_typed_read_json": paired(
                rows, f"read_json('{rows}', columns={_TYPES})", pairs
            ),
            "parquet_over_duckdb": paired(table, f"read_parquet('{table}')", pairs),
        }
        peaks = {"jsonl": peak_mib(rows), "parquet": peak_mib(table)}
        sizes = {"jsonl": rows.stat().st_size >> 20, "parquet": table.stat().st_size >> 20}
    ratios = {name: side["ratio"] for name, side in found.items()}
    met = all(ratios[name] <= limit for name, limit in LIMITS.items() if name in ratios)
    return {
        "rollouts": {"jsonl": rollouts, "parquet": parquet_rollouts},
        "pairs": pairs,
        "file_mib": sizes,
        "peak_mib": peaks,
        "seconds": {name: side["seconds"] for name, side in found.items()},
        "ratios": ratios,
        "cpu_ratios": {name: side["cpu_ratio"] for name, side in found.items()},
        "limits": LIMITS,
        "met": met and max(peaks.values()) <= LIMITS["peak_mib"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=200_000)
    parser.add_argument("--parquet-rollouts", type=int, default=4_000_000)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.rollouts, options.parquet_rollouts, options.pairs)
    if options.json:
        print(json.dumps(found))
        return 0
    print(f"{options.pairs} pairs; wall clock and processor time against DuckDB's own reading")
    for name, ratio in found["ratios"].items():
        ours, theirs = found["seconds"][name]
        cpu = found["cpu_ratios"][name]
        print(f"  {name:<28}{ours:7.2f} s {theirs:7.2f} s {ratio:7.2f} × (processor {cpu:.2f} ×)")
    for name, peak in found["peak_mib"].items():
        print(f"  {name}, {found['file_mib'][name]} MiB: peak memory {peak} MiB")
    print(f"  limits {found['limits']}: {'met' if found['met'] else 'missed'}")
    return 0


def paired(file: Path, source: str, pairs: int) -> dict[str, Any]:
    """Alternate the two sides; medians of the ratios of pairs, in wall clock and processor time."""
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    sides = {"ours": lambda: read_ours(file), "theirs": lambda: read_duckdb(source)}
    for index in range(pairs + 1):
        for side in sorted(sides, reverse=bool(index % 2)):
            began = time.perf_counter(), time.process_time()
            assert sides[side]() > 0
            spent = (time.perf_counter() - began[0], time.process_time() - began[1])
            if index:  # the first pair warms up
                times[side].append(spent)
    pairs_of = list(zip(times["ours"], times["theirs"], strict=True))
    return {
        "seconds": [statistics.median(wall for wall, _ in times[side]) for side in sides],
        "ratio": statistics.median(a[0] / b[0] for a, b in pairs_of),
        "cpu_ratio": statistics.median(a[1] / b[1] for a, b in pairs_of),
    }


def read_ours(file: Path) -> int:
    with open_log(file) as log:
        return log.sql(f"{_CHECK} FROM groups")["n"][0].as_py()


def read_duckdb(source: str) -> int:
    connection = duckdb.connect()
    connection.execute(_QUERY.format(source=source))
    return connection.execute(f"{_CHECK} FROM found").fetchone()[0]


def peak_mib(file: Path) -> int:
    """Peak resident memory of a fresh process that reads the groups of a file."""
    code = (
        "import resource, sys; from benchmarks.readers import read_ours; from pathlib import Path;"
        "read_ours(Path(sys.argv[1]));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], check=True, capture_output=True, text=True
    )
    return int(done.stdout)


def columns(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    groups = np.arange(n) // _GROUP
    rewards = (rng.random(n) < np.repeat(rng.random(n // _GROUP + 1), _GROUP)[:n]).astype(float)
    return {
        "step": groups // 64,
        "group": groups,
        "prompt": groups % 4096,
        "reward": rewards,
        "advantage": rewards - 0.5,
        "length": rng.integers(10, 2000, n),
    }


def write_jsonl(file: Path, n: int) -> Path:
    found = columns(n)
    rng = np.random.default_rng(1)
    letters = "".join(map(chr, rng.integers(97, 123, 64 * _TEXT_BYTES)))
    with file.open("w") as stream:
        for i in range(n):
            at = int(i * 7919 % (63 * _TEXT_BYTES))
            row = {
                "step": int(found["step"][i]),
                "group_id": f"g{found['group'][i]}",
                "prompt_id": f"p{found['prompt'][i]}",
                "completion": letters[at : at + _TEXT_BYTES],
                "reward": float(found["reward"][i]),
                "advantage": float(found["advantage"][i]),
                "length": int(found["length"][i]),
            }
            stream.write(json.dumps(row) + "\n")
    return file


def write_parquet(file: Path, n: int) -> Path:
    found = columns(n)
    group = pa.array(found["group"]).cast(pa.string())
    prompt = pa.array(found["prompt"]).cast(pa.string())
    table = pa.table(
        {
            "step": found["step"],
            "group_id": group,
            "prompt_id": prompt,
            "reward": found["reward"],
            "advantage": found["advantage"],
            "length": found["length"],
        }
    )
    pq.write_table(table, file)
    return file


if __name__ == "__main__":
    sys.exit(main())
