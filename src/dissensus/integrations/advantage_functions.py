"""Ways to call the advantage functions of other frameworks, for the audit of a black box.

Each adapter knows one signature: which parameters it is recognised by, and how to build them from
a batch. No framework is imported: an adapter works on whatever function is given to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from dissensus.audit.blackbox import NUMPY_ADAPTERS, Adapter, Batch
from dissensus.audit.blackbox.adapters import (
    FlatAdapter,
    FlatSizedAdapter,
    call_sized,
    parameter_names,
    required_names,
)
from dissensus.audit.blackbox.subject import seed_numpy

__all__ = ["ADAPTERS"]


@dataclass(frozen=True)
class _TorchAdapter:
    """What all adapters to torch functions share."""

    name: str
    reads: tuple[str, ...] = ()
    ragged: bool = True

    def reseed(self, seed: int) -> None:
        """Seed numpy and torch."""
        seed_numpy(seed)
        torch.manual_seed(seed)


@dataclass(frozen=True)
class TokenTableAdapter(_TorchAdapter):
    """verl and SkyRL: `f(token_level_rewards, response_mask, index, config, …) → (adv, returns)`.

    Every parameter that the function names is passed: `values`, `reward_baselines`,
    `old_log_probs`, `sum_pi_squared`, `gamma`, `lam`/`lambd` = 1. The reward is on the last token.
    """

    name: str = "token_table"
    reads: tuple[str, ...] = ("values", "log_probs", "baselines")

    def accepts(self, function: Callable[..., Any]) -> bool:
        """It names token_level_rewards and response_mask."""
        return {"token_level_rewards", "response_mask"} <= set(parameter_names(function))

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call it and return (N, T) advantages."""
        offered = {
            "token_level_rewards": _tensor(batch.token_rewards),
            "response_mask": _tensor(batch.mask),
            "index": np.array([f"prompt-{i}" for i in batch.group_ids], dtype=object),
            "config": _Config(),
            "values": _tensor(batch.values),
            "reward_baselines": _tensor(batch.baselines),
            "old_log_probs": _tensor(batch.log_probs),
            "sum_pi_squared": _tensor(batch.sum_pi_squared),
            "gamma": 1.0,
            "lam": 1.0,
            "lambd": 1.0,
        }
        return _numpy(_first(function(**_wanted(function, offered))))


@dataclass(frozen=True)
class SwiftAdapter(_TorchAdapter):
    """ms-swift: `compute_advantages(rewards_per_func, reward_weights, num_generations, …)`."""

    name: str = "ms_swift"
    ragged: bool = False

    def accepts(self, function: Callable[..., Any]) -> bool:
        """It names rewards_per_func and num_generations."""
        return {"rewards_per_func", "num_generations"} <= set(parameter_names(function))

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call it with one reward function of weight 1."""
        offered = {
            "rewards_per_func": _tensor(batch.rewards)[:, None],
            "reward_weights": torch.ones(1),
            "num_generations": batch.group_size,
        }
        return _numpy(_first(function(**_wanted(function, offered))))


@dataclass(frozen=True)
class SwiftDynamicAdapter(_TorchAdapter):
    """ms-swift: `compute_advantages_dynamic(rewards_per_func, …, prompt_ids, request_ids)`."""

    name: str = "ms_swift_dynamic"

    def accepts(self, function: Callable[..., Any]) -> bool:
        """It names rewards_per_func and request_ids."""
        return {"rewards_per_func", "request_ids"} <= set(parameter_names(function))

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call it with one reward function of weight 1."""
        offered = {
            "rewards_per_func": _tensor(batch.rewards)[:, None],
            "reward_weights": torch.ones(1),
            "prompt_ids": [f"prompt-{i}" for i in batch.group_ids],
            "request_ids": [f"request-{i}" for i in range(len(batch.rewards))],
        }
        return _numpy(_first(function(**_wanted(function, offered))))


