"""Advantage estimators: one short file per published rule, all of one type.

estimator = advantages.get("grpo", ddof=1, eps=1e-4)
estimator(groups)                                     # (N,) float64
advantages.signature(estimator, group_size=8)         # A₊, A₋, contrast, push for k = 0 … 8
"""

from dissensus.core.advantages import (  # noqa: F401  (importing a rule's file registers it)
    avspo,
    bnpo,
    dapo,
    daro,
    disco,
    dr_grpo,
    f_grpo,
    gdpo,
    gpg,
    grpo,
    grpo_lead,
    grpo_passk,
    ha_dw,
    krpo,
    lens,
    lite_ppo,
    maclaurin,
    maclaurin_baseline,
    maxrl,
    mcpo,
    nemo_rl_loo,
    ngrpo,
    one_sided_grpo,
    opo,
    pass_at_k,
    pkpo,
    pvpo,
    quantile,
    rank,
    reinforce_pp,
    reinforce_pp_baseline,
    rl_zvp,
    rloo,
    scale_rl,
    seed_grpo,
    sign,
    surrogate,
    unlikeliness,
    vcrl,
    vr_cond,
    weights,
    xrpo,
)
from dissensus.core.advantages.base import AdvantageEstimator, Context, EstimatorState, Transform
from dissensus.core.advantages.neutral import neutral_context
from dissensus.core.advantages.profile import Limit, Profile
from dissensus.core.advantages.registry import chain, get, limit, names, profile, rule
from dissensus.core.advantages.signature import Signature, signature
from dissensus.core.advantages.transforms import Clip, Whiten
from dissensus.core.advantages.weights import Weight
from dissensus.core.advantages.written import schedule, weighted

__all__ = [
    "AdvantageEstimator",
    "Clip",
    "Context",
    "EstimatorState",
    "Limit",
    "Profile",
    "Signature",
    "Transform",
    "Weight",
    "Whiten",
    "chain",
    "get",
    "limit",
    "names",
    "neutral_context",
    "profile",
    "rule",
    "schedule",
    "signature",
    "weighted",
    "weights",
]
