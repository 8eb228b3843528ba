"""Advantage estimators: one short file per published rule, all of one type.

estimator = advantages.get("grpo", ddof=1, eps=1e-4)
estimator(groups)                                     # (N,) float64
advantages.signature(estimator, group_size=8)         # A₊, A₋, contrast, push for k = 0 … 8
"""

from dissensus.core.advantages import (  # noqa: F401  (importing a rule's file registers it)
    dapo,
    disco,
    dr_grpo,
    grpo,
    lite_ppo,
    maxrl,
    reinforce_pp_baseline,
    rloo,
)
from dissensus.core.advantages.base import AdvantageEstimator, Context, EstimatorState, Transform
from dissensus.core.advantages.neutral import neutral_context
from dissensus.core.advantages.profile import Limit, Profile
from dissensus.core.advantages.registry import chain, get, names, profile, rule
from dissensus.core.advantages.signature import Signature, signature
from dissensus.core.advantages.transforms import Clip, Whiten

__all__ = [
    "AdvantageEstimator",
    "Clip",
    "Context",
    "EstimatorState",
    "Limit",
    "Profile",
    "Signature",
    "Transform",
    "Whiten",
    "chain",
    "get",
    "names",
    "neutral_context",
    "profile",
    "rule",
    "signature",
]