@dataclass(frozen=True)
class RollAdapter(_TorchAdapter):
    """ROLL: `reward_norm(response_level_rewards, n_sample, running_ctrl, norm_…_type)`."""

    name: str = "roll"
    ragged: bool = False

    def accepts(self, function: Callable[..., Any]) -> bool:
        """It names response_level_rewards and n_sample."""
        return {"response_level_rewards", "n_sample"} <= set(parameter_names(function))

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call it; where to take mean and std from is for the target to say."""
        return _numpy(function(_tensor(batch.rewards), n_sample=batch.group_size))


@dataclass(frozen=True)
class TrajectoryGroupsAdapter(_TorchAdapter):
    """tinker-cookbook: `compute_advantages(trajectory_groups_P) → list of (G,)`."""

    name: str = "tinker_cookbook"

    def accepts(self, function: Callable[..., Any]) -> bool:
        """It names trajectory_groups_P."""
        return "trajectory_groups_P" in parameter_names(function)

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call it on stand-ins that know their total rewards."""
        order = np.argsort(batch.group_ids, kind="stable")
        parts = np.split(batch.rewards[order], np.flatnonzero(np.diff(batch.group_ids[order])) + 1)
        groups = [
            SimpleNamespace(get_total_rewards=lambda part=part: part.tolist()) for part in parts
        ]
        out = np.empty(len(order))
        out[order] = np.concatenate([_numpy(part) for part in function(groups)])
        return out


@dataclass(frozen=True)
class NormalizationAdapter(_TorchAdapter):
    """AReaL: an instance of `Normalization`, called on the rewards of a batch."""

    name: str = "areal"
    ragged: bool = False

    def accepts(self, function: Callable[..., Any]) -> bool:
        """It is an object with mean_level, std_level and group_size."""
        return all(hasattr(function, key) for key in ("mean_level", "std_level", "group_size"))

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call a copy that is told the group size of the batch."""
        normalization: Any = copy(function)
        normalization.group_size = batch.group_size
        return _numpy(normalization(_tensor(batch.rewards)))


@dataclass(frozen=True)
class PromptIdsAdapter(_TorchAdapter):
    """NeMo-RL: `estimator.compute_advantage(prompt_ids, rewards, mask) → (N, T)`."""

    name: str = "nemo_rl"

    def accepts(self, function: Callable[..., Any]) -> bool:
        """It is such a method, or an object that has it."""
        method = getattr(function, "compute_advantage", function)
        return {"prompt_ids", "rewards", "mask"} <= set(parameter_names(method))

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call it with the group number as the only prompt token."""
        method = getattr(function, "compute_advantage", function)
        prompts = torch.as_tensor(batch.group_ids)[:, None]
        return _numpy(method(prompts, _tensor(batch.rewards), _tensor(batch.mask)))


@dataclass(frozen=True)
class TrainerAdapter(_TorchAdapter):
    """TRL: a built trainer, whose own scoring is run on rewards that replace its functions'.

    It generates completions with its model to get there, so give it a small one; its model, data
    and optimiser are not changed, its logs are restored.
    """

    name: str = "trl"
    ragged: bool = False

    def accepts(self, function: Callable[..., Any]) -> bool:
        """It is an object with the two methods of TRL's trainers."""
        return hasattr(function, "_generate_and_score_completions") and hasattr(
            function, "_calculate_rewards"
        )

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Score one batch and return (N,) advantages."""
        trainer: Any = function
        rewards = _tensor(batch.rewards)[:, None].repeat(1, len(trainer.reward_funcs))
        rewards[:, 1:] = float("nan")  # only the first function gives a reward
        examples = [dict(trainer.train_dataset[i % 2]) for i in range(len(batch.rewards))]
        changed = {
            "_calculate_rewards": lambda *_, **__: rewards,
            "num_generations": batch.group_size,
            "reward_weights": torch.ones(len(trainer.reward_funcs)),
        }
        kept = {key: trainer.__dict__.get(key, _ABSENT) for key in (*changed, *_LOGS)}
        for key in _LOGS:
            setattr(trainer, key, _copy_log(kept[key]))
        trainer.__dict__.update(changed)
        was_training = trainer.model.training
        trainer.model.train()
        try:
            output = trainer._generate_and_score_completions(examples)  # noqa: SLF001
        finally:
            trainer.model.train(was_training)
            for key, value in kept.items():
                if value is _ABSENT:
                    trainer.__dict__.pop(key, None)
                else:
                    setattr(trainer, key, value)
        return _numpy(output["advantages"])


@dataclass(frozen=True)
class TorchFlatAdapter(_TorchAdapter):
    """`function(rewards (N,), group_ids (N,)) → (N,)` on float32 tensors."""

    name: str = "flat_torch"

    def accepts(self, function: Callable[..., Any]) -> bool:
        """As its like for numpy."""
        return FlatAdapter().accepts(function)

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call it on tensors."""
        ids = torch.as_tensor(batch.group_ids.copy())
        return _numpy(_first(function(_tensor(batch.rewards), ids)))


