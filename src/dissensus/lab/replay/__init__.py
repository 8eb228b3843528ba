"""Allocators compete on recorded counts, at equal rollouts generated.

- `record`: the counts, and a world of rollouts made from them
- `oracle`: what could be had by knowing every solve rate
- `race`: the competition and its numbers; `text`: the same for a terminal

A replay does not train: solve rates stay what they were. It tells how many rollouts a strategy
wastes on the prompts as recorded, and nothing about what the policy would have learned.
"""

from __future__ import annotations

from dissensus.lab.replay.oracle import Oracle
from dissensus.lab.replay.race import ReplayResult, ReplaySettings, Score, race
from dissensus.lab.replay.record import Record, World, big_math_record, read_record

__all__ = [
    "Oracle",
    "Record",
    "ReplayResult",
    "ReplaySettings",
    "Score",
    "World",
    "big_math_record",
    "race",
    "read_record",
]
