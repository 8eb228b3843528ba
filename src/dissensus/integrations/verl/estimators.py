"""The advantage rules of the catalogue, as verl calls an advantage estimator."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from dissensus.core import advantages
from dissensus.core.advantages import AdvantageEstimator, Context, EstimatorState
from dissensus.core.correctness import InferredCorrectness
from dissensus.core.groups import BoolArray, FloatArray, RewardGroups
from dissensus.errors import InputError, UnsupportedError
from dissensus.integrations.guard import Guard
from dissensus.integrations.verl.options import Options

__all__ = [
    "CURRENT_STEP",
    "FACTORS",
    "PREFIX",
    "WRITTEN",
    "VerlEstimator",
    "configured_rule",
    "is_padding",
    "load_memory",
    "memory",
    "register_all",
    "rule_of",
]

log = logging.getLogger("dissensus.verl")

PREFIX = "dissensus_"
WRITTEN = "dissensus"
"""Name of the estimator that `algorithm.dissensus.estimator` spells out."""

CURRENT_STEP: ContextVar[int | None] = ContextVar("dissensus_verl_step", default=None)
"""Set by the recording trainers; verl itself does not tell an estimator the step."""

FACTORS: ContextVar[Mapping[str, float] | None] = ContextVar("dissensus_factors", default=None)
"""Factors of an allocator on the advantages of a step, by uid; what is not there has 1."""

_GIVEN = {"lengths", "token_offsets", "state", "step"}
_PADDING = re.compile(r"pad[0-9a-f]{32}")


@dataclass(frozen=True)
class VerlEstimator:
    """One rule under verl's signature. Equal for equal names, so that it may be registered twice.

    Attributes:
        name: What `algorithm.adv_estimator` says.
    """

    name: str

    def __call__(
        self,
        token_level_rewards: Any,
        response_mask: Any,
        config: Any = None,
        index: Any = None,
        **_: Any,
    ) -> tuple[Any, Any]:
        """Advantages of one batch, on the device and in the dtype of the rewards.

        A rollout's reward is the sum over its tokens, and its advantage stands on every token of
        its mask. Unanimous and one-rollout groups get what the rule gives them; rows that verl
        added to fill a batch belong to no group and get 0. Where an allocator weighs prompts, its
        factors are in the result.

        Args:
            token_level_rewards: (B, T) rewards.
            response_mask: (B, T) 1 for tokens of the policy.
            config: verl's `algorithm` configuration.
            index: (B,) uid of each rollout's prompt.

        Returns:
            The (B, T) advantages, twice: verl wants returns too, and uses them for critics only.

        Raises:
            InputError: The configuration names no such rule or parameter.
            UnsupportedError: The rule needs what verl does not hand to an estimator.
        """
        import torch

        rule = _configured(self.name, Options.of(config))
        rewards = token_level_rewards.detach().to("cpu", torch.float64).sum(-1).numpy()
        mask = response_mask.detach().to("cpu", torch.bool).numpy()
        values = rule.advantages(rewards, mask, index)
        factors = FACTORS.get()
        if factors and index is not None:
            values = values * np.array([[factors.get(str(uid), 1.0)] for uid in index])
        table = torch.from_numpy(np.where(mask, values, 0.0))
        table = table.to(device=token_level_rewards.device, dtype=token_level_rewards.dtype)
        return table, table


class _Configured:
    """One configured rule, and what it carries along on the driver."""

    def __init__(self, rule: AdvantageEstimator, options: Options) -> None:
        self.rule, self.state = rule, EstimatorState()
        self._threshold = None if isinstance(options.correct, tuple) else options.correct
        self._tol = options.tol
        self.inferred = InferredCorrectness(options.tol)
        self.upper: float | None = None  # of two values, while there were two
        self._say = Guard(log).say

    def advantages(self, rewards: FloatArray, mask: BoolArray, index: Any) -> FloatArray:
        """(B, 1) advantages, or (B, T) for a rule per token."""
        ids = self._ids(index, len(rewards))
        rewards = self._finite(rewards)
        real = ~is_padding(ids)
        found = np.zeros((len(rewards), 1))
        if not real.any():
            return found
        kept = rewards[real]
        correct = self._correct(kept)
        groups = RewardGroups.from_flat(
            kept, [i for i, is_real in zip(ids, real, strict=True) if is_real],
            correct=correct, tol=self._tol,
        )  # fmt: skip
        lengths = mask[real].sum(axis=1)
        context = Context(
            lengths=lengths,
            token_offsets=np.concatenate([[0], np.cumsum(lengths)]),
            step=CURRENT_STEP.get(),
            state=self.state,
        )
        values = self._of_rule(groups, context)
        if not self.rule.is_per_token:
            found[real, 0] = values
            return found
        table = np.zeros(mask.shape)
        table[mask & real[:, None]] = values
        return table

    def _correct(self, rewards: FloatArray) -> Any:
        if self._threshold is not None:
            return self._threshold
        found = self.inferred.declare(rewards)
        if isinstance(found, float):
            self.upper = found
        return found

    def _of_rule(self, groups: RewardGroups, context: Context) -> FloatArray:
        """A rule of right and wrong must not end a training at the first third value."""
        try:
            return self.rule(groups, context)
        except InputError as error:
            if groups.is_correct is not None:
                raise
            hint = "set algorithm.dissensus.correct to a reward; verl hands on no reward extra"
            if self.upper is None:
                raise InputError(
                    f"{self.rule!r} needs to know which rollouts are correct, and the rewards do "
                    "not say it",
                    where="algorithm.dissensus.correct",
                    hint=hint,
                ) from error
        self._say(
            "correct",
            f"rewards take a third value; {self.rule!r} goes on with those from {self.upper:g} on "
            f"as correct; {hint}",
        )
        return self.rule(groups.with_correct(self.upper), context)

    def _ids(self, index: Any, count: int) -> list[str]:
        if index is None:
            self._say(
                "uid",
                "verl gave no uid, so the batch counts as one group: advantages are centred on "
                "its mean, and prompts of unequal difficulty mix",
            )
            return ["batch"] * count
        return [str(i) for i in index]

    def _finite(self, rewards: FloatArray) -> FloatArray:
        bad = ~np.isfinite(rewards)
        if bad.any():
            self._say(
                "rewards",
                f"{int(bad.sum())} of {len(rewards)} rewards are not finite; those rollouts are "
                "left out of their groups and get advantage 0",
            )
            rewards = np.where(bad, np.nan, rewards)
        return rewards


_rules: dict[str, _Configured] = {}
_loaded: dict[str, Any] = {}  # of a checkpoint, for rules that no batch has called yet


def memory() -> dict[str, Any]:
    """What the rules of this process remember, for JSON: empty before the first batch."""
    return _loaded | {
        key: {
            "state": rule.state.state_dict(),
            "values": rule.inferred.values,
            "upper": rule.upper,
        }
        for key, rule in _rules.items()
    }


def load_memory(saved: Mapping[str, Any]) -> None:
    """Go on from what `memory` gave; a rule with other parameters begins anew.

    Raises:
        ValueError: That is not what `memory` gave; so for AttributeError, KeyError and TypeError.
    """
    for each in saved.values():
        EstimatorState.from_state_dict(each["state"])
        list(map(float, [*each["values"], each["upper"] or 0]))
    _rules.clear()
    _loaded.clear()
    _loaded.update(saved)


def register_all(register: Callable[[str], Callable[[VerlEstimator], Any]]) -> tuple[str, ...]:
    """Register every rule by `register`, which is verl's `register_adv_est`; returns the names."""
    names = (WRITTEN, *(PREFIX + name for name in advantages.names()))
    for name in names:
        register(name)(VerlEstimator(name))
    return names


