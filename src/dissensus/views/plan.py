"""A plan in numbers: what other group sizes, rules and filters would give on recorded prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dissensus.core import advantages
from dissensus.core.advantages import AdvantageEstimator
from dissensus.core.population.counts import Counts
from dissensus.core.population.drift import DriftForecast, forecast_shares
from dissensus.core.population.estimate import Estimate, fit_population
from dissensus.core.population.predictions import (
    DifficultyRow,
    FilterCost,
    RuleRow,
    compare_rules,
    contrast_from_variance,
    difficulty_rows,
    filter_costs,
)
from dissensus.core.population.recommendation import Recommendation, recommend
from dissensus.core.population.sizes import SizeTable, predict_sizes, signature_on
from dissensus.errors import InputError
from dissensus.views.correctness import why_unknown
from dissensus.views.plan_data import (
    GroupFacts,
    group_facts,
    read_counts,
    read_stretches,
)
from dissensus.views.plan_json import prediction_json
from dissensus.views.plan_words import advice_text, notes_on
from dissensus.views.readable import Readable

__all__ = ["GROUP_SIZES", "Plan", "Prediction", "make_plan"]

GROUP_SIZES = tuple(range(2, 257))
"""Group sizes that are predicted where none are asked for."""

_REFILL_TRIES = 4
_SILENT = 0.999
_TRL_BY_GROUP = "grpo(ddof=1, eps=1e-4)"


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a plan says where it is known which rollouts are correct.

    Attributes:
        group_size: Group size of most groups: what "now" means.
        recorded: Largest group size with as many rollouts recorded; beyond it intervals also hold
            what the counts cannot tell.
        measured_wrong: Measured all-wrong share of the groups of `group_size`.
        measured_correct: Measured all-correct share of them.
        most_unanimous: Upper end of the interval of their unanimous share.
        has_no_split: No group, of any size, has both correct and wrong rollouts.
        graded: Groups whose rewards differ although all rollouts are equally correct.
        silent: Measured share of all groups whose rewards are all equal.
        estimate: The distribution of solve rates and everything else the counts allow.
        sizes: By group size.
        difficulty: By tenth of solve rate, at `group_size`.
        filters: What keeping, dropping and refilling silent groups cost, at `group_size`.
        rules: Every rule at `group_size`.
        recommendation: Other group sizes and skipped prompts, by both measures.
        forecast: The next quarter of the run; `None` where it is too short.
    """

    group_size: int
    recorded: int
    measured_wrong: float
    measured_correct: float
    most_unanimous: float
    has_no_split: bool
    graded: int
    silent: float | None
    estimate: Estimate
    sizes: SizeTable
    difficulty: list[DifficultyRow]
    filters: list[FilterCost]
    rules: list[RuleRow]
    recommendation: Recommendation
    forecast: DriftForecast | None

    @property
    def measured(self) -> float:
        """Measured unanimous share of the groups of `group_size`."""
        return self.measured_wrong + self.measured_correct

    @property
    def tells_refill(self) -> bool:
        """The counts can tell how many groups a refill generates."""
        return not (self.graded or self.has_no_split or self.most_unanimous >= _SILENT)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan for a run. Fractions are in 0..1; `None` is unknown.

    Attributes:
        source: Where the run or log lies.
        facts: What there is.
        estimator: Rule whose contrast is planned.
        last: Share of the generations that was used, the latest ones.
        group_sizes: Group sizes that were asked for.
        prediction: `None` where it is not known which rollouts are correct.
        unknown: Why, as a clause; `None` where it is known.
        notes: What a reader should know, one sentence each.
    """

    source: str
    facts: GroupFacts
    estimator: AdvantageEstimator
    last: float
    group_sizes: tuple[int, ...]
    prediction: Prediction | None
    unknown: str | None
    notes: list[str]

    @property
    def advice(self) -> str:
        """The main point, in one or two sentences."""
        return advice_text(self)

    def to_json(self) -> dict[str, Any]:
        """The document `dissensus plan --json` prints; keys are in docs/plan.md."""
        facts = self.facts
        document: dict[str, Any] = {
            "source": self.source,
            "estimator": repr(self.estimator),
            "groups": facts.groups,
            "prompts": facts.prompts,
            "rollouts": facts.rollouts,
            "heldout_groups_left_out": facts.heldout,
            "last": self.last,
            "correctness_unknown": self.unknown,
            "unanimous_measured": facts.unanimous,
            "notes": list(self.notes),
            "advice": self.advice,
        }
        if self.prediction is None:
            return document | {
                "by_group_size": self._unknown_sizes(),
                "recommendation": None,
                "std_mean": facts.std_mean,
                "variance_mean": facts.variance_mean,
            }
        return document | prediction_json(self.prediction, self.advice)

    def _unknown_sizes(self) -> list[dict[str, Any]]:
        variance = self.facts.variance_mean
        return [
            {
                "group_size": size,
                "unanimous": None,
                "identified": None,
                "all_wrong": None,
                "all_correct": None,
                "split_per_1000_rollouts": None,
                "contrast_per_1000_rollouts": None
                if variance is None
                else contrast_from_variance(self.estimator, variance, size),
                "signal_to_noise": None,
            }
            for size in self.group_sizes
        ]


def make_plan(
    source: Readable,
    *,
    estimator: str | None = None,
    group_sizes: Sequence[int] = GROUP_SIZES,
    last: float = 1.0,
) -> Plan:
    """Plan from recorded groups.

    Args:
        source: A run or a log; evaluation splits are left out.
        estimator: Rule whose contrast is planned, with its parameters; `None`: the recorded one,
            else GRPO.
        group_sizes: Group sizes to predict, 2 to 1,024.
        last: Share of the training generations to plan on, the latest ones.

    Returns:
        The plan; without predictions where it is not known which rollouts are correct.

    Raises:
        InputError: No training group, none of two rollouts, an unknown estimator or one that needs
            more than counts, a group size or share out of range.
    """
    sizes = tuple(sorted(set(group_sizes)))
    _check(source, sizes, last)
    facts = group_facts(source, last=last)
    if not facts.groups:
        raise InputError(
            "no training group is recorded, so there is nothing to plan from",
            where=str(source.path),
        )
    rule, notes = _rule(source, estimator)
    unknown = None
    prediction = None
    if facts.unknown or not facts.largest:
        unknown = why_unknown(source) or "some groups have no known correctness"
    else:
        counts = read_counts(source, last=last)
        prediction = _predict(source, counts, facts, rule, sizes)
    return Plan(
        source=str(source.path),
        facts=facts,
        estimator=rule,
        last=last,
        group_sizes=sizes,
        prediction=prediction,
        unknown=unknown,
        notes=[*notes_on(facts, prediction), *notes],
    )


def _check(source: Readable, group_sizes: Sequence[int], last: float) -> None:
    where = str(source.path)
    bad = [size for size in group_sizes if not 2 <= size <= 1024]
    if bad or not group_sizes:
        raise InputError(
            "a group size must lie in 2 … 1024", where=where, got=bad[0] if bad else None
        )
    if not 0.0 < last <= 1.0:
        raise InputError("the share to plan on must lie in (0, 1]", where=where, got=last)


def _rule(source: Readable, wanted: str | None) -> tuple[AdvantageEstimator, list[str]]:
    """The rule to plan for, and a note where the recorded one could not be taken."""
    if wanted is not None:
        return advantages.get(wanted), []
    metadata = source.info.get("metadata") or {}
    recorded = metadata.get("estimator")
    if recorded is None:
        return advantages.get("grpo"), []
    if _is_trl_by_group(metadata):
        return advantages.get(_TRL_BY_GROUP), []
    try:
        rule = advantages.get(str(recorded))
    except InputError:
        rule = None
    if rule is None or rule.scope == "history" or rule.needs:
        return advantages.get("grpo"), [
            "the recorded estimator has no signature on counts alone, so contrast is GRPO's"
        ]
    return rule, []


def _is_trl_by_group(metadata: Mapping[str, Any]) -> bool:
    aggregation = metadata.get("multi_objective_aggregation", "sum_then_normalize")
    return (
        metadata.get("estimator") == "TRL's own"
        and metadata.get("scale_rewards") in ("group", True)
        and aggregation == "sum_then_normalize"
    )


def _predict(
    source: Readable,
    counts: Counts,
    facts: GroupFacts,
    rule: AdvantageEstimator,
    group_sizes: Sequence[int],
) -> Prediction:
    group_size = max(2, counts.usual_size())
    estimate = fit_population(counts)
    population, allowed = estimate.population, estimate.allowed
    signature = signature_on(rule, group_size, population)
    contrast = 1000.0 * population.expected_contrast(signature) / group_size
    stretches = read_stretches(source)
    wrong, correct = counts.unanimous_shares(group_size)
    now = predict_sizes(population, allowed, [group_size], rule, group_size=group_size)
    return Prediction(
        group_size=group_size,
        recorded=counts.largest_size,
        measured_wrong=wrong,
        measured_correct=correct,
        most_unanimous=float(now.unanimous_range.high[0]),
        has_no_split=not ((counts.correct > 0) & (counts.correct < counts.size)).any(),
        graded=facts.graded,
        silent=facts.unanimous,
        estimate=estimate,
        sizes=predict_sizes(population, allowed, group_sizes, rule, group_size=group_size),
        difficulty=difficulty_rows(population, allowed, signature),
        filters=filter_costs(
            population.silent_rate(signature.is_silent), contrast, most_tries=_REFILL_TRIES
        ),
        rules=compare_rules(
            population, group_size, [advantages.get(name) for name in advantages.names()]
        ),
        recommendation=recommend(population, allowed, group_size, rule),
        forecast=None if stretches is None else forecast_shares(*stretches),
    )
