"""Every advantage rule on a million groups of 8 against `grpo`, and its signature at G = 256.

Each round times `grpo` and the rule in turn, on fresh groups with nothing computed yet. What counts
is processor time, and of its user and system part the least over the rounds: other work on the
machine only adds to either, by dear page faults and lost caches several times the time itself.
Rules that look at the batch look at all of it. Sequential rules are measured, and held to no ratio.

    python -m benchmarks.rules [--groups 1000000] [--rounds 5] [--json] [RULE …]
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np

from dissensus import RewardGroups, advantages
from dissensus.core.advantages import AdvantageEstimator, Context

SIZE = 8
SIGNATURE_SIZE = 256
LIMITS = {"over_grpo": 3.0, "signature_s": 0.050}


def processor_s(rule: AdvantageEstimator, rewards: np.ndarray, context: Context) -> np.ndarray:
    """Seconds in user and in system mode."""
    groups = RewardGroups.from_dense(rewards)
    start = resource.getrusage(resource.RUSAGE_SELF)
    rule(groups, context)
    end = resource.getrusage(resource.RUSAGE_SELF)
    return np.array([end.ru_utime - start.ru_utime, end.ru_stime - start.ru_stime])


def signature_seconds(rule: AdvantageEstimator, rounds: int) -> float:
    context = advantages.neutral_context(rule)
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        advantages.signature(rule, SIGNATURE_SIZE, context=context)
        taken.append(time.process_time() - start)
    return min(taken)


def measure_rule(name: str, rewards: np.ndarray, rounds: int) -> dict[str, Any]:
    rule, grpo = advantages.get(name), advantages.get("grpo")
    neutral = advantages.neutral_context(rule)(RewardGroups.from_dense(rewards))
    context = replace(neutral, reference=None)
    times = [
        (processor_s(rule, rewards, context), processor_s(grpo, rewards, Context()))
        for _ in range(rounds + 1)
    ][1:]  # the first round warms caches and is dropped
    is_ordered = advantages.profile(name).is_ordered
    own, base = (float(np.min(each, axis=0).sum()) for each in zip(*times, strict=True))
    ratio = own / base
    signature_s = None if is_ordered else signature_seconds(rule, rounds)
    return {
        "seconds": own,
        "over_grpo": ratio,
        "signature_s": signature_s,
        "met": (is_ordered or ratio <= LIMITS["over_grpo"])
        and (signature_s is None or signature_s <= LIMITS["signature_s"]),
    }


def line(name: str, row: dict[str, Any]) -> str:
    taken = row["signature_s"]
    signature = "none, sequential" if taken is None else f"{taken * 1e3:.1f} ms"
    return (
        f"  {name:<24}{row['seconds'] * 1e3:8.0f} ms{row['over_grpo']:7.2f} × grpo"
        f"   signature at {SIGNATURE_SIZE}: {signature}{'' if row['met'] else '   MISSED'}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rules", nargs="*", metavar="RULE", default=[])
    parser.add_argument("--groups", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = (options.groups, SIZE)
    rewards = (rng.random(shape) < rng.random((options.groups, 1))).astype(float)
    found = {}
    if not options.json:
        print(f"{options.groups:,} groups of {SIZE}, best of {options.rounds} rounds")
    for name in options.rules or advantages.names():
        found[name] = measure_rule(name, rewards, options.rounds)
        if not options.json:
            print(line(name, found[name]), flush=True)
    met = all(row["met"] for row in found.values())
    if options.json:
        report = {"groups": options.groups, "group_size": SIZE, "rounds": options.rounds}
        print(json.dumps({**report, "limits": LIMITS, "rules": found, "met": met}))
    else:
        print(f"  limits {LIMITS}: {'met' if met else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
