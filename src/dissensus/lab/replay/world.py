"""A world of recorded prompts: whoever asks for the same rollouts gets the same rewards."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dissensus.core.difficulty import SolveRateModel
from dissensus.core.groups import BoolArray, FloatArray, IntArray
from dissensus.lab.replay.latent import draw_states
from dissensus.lab.replay.record import Record

__all__ = ["Rollouts", "Scene", "World", "hashed_uniforms"]

UintArray: TypeAlias = NDArray[np.uint64]

_ORDER, _LATENT = 1, 2
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Rollouts(NamedTuple):
    """What was drawn, one entry per rollout, prompt by prompt as asked.

    Attributes:
        prompt: (T,) prompt.
        is_correct: (T,) reward.
        is_recorded: (T,) False where it was drawn beyond what was recorded.
        state: (T,) position of the solve rate in `Scene.rates`.
    """

    prompt: IntArray
    is_correct: BoolArray
    is_recorded: BoolArray
    state: IntArray


class Scene:
    """What all allocators of one seed have in common: visits, solve rates and random numbers.

    Args:
        record: P prompts.
        model: Of the posterior of their solve rates.
        seed: Of the order of recorded rollouts, of solve rates, and of rollouts beyond.
    """

    def __init__(self, record: Record, model: SolveRateModel, seed: int) -> None:
        self.record, self.rates, self.seed = record, model.rates, seed
        visit = np.arange(len(record.size))
        self.states = draw_states(record, model, hashed_uniforms(seed, _LATENT, visit))


class World:
    """The rollouts that one allocator draws from a scene.

    In each step a prompt is asked in, it is at its next recorded visit; after the last one it stays
    there. The recorded rollouts of a visit come in random order without replacement, and beyond
    them Bernoulli(p) with the p of the visit, drawn from the posterior: together n draws have the
    law of n rollouts of the prompt at that time. The j-th rollout of a visit is a function of the
    seed, the visit and j alone.

    Example:
        >>> from dissensus.core.difficulty import neutral_model
        >>> scene = Scene(Record.from_visits([0, 0], [4, 0], 4), neutral_model(), seed=0)
        >>> world = World(scene)
        >>> [world.sample(np.array([0]), np.array([2])).is_correct.tolist() for _ in range(2)]
        [[True, True], [True, True]]
        >>> world.next_step()
        >>> world.sample(np.array([0]), np.array([2])).is_correct.tolist()
        [False, False]
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        prompts = len(scene.record)
        self._step = 0
        self._asked = np.full(prompts, -1)  # step in which each prompt was last drawn
        self._visit = np.full(prompts, -1)
        self._drawn = np.zeros(prompts, dtype=np.int64)
        self._correct = np.zeros(prompts, dtype=np.int64)

    def next_step(self) -> None:
        """The policy is updated: prompts move on when they are asked again."""
        self._step += 1

    def next_states(self, prompts: IntArray) -> IntArray:
        """State that each prompt will have when it is asked in a step to come."""
        record = self.scene.record
        visit = np.minimum(self._visit[prompts] + 1, record.visits[prompts] - 1)
        return np.asarray(self.scene.states[record.first[prompts] + visit])

    def sample(self, prompts: IntArray, counts: IntArray) -> Rollouts:
        """Draw rollouts: `counts[i]` of `prompts[i]`, each prompt once."""
        self._move_on(prompts)
        record, scene = self.scene.record, self.scene
        row = record.first[prompts] + self._visit[prompts]
        right, size, state = record.correct[row], record.size[row], scene.states[row]
        p = scene.rates[state]
        end = np.cumsum(counts)
        is_correct = np.empty(int(counts.sum()), dtype=np.bool_)
        is_recorded = np.empty_like(is_correct)
        for j in range(int(counts.max(initial=0))):
            wanted = np.flatnonzero(counts > j)
            which = prompts[wanted]
            drawn, found = self._drawn[which], self._correct[which]
            left = size[wanted] - drawn
            chance = np.where(left > 0, (right[wanted] - found) / np.maximum(left, 1), p[wanted])
            hit = hashed_uniforms(scene.seed, _ORDER, row[wanted], drawn) < chance
            place = end[wanted] - counts[wanted] + j
            is_correct[place], is_recorded[place] = hit, left > 0
            self._drawn[which] += 1
            self._correct[which] += hit
        return Rollouts(
            np.repeat(prompts, counts), is_correct, is_recorded, np.repeat(state, counts)
        )

    def _move_on(self, prompts: IntArray) -> None:
        has_next = self._visit[prompts] + 1 < self.scene.record.visits[prompts]
        moved = prompts[(self._asked[prompts] != self._step) & has_next]
        self._visit[moved] += 1
        self._drawn[moved] = self._correct[moved] = 0
        self._asked[prompts] = self._step


def hashed_uniforms(seed: int, *keys: IntArray | int) -> FloatArray:
    """Numbers in [0, 1) that depend on the seed and on whole keys alone, whatever was drawn before.

    The finaliser of splitmix64 over one key after the other (Steele, Lea, Flood 2014).

    Example:
        >>> both, one = (hashed_uniforms(0, np.array(keys)) for keys in ([5, 6], [6]))
        >>> bool(both[1] == one[0])
        True
    """
    shape = np.broadcast_shapes(*(np.shape(key) for key in keys))
    mixed: UintArray = np.full(shape or (1,), seed, dtype=np.uint64)
    for key in keys:
        mixed = _mix((mixed + np.asarray(key, dtype=np.uint64)) * _GOLDEN + _GOLDEN)
    return np.asarray((mixed >> np.uint64(11)) * 2.0**-53)


def _mix(x: UintArray) -> UintArray:
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    return x ^ (x >> np.uint64(31))
