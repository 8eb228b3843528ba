"""A posterior of each prompt's solve rate that follows a moving policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.core.difficulty.default import DEFAULT_MODEL
from dissensus.core.difficulty.drift import STILL, PooledDrift, rung_of
from dissensus.core.difficulty.forecast import (
    Forecast,
    Range,
    quantiles_of_rate,
    ranges,
    tabulate,
)
from dissensus.core.difficulty.inputs import checked_indices, checked_visits
from dissensus.core.difficulty.model import SolveRateModel, log_likelihood
from dissensus.core.difficulty.newcomers import Newcomers, normalised
from dissensus.core.difficulty.store import BeliefStore
from dissensus.core.groups import FloatArray, IntArray
from dissensus.core.laws._inputs import SignatureLike, as_group_size
from dissensus.errors import InputError

__all__ = ["SolveRatePosterior"]

_CHUNK = 1 << 16
_MOST_STRATA = 1 << 16


class SolveRatePosterior:
    """What is known of the solve rate of each of many prompts while the policy moves.

    The belief about a prompt is a distribution over the M solve rates of its model,

        before a visit   f ← f · Σ_s w_s exp(speed_s · d · Q_s)      the policy moved for d ticks
        after it         f_j ∝ f_j · p_j^k (1 − p_j)^(n−k)           k of n rollouts were correct

    Three things are pooled over prompts: the moves Q (`fit_model`), how fast and which way the
    policy moves of late (`PooledDrift`), and the distribution of prompts seen for the first time.
    A unanimous group is evidence like any other; a one-rollout group is weak evidence.

    Time is the visit by default: d = 1 between two visits of a prompt, however long they lie apart.
    With `now` given to every call, d = now − (time of the prompt's last visit), so that beliefs
    about prompts not visited for long spread out. The unit of `now` is the caller's (optimiser
    steps do); the speed is learnt.

    Only visited prompts have a state of their own: 4 bytes per prompt, 4M + 8 more per visited
    one. With M = 21, 10,000,000 prompts of which 1,000,000 were visited take 132 MB.

    Args:
        prompts: Number of prompts, named 0 … prompts−1.
        model: Where prompts start and how they move; `fit_model` makes one from a history.
        strata: (prompts,) whole number per prompt, such as its category or its length in quarters:
            prompts of one stratum expect of newcomers what its others showed. None: one stratum.
        half_life: Visits after which what was learnt of the population's speed and of newcomers
            counts half, > 0.

    Example:
        >>> posterior = SolveRatePosterior(3)
        >>> posterior.update([0, 1], correct=[8, 0], size=8)
        >>> posterior.mean().round(2).tolist()      # solved, failed, not yet seen
        [0.92, 0.04, 0.35]
    """

    def __init__(
        self,
        prompts: int,
        *,
        model: SolveRateModel = DEFAULT_MODEL,
        strata: ArrayLike | None = None,
        half_life: float = 5000.0,
    ) -> None:
        if not (np.isfinite(half_life) and half_life > 0):
            raise InputError("half_life must be > 0", where="SolveRatePosterior", got=half_life)
        self.model = model
        self.half_life = float(half_life)
        self.drift = PooledDrift(model, self.half_life)
        self._store = BeliefStore(0, model.states)
        self._newcomers = Newcomers(model.prior, 1, self.half_life)
        self._strata: NDArray[np.int32] | None = None
        self.grow(prompts, strata=strata)

    def __len__(self) -> int:
        return len(self._store.slot)

    @property
    def rates(self) -> FloatArray:
        """(M,) solve rates of the model, ascending: where functions are tabulated."""
        return self.model.rates

    @property
    def visited(self) -> IntArray:
        """(V,) prompts with at least one visit, ascending."""
        return self._store.visited

    def grow(self, prompts: int, *, strata: ArrayLike | None = None) -> None:
        """Make room for prompts that appear later; those there keep their numbers and beliefs.

        Args:
            prompts: New number of prompts, at least the present one.
            strata: (added,) stratum of each added prompt; None means 0.
        """
        before = len(self)
        added = None if strata is None else checked_indices(strata, "strata", _MOST_STRATA)
        if added is not None and len(added) != prompts - before:
            raise InputError(
                "one stratum per added prompt is needed", where="strata", got=len(added)
            )
        self._store.grow(prompts)
        if added is None and self._strata is None:
            return
        parts = [
            np.zeros(before, dtype=np.int32) if self._strata is None else self._strata,
            np.zeros(prompts - before, dtype=np.int32) if added is None else added,
        ]
        self._strata = np.concatenate(parts).astype(np.int32)
        self._newcomers.reserve(int(self._strata.max(initial=0)) + 1)

    def _stratum(self, index: IntArray) -> IntArray:
        if self._strata is None:
            return np.zeros(len(index), dtype=np.int64)
        return self._strata[index].astype(np.int64)

    # ── learning ──

    def update(
        self,
        prompts: ArrayLike,
        correct: ArrayLike,
        size: ArrayLike,
        *,
        now: float | None = None,
    ) -> None:
        """Take in groups of one moment; several of one prompt add up, in any order.

        Args:
            prompts: (N,) prompt of each group.
            correct: (N,) k, correct rollouts.
            size: (N,) or scalar n, scored rollouts, any number; a group without any is no visit.
            now: Time of the policy that sampled them; None: one tick after each prompt's last
                visit. A group older than the prompt's last visit counts as of that visit.

        Raises:
            InputError: A prompt out of range, k > n, numbers that are not whole.
        """
        _check_time(now)
        index, k, n = checked_visits(prompts, correct, size, "update", len(self))
        if not len(index):
            return
        index, place = np.unique(index, return_inverse=True)
        summed_k, summed_n = (
            np.bincount(place, weights=each).astype(np.float64) for each in (k, n)
        )
        log_chance = log_likelihood(summed_k, summed_n, self.model.rates)
        likelihood = np.exp(log_chance - log_chance.max(axis=1, keepdims=True))
        slot = self._store.slot[index]
        known = slot >= 0
        after = np.empty_like(likelihood)
        after[known] = self._revisited(slot[known], likelihood[known], now)
        after[~known] = self._first_visits(index[~known], likelihood[~known])
        when = np.full(len(index), 0.0 if now is None else float(now))
        when[known] = np.maximum(when[known], self._store.when[slot[known]])
        self._store.put(index, after, when)

    def _revisited(
        self, slot: NDArray[np.int32], likelihood: FloatArray, now: float | None
    ) -> FloatArray:
        before = self._store.beliefs[slot].astype(np.float64)
        rung = self._rungs(slot, now)
        chances = [
            self.drift.chances(before[rung == r], likelihood[rung == r], r)
            for r in np.unique(rung).tolist()
            if r != STILL
        ]
        if chances:
            self.drift.learn(np.concatenate(chances))
        return normalised(self._moved(before, rung) * likelihood)

    def _first_visits(self, index: IntArray, likelihood: FloatArray) -> FloatArray:
        strata = self._stratum(index)
        after = normalised(self._newcomers.beliefs[strata] * likelihood)
        self._newcomers.learn(after, strata)
        return after

    # ── beliefs ──

    def beliefs(self, prompts: ArrayLike | None = None, *, now: float | None = None) -> FloatArray:
        """Chance of every solve rate of `model.rates` at the next visit.

        Args:
            prompts: (N,) prompts; None means all.
            now: Time of that visit; None: one tick after each prompt's last.

        Returns:
            (N, M), rows sum to 1.
        """
        return self.average(np.eye(self.model.states), prompts, now=now)

    def _predicted(self, slot: NDArray[np.int32], now: float | None) -> FloatArray:
        return self._moved(self._store.beliefs[slot].astype(np.float64), self._rungs(slot, now))

    def _moved(self, before: FloatArray, rung: IntArray) -> FloatArray:
        out = np.empty_like(before)
        for r in np.unique(rung).tolist():
            out[rung == r] = before[rung == r] @ self.drift.moves(r)
        return out

    def _rungs(self, slot: NDArray[np.int32], now: float | None) -> IntArray:
        if now is None:
            return np.zeros(len(slot), dtype=np.int64)
        return rung_of(np.maximum(now - self._store.when[slot], 0.0))

    def average(
        self, values: ArrayLike, prompts: ArrayLike | None = None, *, now: float | None = None
    ) -> FloatArray:
        """Expected value of functions of the solve rate: the fast way to any score.

            E[f(p)] = Σ_j belief_j · f(p_j)

        Args:
            values: (M, F) or (M,) functions at `model.rates`, such as E[W_n] for n = 2, 3, …
            prompts: (N,) prompts; None means all.
            now: As for `beliefs`.

        Returns:
            (N, F) or (N,).

        Example:
            >>> posterior = SolveRatePosterior(1)
            >>> posterior.average(np.ones(posterior.model.states)).round(12).tolist()
            [1.0]
        """
        table = np.asarray(values, dtype=np.float64)
        if table.ndim not in {1, 2} or len(table) != self.model.states:
            raise InputError(
                f"values must have one row per state, {self.model.states}",
                where="average",
                got=table.shape,
            )
        _check_time(now)
        index = None if prompts is None else checked_indices(prompts, "prompts", len(self))
        slot = self._store.slot if index is None else self._store.slot[index]
        unseen = self._newcomers.beliefs @ table
        if self._strata is None:
            out = np.empty((len(slot), *table.shape[1:]))
            out[...] = unseen[0]
        else:
            out = unseen[self._strata if index is None else self._strata[index]]
        known = np.flatnonzero(slot >= 0)
        for start in range(0, len(known), _CHUNK):
            part = known[start : start + _CHUNK]
            out[part] = self._predicted(slot[part], now) @ table
        return out

    def mean(self, prompts: ArrayLike | None = None, *, now: float | None = None) -> FloatArray:
        """(N,) expected solve rate at the next visit; arguments as `beliefs`."""
        return self.average(self.model.rates, prompts, now=now)

    def quantile(
        self, level: ArrayLike, prompts: ArrayLike | None = None, *, now: float | None = None
    ) -> FloatArray:
        """(N,) solve rate below which `level` of the belief lies.

        Args:
            level: In [0, 1], scalar or (N,).
            prompts: (N,) prompts; None means all.
            now: As for `beliefs`.

        Example:
            >>> posterior = SolveRatePosterior(1)
            >>> posterior.update([0], correct=[4], size=8)
            >>> low, high = posterior.quantile(0.025)[0], posterior.quantile(0.975)[0]
            >>> bool(0.15 < low < 0.5 < high < 0.85)
            True
        """
        levels = np.asarray(level, dtype=np.float64)
        if not ((levels >= 0) & (levels <= 1)).all():
            raise InputError("level must lie in [0, 1]", where="quantile", got=level)
        index = self._index(prompts)
        levels = np.broadcast_to(levels, len(index))
        parts = self._in_parts(index, now)
        return np.concatenate([quantiles_of_rate(part, levels[rows]) for rows, part in parts])

    def sample(
        self,
        rng: np.random.Generator,
        prompts: ArrayLike | None = None,
        *,
        now: float | None = None,
    ) -> FloatArray:
        """(N,) one solve rate drawn from each belief: Thompson sampling.

        Example:
            >>> SolveRatePosterior(2).sample(np.random.default_rng(0)).shape
            (2,)
        """
        index = self._index(prompts)
        return self.quantile(rng.random(len(index)), index, now=now)

    def forecast(
        self,
        group_size: int,
        prompts: ArrayLike | None = None,
        *,
        signature: SignatureLike | None = None,
        coverage: float = 0.95,
        now: float | None = None,
    ) -> Forecast:
        """What a group of each prompt will show at its next visit, with intervals.

            mean = Σ_j belief_j f(p_j);   interval: the central `coverage` of f(p) under the belief

        Args:
            group_size: G ≥ 1. A group of one is always unanimous.
            prompts: (N,) prompts; None means all.
            signature: Whose contrast to expect; None means GRPO's, the group's disagreement σ.
            coverage: Of the interval, in (0, 1). Its ends are values at a state, so it is rather
                too wide than too narrow.
            now: As for `beliefs`.

        Example:
            >>> posterior = SolveRatePosterior(2)
            >>> posterior.update([0, 0], correct=[0, 0], size=8)
            >>> failed, unseen = posterior.forecast(8).unanimous.mean
            >>> bool(failed > 0.85 > unseen > 0.3)
            True
        """
        size = as_group_size(group_size)
        if size.ndim or not 0.0 < coverage < 1.0:
            raise InputError(
                "group_size must be one number and coverage lie in (0, 1)",
                where="forecast",
                got=(group_size, coverage),
            )
        tables = tabulate(self.model.rates, int(size), signature)
        parts = [
            [ranges(part, table, coverage) for table in tables]
            for _, part in self._in_parts(self._index(prompts), now)
        ]
        return Forecast(
            *(
                Range(*map(np.concatenate, zip(*each, strict=True)))
                for each in zip(*parts, strict=True)
            )
        )

    def _index(self, prompts: ArrayLike | None) -> IntArray:
        if prompts is None:
            return np.arange(len(self))
        return checked_indices(prompts, "prompts", len(self))

    def _in_parts(self, index: IntArray, now: float | None) -> Iterator[tuple[slice, FloatArray]]:
        """Beliefs in bounded memory, with the rows they belong to; at least one part."""
        for start in range(0, max(1, len(index)), _CHUNK):
            rows = slice(start, start + _CHUNK)
            yield rows, self.beliefs(index[rows], now=now)

    # ── checkpoints ──

    def state_dict(self) -> dict[str, Any]:
        """All that `from_state_dict` needs, as plain arrays and numbers."""
        strata = {} if self._strata is None else {"strata": self._strata.copy()}
        return {
            "version": 1,
            **self._store.state_dict(),
            **strata,
            "newcomers": self._newcomers.seen.copy(),
            "log_weights": self.drift.log_weights.copy(),
            "half_life": self.half_life,
            "prior": self.model.prior,
            "up": self.model.up,
            "down": self.model.down,
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> SolveRatePosterior:
        """The posterior that wrote `state`; it goes on exactly as that one would.

        Raises:
            InputError: A part is missing, does not fit, or was written by a later version.
        """
        where = "from_state_dict"
        if state.get("version") != 1:
            raise InputError("unknown version", where=where, got=state.get("version"))
        try:
            model = SolveRateModel(state["prior"], state["up"], state["down"])
            out = cls(
                int(state["prompts"]),
                model=model,
                strata=state.get("strata"),
                half_life=float(state["half_life"]),
            )
            out._store.restore(state)
            out._newcomers.seen[...] = state["newcomers"]
            out.drift.log_weights[...] = state["log_weights"]
        except KeyError as error:
            raise InputError("a part is missing", where=where, got=str(error)) from None
        except InputError:
            raise
        except (ValueError, TypeError) as error:
            raise InputError(f"parts do not fit: {error}", where=where) from error
        return out


def _check_time(now: float | None) -> None:
    if now is not None and not np.isfinite(now):
        raise InputError("now must be finite", where="SolveRatePosterior", got=now)
