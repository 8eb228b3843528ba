"""Sentences a person can act on, each resting on a number of the run it is about.

Nothing is claimed here that the run did not measure; in particular, fewer silent rollouts are
never called a better model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from dissensus.views.format import count, fraction, number, plural, points
from dissensus.views.prompts import MIN_VISITS
from dissensus.views.queries import Measures
from dissensus.views.summary import RunSummary

__all__ = ["Advice", "advise"]

_NOTABLE_FRAC = 0.02
_MISMATCH_FRAC = 0.05


class Advice(NamedTuple):
    """One finding: what it is about, and the sentence with its evidence."""

    about: str
    text: str


def advise(summary: RunSummary) -> list[Advice]:
    """Say what a person can act on, most costly first; empty where nothing stands out.

    Args:
        summary: A run's summary.
    """
    found = [rule(summary) for rule in _RULES]
    return [advice for advice in found if advice is not None]


def _unanimous(summary: RunSummary) -> Advice | None:
    train = summary.train
    if train.unanimous is None or not train.groups:
        return None
    text = f"{fraction(train.unanimous)} of the groups were unanimous"
    if train.all_wrong is not None and train.all_correct is not None:
        text += (
            f": {fraction(train.all_wrong)} all-wrong, {fraction(train.all_correct)} all-correct"
        )
    if train.effective_rollout_frac is not None:
        text += (
            f". {fraction(train.effective_rollout_frac)} of the rollouts were trained on in groups "
            "with a non-zero advantage"
        )
    return Advice("unanimous", f"{text}.")


def _never_solved(summary: RunSummary) -> Advice | None:
    never = summary.never_solved
    if never is None or never.repeated_rollout_frac < _NOTABLE_FRAC:
        return None
    return Advice(
        "never_solved",
        f"{plural(never.repeated_prompts, 'prompt')} never had a correct rollout in at least "
        f"{MIN_VISITS} visits: {fraction(never.repeated_rollout_frac)} of the rollouts went there. "
        "Rest them, make them easier, or check their reference answers.",
    )


def _always_solved(summary: RunSummary) -> Advice | None:
    always = summary.always_solved
    if always is None or always.repeated_rollout_frac < _NOTABLE_FRAC:
        return None
    return Advice(
        "always_solved",
        f"{plural(always.repeated_prompts, 'prompt')} had only correct rollouts in at least "
        f"{MIN_VISITS} visits: {fraction(always.repeated_rollout_frac)} of the rollouts went "
        "there. Rest them or visit them less often.",
    )


def _trend(summary: RunSummary) -> Advice | None:
    first, last = summary.first_quarter, summary.last_quarter
    if first is None or last is None or first.unanimous is None or last.unanimous is None:
        return None
    change = last.unanimous - first.unanimous
    if abs(change) < max(_NOTABLE_FRAC, 2.0 * _difference_error(first, last)):
        return None
    text = (
        f"The unanimous share went from {fraction(first.unanimous)} in the first quarter to "
        f"{fraction(last.unanimous)} in the last"
    )
    wrong, right = (
        _change(first.all_wrong, last.all_wrong),
        _change(first.all_correct, last.all_correct),
    )
    if wrong is not None and right is not None:
        text += f" (all-wrong {points(wrong)}, all-correct {points(right)})"
    if change > 0 and right is not None and wrong is not None and right > abs(wrong):
        text += ": more prompts are now easy for this policy; add harder ones or visit these less"
    return Advice("trend", f"{text}.")


def _discarded(summary: RunSummary) -> Advice | None:
    discarded, train = summary.discarded_rollouts, summary.train
    if not train.rollouts or discarded / train.rollouts < _NOTABLE_FRAC:
        return None
    per_trained = train.rollouts / train.trained_rollouts if train.trained_rollouts else None
    text = (
        f"{count(discarded)} rollouts ({fraction(discarded / train.rollouts)}) were generated and "
        "not trained on"
    )
    if per_trained is not None:
        text += f": {number(per_trained)} rollouts were generated for each one trained on"
    return Advice(
        "discarded", f"{text}. Compare runs at equal rollouts generated, not equal steps."
    )


def _truncated(summary: RunSummary) -> Advice | None:
    share = summary.train.truncated_frac
    if share is None or share < _MISMATCH_FRAC:
        return None
    return Advice(
        "truncated",
        f"{fraction(share)} of the completions were cut off at the length limit; a cut completion "
        "usually counts as wrong whatever it was about to say.",
    )


def _forecast(summary: RunSummary) -> Advice | None:
    forecast = summary.forecast
    if forecast is None or forecast.next_unanimous is None:
        return None
    text = (
        f"Expect {fraction(forecast.next_unanimous)} unanimous groups in the next generation "
        "(Beta-binomial on the latest groups"
    )
    if forecast.error is not None:
        text += f"; so far it was off by {points(forecast.error).lstrip('+')} on average"
    return Advice("forecast", f"{text}).")


def _unknown(summary: RunSummary) -> Advice | None:
    if summary.train.reward_mean is None or summary.correct_unknown is None:
        return None
    return Advice(
        "correct_unknown",
        f"Nothing is split by cause: {summary.correct_unknown}.",
    )


def _unscored(summary: RunSummary) -> Advice | None:
    train = summary.train
    if not train.unscored_rollouts:
        return None
    if train.reward_mean is None:
        text = (
            "No rollout has a reward (all are None, NaN or infinite), so nothing can be said about "
            "agreement"
        )
    else:
        text = (
            f"{plural(train.unscored_rollouts, 'rollout')} "
            f"({fraction(train.unscored_rollouts / train.rollouts)}) came without a reward (None, "
            "NaN or infinite) and were left out of their group's statistics"
        )
    return Advice("unscored", f"{text}. Check what the reward functions return.")


def _dropped(summary: RunSummary) -> Advice | None:
    if not summary.dropped:
        return None
    kinds = ", ".join(f"{count(n)} {kind}" for kind, n in sorted(summary.dropped.items()))
    return Advice("dropped", f"The recorder could not keep everything: {kinds} dropped.")


def _heldout(summary: RunSummary) -> Advice | None:
    heldout = summary.heldout
    if heldout is None or heldout.evaluations < 2:
        return None
    before, after = heldout.first.solve_rate, heldout.last.solve_rate
    if before is None or after is None:
        return None
    return Advice(
        "heldout",
        f"{heldout.name}: {fraction(before)} at step {count(heldout.first_step)}, "
        f"{fraction(after)} at step {count(heldout.last_step)} ({points(after - before)}, "
        f"{count(heldout.first.rollouts)} and {count(heldout.last.rollouts)} rollouts, one seed).",
    )


def _difference_error(first: Measures, last: Measures) -> float:
    """Standard error of the difference of two unanimous shares, groups taken as independent."""
    variances = (
        (m.unanimous or 0.0) * (1.0 - (m.unanimous or 0.0)) / max(1, m.groups)
        for m in (first, last)
    )
    return math.sqrt(sum(variances))


def _change(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


_RULES: tuple[Callable[[RunSummary], Advice | None], ...] = (
    _heldout,
    _unanimous,
    _never_solved,
    _always_solved,
    _trend,
    _discarded,
    _truncated,
    _forecast,
    _unscored,
    _unknown,
    _dropped,
)
