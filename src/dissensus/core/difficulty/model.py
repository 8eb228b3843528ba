"""What is believed of solve rates before a prompt is seen, and how they move between its visits."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dissensus.core.groups import FloatArray
from dissensus.errors import InputError

__all__ = ["SolveRateModel", "log_likelihood", "neutral_model", "state_rates"]

_FEWEST, _MOST = 3, 201
_IMPOSSIBLE = -1e300


def state_rates(states: int) -> FloatArray:
    """(M,) solve rates sin²(πj / 2(M−1)): equal steps of arcsin√p, 0 and 1 among them.

    The standard error of a rate is sqrt(p(1−p)/n), so the states are equally many standard errors
    apart everywhere. They are exactly symmetric: nothing depends on which side is called correct.

    Example:
        >>> state_rates(3).round(12).tolist()
        [0.0, 0.5, 1.0]
    """
    p = np.sin(np.pi / 2.0 * np.arange(states) / (states - 1)) ** 2
    return np.asarray(np.where(p <= 0.5, p, 1.0 - p[::-1]))


def log_likelihood(correct: FloatArray, size: FloatArray, rates: FloatArray) -> FloatArray:
    """(N, M) log chance of k of n at every rate, up to a constant of each row.

        k log p + (n − k) log(1 − p),      −1e300 or less where that is impossible

    Example:
        >>> never = log_likelihood(np.array([0.0]), np.array([2.0]), np.array([0.0, 0.5, 1.0]))
        >>> np.exp(never).round(12).tolist()
        [[1.0, 0.25, 0.0]]
    """
    with np.errstate(divide="ignore"):
        logs = np.stack([np.log(rates), np.log1p(-rates)])
    # Finite, so that a product with 0 rollouts is 0.
    counts = np.stack([correct, size - correct], axis=1)
    return np.asarray(counts @ np.maximum(logs, _IMPOSSIBLE))


@dataclass(frozen=True, eq=False)
class SolveRateModel:
    """A birth-death chain of solve rates: where prompts start, and how often they rise and fall.

    A prompt's solve rate is one of the M states of `rates`. In a tick, the time between two visits,
    it moves to the next state above with chance `up[j]` and to the one below with `down[j]`, per
    small part of the tick; several moves fit into one tick. So

        distribution after d ticks = distribution · exp(d Q),
        Q[j, j+1] = up[j],   Q[j+1, j] = down[j],   rows sum to 0

    Attributes:
        prior: (M,) share of prompts that begin in each state, all > 0, sums to 1.
        up: (M−1,) rises per tick out of states 0 … M−2, ≥ 0.
        down: (M−1,) falls per tick out of states 1 … M−1, ≥ 0.

    Raises:
        InputError: Lengths that do not fit, fewer than 3 or more than 201 states, numbers outside
            their range.

    Example:
        >>> model = SolveRateModel(np.array([0.2, 0.5, 0.3]), np.full(2, 0.1), np.zeros(2))
        >>> model.rates.round(12).tolist(), model.generator[0].tolist()
        ([0.0, 0.5, 1.0], [-0.1, 0.1, 0.0])
    """

    prior: FloatArray
    up: FloatArray
    down: FloatArray
    rates: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the numbers, and keep private copies that nobody can write to."""
        for name in ("prior", "up", "down"):
            values = np.array(getattr(self, name), dtype=np.float64)
            least_ok = (values > 0) if name == "prior" else (values >= 0)
            if values.ndim != 1 or not (np.isfinite(values) & least_ok).all():
                sign = "> 0" if name == "prior" else "≥ 0"
                raise InputError(
                    f"The '{name}' parameter must be a list of finite numbers {sign}",
                    where="SolveRateModel",
                    got=getattr(self, name),
                )
            object.__setattr__(self, name, values)
        states = len(self.prior)
        if not _FEWEST <= states <= _MOST or {len(self.up), len(self.down)} != {states - 1}:
            raise InputError(
                f"prior must have {_FEWEST} to {_MOST} states, up and down one fewer",
                where="SolveRateModel",
                got=(states, len(self.up), len(self.down)),
            )
        total = float(self.prior.sum())
        # What is normalised stays as it is to the last digit, as a saved model must.
        if abs(total - 1.0) > 1e-12:
            object.__setattr__(self, "prior", self.prior / total)
        object.__setattr__(self, "rates", state_rates(states))
        for name in ("prior", "up", "down", "rates"):
            getattr(self, name).setflags(write=False)

    @property
    def states(self) -> int:
        """M, the number of solve rates told apart."""
        return len(self.prior)

    @cached_property
    def generator(self) -> FloatArray:
        """(M, M) Q, moves per tick."""
        Q = np.diag(self.up, 1) + np.diag(self.down, -1)
        return Q - np.diag(Q.sum(axis=1))


def neutral_model(states: int = 21, moves_per_tick: float = 0.05) -> SolveRateModel:
    """Every state as likely as any other, and as likely to rise as to fall.

    Example:
        >>> neutral_model(3).prior.round(3).tolist()
        [0.333, 0.333, 0.333]
    """
    moves = np.full(states - 1, moves_per_tick)
    return SolveRateModel(prior=np.full(states, 1.0 / states), up=moves, down=moves)
