"""What is wrong with the rows and groups of a log, counted chunk by chunk in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.audit.blackbox.fit import TOLERANCE
from dissensus.audit.blackbox.moments import Floats
from dissensus.audit.logged_rows import Chunk, mix

__all__ = ["Counts"]

_REMEMBERED = 1 << 20
_LARGEST_SIZE = 4096


@dataclass
class Counts:
    """Totals over a log. `where_…` names the first place of its kind, as `step 3, group 7`.

    Attributes:
        rows: All rows.
        with_advantage: Rows that have an advantage, NaN included.
        groups: Groups.
        generations: Samplings.
        unscored: Rows without a reward.
        bad: Rows with an infinite reward, or a NaN or infinite advantage.
        sizes: (4097,) groups by number of rollouts, the last for all larger ones.
        unanimous_groups: Groups of two or more whose rewards reach no further than 1e-6.
        pushed_groups: Unanimous, completely scored groups with an advantage above 1e-3.
        noisy_groups: Unanimous, completely scored groups with a non-zero advantage.
        largest_silent: Largest |advantage| in a unanimous, completely scored group.
        single_groups: Groups of one rollout.
        raw_singles: Of these, groups whose advantage is the reward, which is not 0.
        zeroed_groups: Split groups whose advantages are all exactly 0.
        mixed_groups: Groups with more than one prompt.
        split_prompts: Prompts with more than one group in a generation.
        repeated_rows: Rows whose (generation, row) came before in the chunk.
        repeated_groups: Groups whose generation, id and rewards came before.
        recomputed_groups: Of these, groups whose advantages are others.
    """

    rows: int = 0
    with_advantage: int = 0
    groups: int = 0
    generations: int = 0
    unscored: int = 0
    bad: int = 0
    sizes: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(_LARGEST_SIZE + 1, dtype=np.int64)
    )
    unanimous_groups: int = 0
    pushed_groups: int = 0
    noisy_groups: int = 0
    largest_silent: float = 0.0
    single_groups: int = 0
    raw_singles: int = 0
    zeroed_groups: int = 0
    mixed_groups: int = 0
    split_prompts: int = 0
    repeated_rows: int = 0
    repeated_groups: int = 0
    recomputed_groups: int = 0
    where: dict[str, str] = field(default_factory=dict)
    _seen: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    _seen_with: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))

    @property
    def size_range(self) -> tuple[int, int]:
        """Smallest and largest group; (0, 0) for an empty log."""
        present = np.flatnonzero(self.sizes)
        return (int(present[0]), int(present[-1])) if len(present) else (0, 0)

    @property
    def usual_size(self) -> int:
        """The most frequent group size."""
        return int(np.argmax(self.sizes))

    def add(self, chunk: Chunk) -> None:
        """Count one chunk."""
        size = np.bincount(chunk.group)
        self.rows += len(chunk.reward)
        self.with_advantage += int(chunk.has_advantage.sum())
        self.groups += len(size)
        self.generations += int(chunk.batch.max()) + 1
        self.sizes += np.bincount(np.minimum(size, _LARGEST_SIZE), minlength=_LARGEST_SIZE + 1)
        self._count_bad(chunk)
        self._count_silent(chunk, size)
        self._count_prompts(chunk, size)
        self._count_repeats(chunk)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers by name."""
        low, high = self.size_range
        names = (
            "rows",
            "with_advantage",
            "groups",
            "generations",
            "unscored",
            "bad",
            "unanimous_groups",
            "noisy_groups",
            "single_groups",
            "zeroed_groups",
            "mixed_groups",
            "split_prompts",
            "repeated_rows",
            "repeated_groups",
            "recomputed_groups",
        )
        return {name: getattr(self, name) for name in names} | {"sizes": [low, high]}

    def _note(self, name: str, chunk: Chunk, rows: NDArray[np.bool_]) -> int:
        """Remember the first place, and count the rows."""
        count = int(rows.sum())
        if count and name not in self.where:
            at = int(np.argmax(rows))
            group = chunk.group_names[chunk.group[at]]
            self.where[name] = f"step {chunk.step[at]}, group {str(group)[:60]}"
        return count

    def _note_groups(self, name: str, chunk: Chunk, groups: NDArray[np.bool_]) -> int:
        if groups.any():
            self._note(name, chunk, groups[chunk.group])
        return int(groups.sum())

    def _count_bad(self, chunk: Chunk) -> None:
        self.unscored += int(np.isnan(chunk.reward).sum())
        bad = np.isinf(chunk.reward) | (chunk.has_advantage & ~np.isfinite(chunk.advantage))
        self.bad += self._note("bad", chunk, bad)

    def _count_silent(self, chunk: Chunk, size: NDArray[np.int64]) -> None:
        scored = np.isfinite(chunk.reward)
        given = chunk.has_advantage & np.isfinite(chunk.advantage)
        high, low = _extremes(chunk.group, chunk.reward, scored, len(size))
        largest = np.zeros(len(size))
        np.maximum.at(largest, chunk.group[given], np.abs(chunk.advantage[given]))
        n_scored, n_given = np.bincount(chunk.group, scored), np.bincount(chunk.group, given)
        unanimous = (n_scored > 1) & (high - low <= TOLERANCE)
        self.unanimous_groups += int(unanimous.sum())
        # The reward that is missing here may be the one that the trainer saw disagree.
        complete = unanimous & (n_scored == size)
        self.noisy_groups += self._note_groups("noisy", chunk, complete & (largest > 0))
        self.pushed_groups += self._note_groups("pushed", chunk, complete & (largest > 1e-3))
        self.largest_silent = max(self.largest_silent, float(largest[complete].max(initial=0.0)))
        single = (size == 1) & (n_scored == 1)
        self.single_groups += int(single.sum())
        alone = single[chunk.group] & given & (chunk.reward != 0)
        raw = alone & (np.abs(chunk.advantage - chunk.reward) <= 1e-6 * np.abs(chunk.reward))
        self.raw_singles += self._note("raw", chunk, raw)
        split = (n_scored > 1) & ~unanimous & (n_given > 0) & (largest == 0)
        self.zeroed_groups += self._note_groups("zeroed", chunk, split)

    def _count_prompts(self, chunk: Chunk, size: NDArray[np.int64]) -> None:
        if chunk.prompt is None:
            return
        everyone = np.ones(len(chunk.prompt), dtype=bool)
        high, low = _extremes(chunk.group, chunk.prompt.astype(np.float64), everyone, len(size))
        self.mixed_groups += self._note_groups("mixed", chunk, high != low)
        # One prompt per group from here on, so a pair of batch and prompt counts groups.
        first = np.zeros(len(size), dtype=np.int64)
        first[chunk.group[::-1]] = np.arange(len(chunk.group))[::-1]
        pairs = chunk.batch[first] * (int(chunk.prompt.max()) + 1) + chunk.prompt[first]
        _, inverse, count = np.unique(pairs, return_inverse=True, return_counts=True)
        self.split_prompts += int((count > 1).sum())
        self._note_groups("split", chunk, count[inverse] > 1)

    def _count_repeats(self, chunk: Chunk) -> None:
        if chunk.row is not None:
            key = chunk.batch * (int(chunk.row.max()) + 2) + chunk.row
            _, first = np.unique(key, return_index=True)
            again = np.ones(len(key), dtype=bool)
            again[first] = False
            self.repeated_rows += self._note("rows", chunk, again)
        plain = _content(chunk, with_advantage=False)
        full = _content(chunk, with_advantage=True)
        seen = np.isin(plain, self._seen) | _later_copy(plain)
        same = np.isin(full, self._seen_with) | _later_copy(full)
        self.repeated_groups += self._note_groups("repeated", chunk, seen)
        self.recomputed_groups += self._note_groups("recomputed", chunk, seen & ~same)
        self._seen = np.concatenate([self._seen, plain])[-_REMEMBERED:]
        self._seen_with = np.concatenate([self._seen_with, full])[-_REMEMBERED:]


