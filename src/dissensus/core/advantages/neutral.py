"""The plainest context a rule can be shown in: nothing but the rewards differs between rollouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from dissensus.core.advantages.base import AdvantageEstimator, Context, EstimatorState
from dissensus.core.groups import RewardGroups

__all__ = ["neutral_context", "reference_context"]


def neutral_context(estimator: AdvantageEstimator) -> Callable[[RewardGroups], Context]:
    """A function of groups that gives what `estimator` needs, equal for all rollouts.

    Lengths and token counts are 1, entropies 1 nat, log-likelihoods −1 nat, every completion means
    something else, the rewards come from one function, a frozen reference policy is right half of
    the time, the step is 0 and memory is empty. The reference batch of a rule that looks beyond the
    group is one group of each k = 0 … G, of the size of the first: solve rates spread evenly.

    Example:
        >>> from dissensus import advantages
        >>> rule = advantages.get("lite_ppo")
        >>> context = neutral_context(rule)
        >>> advantages.signature(rule, group_size=2, context=context).contrast.round(3).tolist()
        [0.0, 0.456, 0.0]
    """
    wanted = set(estimator.needs)
    if estimator.scope != "group":
        wanted |= {"reference", "lengths"}
    if estimator.scope == "history":
        wanted.add("state")

    def context(groups: RewardGroups) -> Context:
        count = groups.n_rollouts
        size = max(int(groups.size[0]), 2) if len(groups) else 2
        ones = np.ones(count)
        everything: dict[str, Any] = {
            "lengths": np.ones(count, dtype=np.int64),
            "rewards_by_function": {"reward": groups.rewards},
            "token_offsets": np.arange(count + 1),
            "token_entropies": ones,
            "log_likelihoods": -ones,
            "clusters": np.arange(count),
            "reference_means": np.full(len(groups), 0.5),
            "step": 0,
            "reference": _evenly_spread(size),
            "state": EstimatorState(),
        }
        return Context(**{name: everything[name] for name in wanted})

    return context


def reference_context(estimator: AdvantageEstimator, context: Context) -> Context:
    """The context in which a rule is asked about `context.reference`, for a step that follows it.

    Neutral, because the context holds nothing else about those rollouts; of the same step; and with
    a copy of the memory, so that asking leaves no trace.
    """
    if context.reference is None:
        return context
    neutral = neutral_context(estimator)(context.reference)
    return replace(
        neutral,
        reference=None,
        step=neutral.step if context.step is None else context.step,
        state=neutral.state if context.state is None else context.state.copy(),
    )


def _evenly_spread(group_size: int) -> RewardGroups:
    k = np.arange(group_size + 1)[:, None]
    return RewardGroups.from_dense((np.arange(group_size) < k).astype(np.float64))
