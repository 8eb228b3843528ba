"""Groups, statistics and GRPO advantages of a million groups, against numpy and pandas.

Each round times the four in turn, so that a busy machine slows all of them; ratios are taken within
a round, and their median is reported.

    python -m benchmarks.groups [--groups 1000000] [--rounds 7] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from dissensus import RewardGroups, advantages

SIZE = 8
LIMITS = {"ordered_over_dense": 2.5, "shuffled_over_dense": 15.0, "pandas_over_ours": 2.0}


def dense(rewards: np.ndarray) -> np.ndarray:
    """The same statistics and formula where the shape says what a group is."""
    table = rewards.reshape(-1, SIZE)
    unanimous = table.max(axis=1) - table.min(axis=1) <= 1e-6
    centered = table - table.mean(axis=1, keepdims=True)
    std = np.sqrt(np.square(centered).mean(axis=1))
    return np.where(unanimous[:, None], 0.0, centered / np.where(std > 0, std, 1.0)[:, None])


def ours(rewards: np.ndarray, ids: np.ndarray) -> np.ndarray:
    groups = RewardGroups.from_flat(rewards, ids)
    _ = groups.mean, groups.std(), groups.is_unanimous()
    return advantages.get("grpo")(groups)


def with_pandas(rewards: np.ndarray, ids: np.ndarray) -> np.ndarray:
    frame = pd.DataFrame({"group": ids, "reward": rewards})
    grouped = frame.groupby("group", sort=False)["reward"]
    mean, std = grouped.transform("mean"), grouped.transform("std", ddof=0)
    return ((frame["reward"] - mean) / std).fillna(0.0).to_numpy()


def timed(function: Callable[..., np.ndarray], *arguments: np.ndarray) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def measure(n_groups: int, rounds: int) -> dict[str, object]:
    rng = np.random.default_rng(0)
    rewards = (rng.random((n_groups, SIZE)) < rng.random((n_groups, 1))).astype(float).ravel()
    ids = np.repeat(np.arange(n_groups), SIZE)
    order = rng.permutation(len(ids))
    mixed_rewards, mixed_ids = rewards[order], ids[order]
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds + 1):  # the first round warms caches and is dropped
        reference = None
        for name, function, arguments in (
            ("dense", dense, (rewards,)),
            ("ordered", ours, (rewards, ids)),
            ("pandas_ordered", with_pandas, (rewards, ids)),
            ("shuffled", ours, (mixed_rewards, mixed_ids)),
            ("pandas_shuffled", with_pandas, (mixed_rewards, mixed_ids)),
        ):
            duration, result = timed(function, *arguments)
            seconds.setdefault(name, []).append(duration)
            if reference is None:
                reference = result.ravel()
            expected = reference[order] if name.endswith("shuffled") else reference
            np.testing.assert_allclose(result.ravel(), expected, atol=1e-7)
    rows = {name: values[1:] for name, values in seconds.items()}

    def ratio(above: str, below: str) -> float:
        return statistics.median(a / b for a, b in zip(rows[above], rows[below], strict=True))

    ratios = {
        "ordered_over_dense": ratio("ordered", "dense"),
        "shuffled_over_dense": ratio("shuffled", "dense"),
        "pandas_over_ours_ordered": ratio("pandas_ordered", "ordered"),
        "pandas_over_ours_shuffled": ratio("pandas_shuffled", "shuffled"),
    }
    met = (
        ratios["ordered_over_dense"] <= LIMITS["ordered_over_dense"]
        and ratios["shuffled_over_dense"] <= LIMITS["shuffled_over_dense"]
        and min(ratios["pandas_over_ours_ordered"], ratios["pandas_over_ours_shuffled"])
        >= LIMITS["pandas_over_ours"]
    )
    return {
        "groups": n_groups,
        "group_size": SIZE,
        "rounds": rounds,
        "seconds": {name: statistics.median(values) for name, values in rows.items()},
        "ratios": ratios,
        "limits": LIMITS,
        "met": bool(met),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.groups, options.rounds)
    if options.json:
        print(json.dumps(found))
        return 0
    print(f"{options.groups:,} groups of {SIZE}, median of {options.rounds} rounds")
    for name, value in found["seconds"].items():
        print(f"  {name:<26}{value * 1e3:9.1f} ms")
    for name, value in found["ratios"].items():
        print(f"  {name:<26}{value:9.2f} ×")
    print(f"  limits {found['limits']}: {'met' if found['met'] else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
