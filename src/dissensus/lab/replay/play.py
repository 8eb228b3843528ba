"""One allocator in one world until the budget is spent, and what came of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dissensus.core.allocation import Allocator, BudgetLedger, Draw, Selection, play_step
from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups
from dissensus.lab.replay.latent import share_by_tenth
from dissensus.lab.replay.oracle import signature_of
from dissensus.lab.replay.world import Rollouts, World

__all__ = ["History", "Score", "play", "score"]

_MOST_IDLE = 100


class History(NamedTuple):
    """All that happened; T rollouts generated, M of them, stored ones again, trained on.

    Attributes:
        rollouts: In the order in which they were told.
        step: (T,) step that generated each.
        trained: (M,) running number of each rollout trained on.
        group: (M,) trained group it belongs to, 0, 1, … over all steps.
        ledger: What was spent.
    """

    rollouts: Rollouts
    step: IntArray
    trained: IntArray
    group: IntArray
    ledger: BudgetLedger


class Score(NamedTuple):
    """What came of a replay.

    A stored group that is trained on again counts in `trained_frac` and nowhere else: its contrast
    was paid for once, and it is of a policy that has moved on.

    Attributes:
        split_groups: Groups trained on in which rewards differ.
        unanimous_rollout_frac: Rollouts whose prompt got equal rewards in that step, of generated.
        all_wrong_rollout_frac: Those of prompts with every rollout wrong.
        all_correct_rollout_frac: Those of prompts with every rollout correct.
        contrast_per_1000_rollouts: 1000 · Σ W / budget, every group trained on counted once.
        rollout_weighted_contrast: Σ n W / budget, every rollout trained on counted once.
        coverage: Share of prompts with at least one rollout.
        trained_frac: Rollouts trained on / budget; a stored one counts each time.
        group_size: Mean rollouts of a group trained on.
        most_often: Rollouts of the prompt with most, in those of uniform sampling.
        beyond_recorded_frac: Generated rollouts that were drawn from the posterior.
        unused_frac: Share of the budget that was never asked for.
        steps: Selections made.
        hard: Generated rollouts of prompts with p < .2.
        easy: Those with p > .8.
    """

    split_groups: float
    unanimous_rollout_frac: float
    all_wrong_rollout_frac: float
    all_correct_rollout_frac: float
    contrast_per_1000_rollouts: float
    rollout_weighted_contrast: float
    coverage: float
    trained_frac: float
    group_size: float
    most_often: float
    beyond_recorded_frac: float
    unused_frac: float
    steps: float
    hard: float
    easy: float


def play(allocator: Allocator, world: World, budget: int, rng: np.random.Generator) -> History:
    """Let an allocator spend a budget, step by step.

    A step may use all that is left. What an allocator cannot use any more, because less than one
    group of its size is left or no prompt is wanted in 100 steps, stays unused.

    Args:
        allocator: Over the prompts of the world, by number.
        world: That nobody has drawn from.
        budget: Rollouts that may be generated, R.
        rng: For the allocator.
    """
    ledger, told, steps = BudgetLedger(limit=budget), [], []
    trained, groups, n_groups, idle = [], [], 0, 0

    def sample(draw: Draw) -> RewardGroups:
        rollouts = world.sample(draw.prompts, draw.counts)
        told.append(rollouts)
        steps.append(np.full(len(rollouts.prompt), ledger.steps))
        return RewardGroups.from_flat(
            rollouts.is_correct.astype(np.float64), rollouts.prompt, correct=0.5
        )

    while ledger.generated < budget and idle < _MOST_IDLE:
        before = ledger.generated
        left = budget - before
        selection: Selection = play_step(allocator, left, rng, sample, on_draw=ledger.draw)
        ledger.select(selection)
        trained.append(selection.rollouts)
        groups.append(selection.groups + n_groups)
        n_groups += len(selection.prompts)
        world.next_step()
        idle = 0 if ledger.generated > before else idle + 1
    return History(
        Rollouts(*(_joined(each) for each in zip(*told, strict=True)))
        if told
        else world.sample(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)),
        _joined(steps).astype(np.int64),
        _joined(trained).astype(np.int64),
        _joined(groups).astype(np.int64),
        ledger,
    )


def score(history: History, world: World, budget: int, estimator: str) -> tuple[Score, FloatArray]:
    """Measure a replay.

    Args:
        history: Of `play`.
        world: It was played in.
        budget: It was allowed.
        estimator: Advantage rule whose contrast is counted.

    Returns:
        The score, and (10,) generated rollouts by tenth of their prompt's solve rate.
    """
    drawn, n_prompts = history.rollouts, len(world.scene.record)
    generated = max(1, len(drawn.prompt))
    size, correct = _groups(history.step * n_prompts + drawn.prompt, drawn.is_correct)
    wrong, right = (float(size[correct == end].sum()) / generated for end in (0, size))
    fresh = _first_uses(history)
    n, k = _groups(history.group[fresh], drawn.is_correct[history.trained[fresh]])
    worth = _contrasts(k, n, estimator)
    tenths = share_by_tenth(drawn.state, world.scene.rates)
    per_prompt = np.bincount(drawn.prompt, minlength=n_prompts)
    found = Score(
        split_groups=float(((k > 0) & (k < n)).sum()),
        unanimous_rollout_frac=wrong + right,
        all_wrong_rollout_frac=wrong,
        all_correct_rollout_frac=right,
        contrast_per_1000_rollouts=1000.0 * float(worth.sum()) / budget,
        rollout_weighted_contrast=float((n * worth).sum()) / budget,
        coverage=float((per_prompt > 0).mean()),
        trained_frac=len(history.trained) / budget,
        group_size=float(n.mean()) if len(n) else 0.0,
        most_often=float(per_prompt.max()) * n_prompts / budget,
        beyond_recorded_frac=float((~drawn.is_recorded).sum()) / generated,
        unused_frac=1.0 - history.ledger.generated / budget,
        steps=float(history.ledger.steps),
        hard=float(tenths[:2].sum()),
        easy=float(tenths[8:].sum()),
    )
    return found, tenths


def _groups(name: IntArray, is_correct: BoolArray) -> tuple[IntArray, IntArray]:
    """Rollouts and correct ones of each group."""
    _, place = np.unique(name, return_inverse=True)
    size = np.bincount(place)
    return size, np.bincount(place, weights=is_correct).astype(np.int64)


def _first_uses(history: History) -> BoolArray:
    """(M,) rollouts of groups in which one at least is trained on for the first time."""
    is_first = np.zeros(len(history.trained), dtype=np.bool_)
    is_first[np.unique(history.trained, return_index=True)[1]] = True
    _, place = np.unique(history.group, return_inverse=True)
    return np.asarray((np.bincount(place, weights=is_first) > 0)[place])


def _contrasts(correct: IntArray, size: IntArray, estimator: str) -> FloatArray:
    worth = np.zeros(len(size))
    for n in np.unique(size).tolist():
        rows = size == n
        if n > 1:  # one rollout alone has no contrast
            worth[rows] = signature_of(estimator, n).contrast[correct[rows]]
    return worth


def _joined(parts: Any) -> NDArray[Any]:
    return np.concatenate(parts) if len(parts) else np.empty(0, dtype=np.int64)
