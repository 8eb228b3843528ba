"""What a plan says in sentences; every one rests on a number of the run it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from dissensus.core.population.recommendation import Change, SizeCost
from dissensus.core.population.skipping import Estimated
from dissensus.views.format import count, fraction, number, plural

if TYPE_CHECKING:
    from dissensus.views.plan import Plan, Prediction
    from dissensus.views.plan_data import GroupFacts

__all__ = [
    "CAVEATS",
    "advice_text",
    "change_text",
    "filter_text",
    "forecast_text",
    "measured_text",
    "notes_on",
    "sizes_text",
    "title_parts",
    "unnamed_text",
]

CAVEATS = (
    (
        "More contrast or signal to noise is not a better model: they say how much a batch "
        "disagrees and how well it tells its direction, not what is learned. Compare arms at "
        "equal rollouts, with paired seeds and a tuned learning rate."
    ),
    (
        "Contrasts of different estimators are on different scales. Compare where they put their "
        "mass, and compare group sizes within one estimator."
    ),
)
_FEW_PROMPTS = 50
_CLUSTERED = 1.5
_DRIFT = 0.01
_IF_BINARY = "If the reward were correctness alone, 0 or 1"
_HARD = 0.05


def advice_text(plan: Plan) -> str:
    """The main point of a plan."""
    found = plan.prediction
    if found is None:
        return _unknown_text(plan)
    best = found.recommendation.best
    if best is not None:
        return f"{measured_text(found)} {change_text(best, found)}"
    if found.has_no_split:
        return (
            f"{measured_text(found)} No split group was seen, so the counts cannot tell what any "
            "change would give."
        )
    no_change = f"{_IF_BINARY}, no change" if found.graded else "No change"
    return (
        f"{measured_text(found)} {no_change} that was weighed surely gains by both measures, "
        "contrast per 1,000 rollouts and signal to noise of a batch."
    )


def change_text(change: Change, found: Prediction) -> str:
    """What one change would give by both measures, and what it costs."""
    text = _change_text(change)
    return f"{_IF_BINARY}, {text[0].lower()}{text[1:]}" if found.graded else text


def _change_text(change: Change) -> str:
    contrast, signal, cost = change.contrast_ratio, change.signal_to_noise, change.cost
    gives = (
        f"would give {_factor(contrast)} the contrast per 1,000 rollouts (95 % interval "
        f"{contrast.low:.2f} to {contrast.high:.2f}) and {_factor(signal)} the signal to noise "
        f"({signal.low:.2f} to {signal.high:.2f})"
    )
    if isinstance(cost, SizeCost):
        return (
            f"Groups of {change.group_size} {gives}, from {number(cost.prompts_ratio)} times the "
            f"prompts per step. They cost: {fraction(cost.unanimous)} unanimous groups, "
            f"{fraction(cost.contrast_per_group_ratio)} of today's contrast per group, and "
            f"{fraction(cost.hard_fidelity)} of the large-group GRPO signal is kept at a solve "
            f"rate of {fraction(_HARD)}."
        )
    split = cost.would_split
    return (
        f"Leaving out, at the next visit, prompts whose last group was {cost.name} "
        f"({fraction(cost.skipped.value)} of them) {gives} at equal rollouts. The price: "
        f"{fraction(split.value)} of those left out would have split ({fraction(split.low)} to "
        f"{fraction(split.high)}), and none is seen again until something brings it back."
    )


def sizes_text(found: Prediction) -> str | None:
    """What each measure says of other group sizes, and what would decide between them."""
    changes = [each for each in found.recommendation.weighed if each.kind == "group_size"]
    if not changes or found.has_no_split:
        return None
    parts = [
        f"groups of {each.group_size} have {_factor(each.contrast_ratio)} the contrast and "
        f"{_factor(each.signal_to_noise)} the signal to noise"
        for each in changes
    ]
    start = f"{_IF_BINARY}, at" if found.graded else "At"
    text = f"{start} equal rollouts {', '.join(parts)}, where the noise of scores dominates."
    undecided = [each for each in changes if not (each.gains or each.loses)]
    if not undecided:
        return text
    even = ", ".join(_even_text(each, found.group_size) for each in undecided)
    return (
        f"{text} Counts cannot decide between the measures; the noise of scores over their signal "
        f"can (V/‖δ‖², measured by dissensus.core.anatomy): in signal to noise {even}."
    )


def _even_text(change: Change, group_size: int) -> str:
    small, large = sorted((change.group_size, group_size))
    low, high = cast("SizeCost", change.cost).even_noise
    if not high < float("inf"):
        return f"{large} need not beat {small} at any noise"
    return f"{large} beat {small} above {number(low)} to {number(high)}"


def _factor(found: Estimated) -> str:
    return f"×{found.value:.2f}"


def measured_text(found: Prediction) -> str:
    """How many groups are unanimous, and by which cause."""
    same = "unanimous"
    if found.graded:
        same = f"equally correct (all rewards are equal in {fraction(found.silent)} of all groups)"
    return (
        f"{fraction(found.measured)} of the groups of {found.group_size} were {same}: "
        f"{fraction(found.measured_wrong)} all-wrong, {fraction(found.measured_correct)} "
        "all-correct."
    )


def filter_text(found: Prediction) -> str:
    """What filters change, and what they do not."""
    if found.graded:
        return (
            "Rewards differ within equally correct groups, so the counts cannot tell how many "
            "groups a filter of silent groups would drop or refill."
        )
    same = "Dropping or refilling silent groups once generated changes no contrast per rollout."
    if found.has_no_split:
        return f"{same} No split group was seen, so the counts cannot tell what refilling takes."
    if not found.tells_refill:
        return (
            f"{same} The counts allow that nearly no group is split, so they cannot tell what "
            "refilling takes."
        )
    refill = found.filters[-1]
    return (
        f"{same} Refilling as DAPO does generates {number(refill.generated_per_kept)} groups for "
        f"each one kept; with at most 4 tries {fraction(refill.filled)} of the places get filled."
    )


def forecast_text(found: Prediction) -> str | None:
    """Where the unanimous share is going; nothing where the run is too short."""
    forecast = found.forecast
    if forecast is None:
        return None
    both = forecast.unanimous
    text = (
        f"Next quarter of the run: {fraction(both.expected)} unanimous expected "
        f"({fraction(forecast.all_wrong.expected)} all-wrong, "
        f"{fraction(forecast.all_correct.expected)} all-correct), 95 % interval "
        f"{fraction(both.low)} to {fraction(both.high)}. The last quarter had "
        f"{fraction(both.last)}."
    )
    moved = abs(both.expected - found.measured)
    causes = abs(forecast.all_correct.expected - forecast.all_correct.last)
    if max(moved, causes) > _DRIFT:
        text += " The run drifts: --last 0.25 plans on its last quarter only."
    return text


def notes_on(facts: GroupFacts, found: Prediction | None) -> list[str]:
    """What a reader should know of the data, one sentence each."""
    unnamed = unnamed_text(facts)
    notes = [] if unnamed is None else [unnamed]
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
    if facts.groups == facts.prompts:
        notes.append("no prompt was seen twice: skipping prompts acts from a second visit on")
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
    if facts.prompts is not None and facts.prompts < _FEW_PROMPTS:
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


def unnamed_text(facts: GroupFacts) -> str | None:
    """What cannot be told without prompt ids; nothing where every group has one."""
    if not facts.unnamed:
        return None
    which = (
        "no group has a prompt id"
        if facts.unnamed == facts.groups
        else f"{count(facts.unnamed)} of {plural(facts.groups, 'group')} have no prompt id"
    )
    return (
        f"{which}, so groups of one prompt cannot be told apart from groups of different prompts: "
        "each is taken for a prompt of its own, and where prompts were seen more than once the "
        "intervals are too narrow (--map prompt_id=FIELD names the prompts)"
    )


def title_parts(facts: GroupFacts) -> list[str]:
    """What there is, as a title counts it; prompts only where all are known."""
    said = [plural(facts.groups, "group")]
    if facts.prompts is not None:
        said.append(plural(facts.prompts, "prompt"))
    return [*said, plural(facts.rollouts, "rollout")]


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
