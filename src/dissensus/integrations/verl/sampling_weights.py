"""The allocator's factors on advantages, applied to what our estimators give verl."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dissensus.integrations.verl.estimators import VerlEstimator
from dissensus.integrations.verl.sampling_plan import weights_of

__all__ = ["WeighedEstimator", "weigh_estimators"]


@dataclass(frozen=True)
class WeighedEstimator:
    """Advantages of an estimator, times the factor of each row's group.

    Attributes:
        estimator: As verl calls it.
    """

    estimator: VerlEstimator

    def __call__(self, token_level_rewards: Any, response_mask: Any, **given: Any) -> Any:
        """As the estimator; (B, T) advantages, twice."""
        table, returns = self.estimator(token_level_rewards, response_mask, **given)
        weights = weights_of(given.get("index"))
        if weights is None:
            return table, returns
        table = table * table.new_tensor(weights)[:, None]
        return table, table


def weigh_estimators() -> None:
    """Let every estimator of ours in verl's registry heed the allocator's weights."""
    from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY

    for name, estimator in ADV_ESTIMATOR_REGISTRY.items():
        if isinstance(estimator, VerlEstimator):
            ADV_ESTIMATOR_REGISTRY[name] = WeighedEstimator(estimator)
