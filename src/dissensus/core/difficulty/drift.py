"""How fast, and which way, the whole population moves: learnt from every visit of every prompt."""

from __future__ import annotations

import numpy as np
from scipy import linalg

from dissensus.core.difficulty.model import SolveRateModel
from dissensus.core.groups import FloatArray, IntArray

__all__ = ["STILL", "PooledDrift", "rung_of"]

# Speeds as powers of two: the model's own moves, their mirror image (correct and wrong exchanged:
# a policy that forgets), and both together (one that wavers, and needs more to be told apart).
_AS_FITTED = (-4, -2, 0, 2, 4)
_MIRRORED = (-2, 0, 2, 4)
_BOTH = (-1, 1, 3, 5)
_USUAL_CHANCE = 0.8

# Times that pass between two visits are rounded to 2^rung ticks.
_RUNGS = (-10, 14)
STILL = _RUNGS[0] - 1
"""Rung of no time at all."""

_SURPRISE = 1e-3
"""Chance of a jump to any state: a prompt that was edited, a bug that was mended."""
_DOUBT = 1e-12  # the same within a moment, so that no evidence is ever impossible


def rung_of(ticks: FloatArray) -> IntArray:
    """Power of two nearest to each number of ticks; STILL for none.

    Example:
        >>> rung_of(np.array([0.0, 1.0, 3.0])).tolist()
        [-11, 0, 2]
    """
    low, high = _RUNGS
    with np.errstate(divide="ignore"):
        rung = np.clip(np.rint(np.log2(ticks)), low, high)
    return np.where(ticks > 0, rung, STILL).astype(np.int64)


class PooledDrift:
    """Fourteen ways the policy may move, weighted by how well they foretell all visits of late.

        moves after d ticks = Σ_s w_s exp(speed_s · d · Q_s)
        log w_s  ←  log w_s⁰ + fade · (log w_s − log w_s⁰) + Σ_visits log P(k | way s)

    The ways are: standing still; the fitted moves at speeds 1/16, ¼, 1, 4, 16; their mirror image
    at ¼, 1, 4, 16; both together at ½, 2, 8, 32. All prompts vote for one way, and `half_life`
    visits later a vote counts half. A faster policy is found within some hundred visits; a slower
    one takes thousands, and costs little until then.

    Args:
        model: Fitted moves.
        half_life: Visits after which what was learnt has faded by half, > 0.

    Example:
        >>> from dissensus.core.difficulty import DEFAULT_MODEL
        >>> PooledDrift(DEFAULT_MODEL, half_life=5000.0).weights.max().round(3).item()
        0.8

    Source: dynamic model averaging, Raftery, Karny and Ettler 2010, Technometrics 52.
    """

    def __init__(self, model: SolveRateModel, half_life: float) -> None:
        self._half_life = half_life
        Q = model.generator
        mirrored = Q[::-1, ::-1]
        kinds = ((Q, _AS_FITTED), (mirrored, _MIRRORED), ((Q + mirrored) / 2.0, _BOTH))
        low, high = _RUNGS
        table = []
        for generator, powers in kinds:
            doubled = _doubled(generator, low + min(powers), high + max(powers))
            table += [doubled[p - min(powers) :][: high - low + 1] for p in powers]
        still = np.broadcast_to(np.eye(model.states), (high - low + 1, *Q.shape))
        # Axes: rung, state before, way, state after.
        certain = np.stack([still, *map(np.stack, table)], axis=2)
        self._moves = (1.0 - _SURPRISE) * certain + _SURPRISE / model.states
        ways = self._moves.shape[2]
        usual = np.full(ways, (1.0 - _USUAL_CHANCE) / (ways - 1))
        usual[1 + _AS_FITTED.index(0)] = _USUAL_CHANCE
        self._usual = np.log(usual)
        self.log_weights = self._usual.copy()

    @property
    def weights(self) -> FloatArray:
        """(S,) share of each way; they sum to 1."""
        return np.asarray(np.exp(self.log_weights))

    def moves(self, rung: int) -> FloatArray:
        """(M, M) chances of moving from each state to each in 2^rung ticks."""
        if rung == STILL:
            states = self._moves.shape[-1]
            return np.asarray((1.0 - _DOUBT) * np.eye(states) + _DOUBT / states)
        return np.asarray(np.einsum("s,isj->ij", self.weights, self._moves[rung - _RUNGS[0]]))

    def chances(self, before: FloatArray, likelihood: FloatArray, rung: int) -> FloatArray:
        """(N, S) chance of what each visit showed under each way, up to a constant of each row.

        Args:
            before: (N, M) distributions 2^rung ticks ago.
            likelihood: (N, M) of what was seen, by state.
            rung: Not STILL.
        """
        ways = self._moves[rung - _RUNGS[0]]
        predicted = before @ ways.reshape(len(ways), -1)
        predicted = predicted.reshape(len(before), *ways.shape[1:])
        return np.asarray(np.einsum("nsm,nm->ns", predicted, likelihood))

    def learn(self, chances: FloatArray) -> None:
        """Take (N, S) chances of visits into the weights."""
        fade = 0.5 ** (len(chances) / self._half_life)
        learnt = self.log_weights - self._usual
        log_weights = self._usual + fade * learnt + np.log(chances).sum(axis=0)
        log_weights -= log_weights.max()
        self.log_weights = log_weights - np.log(np.exp(log_weights).sum())


def _doubled(generator: FloatArray, low: int, high: int) -> list[FloatArray]:
    """Moves exp(2^r Q) for r = low … high, each the square of the one before."""
    out = [np.asarray(linalg.expm(generator * 2.0**low))]
    for _ in range(high - low):
        out.append(out[-1] @ out[-1])
    return out