def configured_rule(algorithm: Any) -> AdvantageEstimator | None:
    """The rule that verl's `algorithm` configuration names; None: one of verl's own.

    Raises:
        InputError: `algorithm.dissensus` has a key or a value that cannot be used.
        UnsupportedError: The rule needs what verl does not hand to an estimator.
    """
    name = str(algorithm.adv_estimator)
    is_ours = name == WRITTEN or name.startswith(PREFIX)
    return rule_of(name, Options.of(algorithm)) if is_ours else None


def rule_of(name: str, options: Options) -> AdvantageEstimator:
    """The rule that a configuration names.

    Raises:
        InputError: No such rule, or it has no such parameter.
        UnsupportedError: The rule needs what verl does not hand to an estimator.
    """
    if name == WRITTEN:
        if options.estimator is None:
            raise InputError(
                "adv_estimator=dissensus takes its rule from algorithm.dissensus.estimator",
                hint="set it, for example to 'weighted(grpo(ddof=1), focal(2))'",
            )
        rule = advantages.get(options.estimator, **options.parameters)
    elif options.estimator is not None:
        raise InputError(
            "algorithm.dissensus.estimator is read with adv_estimator=dissensus alone",
            where=f"algorithm.adv_estimator={name}",
            got=options.estimator,
        )
    else:
        rule = advantages.get(name.removeprefix(PREFIX), **options.parameters)
    missing = sorted(set(rule.needs) - _GIVEN)
    if missing:
        raise UnsupportedError(
            f"{rule!r} needs {', '.join(missing)}, which verl does not hand to a registered "
            "advantage estimator",
            where=f"algorithm.adv_estimator={name}",
        )
    return rule


def is_padding(ids: list[str]) -> BoolArray:
    """(B,) which rows verl made up to fill a batch: it gives them a uid of their own kind."""
    return np.array([_PADDING.fullmatch(i) is not None for i in ids], dtype=np.bool_)


def _configured(name: str, options: Options) -> _Configured:
    rule = rule_of(name, options)
    key = f"{name} {rule!r} {options.correct!r} {options.tol!r}"
    if key not in _rules:
        made = _rules[key] = _Configured(rule, options)
        if key in _loaded:
            saved = _loaded.pop(key)
            made.state = EstimatorState.from_state_dict(saved["state"])
            made.inferred = InferredCorrectness(options.tol, saved["values"])
            made.upper = saved["upper"]
    return _rules[key]
