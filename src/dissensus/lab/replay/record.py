"""Recorded counts, and rollouts drawn from them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dissensus.core.allocation import Draw
from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups
from dissensus.core.laws import BetaFit, fit_beta
from dissensus.errors import InputError
from dissensus.lab.paper.data import ROLLOUTS, big_math
from dissensus.views.queries import IS_TRAIN, Source

__all__ = ["Record", "World", "big_math_record", "read_record"]


class Record(NamedTuple):
    """How often each prompt was solved.

    Attributes:
        correct: (P,) correct rollouts.
        size: (P,) scored rollouts, ≥ 1.
    """

    correct: IntArray
    size: IntArray


def read_record(source: Source) -> Record:
    """Counts of every training prompt of a run or a log, all its groups together.

    Raises:
        InputError: No scored training group of known correctness.
    """
    table = source.sql(
        f"""SELECT sum(correct)::BIGINT AS correct, sum(size)::BIGINT AS size
        FROM groups WHERE {IS_TRAIN} AND size > 0 AND correct IS NOT NULL
        GROUP BY coalesce(prompt_id, group_id) ORDER BY min(step), min(group_id)"""  # noqa: S608
    )
    correct, size = (np.asarray(table[name].to_numpy()) for name in ("correct", "size"))
    if not len(size):
        raise InputError("no training group with a scored rollout and known correctness")
    return Record(correct.astype(np.int64), size.astype(np.int64))


def big_math_record(prompts: int, *, seed: int = 0) -> Record:
    """Counts of 64 for some problems of Big-Math, drawn at random.

    Example:
        >>> big_math_record(100).size.tolist() == [64] * 100
        True

    Source: `lab.paper.data.big_math`.
    """
    counts = big_math()
    k = np.repeat(counts.correct_of_64, counts.problems)
    if not 0 < prompts <= len(k):
        raise InputError(f"prompts must be 1 … {len(k):,}", where="big-math", got=prompts)
    drawn = np.random.default_rng(seed).choice(k, prompts, replace=False)
    return Record(drawn.astype(np.int64), np.full(prompts, ROLLOUTS, dtype=np.int64))


class World:
    """One draw of everything that chance decides, the same for every allocator.

    The first n_i rollouts of a prompt are its recorded ones in random order; further ones are
    correct with a rate drawn once from the posterior

        p_i ~ Beta(a + k_i, b + n_i − k_i),   a and b fitted to all counts

    Rollout j of prompt i is the same, whoever asks for it and whatever was asked before.

    Attributes:
        rates: (P,) p_i.
        prior: The fitted Beta(a, b).
        drawn: (P,) rollouts of each prompt so far.
        beyond: Rollouts so far that no record decided.
    """

    def __init__(self, record: Record, seed: int, *, prior: BetaFit | None = None) -> None:
        self.prior = prior or fit_beta(record.correct, record.size)
        self._record, self._seed = record, seed
        rng = np.random.default_rng([seed, 0])
        wrong = record.size - record.correct
        self.rates: FloatArray = rng.beta(self.prior.a + record.correct, self.prior.b + wrong)
        self._left = record.correct.astype(np.float64)
        self.drawn: IntArray = np.zeros(len(record.size), dtype=np.int64)
        self.beyond = 0

    def sample(self, draw: Draw) -> RewardGroups:
        """Rewards of a draw; prompt ids are positions in the record."""
        prompts = draw.prompts.astype(np.int64)
        widest = int(draw.counts.max())
        table = np.zeros((len(prompts), widest), dtype=np.bool_)
        for j in range(widest):
            asked = draw.counts > j
            table[asked, j] = self._one(prompts[asked])
        flat = table[np.arange(widest) < draw.counts[:, None]]
        index = np.repeat(draw.prompts, draw.counts)
        return RewardGroups.from_flat(flat.astype(np.float64), index, correct=1.0)

    def _one(self, prompts: IntArray) -> BoolArray:
        """One more rollout of each of some distinct prompts."""
        drawn, size = self.drawn[prompts], self._record.size[prompts]
        unused = size - drawn
        chance = np.where(
            unused > 0, self._left[prompts] / np.maximum(unused, 1), self.rates[prompts]
        )
        is_correct = _luck(self._seed, prompts, drawn) < chance
        self._left[prompts] -= is_correct & (unused > 0)
        self.drawn[prompts] += 1
        self.beyond += int(np.count_nonzero(unused <= 0))
        return np.asarray(is_correct)


def _luck(seed: int, prompts: IntArray, index: IntArray) -> FloatArray:
    """Uniform numbers in [0, 1) that depend on nothing but seed, prompt and index."""
    salt = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    x = _mixed(prompts.astype(np.uint64) + salt)
    return _mixed(x + index.astype(np.uint64)) / 2.0**64


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
