"""What group-relative RL does with a prompt, as a function of its solve rate.

- `binomial`: one prompt whose solve rate p is known
- `beta_binomial`, `beta_fit`: p uncertain, or spread over a population
- `objective`: what a rule climbs, and its weight by difficulty
- `group_size`: how much signal groups of G keep
- `noise`: signal to noise of a batch update
- `mass`: which prompts the gradient comes from
- `implications`: all of that for a population at once, and how two rules differ
- `large_groups`: the limit by numbers, with its error
- `graded`: what takes the place of contrast when rewards are graded
- `estimates`: rates from logged rollouts, without bias

A rule is its signature: the advantages it gives for every number of correct rollouts.
"""

from __future__ import annotations

from dissensus.core.laws.beta_binomial import (
    beta_all_correct_rate,
    beta_all_wrong_rate,
    beta_expected_contrast,
    beta_unanimous_rate,
)
from dissensus.core.laws.beta_fit import BetaFit, fit_beta
from dissensus.core.laws.binomial import (
    all_correct_rate,
    all_wrong_rate,
    expected_contrast,
    expected_push,
    unanimous_rate,
)
from dissensus.core.laws.estimates import (
    unbiased_all_correct_rate,
    unbiased_all_wrong_rate,
    unbiased_expected_contrast,
    unbiased_unanimous_rate,
)
from dissensus.core.laws.graded import GradedContrast, graded_contrast
from dissensus.core.laws.group_size import fidelity, group_size_law, required_group_size
from dissensus.core.laws.implications import (
    Comparison,
    Implications,
    compare,
    implications,
    silent_set,
)
from dissensus.core.laws.large_groups import LargeGroups, large_groups
from dissensus.core.laws.mass import gradient_mass, mass_share
from dissensus.core.laws.noise import (
    UpdateMoments,
    even_noise,
    signal_to_noise,
    update_moments,
)
from dissensus.core.laws.objective import (
    difficulty_weight,
    implied_objective,
    large_group_objective,
    objective_slope,
)

__all__ = [
    "BetaFit",
    "Comparison",
    "GradedContrast",
    "Implications",
    "LargeGroups",
    "UpdateMoments",
    "all_correct_rate",
    "all_wrong_rate",
    "beta_all_correct_rate",
    "beta_all_wrong_rate",
    "beta_expected_contrast",
    "beta_unanimous_rate",
    "compare",
    "difficulty_weight",
    "even_noise",
    "expected_contrast",
    "expected_push",
    "fidelity",
    "fit_beta",
    "graded_contrast",
    "gradient_mass",
    "group_size_law",
    "implications",
    "implied_objective",
    "large_group_objective",
    "large_groups",
    "mass_share",
    "objective_slope",
    "required_group_size",
    "signal_to_noise",
    "silent_set",
    "unanimous_rate",
    "unbiased_all_correct_rate",
    "unbiased_all_wrong_rate",
    "unbiased_expected_contrast",
    "unbiased_unanimous_rate",
    "update_moments",
]
