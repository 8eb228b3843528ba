"""How difficult each prompt is for a policy that moves: beliefs, and what they foretell.

- `model`: where solve rates start and how they move between visits
- `fit`: both learnt from recorded visits (empirical Bayes)
- `default`: a model fitted to a real run, for before there is a history
- `drift`: how fast and which way the whole population moves, learnt as it goes
- `posterior`, `forecast`: beliefs of every prompt, and what its next group will show
"""

from __future__ import annotations

from dissensus.core.difficulty.default import DEFAULT_MODEL
from dissensus.core.difficulty.fit import fit_model
from dissensus.core.difficulty.forecast import Forecast, Range
from dissensus.core.difficulty.model import SolveRateModel, neutral_model
from dissensus.core.difficulty.posterior import SolveRatePosterior

__all__ = [
    "DEFAULT_MODEL",
    "Forecast",
    "Range",
    "SolveRateModel",
    "SolveRatePosterior",
    "fit_model",
    "neutral_model",
]
