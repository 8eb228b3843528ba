"""Audit a log: which rule made its advantages, and what is wrong with its groups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dissensus.audit.answer import Answer, EstimatorFacts
from dissensus.audit.blackbox.fit import TOLERANCE, Fit, alike
from dissensus.audit.blackbox.known import known_names, own_name
from dissensus.audit.blackbox.moments import Rows
from dissensus.audit.blackbox.report import common_facts
from dissensus.audit.logged_checks import Counts
from dissensus.audit.logged_findings import findings_of
from dissensus.audit.logged_fit import (
    ENOUGH,
    MOST,
    RuleSearch,
    by_prompt,
    first_batches,
    predicted,
    regrouped,
)
from dissensus.audit.logged_rows import Chunk, LogBatch, chunks

__all__ = ["LogFacts", "audit_log", "read_log"]

_REGROUP_ROWS = 4096


@dataclass
class LogFacts:
    """What was seen in a log.

    Attributes:
        counts: Rows, groups, and what is wrong with them.
        search: Which rules were tried and how they did.
        grouping: Another grouping that explains the advantages better, and its fit.
        clipped: (low, high, rows) where unexplained advantages repeat the two extremes.
    """

    counts: Counts = field(default_factory=Counts)
    search: RuleSearch = field(default_factory=RuleSearch)
    grouping: tuple[str, Fit] | None = None
    clipped: tuple[float, float, int] | None = None

    @property
    def ranking(self) -> list[Fit]:
        """Rules from the best to the worst."""
        return self.search.ranking()

    @property
    def best(self) -> Fit | None:
        """The simplest rule that explains enough of the log; None where none does."""
        return next(iter(self.alike), None)

    @property
    def alike(self) -> list[Fit]:
        """The rules that explain enough of the log, none better than another."""
        ranking = self.ranking
        return alike(ranking) if ranking and ranking[0].share >= MOST else []

    @property
    def estimator(self) -> EstimatorFacts:
        """What the rules in `alike` have in common."""
        return self._common[0]

    @property
    def ambiguous(self) -> tuple[str, ...]:
        """One line for each field on which they disagree."""
        return self._common[1]

    @property
    def _common(self) -> tuple[EstimatorFacts, tuple[str, ...]]:
        fits = self.alike
        if not fits:
            return EstimatorFacts(), ()
        name = own_name(fits[0]) or next(iter(known_names(fits[0])), None)
        return common_facts(fits, name)


def audit_log(
    batches: Iterable[LogBatch], *, target: str = "log", framework: str | None = None
) -> Answer:
    """Say which rule produced the advantages of a log, and list what is wrong with its groups.

    Streams: memory holds one chunk, whatever the length of the log.

    Args:
        batches: Arrow batches, or mappings of columns: `step` or `generation`, `group_id`,
            `reward`, `advantage` (or `advantage_used`, `advantage_framework`); where there are any
            also `prompt_id`, `length`, `row`, `split`. Rows of a generation follow each other.
        target: What the answer is about.
        framework: Name of the framework that wrote the log, where it is known.

    Raises:
        InputError: A column is missing.

    Example:
        >>> rewards = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
        >>> log = {"step": [0] * 8, "group_id": ["a"] * 4 + ["b"] * 4, "reward": rewards,
        ...        "advantage": [0.75, -0.25, -0.25, -0.25, 0.5, 0.5, -0.5, -0.5]}
        >>> audit_log([log]).extra["rule"]
        'r − group mean'
    """
    facts = read_log(batches)
    counts = facts.counts
    return Answer(
        target=target,
        kind="log",
        framework=framework,
        estimator=facts.estimator,
        silent="keep" if counts.unanimous_groups and counts.with_advantage else None,
        silent_cost=_silent_cost(counts),
        unknown=_unknown(facts),
        findings=findings_of(facts, target),
        extra=_extra(facts),
    )


@np.errstate(over="ignore", invalid="ignore", divide="ignore")  # rewards of 1e308 reach no rule
def read_log(batches: Iterable[LogBatch]) -> LogFacts:
    """Read a log and return what was seen, before it becomes an answer."""
    facts = LogFacts()
    for chunk in chunks(batches):
        facts.counts.add(chunk)
        usable, rows = _rows(chunk)
        fit = facts.search.add(rows, chunk.step[usable])
        if fit is not None and fit.share < ENOUGH:
            _explain_rest(facts, chunk, usable, rows)
    return facts


def _rows(chunk: Chunk) -> tuple[np.ndarray, Rows]:
    """Finite rows of groups that got any advantage, and which rows of the chunk they are."""
    finite = chunk.has_advantage & np.isfinite(chunk.reward) & np.isfinite(chunk.advantage)
    alive = np.bincount(chunk.group, finite & (chunk.advantage != 0)) > 0
    unanimous = _reach(chunk, finite) <= TOLERANCE
    usable = finite & (alive | unanimous)[chunk.group]
    lengths = chunk.length if chunk.length is None else np.maximum(chunk.length, 0)
    whole = Rows(
        np.where(finite, chunk.reward, 0.0),
        np.where(finite, chunk.advantage, 0.0),
        chunk.group,
        chunk.batch,
        None if lengths is None or not (lengths > 0).any() else lengths,
    )
    return usable, whole.take(usable) if usable.any() else _empty()


def _empty() -> Rows:
    nothing, none = np.zeros(0), np.zeros(0, dtype=np.int64)
    return Rows(nothing, nothing, none, none)


def _reach(chunk: Chunk, finite: np.ndarray) -> np.ndarray:
    count = len(chunk.group_key)
    high, low = np.full(count, -np.inf), np.full(count, np.inf)
    np.maximum.at(high, chunk.group[finite], chunk.reward[finite])
    np.minimum.at(low, chunk.group[finite], chunk.reward[finite])
    return np.asarray(high - low)


def _explain_rest(facts: LogFacts, chunk: Chunk, usable: np.ndarray, rows: Rows) -> None:
    """For a chunk that no rule explains: another grouping, or a clip."""
    ranking = facts.ranking
    fit = ranking[0] if ranking else None
    if facts.grouping is None and (fit is None or fit.share < MOST):
        few = first_batches(rows, _REGROUP_ROWS)
        part = rows.take(few)
        facts.grouping = regrouped(part, fit)
        if facts.grouping is None and chunk.prompt is not None:
            prompts = np.unique(chunk.prompt[usable][few], return_inverse=True)[1]
            together = by_prompt(part, prompts, fit)
            if together is not None and together.share >= ENOUGH:
                facts.grouping = ("all rollouts of a prompt in one step", together)
    if fit is not None and fit.share > 0.3 and facts.grouping is None:
        facts.clipped = _clip(rows, fit) or facts.clipped


def _clip(rows: Rows, fit: Fit) -> tuple[float, float, int] | None:
    """Whether what is not explained lies at the extremes, and should lie beyond them."""
    expected = predicted(fit, rows)
    low, high = float(rows.advantages.min()), float(rows.advantages.max())
    miss = np.abs(expected - rows.advantages) > 1e-3 * max(high, -low)
    at_end = ((rows.advantages == high) & (expected > high)) | (
        (rows.advantages == low) & (expected < low)
    )
    count = int((miss & at_end).sum())
    if count < 3 or count < 0.95 * miss.sum():
        return None
    return low, high, count


def _silent_cost(counts: Counts) -> str | None:
    if not counts.unanimous_groups:
        return None
    share = counts.unanimous_groups / max(counts.groups, 1)
    text = f"{share:.1%} of the groups are unanimous"
    if not counts.with_advantage:
        return text
    if counts.largest_silent == 0:
        return f"{text}; they got advantage 0 and stay in the log"
    return f"{text}; the largest |advantage| among them is {counts.largest_silent:.3g}"


def _unknown(facts: LogFacts) -> tuple[str, ...]:
    unknown = []
    if not facts.counts.with_advantage:
        unknown += ["estimator: the log has no advantages", "silent: the log has no advantages"]
    elif facts.search.rows == 0 or not facts.ranking:
        unknown.append("estimator: no split group in the log")
    elif facts.search.changes():
        unknown.append("estimator: the rule changes within the log")
    elif facts.best is None:
        unknown.append("estimator: no known rule explains the advantages")
    unknown += facts.ambiguous
    if facts.counts.with_advantage and not facts.counts.unanimous_groups:
        unknown.append("silent: the log has no unanimous group")
    return tuple(unknown)


def _extra(facts: LogFacts) -> dict[str, Any]:
    ranking, counts, best = facts.ranking, facts.counts, facts.best
    first = ranking[0] if ranking else None
    other = None
    if first is not None:
        family = first.candidate.family
        other = next((fit for fit in ranking if fit.candidate.family != family), None)
    return {
        "rule": None if best is None or facts.ambiguous else best.candidate.formula,
        "equals": [name for fit in facts.alike for name in known_names(fit)],
        "indistinguishable": [fit.candidate.formula for fit in facts.alike[1:]],
        "closest": _fit_json(first),
        "runner_up": _fit_json(other),
        "precision": None if first is None else first.precision.name,
        "regimes": [
            {
                "steps": [regime.first_step, regime.last_step],
                "rule": regime.candidate.formula,
                "eps": None if regime.eps is None else list(regime.eps),
            }
            for regime in facts.search.changes()
        ],
        "other_grouping": None if facts.grouping is None else facts.grouping[0],
        "counts": counts.to_json(),
    }


def _fit_json(fit: Fit | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    return {
        "rule": fit.candidate.formula,
        "eps": None if fit.eps is None else [b if np.isfinite(b) else None for b in fit.eps],
        "explained": round(fit.share, 4),
        "rows": fit.rows,
        "error": fit.error,
    }
