"""Weights by disagreement: multipliers of a group's advantages, one short file each.

advantages.weighted("grpo(ddof=1)", weights.power(0.5))(groups)         # (N,) float64
advantages.get("weighted(grpo(ddof=1), power(0.5))")                    # the same, as it is written
"""

from dissensus.core.advantages.weights.arcsine import arcsine
from dissensus.core.advantages.weights.base import Weight
from dissensus.core.advantages.weights.entropy import entropy
from dissensus.core.advantages.weights.focal import focal
from dissensus.core.advantages.weights.learned_bins import learned_bins
from dissensus.core.advantages.weights.power import power
from dissensus.core.advantages.weights.schedule import schedule
from dissensus.core.advantages.weights.target import target
from dissensus.core.advantages.weights.unanimous_to import unanimous_to

__all__ = [
    "WEIGHTS",
    "Weight",
    "arcsine",
    "entropy",
    "focal",
    "learned_bins",
    "power",
    "schedule",
    "target",
    "unanimous_to",
]

WEIGHTS: dict[str, type[Weight]] = {
    each.__name__: each
    for each in (
        arcsine, entropy, focal, learned_bins, power, schedule, target, unanimous_to,
    )
}  # fmt: skip
"""The weights by name."""
