"""What an advantage estimator is: a frozen value made of a pure function and its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dissensus.core.groups import FloatArray, IntArray, RewardGroups
from dissensus.errors import InputError, MissingContextError

__all__ = ["AdvantageEstimator", "Context", "EstimatorState", "Scope", "Transform"]

Scope: TypeAlias = Literal["group", "batch", "history"]


class EstimatorState(MutableMapping[str, NDArray[Any]]):
    """Named arrays that a rule with memory reads and updates; the trainer owns and saves them.

    Example:
        >>> state = EstimatorState(baseline=np.zeros(1))
        >>> state["baseline"] = np.ones(1)
        >>> EstimatorState.from_state_dict(state.state_dict())["baseline"].tolist()
        [1.0]
    """

    def __init__(self, **arrays: Any) -> None:
        self._arrays = {name: np.array(values) for name, values in arrays.items()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def __setitem__(self, name: str, values: Any) -> None:
        self._arrays[name] = np.array(values)

    def __delitem__(self, name: str) -> None:
        del self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def copy(self) -> EstimatorState:
        """A copy that shares no memory, for calls that must leave no trace."""
        return EstimatorState(**self._arrays)

    def state_dict(self) -> dict[str, Any]:
        """Plain lists by name: fit for JSON and for any checkpoint format."""
        return {name: values.tolist() for name, values in self._arrays.items()}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> EstimatorState:
        """The inverse of `state_dict`."""
        return cls(**state)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a rule may need beyond total rewards. A rule says in `needs` which fields it requires.

    Attributes:
        lengths: (N,) completion lengths in tokens.
        rewards_by_function: Reward function name → (N,) rewards; NaN where it gave none.
        token_offsets: (N+1,) where each rollout's tokens start in flat per-token arrays.
        token_entropies: (T,) entropy of the policy at each token, in nats.
        log_likelihoods: (N,) log-likelihood of each completion under the policy, in nats.
        clusters: (N,) label of the meaning of each completion; labels count within a group.
        reference_means: (P,) mean reward of a frozen reference policy on each group's prompt.
        step: Training step, for rules and weights that follow a schedule.
        reference: The batch that a batch rule takes its statistics from. None: the batch itself.
        state: Memory of a rule with history; the rule updates it in place.
    """

    lengths: IntArray | None = None
    rewards_by_function: Mapping[str, FloatArray] | None = None
    token_offsets: IntArray | None = None
    token_entropies: FloatArray | None = None
    log_likelihoods: FloatArray | None = None
    clusters: IntArray | None = None
    reference_means: FloatArray | None = None
    step: int | None = None
    reference: RewardGroups | None = None
    state: EstimatorState | None = None

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """Names that a rule may list in `needs`."""
        return tuple(f.name for f in fields(cls))


class Transform(Protocol):
    """A step after an estimator: (N,) advantages in, (N,) advantages out."""

    @property
    def name(self) -> str:
        """Short name with parameters, for `repr`."""

    @property
    def scope(self) -> Scope:
        """`batch` where the result of a group depends on other groups."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Context fields that it requires."""

    def __call__(
        self, advantages: FloatArray, groups: RewardGroups, context: Context, rule: Rule
    ) -> FloatArray:
        """Transform the advantages; `rule` made them, and can make those of a reference batch."""


Rule: TypeAlias = "AdvantageEstimator"


