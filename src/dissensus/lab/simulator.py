"""Group-relative RL without a language model: every prompt is a Bernoulli-logit policy.

A prompt has one parameter θ and is solved with probability p = 1/(1 + e^−θ). The score of a rollout
y ∈ {0, 1} is y − p, so a group with k of G correct moves its prompt by

    g = (1/G) Σ A_i (y_i − p) = W(k) + B(k)·(k/G − p),       θ ← θ + lr·g

with the rule's contrast W and push B (its signature): for a mean-centred rule g is W alone, for
GRPO σ. Who gets how many rollouts is the caller's choice, step by step: `draw`, look, `learn`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from dissensus.core import advantages, laws
from dissensus.core.advantages import Signature
from dissensus.core.groups import FloatArray
from dissensus.errors import InputError

__all__ = ["Simulator", "refill"]

IntArray = NDArray[np.int64]


class Simulator:
    """P independent prompts under one advantage rule.

    Args:
        solve_rates: (P,) p at the start, strictly between 0 and 1.
        rule: An estimator, or its name; it needs a signature, so no rule that looks at the batch.
        learning_rate: lr.
        rng: Where the rollouts come from; a seed and the order of calls determine everything.

    Attributes:
        logits: (P,) θ now.
        rollouts: Rollouts drawn so far, the discarded ones included.

    Raises:
        InputError: Solve rates outside (0, 1).

    Example:
        >>> simulator = Simulator([0.5, 0.1], "grpo", learning_rate=0.5,
        ...                       rng=np.random.default_rng(0))
        >>> simulator.learn([4, 0], 8)      # σ = ½ for the first; nothing for a unanimous group
        >>> simulator.logits.round(3).tolist()
        [0.25, -2.197]
    """

    def __init__(
        self,
        solve_rates: ArrayLike,
        rule: str | Callable[..., FloatArray],
        *,
        learning_rate: float,
        rng: np.random.Generator,
    ) -> None:
        p = np.asarray(solve_rates, dtype=np.float64)
        if p.ndim != 1 or not ((p > 0) & (p < 1)).all():
            raise InputError(
                "solve rates must be a list of numbers strictly between 0 and 1",
                where="Simulator",
                hint="a prompt at 0 or 1 has an infinite logit: clip it",
            )
        self.logits: FloatArray = np.log(p) - np.log1p(-p)
        self.rollouts = 0
        self._rule = advantages.get(rule) if isinstance(rule, str) else rule
        self._learning_rate = learning_rate
        self._rng = rng
        self._signatures: dict[int, Signature] = {}

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def solve_rates(self) -> FloatArray:
        """(P,) p now."""
        return np.asarray(special.expit(self.logits))

    def draw(self, sizes: ArrayLike, prompts: ArrayLike | None = None) -> IntArray:
        """Sample one group of each prompt, and count the rollouts.

        Args:
            sizes: G, or (n,) one size per group; 0 draws nothing.
            prompts: (n,) which prompts, repeats allowed; None for each of the P prompts once.

        Returns:
            (n,) correct rollouts of each group.

        Raises:
            InputError: A size below 0, or not one per prompt.
        """
        p = self.solve_rates[_index(prompts)]
        _, size = _groups(0, sizes, p.shape)
        self.rollouts += int(size.sum())
        return self._rng.binomial(size, p)

    def learn(self, correct: ArrayLike, sizes: ArrayLike, prompts: ArrayLike | None = None) -> None:
        """Take one step on drawn groups; several groups of a prompt add up.

        Args:
            correct: (n,) correct rollouts of each group.
            sizes: G, or (n,); a group of one or none teaches nothing.
            prompts: (n,) whose groups they are; None for each of the P prompts once.

        Raises:
            InputError: More correct rollouts than there are, or not one group per prompt.
        """
        chosen = _index(prompts)
        p = self.solve_rates[chosen]
        k, size = _groups(correct, sizes, p.shape)
        update = np.zeros(k.shape)
        for one in np.unique(size[size > 1]):
            signature, rows = self.signature(int(one)), size == one
            m = k[rows] / one
            update[rows] = signature.contrast[k[rows]] + signature.push[k[rows]] * (m - p[rows])
        np.add.at(self.logits, chosen, self._learning_rate * update)

    def learn_expected(self, group_size: int) -> None:
        """Take the step that groups of this size give every prompt in expectation, without noise.

        θ ← θ + lr·p(1−p)·F′(p)
        """
        p = self.solve_rates
        slope = laws.objective_slope(self.signature(group_size), p)
        self.logits += self._learning_rate * p * (1.0 - p) * slope

    def signature(self, group_size: int) -> Signature:
        """What the rule gives to groups of this size, at least 2."""
        if group_size not in self._signatures:
            self._signatures[group_size] = advantages.signature(self._rule, group_size)
        return self._signatures[group_size]


def refill(simulator: Simulator, correct: ArrayLike, group_size: int, *, tries: int) -> IntArray:
    """Draw unanimous groups again, each for its own prompt, as the paper simulates DAPO.

    Args:
        simulator: Pays for the rollouts.
        correct: (P,) correct rollouts of every prompt's first group.
        group_size: G.
        tries: Groups that a prompt may have altogether, the first included; what is unanimous
            after the last one stays so.

    Returns:
        (P,) correct rollouts of the group that each prompt ends with.
    """
    k: IntArray = np.array(correct, dtype=np.int64)
    for _ in range(tries - 1):
        again = np.flatnonzero((k == 0) | (k == group_size))
        if not len(again):
            break
        k[again] = simulator.draw(group_size, again)
    return k


def _groups(
    correct: ArrayLike, sizes: ArrayLike, shape: tuple[int, ...]
) -> tuple[IntArray, IntArray]:
    """Correct rollouts and size of every group, 0 ≤ k ≤ n."""
    try:
        k, n = (np.broadcast_to(np.asarray(x, dtype=np.int64), shape) for x in (correct, sizes))
    except ValueError as error:
        raise InputError(f"there must be {shape[0]} groups", where="Simulator") from error
    if not ((k >= 0) & (k <= n)).all():
        raise InputError("a group needs 0 ≤ correct rollouts ≤ its size", where="Simulator")
    return k, n


def _index(prompts: ArrayLike | None) -> Any:
    return slice(None) if prompts is None else np.asarray(prompts, dtype=np.int64)
