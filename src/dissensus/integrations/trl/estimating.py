"""Advantages of one sampling: TRL's own, or those of an estimator, and which groups are silent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dissensus.core.advantages import AdvantageEstimator, Context, EstimatorState
from dissensus.core.advantages.tokens import mean_over_tokens, sum_over_tokens
from dissensus.core.disagreement import GroupSummary, summarise_groups
from dissensus.core.groups import BoolArray, FloatArray, IntArray, RewardGroups
from dissensus.integrations.trl.sampling import Sampling

__all__ = ["Estimate", "estimate", "replace_advantages"]


class Estimate(NamedTuple):
    """What the optimiser receives for one sampling.

    Attributes:
        values: (N,) advantages; the mean over tokens for a per-token rule.
        tokens: (T,) advantages of a per-token rule, rollout after rollout; else None.
        is_silent: (P,) whether every advantage of a group is 0.
        summary: Statistics of each group under these advantages.
    """

    values: FloatArray
    tokens: FloatArray | None
    is_silent: BoolArray
    summary: GroupSummary


def estimate(
    sampling: Sampling,
    *,
    estimator: AdvantageEstimator | None,
    state: EstimatorState | None,
    step: int,
    per_function: bool,
) -> Estimate:
    """Advantages of a sampling and what they do with each group.

    With TRL's own advantages a group is silent when its rewards are equal within the tolerance:
    TRL leaves up to 6e-4 on constant float32 rewards, which is rounding, and counts here as 0.

    Args:
        sampling: One generation.
        estimator: None for TRL's own advantages.
        state: Memory of the estimator; updated in place.
        step: Optimiser steps done, for rules and weights that follow a schedule.
        per_function: TRL normalises each reward function by itself before it sums.
    """
    groups = sampling.groups
    tokens = None
    if estimator is None:
        silent = groups.sum_by_group(sampling.framework != 0) == 0
        silent |= _agree(sampling, per_function=per_function)
        values = np.where(groups.expand(silent), 0.0, sampling.framework)
    else:
        offsets = np.concatenate([[0], np.cumsum(sampling.lengths)]).astype(np.int64)
        values = estimator(groups, _context(sampling, offsets, state, step))
        if estimator.is_per_token:
            tokens = values
            values = mean_over_tokens(tokens, offsets)
            is_moving = sum_over_tokens(tokens != 0, offsets) > 0
        else:
            is_moving = values != 0
        silent = groups.sum_by_group(is_moving) == 0
    summary = summarise_groups(groups, values)._replace(is_silent=silent)
    return Estimate(values, tokens, silent, summary)


def replace_advantages(output: dict[str, Any], sampling: Sampling, found: Estimate) -> None:
    """Put an estimator's advantages where TRL's loss takes them, (B,) or (B, T)."""
    import torch

    old = output["advantages"]
    if found.tokens is None:
        new = torch.from_numpy(found.values[sampling.local].copy())
        output["advantages"] = new.to(device=old.device, dtype=old.dtype)
        return
    offsets = np.concatenate([[0], np.cumsum(sampling.lengths)])
    ids = output["completion_ids"]
    table = torch.zeros(ids.shape, dtype=old.dtype, device=old.device)
    for row, rollout in enumerate(range(sampling.local.start, sampling.local.stop)):
        values = torch.from_numpy(found.tokens[offsets[rollout] : offsets[rollout + 1]].copy())
        table[row, : len(values)] = values.to(device=old.device, dtype=old.dtype)
    output["advantages"] = table


def _agree(sampling: Sampling, *, per_function: bool) -> BoolArray:
    """(P,) whether TRL's rule sees no difference inside a group."""
    if not per_function:
        return sampling.groups.is_unanimous()
    by_function = sampling.rewards_by_function.values()
    constant = [_is_constant(sampling.groups, values) for values in by_function]
    return np.asarray(np.all(constant, axis=0), dtype=np.bool_)


def _is_constant(groups: RewardGroups, values: FloatArray) -> BoolArray:
    one = RewardGroups.from_flat(values, groups.index, tol=groups.tol)
    return np.asarray(one.is_unanimous() | (one.size == 0), dtype=np.bool_)


def _context(
    sampling: Sampling, offsets: IntArray, state: EstimatorState | None, step: int
) -> Context:
    by_function: Mapping[str, FloatArray] = sampling.rewards_by_function
    return Context(
        lengths=sampling.lengths,
        rewards_by_function=by_function,
        token_offsets=offsets,
        log_likelihoods=sampling.log_likelihoods,
        step=step,
        state=state,
    )