@dataclass(frozen=True)
class AdvantageEstimator:
    """An advantage rule with its parameters: call it on groups, get one advantage per rollout.

    Unscored rollouts (NaN reward) get advantage 0. What a unanimous or one-rollout group gets is
    part of each rule; `advantages.signature` computes it by calling.

    Attributes:
        name: Registered name.
        function: `function(groups, context, **parameters)`.
        parameters: Keyword parameters, all explicit.
        source: Paper and section, or the code it was read in.
        scope: `group` (each group by itself), `batch` or `history`.
        needs: Fields of `Context` that must be given.
        transforms: Applied in order to what `function` returns.

    Example:
        >>> from dissensus import RewardGroups, advantages
        >>> groups = RewardGroups.from_dense([[1, 0, 0, 0], [1, 1, 1, 1]])
        >>> grpo = advantages.get("grpo", ddof=0, eps=0.0)
        >>> grpo
        grpo(ddof=0, eps=0.0)
        >>> grpo(groups).round(3).tolist()
        [1.732, -0.577, -0.577, -0.577, 0.0, 0.0, 0.0, 0.0]
    """

    name: str
    function: Callable[..., FloatArray] = field(repr=False)
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    source: str = ""
    scope: Scope = "group"
    needs: tuple[str, ...] = ()
    transforms: tuple[Transform, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    def __call__(self, groups: RewardGroups, context: Context | None = None) -> FloatArray:
        """Advantages in input order: (N,) float64, or (T,) for a per-token rule.

        Raises:
            MissingContextError: The rule needs a context field that is not given.
            InputError: A context field does not match the groups, or the result is not finite.
        """
        context = context or Context()
        self._check_context(groups, context)
        advantages = self._raw(groups, context)
        if not np.isfinite(advantages).all():
            row = int(np.flatnonzero(~np.isfinite(advantages))[0])
            raise InputError(
                "an advantage is not finite",
                where=f"{self!r}, row {row}",
                got=float(advantages[row]),
                hint="raise eps, or check the rewards of that group",
            )
        # A rule may hand out a cached array of the groups; what the caller gets is the caller's.
        return advantages if advantages.flags.writeable else advantages.copy()

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.parameters.items())
        text = f"{self.name}({arguments})"
        for step in self.transforms:
            wrapper = getattr(step, "wrapper", None)
            text = f"{wrapper}({text}, {step.name})" if wrapper else f"{text} | {step.name}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be pickled; the plain dict it shows can.
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return (_rebuild, (values | {"parameters": dict(self.parameters)},))

    @property
    def is_per_token(self) -> bool:
        """Whether it gives one advantage per token, (T,), instead of one per rollout."""
        return "token_offsets" in self.needs

    @property
    def summary(self) -> str:
        """First line of the rule's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def with_transforms(self, steps: Sequence[Transform]) -> AdvantageEstimator:
        """The same rule followed by `steps`; its scope and needs grow to what they ask for."""
        scopes: list[Scope] = [self.scope, *(step.scope for step in steps)]
        needs = dict.fromkeys([*self.needs, *(field for step in steps for field in step.needs)])
        return replace(
            self,
            transforms=(*self.transforms, *steps),
            scope=max(scopes, key=("group", "batch", "history").index),
            needs=tuple(needs),
        )

    def _raw(self, groups: RewardGroups, context: Context) -> FloatArray:
        advantages = np.asarray(self.function(groups, context, **self.parameters), dtype=np.float64)
        for position, step in enumerate(self.transforms):
            before = replace(self, transforms=self.transforms[:position])
            advantages = step(advantages, groups, context, before)
        if len(advantages) == groups.n_rollouts and not groups.is_scored.all():
            advantages = np.where(groups.is_scored, advantages, 0.0)
        return advantages

    def _check_context(self, groups: RewardGroups, context: Context) -> None:
        for name in self.needs:
            if getattr(context, name) is None:
                raise MissingContextError(
                    f"{self.name} needs the context field '{name}'",
                    where=repr(self),
                    hint=f"pass context=Context({name}=…)",
                )
        for name in ("lengths", "log_likelihoods", "clusters"):
            self._check_entries(getattr(context, name), name, "rollout", groups.n_rollouts)
        self._check_entries(context.reference_means, "reference_means", "group", len(groups))
        for name, rewards in (context.rewards_by_function or {}).items():
            field_name = f"rewards_by_function[{name!r}]"
            self._check_entries(rewards, field_name, "rollout", groups.n_rollouts)
        if context.token_offsets is not None:
            self._check_tokens(context, np.asarray(context.token_offsets), groups.n_rollouts)

    def _check_entries(self, values: Any, name: str, unit: str, count: int) -> None:
        if values is not None and np.shape(values) != (count,):
            raise InputError(
                f"context field '{name}' must have one entry per {unit}",
                where=repr(self),
                got=(np.shape(values), count),
            )

    def _check_tokens(self, context: Context, offsets: IntArray, count: int) -> None:
        is_sound = (
            offsets.shape == (count + 1,) and offsets[0] == 0 and (np.diff(offsets) >= 0).all()
        )
        if not is_sound:
            raise InputError(
                f"context field 'token_offsets' must rise from 0, with {count + 1} entries",
                where=repr(self),
                got=offsets.shape,
            )
        entropies = context.token_entropies
        if entropies is not None and np.shape(entropies) != (offsets[-1],):
            raise InputError(
                "context field 'token_entropies' must have one entry per token",
                where=repr(self),
                got=(np.shape(entropies), int(offsets[-1])),
            )


def _rebuild(values: dict[str, Any]) -> AdvantageEstimator:
    return AdvantageEstimator(**values)