def _extremes(
    group: NDArray[np.int64], values: Floats, keep: NDArray[np.bool_], count: int
) -> tuple[Floats, Floats]:
    high, low = np.full(count, -np.inf), np.full(count, np.inf)
    np.maximum.at(high, group[keep], values[keep])
    np.minimum.at(low, group[keep], values[keep])
    return high, low


def _content(chunk: Chunk, *, with_advantage: bool) -> NDArray[np.uint64]:
    """(P,) hash of a group's generation, id and rewards in order (and of its advantages)."""
    order = np.argsort(chunk.group, kind="stable")
    group = chunk.group[order]
    starts = np.r_[0, np.flatnonzero(np.diff(group)) + 1]
    position = np.arange(len(group)) - np.repeat(starts, np.diff(np.r_[starts, len(group)]))
    rows = mix(chunk.reward[order].view(np.uint64) ^ mix(position.astype(np.uint64)))
    if with_advantage:
        rows = mix(rows ^ mix(chunk.advantage[order].view(np.uint64)))
    total: NDArray[np.uint64] = np.add.reduceat(rows, starts)
    generation = chunk.generation[order][starts].view(np.uint64)  # ids may be used again in others
    return mix(total ^ mix(chunk.group_key ^ mix(generation)))


def _later_copy(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which keys came before in the same array."""
    _, first = np.unique(keys, return_index=True)
    later = np.ones(len(keys), dtype=bool)
    later[first] = False
    return later
