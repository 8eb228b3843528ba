"""Group-relative RL without a language model, on prompts that share skills.

    logit p_i = start_i + ⟨loading_i, θ⟩ + own_i − ½κ‖φ‖²

θ are skills that prompts share: learning one prompt moves others, held-out ones too. φ are all the
other parameters of the model: moving them only does harm. A rollout with reward y has the score

    s = (y − p_i)·δ_i + n,    δ_i = ∂ logit p_i / ∂(θ, own, φ),    E‖n‖² = V

n is what a rollout's wording does to the parameters and correctness does not say. A group of n
rollouts, k of them correct, with advantages A then has the gradient (docs/theory.md, the noise of a
batch)

    g_i = c·δ_i + N(0, V·mean(A²)/n),    c = m(1−p)A₊ − (1−m)pA₋,    m = k/n

and a step takes Σ n_i w_i g_i / Σ n_i of the rollouts an allocator selects, w_i its weights: what a
trainer does that averages over rollouts. The same `Allocator` objects as in a replay or a training
decide who gets rollouts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import special

from dissensus.core import advantages
from dissensus.core.allocation import Allocator, BudgetLedger, Draw, Selection, play_step
from dissensus.core.groups import FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError

__all__ = ["Course", "SkillPolicy", "SkillSettings", "SkillWorld", "make_world", "train_on_skills"]

_MOST_IDLE = 100
_MOMENTUM, _MEMORY = 0.9, 0.999  # of Adam


class SkillWorld(NamedTuple):
    """Prompts that share skills.

    Attributes:
        start: (P,) logit of each training prompt's solve rate before training.
        loadings: (P, D) how each leans on the skills.
        heldout_start: (H,) the same for held-out prompts.
        heldout_loadings: (H, D) which no training step is taken on.
    """

    start: FloatArray
    loadings: FloatArray
    heldout_start: FloatArray
    heldout_loadings: FloatArray


def make_world(
    rng: np.random.Generator,
    *,
    prompts: int = 320,
    heldout: int = 400,
    families: int = 5,
    levels: tuple[float, ...] = (1.5, 0.0, -1.5, -3.5),
    spread: float = 1.2,
    shared: float = 0.15,
    dims: int = 256,
) -> SkillWorld:
    """Families of prompts in graded levels, as the lab's tasks are.

    Two prompts of one family and level have loadings with an inner product of `shared` on average,
    of one family and two levels half of that, of two families 0. Loadings have length 1.

    Args:
        rng: Draws everything.
        prompts: P.
        heldout: H.
        families: Families of prompts.
        levels: Mean logit of each level.
        spread: Standard deviation of logits within a level.
        shared: Share of a loading's squared length that its kind has in common, in [0, 1].
        dims: D, number of skills.
    """
    if not 0.0 <= shared <= 1.0:
        raise InputError("The 'shared' parameter must lie in [0, 1]", got=shared)
    family_way = _unit(rng.normal(size=(families, 1, dims)))
    level_way = _unit(rng.normal(size=(families, len(levels), dims)))
    ways = _unit(family_way + level_way)

    def some(count: int) -> tuple[FloatArray, FloatArray]:
        family, level = rng.integers(families, size=count), rng.integers(len(levels), size=count)
        start = np.asarray(levels)[level] + spread * rng.normal(size=count)
        own_way = _unit(rng.normal(size=(count, dims)))
        loadings = np.sqrt(shared) * ways[family, level] + np.sqrt(1.0 - shared) * own_way
        return start, _unit(loadings)

    return SkillWorld(*some(prompts), *some(heldout))


@dataclass(frozen=True)
class SkillSettings:
    """How a policy on shared skills learns.

    Attributes:
        rule: Advantage rule, or its name; it needs a signature.
        learning_rate: Length of a step, roughly: as with Adam it is the momentum of the gradient
            over the root of its mean squared length. With `adaptive` False: lr of plain gradient
            ascent.
        score_noise: V, in units of ‖δ‖² = 1 (the lab's model has 1.0, 95 % interval 0.5 to 2.5).
        noise_dims: Parameters θ and φ, among which score noise is spread evenly.
        curvature: κ, what noise that has gathered in φ costs; its gradient leads back.
        own: Squared length that a prompt's own parameter adds to ‖δ‖², ≥ 0.
        adaptive: Whether the length of the gradient is normalised.
        warmup: Steps over which the learning rate rises.
    """

    rule: str = "grpo"
    learning_rate: float = 0.1
    score_noise: float = 1.0
    noise_dims: int = 1024
    curvature: float = 0.0
    own: float = 0.0
    adaptive: bool = True
    warmup: int = 5


class SkillPolicy:
    """What training moves: skills and every training prompt's own parameter.

    Attributes:
        skills: (D,) θ.
        rest: (N−D,) φ.
        own: (P,) own parameters.
        steps: Steps taken.
    """

    def __init__(
        self, world: SkillWorld, settings: SkillSettings, rng: np.random.Generator
    ) -> None:
        dims = world.loadings.shape[1]
        if settings.noise_dims < dims:
            raise InputError("noise_dims must not be below the number of skills", got=dims)
        self.world, self.settings, self._rng = world, settings, rng
        self.skills, self.own = np.zeros(dims), np.zeros(len(world.start))
        self.rest = np.zeros(settings.noise_dims - dims)
        self.steps = 0
        self._momentum = np.zeros(settings.noise_dims + len(self.own))
        self._square = 0.0
        self._rule = advantages.get(settings.rule)
        self._signatures: dict[int, advantages.Signature] = {}
        self._rewards: list[FloatArray] = []

    @property
    def solve_rates(self) -> FloatArray:
        """(P,) p of the training prompts now."""
        own = np.sqrt(self.settings.own) * self.own
        return self._rates(self.world.start + own, self.world.loadings)

    @property
    def heldout_rates(self) -> FloatArray:
        """(H,) p of the held-out prompts now."""
        return self._rates(self.world.heldout_start, self.world.heldout_loadings)

    def sample(self, draw: Draw) -> RewardGroups:
        """Rewards of the rollouts that an allocator asks for; its prompts are 0 … P−1."""
        prompts = np.repeat(draw.prompts, draw.counts)
        rewards = (self._rng.random(len(prompts)) < self.solve_rates[prompts]).astype(np.float64)
        self._rewards.append(rewards)
        return RewardGroups.from_flat(rewards, prompts, correct=0.5)

    def learn(self, selection: Selection) -> None:
        """Take one step on what an allocator selects; stored rollouts score as of now."""
        if not len(selection.rollouts):
            return
        self._rewards = [np.concatenate(self._rewards)]
        rewards = self._rewards[0][selection.rollouts]
        n = np.bincount(selection.groups, minlength=len(selection.prompts))
        k = np.bincount(selection.groups, weights=rewards, minlength=len(n)).astype(np.int64)
        self._step(self.gradient(selection.prompts, k, n, selection.weights, selection.baselines))

    def gradient(
        self,
        prompts: IntArray,
        correct: IntArray,
        size: IntArray,
        weights: FloatArray,
        baselines: FloatArray,
    ) -> FloatArray:
        """One batch's gradient.

        Args:
            prompts: (B,) prompt of each group.
            correct: (B,) k.
            size: (B,) n; groups of one teach nothing.
            weights: (B,) factor of the group's advantages.
            baselines: (B,) mean reward that is subtracted; NaN: that of the group.

        Returns:
            (N+P,) gradient in θ, φ and the own parameters.
        """
        up, down = self._advantages(correct, size, baselines)
        p, m = self.solve_rates[prompts], correct / size
        share = size * weights / size.sum()
        pull = share * (m * (1.0 - p) * up - (1.0 - m) * p * down)
        noise = self.settings.score_noise * share**2 * (m * up**2 + (1.0 - m) * down**2) / size
        dims, n_shared = len(self.skills), self.settings.noise_dims
        gradient = np.zeros(n_shared + len(self.own))
        per_dim = float(noise.sum()) / n_shared
        gradient[:n_shared] = np.sqrt(per_dim) * self._rng.normal(size=n_shared)
        gradient[:dims] += pull @ self.world.loadings[prompts]
        gradient[dims:n_shared] -= self.settings.curvature * pull.sum() * self.rest
        np.add.at(gradient, n_shared + prompts, np.sqrt(self.settings.own) * pull)
        return gradient

    def _advantages(
        self, correct: IntArray, size: IntArray, baselines: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """(B,) advantage of a correct and of a wrong rollout; 0 where there is none of them."""
        up, down = np.zeros(len(size)), np.zeros(len(size))
        for n in np.unique(size[size > 1]).tolist():
            if n not in self._signatures:
                self._signatures[n] = advantages.signature(self._rule, n)
            rows = size == n
            up[rows] = np.nan_to_num(self._signatures[n].positive[correct[rows]])
            down[rows] = np.nan_to_num(self._signatures[n].negative[correct[rows]])
        shift = np.where(np.isnan(baselines), 0.0, (up - down) * (correct / size - baselines))
        is_split = (correct > 0) & (correct < size)
        return up + np.where(is_split, shift, 0.0), down + np.where(is_split, shift, 0.0)

    def _step(self, gradient: FloatArray) -> None:
        self.steps += 1
        settings = self.settings
        step = gradient
        if settings.adaptive:
            self._momentum = _MOMENTUM * self._momentum + (1.0 - _MOMENTUM) * gradient
            square = float(gradient @ gradient)
            self._square = _MEMORY * self._square + (1.0 - _MEMORY) * square
            if self._square <= 0:
                return
            length = np.sqrt(self._square / (1.0 - _MEMORY**self.steps))
            step = self._momentum / (1.0 - _MOMENTUM**self.steps) / length
        step = settings.learning_rate * min(1.0, self.steps / max(1, settings.warmup)) * step
        dims, n_shared = len(self.skills), settings.noise_dims
        self.skills += step[:dims]
        self.rest += step[dims:n_shared]
        self.own += step[n_shared:]

    def _rates(self, start: FloatArray, loadings: FloatArray) -> FloatArray:
        harm = 0.5 * self.settings.curvature * float(self.rest @ self.rest)
        return np.asarray(special.expit(start + loadings @ self.skills - harm))


class Course(NamedTuple):
    """How a training went.

    Attributes:
        generated: (C,) rollouts generated at each check.
        heldout: (C,) mean held-out solve rate.
        train: (C,) mean solve rate of the training prompts.
        ledger: What was spent.
    """

    generated: IntArray
    heldout: FloatArray
    train: FloatArray
    ledger: BudgetLedger


def train_on_skills(
    allocator: Allocator,
    policy: SkillPolicy,
    budget: int,
    rng: np.random.Generator,
    *,
    checks: int = 20,
) -> Course:
    """Let an allocator train a policy until the budget of rollouts is spent.

    Args:
        allocator: Over prompts 0 … P−1.
        policy: What is trained.
        budget: Rollouts generated, R.
        rng: For the allocator.
        checks: Held-out rates are noted at the first step at which j·budget/checks rollouts have
            been generated, j = 0 … checks.
    """
    marks: list[tuple[int, float, float]] = []
    ledger, idle = BudgetLedger(limit=budget), 0
    while ledger.generated < budget and idle < _MOST_IDLE:
        if ledger.generated * checks >= len(marks) * budget:
            marks.append(_mark(policy, ledger))
        before = ledger.generated
        selection = play_step(allocator, budget - before, rng, policy.sample, on_draw=ledger.draw)
        ledger.select(selection)
        policy.learn(selection)
        idle = 0 if ledger.generated > before else idle + 1
    marks.append(_mark(policy, ledger))
    generated, heldout, train = (np.array(each) for each in zip(*marks, strict=True))
    return Course(generated.astype(np.int64), heldout, train, ledger)


def _mark(policy: SkillPolicy, ledger: BudgetLedger) -> tuple[int, float, float]:
    return (
        ledger.generated,
        float(policy.heldout_rates.mean()),
        float(policy.solve_rates.mean()),
    )


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
