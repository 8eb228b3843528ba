"""What a plan says in sentences; every one rests on a number of the run it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dissensus.core import laws
from dissensus.core.population.recommendation import Change
from dissensus.views.format import count, fraction, number, plural

if TYPE_CHECKING:
    from dissensus.views.plan import Plan, Prediction
    from dissensus.views.plan_data import GroupFacts

__all__ = ["CAVEATS", "advice_text", "filter_text", "forecast_text", "measured_text", "notes_on"]

CAVEATS = (
    (
        "More contrast per rollout is not a better model: it says how much a batch disagrees, not "
        "what is learned. Compare arms at equal rollouts, with paired seeds and a tuned learning "
        "rate."
    ),
    (
        "Contrasts of different estimators are on different scales. Compare where they put their "
        "mass, and compare group sizes within one estimator."
    ),
)
_FEW_PROMPTS = 50
_CLUSTERED = 1.5
_DRIFT = 0.01
_HARD = 0.05


def advice_text(plan: Plan) -> str:
    """The main point of a plan."""
    found = plan.prediction
    if found is None:
        return _unknown_text(plan)
    best = found.recommendation.best
    if best is None:
        return f"{measured_text(found)} No other group size surely buys more contrast per rollout."
    return f"{measured_text(found)} {_best_text(found, best)}"


def measured_text(found: Prediction) -> str:
    """How many groups are unanimous, and by which cause."""
    return (
        f"{fraction(found.measured)} of the groups of {found.group_size} were unanimous: "
        f"{fraction(found.measured_wrong)} all-wrong, {fraction(found.measured_correct)} "
        "all-correct."
    )


def filter_text(found: Prediction) -> str:
    """What filters change, and what they do not."""
    refill = found.filters[-1]
    return (
        "Dropping or refilling silent groups changes no contrast per rollout generated. "
        f"Refilling as DAPO does generates {number(refill.generated_per_kept)} groups for each one "
        f"kept; with at most 4 tries {fraction(refill.filled)} of the places get filled."
    )


def forecast_text(found: Prediction) -> str | None:
    """Where the unanimous share is going; nothing where the run is too short."""
    forecast = found.forecast
    if forecast is None:
        return None
    both = forecast.unanimous
    text = (
        f"Next quarter of the run: {fraction(both.expected)} unanimous expected, 95 % interval "
        f"{fraction(both.low)} to {fraction(both.high)} (last quarter {fraction(both.last)}; "
        f"all-wrong {fraction(forecast.all_wrong.expected)}, all-correct "
        f"{fraction(forecast.all_correct.expected)})."
    )
    moved = abs(both.expected - found.measured)
    causes = abs(forecast.all_correct.expected - forecast.all_correct.last)
    if max(moved, causes) > _DRIFT:
        text += " The run drifts: --last 0.25 plans on its last quarter only."
    return text


def notes_on(facts: GroupFacts, found: Prediction | None) -> list[str]:
    """What a reader should know of the data, one sentence each."""
    notes = []
    if facts.heldout:
        notes.append(f"{plural(facts.heldout, 'evaluation group')} left out")
    if facts.unscored:
        notes.append(f"{plural(facts.unscored, 'group')} without a reward left out")
    if found is None:
        return notes
    if facts.single:
        notes.append(
            f"{plural(facts.single, 'group')} of one rollout: they tell the mean solve rate, not "
            "how prompts differ"
        )
    if facts.smallest != facts.largest:
        notes.append(
            f"groups have {count(facts.smallest)} to {count(facts.largest)} rollouts: solve rates "
            "are taken to be the same for small and large groups"
        )
    if facts.graded:
        notes.append(
            f"in {plural(facts.graded, 'group')} rewards differ although all rollouts are wrong, "
            "or all are right: unanimous here means equally correct, not equally rewarded"
        )
    if facts.prompts < _FEW_PROMPTS:
        notes.append(
            f"only {plural(facts.prompts, 'prompt')}: the intervals are rough, not just wide"
        )
    clustering = found.estimate.allowed.clustering
    if clustering > _CLUSTERED:
        notes.append(
            "prompts were visited repeatedly: intervals are for other prompts like these, and "
            f"variances are {number(clustering)} times those of independent groups"
        )
    return notes


def _best_text(found: Prediction, best: Change) -> str:
    size, now = found.group_size, found.recommendation.now
    hard = float(laws.fidelity(_HARD, size))
    prompts = "twice" if best.prompts_ratio > 1 else "half"
    return (
        f"At equal rollouts groups of {best.group_size} would give {fraction(best.gain_frac)} more "
        f"contrast per 1,000 rollouts ({number(best.contrast_per_1000)} instead of {number(now)}; "
        f"gain {number(best.gain)}, 95 % interval {number(best.gain_low)} to "
        f"{number(best.gain_high)}), from {prompts} as many prompts per step. They cost: "
        f"{fraction(best.unanimous)} unanimous groups, {fraction(best.contrast_per_group_ratio)} "
        f"of the contrast per group, and {fraction(best.hard_fidelity)} instead of "
        f"{fraction(hard)} of the large-group GRPO signal at a solve rate of {fraction(_HARD)}."
    )


def _unknown_text(plan: Plan) -> str:
    facts = plan.facts
    text = (
        f"It is not known which rollouts are correct: {plan.unknown}. So nothing is said of causes "
        "or of unanimity at other group sizes."
    )
    if facts.unanimous is None:
        return text
    return (
        f"{text} Measured: {fraction(facts.unanimous)} unanimous, mean σ {number(facts.std_mean)}. "
        "With rewards of any kind an update is σ · slope of the score on the reward under GRPO and "
        "σ² · slope under Dr. GRPO; σ² at groups of G is (1 − 1/G) · "
        f"{number(facts.variance_mean)} on average, and σ has no such formula."
    )
