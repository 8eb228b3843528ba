"""Identify an advantage function by calling it: which rule it is, with which eps, and its edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dissensus.audit.blackbox import probes
from dissensus.audit.blackbox.adapters import NUMPY_ADAPTERS, choose_adapter
from dissensus.audit.blackbox.batch import Batch
from dissensus.audit.blackbox.behaviour import Behaviour, Chance, chance, observe
from dissensus.audit.blackbox.fit import Fit, alike
from dissensus.audit.blackbox.known import SPECIALS, known_names, limit_name, own_name
from dissensus.audit.blackbox.moments import Floats, Rows
from dissensus.audit.blackbox.scaling import (
    ENOUGH,
    Scaled,
    concatenate,
    fit_scaled,
    fit_screen,
)
from dissensus.audit.blackbox.specials import SpecialFit, fit_special
from dissensus.audit.blackbox.subject import Adapter, CallError, Reply, Subject
from dissensus.core.advantages import Signature, signature
from dissensus.core.groups import RewardGroups
from dissensus.errors import DissensusError, InputError, UnsupportedError

__all__ = ["Identified", "identify"]


class Identified(NamedTuple):
    """What is known about a function after calling it.

    Attributes:
        adapter: Name of the adapter that called it.
        fit: The rule of the family that explains the replies; None where none does.
        closest: The best fit, whether it explains enough or not; None without any reply.
        runner_up: The best fit of another family.
        equivalent: Fits that the probes cannot tell from `fit`.
        special: The rule outside the family that equals it, where one does.
        names: Framework rules that it equals; for a limited spread what the limit is.
        own: The rule of this package that it equals.
        per_token: Tokens of one rollout get different advantages.
        zero_below: (low, high) reach of rewards at which a group begins to be treated as silent;
            None where there is no such tolerance.
        contradicted: How replies to scaled rewards contradict the rule that fits all others.
        behaviour: What it does at the edges; None when it never returned anything usable.
        chance: What equal calls return.
        running: It subtracts a baseline that it remembers from earlier calls.
        signature: A₊, A₋ for k = 0 … 8 of 8; None for rules that look at the batch.
        failures: One line for each way in which calls failed.
        printed: Calls that wrote to the terminal.
        calls: Calls that were made.
    """

    adapter: str
    fit: Fit | None
    closest: Fit | None
    runner_up: Fit | None
    equivalent: tuple[Fit, ...]
    special: SpecialFit | None
    names: tuple[str, ...]
    own: str | None
    per_token: bool
    zero_below: tuple[float, float] | None
    contradicted: str | None
    behaviour: Behaviour | None
    chance: Chance | None
    running: bool
    signature: Signature | None
    failures: tuple[str, ...]
    printed: int
    calls: int

    @property
    def formula(self) -> str | None:
        """The rule in one line; None when it is none that is known."""
        if self.fit is not None:
            return self.fit.candidate.formula
        return None if self.special is None else self.special.special.formula

    @property
    def eps(self) -> tuple[float, float] | None:
        """(low, high) that the replies allow; None for rules with a limit in its place."""
        if self.fit is not None:
            return None if self.fit.candidate.limit else self.fit.eps
        return None if self.special is None else self.special.eps

    @property
    def limit(self) -> tuple[float, float] | None:
        """(low, high) of the floor, cap or bound of the spread; None for rules without one."""
        return self.fit.eps if self.fit is not None and self.fit.candidate.limit else None

    @property
    def error(self) -> float | None:
        """Largest difference between the replies and the rule."""
        if self.fit is not None:
            return self.fit.error
        return None if self.special is None else self.special.error


def identify(
    function: Callable[..., Any],
    *,
    adapters: Sequence[Adapter] = NUMPY_ADAPTERS,
    adapter: str | None = None,
    call_limit_s: float = 30.0,
    budget_s: float = 120.0,
) -> Identified:
    """Call a function on designed batches and say which rule it is.

    Nothing that the function does ends the audit: it may raise, print, return other shapes, be
    random, remember, or not come back.

    Args:
        function: Any advantage function that one of `adapters` can call.
        adapters: Ways to call; those that accept its parameters are tried in order.
        adapter: Name of the one to use.
        call_limit_s: Longest time of one call.
        budget_s: Longest time of all calls.

    Raises:
        InputError: No adapter accepts its parameters.

    Example:
        >>> import numpy as np
        >>> def advantage(rewards):
        ...     centred = rewards - rewards.mean(axis=1, keepdims=True)
        ...     return centred / (rewards.std(axis=1, ddof=1, keepdims=True) + 1e-4)
        >>> found = identify(advantage)
        >>> found.formula
        '(r − group mean) / (group std, ddof 1, + eps)'
        >>> [f"{bound:.6g}" for bound in found.eps]
        ['0.0001', '0.0001']
        >>> found.own
        'grpo(ddof=1, eps=0.0001)'
    """
    subject, replies = _first_replies(function, adapters, adapter, call_limit_s, budget_s)
    if not replies:
        return _nothing(subject)
    largest = max((batch for batch, _ in replies), key=lambda batch: len(batch.rewards))
    luck = chance(subject, replies[0][0], largest)
    rows = _rows(replies)
    per_token = any(reply.per_token for _, reply in replies)
    scaled = Scaled([] if per_token else fit_screen(rows))
    if scaled.fits and scaled.fits[0].share >= ENOUGH:
        scaled = fit_scaled(subject, rows, scaled.fits)
    fits = scaled.fits
    sure = bool(fits) and fits[0].share >= ENOUGH and not scaled.contradicted
    fit = alike(fits)[0] if sure else None
    special = _special(subject, replies) if fit is None else None
    running = fit is None and special is None and luck.is_stateful and _is_running(replies)
    return Identified(
        adapter=subject.adapter.name,
        fit=fit,
        closest=fits[0] if fits else None,
        runner_up=_other_family(fits),
        equivalent=tuple(alike(fits)[1:]) if fit else (),
        special=special,
        names=_names(fit, special),
        own=own_name(fit) if fit else None,
        per_token=per_token,
        zero_below=scaled.zero_below,
        contradicted=scaled.contradicted if special is None else None,
        behaviour=observe(subject, replies[-2][0] if len(replies) > 1 else replies[0][0]),
        chance=luck,
        running=running,
        signature=_signature(subject),
        failures=tuple(subject.failures),
        printed=subject.printed,
        calls=subject.calls,
    )


def _first_replies(
    function: Callable[..., Any],
    adapters: Sequence[Adapter],
    name: str | None,
    call_limit_s: float,
    budget_s: float,
) -> tuple[Subject, list[tuple[Batch, Reply]]]:
    """The first adapter with which the function returns something usable."""
    chosen = choose_adapter(function, adapters, name)
    fitting = [chosen] if name else [a for a in adapters if a.accepts(function)]
    subject = Subject(function, chosen, call_limit_s, budget_s)
    failed: list[str] = []
    for adapter in fitting:
        subject = Subject(function, adapter, call_limit_s, budget_s)
        replies = _screen(subject)
        if replies:
            return subject, replies
        failed += subject.failures
        if any("did not return" in line for line in subject.failures):
            break
    subject.failures = list(dict.fromkeys(failed))
    return subject, []


def _screen(subject: Subject) -> list[tuple[Batch, Reply]]:
    replies = []
    batches = probes.screening()
    if subject.adapter.ragged:
        batches.append(probes.mixed_sizes())
    for position, batch in enumerate(batches):
        reply = subject.try_ask(batch)
        if reply is not None and np.isfinite(reply.advantages).all():
            replies.append((batch, reply))
        elif reply is not None:
            subject.failures.append("some advantages of split groups are NaN or infinite")
        if position == 9 and not replies:
            break  # it does not work like this; more calls would only take time
    return replies


def _rows(replies: Sequence[tuple[Batch, Reply]]) -> Rows:
    parts, first_group = [], 0
    for number, (batch, reply) in enumerate(replies):
        parts.append(batch.rows(reply.advantages, batch=number, first_group=first_group))
        first_group += batch.n_groups
    return concatenate(parts)


def _names(fit: Fit | None, special: SpecialFit | None) -> tuple[str, ...]:
    if fit is None:
        return () if special is None else (special.special.name,)
    limit = limit_name(fit)
    return known_names(fit) if limit is None else (limit,)


def _special(subject: Subject, replies: Sequence[tuple[Batch, Reply]]) -> SpecialFit | None:
    found = [fit_special(subject, rule, replies) for rule in SPECIALS]
    return next((fit for fit in found if fit is not None), None)


def _other_family(fits: Sequence[Fit]) -> Fit | None:
    if not fits:
        return None
    best = fits[0].candidate.family
    return next((fit for fit in fits if fit.candidate.family != best), None)


def _is_running(replies: Sequence[tuple[Batch, Reply]]) -> bool:
    """Whether within each call the advantage is a straight line in the reward."""
    for batch, reply in replies:
        design = np.stack([batch.rewards, np.ones_like(batch.rewards)], axis=1)
        (slope, offset), *_ = np.linalg.lstsq(design, reply.advantages, rcond=None)
        missed = np.abs(design @ (slope, offset) - reply.advantages).max()
        if missed > 1e-4 * max(1.0, float(np.abs(reply.advantages).max())) or slope <= 0:
            return False
    return True


def _signature(subject: Subject) -> Signature | None:
    def call(groups: RewardGroups) -> Floats:
        batch = Batch(groups.rewards, groups.index, np.full(groups.n_rollouts, 4, dtype=np.int64))
        return subject.ask(batch).advantages

    try:
        return signature(call, 8)
    except (DissensusError, CallError, UnsupportedError, InputError):
        return None


def _nothing(subject: Subject) -> Identified:
    return Identified(
        adapter=subject.adapter.name,
        fit=None,
        closest=None,
        runner_up=None,
        equivalent=(),
        special=None,
        names=(),
        own=None,
        per_token=False,
        zero_below=None,
        contradicted=None,
        behaviour=None,
        chance=None,
        running=False,
        signature=None,
        failures=tuple(subject.failures),
        printed=subject.printed,
        calls=subject.calls,
    )
