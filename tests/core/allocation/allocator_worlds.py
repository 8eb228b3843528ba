"""Prompts whose rollouts are decided beforehand, so that only what is asked can differ."""

from __future__ import annotations

import zlib

import numpy as np

from dissensus import RewardGroups
from dissensus.core.allocation import Draw, Selection


class World:
    """Rollout j of a prompt is correct or not whatever else happens; rates by prompt id."""

    def __init__(self, rates, seed=0):
        self.rates, self.seed, self.drawn, self.luck = rates, seed, {}, {}

    def rewards(self, prompt, count):
        start = self.drawn.get(prompt, 0)
        self.drawn[prompt] = start + count
        if prompt not in self.luck:
            rng = np.random.default_rng([self.seed, zlib.crc32(str(prompt).encode())])
            self.luck[prompt] = rng.random(4000)
        return (self.luck[prompt][start : start + count] < self.rates[prompt]).astype(float)

    def sample(self, draw: Draw):
        """Rows (prompt, reward), in the order of the draw."""
        return [
            (prompt, reward)
            for prompt, count in zip(draw.prompts.tolist(), draw.counts.tolist(), strict=True)
            for reward in self.rewards(prompt, count)
        ]


def tell(allocator, rows):
    prompts, rewards = zip(*rows, strict=True)
    lengths = 10 + 7 * np.arange(len(rows)) % 13
    allocator.tell(RewardGroups.from_flat(rewards, prompts), lengths=lengths)


def play(allocator, world, steps, budget, rng, *, told=None, parts=lambda rows: [rows]):
    """Some steps; what was drawn and selected in each, for comparison. `told` collects rows.

    `parts` cuts the results of a draw into calls of `tell`.
    """
    told = [] if told is None else told
    trace = []
    for _ in range(steps):
        left, draws = budget, []
        while isinstance(ask := allocator.ask(left, rng), Draw):
            draws.append(list(zip(ask.prompts.tolist(), ask.counts.tolist(), strict=True)))
            left -= ask.total
            for rows in parts(world.sample(ask)):
                told.extend(rows)
                tell(allocator, rows)
            assert len(draws) < 200
        trace.append((draws, describe(ask, told)))
    return trace


def describe(selection: Selection, told):
    """What is trained on, without the running numbers."""
    rows = [
        (selection.prompts[group].item(), *told[number])
        for number, group in zip(selection.rollouts, selection.groups, strict=True)
    ]
    factors = [
        (prompt, round(weight, 9), f"{baseline:.9f}")
        for prompt, weight, baseline in zip(
            selection.prompts.tolist(), selection.weights, selection.baselines, strict=True
        )
    ]
    return sorted(rows), sorted(factors)