@dataclass(frozen=True)
class TorchFlatSizedAdapter(_TorchAdapter):
    """`function(rewards (N,), num_generations) → (N,)` on float32 tensors."""

    name: str = "flat_sized_torch"
    ragged: bool = False

    def accepts(self, function: Callable[..., Any]) -> bool:
        """As its like for numpy."""
        return FlatSizedAdapter().accepts(function)

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call it on a tensor and an integer."""
        return _numpy(_first(call_sized(function, _tensor(batch.rewards), batch.group_size)))


@dataclass(frozen=True)
class TorchDenseAdapter(_TorchAdapter):
    """`function(rewards (P, G)) → (P, G)` on float32 tensors."""

    name: str = "dense_torch"
    ragged: bool = False

    def accepts(self, function: Callable[..., Any]) -> bool:
        """One required parameter, and torch in sight."""
        return len(required_names(function)) == 1

    def call(self, function: Callable[..., Any], batch: Batch) -> Any:
        """Call it on a tensor."""
        return _numpy(_first(function(_tensor(batch.dense))))


_FRAMEWORKS: tuple[Adapter, ...] = (
    TrainerAdapter(),
    NormalizationAdapter(),
    TokenTableAdapter(),
    SwiftDynamicAdapter(),
    SwiftAdapter(),
    RollAdapter(),
    TrajectoryGroupsAdapter(),
    PromptIdsAdapter(),
)


class _TorchFirst:
    """A bare adapter that steps in early only for functions that evidently use torch."""

    def __init__(self, adapter: Adapter, *, evident: bool) -> None:
        self._adapter, self._evident = adapter, evident
        self.name, self.reads, self.ragged = adapter.name, adapter.reads, adapter.ragged
        self.call, self.reseed = adapter.call, adapter.reseed

    def accepts(self, function: Callable[..., Any]) -> bool:
        """As the adapter, for functions that use torch (or for those that do not)."""
        return _uses_torch(function) == self._evident and self._adapter.accepts(function)


_BARE = (TorchFlatSizedAdapter(), TorchFlatAdapter(), TorchDenseAdapter())

ADAPTERS: tuple[Adapter, ...] = (
    *_FRAMEWORKS,
    *(_TorchFirst(adapter, evident=True) for adapter in _BARE),
    *NUMPY_ADAPTERS,
    *(_TorchFirst(adapter, evident=False) for adapter in _BARE),
)
"""Every adapter, those for frameworks first. A bare function that mentions torch gets tensors, any
other numpy arrays first: `std` has ddof 1 in torch and ddof 0 in numpy, so the order matters."""


class _Config(dict[str, Any]):
    """Stands in for a framework's configuration: defaults by key and by attribute."""

    def __init__(self) -> None:
        super().__init__(gamma=1.0, lam=1.0, lambd=1.0, norm_adv_by_std_in_grpo=True)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


_ABSENT = object()
_LOGS = ("_metrics", "_logs")


def _copy_log(value: Any) -> Any:
    if isinstance(value, Mapping):
        same: Any = copy(value)
        same.update({key: _copy_log(inner) for key, inner in value.items()})
        return same
    return copy(value)


def _uses_torch(function: Callable[..., Any]) -> bool:
    """Whether its annotations or the names in its module speak of torch."""
    inner: Any = inspect.unwrap(getattr(function, "func", function))
    annotations = str(getattr(inner, "__annotations__", {}))
    if "Tensor" in annotations or "ndarray" in annotations:
        return "Tensor" in annotations
    code = getattr(inner, "__code__", None)
    names = set(getattr(code, "co_names", ()))
    module = getattr(inner, "__globals__", {})
    if "np" in names or "numpy" in names:
        return False
    return "torch" in names or (module.get("torch") is torch and "np" not in module)


def _wanted(function: Callable[..., Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in offered.items() if key in parameter_names(function)}


def _tensor(values: Any) -> torch.Tensor:
    return torch.as_tensor(np.array(values, dtype=np.float32))


def _first(result: Any) -> Any:
    if isinstance(result, Sequence) and not isinstance(result, (str, bytes)) and len(result):
        return result[0]
    return result


def _numpy(values: Any) -> Any:
    if isinstance(values, torch.Tensor):
        return values.detach().to(dtype=torch.float64, device="cpu").numpy()
    return values
