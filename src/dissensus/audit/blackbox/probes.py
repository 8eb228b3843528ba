"""The batches that tell rules apart. No batch holds a unanimous group unless its name says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dissensus.audit.blackbox.batch import Batch

__all__ = [
    "LARGE_SCALES",
    "NOISE_CONSTANTS",
    "NOISE_SIZES",
    "SCALES",
    "constant_batch",
    "mixed_sizes",
    "scale_probe",
    "screening",
    "single_rollouts",
    "with_unanimous",
]

SIZES = (2, 3, 4, 5, 8, 16)
SCALES = tuple(10.0**-power for power in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14))
"""Factors that shrink the rewards until eps rules the denominator. Squares stay normal numbers."""

LARGE_SCALES = (10.0, 100.0, 1000.0)
"""Factors that show a spread, a reward or an advantage that is clipped from above."""

NOISE_CONSTANTS = (0.1, 0.3, 0.7, 0.95)
"""Rewards that float32 cannot hold exactly: eight times the same has a std above zero there."""

NOISE_SIZES = (3, 5, 7, 8, 12)
"""Group sizes at which such rewards are asked: sums round differently at each."""


def screening() -> list[Batch]:
    """For each group size a batch of two-valued and one of real-valued rewards, all split.

    Sizes differ between batches and not within, so that rules for (P, G) tables can take part.
    One batch has large groups and one has many.
    """
    batches = []
    for seed, size in enumerate(SIZES):
        rng = np.random.default_rng(seed)
        counts = sorted({1, size // 2, size - 1})
        binary = [np.arange(size) < k for k in counts] + [np.arange(size) >= size - 1]
        batches.append(Batch.of(binary, _lengths(rng, size * len(binary)), seed))
        real = [_split(rng, size) * level + offset for level, offset in _LEVELS]
        batches.append(Batch.of(real, _lengths(rng, size * len(real)), seed + 100))
    return [*batches[:-2], *_large(), *batches[-2:]]


def _large() -> list[Batch]:
    """A lone right and a lone wrong answer of 64, which reach 7.9 σ, and 24 groups of 3."""
    rng = np.random.default_rng(30)
    lone = [np.arange(64) == 9, np.arange(64) != 40]
    many = [_split(rng, 3) * _LEVELS[i % 5][0] for i in range(24)]
    return [
        Batch.of(groups, _lengths(rng, sum(map(len, groups))), 30 + i)
        for i, groups in enumerate((lone, many))
    ]


def mixed_sizes() -> Batch:
    """Groups of 2 … 9 rollouts in one batch."""
    rng = np.random.default_rng(20)
    groups = [_split(rng, size) for size in (2, 9, 3, 6, 4)]
    return Batch.of(groups, _lengths(rng, sum(map(len, groups))), 20)


def scale_probe(factor: float, size: int) -> Batch:
    """Real-valued groups without offset, times `factor`: std and eps are of one order somewhere."""
    rng = np.random.default_rng(40 + size)
    groups = [_split(rng, size) * level for level in (1.0, 0.5, 2.0, 1.5)]
    return Batch.of(groups, _lengths(rng, 4 * size), 40).scaled(factor)


def with_unanimous(value: float, size: int = 8) -> Batch:
    """A unanimous group of `value` first, next to three split groups."""
    rng = np.random.default_rng(60)
    split = [np.arange(size) < k for k in (1, size // 2, size - 1)]
    return Batch.of([np.full(size, value), *split], _lengths(rng, 4 * size), 60)


def constant_batch(value: float, size: int = 8, groups: int = 2) -> Batch:
    """Unanimous groups of `value` only, in float32."""
    return replace(Batch.of([np.full(size, value)] * groups), single=True)


def single_rollouts() -> Batch:
    """Groups of one rollout only, with four different rewards."""
    return Batch.of([[0.75], [0.25], [1.0], [0.5]], [3, 5, 2, 4])


_LEVELS = ((1.0, 0.0), (0.25, 0.5), (4.0, 1.0), (1.0, 3.0), (0.5, -0.25))


def _split(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Positive rewards of one group, no two equal."""
    return (np.arange(size) + 0.2 + 0.6 * rng.random(size))[rng.permutation(size)] / size


def _lengths(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    return rng.integers(1, 12, size=count)
