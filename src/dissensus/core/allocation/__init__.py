"""Who gets rollouts: published strategies and our own behind one interface.

    allocator = allocation.get("contrast", 10_000, batch=64, group_size=8)
    while isinstance(ask := allocator.ask(budget, rng), Draw):
        budget -= ask.total
        allocator.tell(rewards_of(ask))
    train_on(ask)                                          # a Selection

- `asks`: what an allocator answers, a draw or a selection
- `base`: what an allocator is; `pool`, `step`: what it looks at
- `best_value`: what our own strategies share
- `registry`: the strategies by name; each is a short file, `spreading` what several of them need
- `written`: strategies as they are written, `contrast(least=4)`
- `ledger`: what was spent
"""

from __future__ import annotations

from dissensus.core.allocation import (  # noqa: F401  (importing a strategy registers it)
    adarft,
    contrast,
    dars,
    dots,
    downsample,
    greso,
    group_size_law,
    knapsack,
    mopps,
    pilot_commit,
    refill,
    reinforce_ada,
    signal,
    speed_rl,
    uniform,
    vip,
    weighted,
)
from dissensus.core.allocation.asks import Draw, Selection
from dissensus.core.allocation.base import Allocator, play_step
from dissensus.core.allocation.ledger import BudgetLedger
from dissensus.core.allocation.registry import Strategy, describe, get, names, strategy
from dissensus.core.allocation.written import Written, read, read_list

__all__ = [
    "Allocator",
    "BudgetLedger",
    "Draw",
    "Selection",
    "Strategy",
    "Written",
    "describe",
    "get",
    "names",
    "play_step",
    "read",
    "read_list",
    "strategy",
]
