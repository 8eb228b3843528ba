"""What a function does at the edges: silent groups, single rollouts, neighbours, order, chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dissensus.audit.blackbox import probes
from dissensus.audit.blackbox.batch import Batch
from dissensus.audit.blackbox.moments import Floats
from dissensus.audit.blackbox.subject import CallError, Reply, Subject
from dissensus.errors import UnsupportedError

__all__ = ["Behaviour", "Chance", "chance", "observe"]

_TOL = 1e-6
_TREND_CALLS = 8


class Chance(NamedTuple):
    """What equal calls return.

    Attributes:
        is_random: They differ, and no longer do once the random generators are seeded, or else
            with no trend, as numbers of a generator of its own do.
        is_stateful: They differ even then, in a direction: something is remembered between calls.
        spread: Largest difference between two equal calls.
    """

    is_random: bool
    is_stateful: bool
    spread: float


class Behaviour(NamedTuple):
    """What was seen at the edges; None where the function could not be asked.

    Attributes:
        silent_alone: Largest |A| in a batch of unanimous groups only.
        silent_beside: Largest |A| of a unanimous group next to split ones.
        silent_failure: How a call with a unanimous group failed, where the others did not.
        noise: Constant reward → (size, largest |A|) of the group of equal float32 rewards, among
            sizes 3 … 12, that gets most.
        single: What a group of one rollout gets, in words.
        leaks: Largest change of a group's advantages when the other groups change.
        reads_lengths: Advantages change with completion lengths.
        reads: Further inputs on which the advantages depend: values, log_probs, baselines.
        order_matters: Groups are told by position; rows in another order get other advantages.
        shift: Largest change when a constant is added to all rewards.
        modifies: Arguments that hold other values after a call.
    """

    silent_alone: float | None
    silent_beside: float | None
    silent_failure: str | None
    noise: dict[float, tuple[int, float]]
    single: str
    leaks: float | None
    reads_lengths: bool
    reads: tuple[str, ...]
    order_matters: bool | None
    shift: float | None
    modifies: tuple[str, ...]


def chance(subject: Subject, batch: Batch, large: Batch) -> Chance:
    """Call twice with the same input, twice with the same seed; look for a trend in `large`."""
    first, second = subject.try_ask(batch), subject.try_ask(batch)
    spread = _difference(first, second)
    if not spread > _TOL:
        return Chance(is_random=False, is_stateful=False, spread=0.0)
    subject.adapter.reseed(0)
    third = subject.try_ask(batch)
    subject.adapter.reseed(0)
    fourth = subject.try_ask(batch)
    again = _difference(third, fourth) > _TOL and not _is_fresh(subject, large)
    return Chance(is_random=not again, is_stateful=again, spread=spread)


def _is_fresh(subject: Subject, batch: Batch) -> bool:
    """Whether what equal calls return is drawn anew each time.

    Neighbouring differences of independent numbers have the correlation −1/2; those of something
    that is remembered go on in one direction, or back and forth.
    """
    replies = [subject.try_ask(batch) for _ in range(_TREND_CALLS)]
    if any(reply is None for reply in replies):
        return False
    change = np.diff([reply.advantages for reply in replies if reply is not None], axis=0)
    square = (change**2).sum()
    size = len(change) / (len(change) - 1)
    correlation = size * (change[1:] * change[:-1]).sum() / square if square > 0 else 0.0
    return bool(-0.75 < correlation < -0.25)


def observe(subject: Subject, base: Batch) -> Behaviour:
    """Ask everything at the edges; `base` is a split batch that the function is known to take."""
    reply = subject.try_ask(base)
    alone, failure = _silent(subject, probes.constant_batch(1.0))
    beside, failure_beside = _silent(subject, probes.with_unanimous(1.0))
    reads = _reads(subject, base, reply)
    # Further inputs are drawn row by row, so they do not move along with the rows.
    can_reorder = subject.adapter.ragged and not reads
    return Behaviour(
        silent_alone=alone,
        silent_beside=beside,
        silent_failure=failure_beside or failure,
        noise=_noise(subject),
        single=_single(subject),
        leaks=_leaks(subject),
        reads_lengths=_reads_lengths(subject, base, reply),
        reads=reads,
        order_matters=_order_matters(subject, base, reply) if can_reorder else None,
        shift=_change(reply, subject.try_ask(base.scaled(1.0, 1.0))),
        modifies=tuple(sorted(subject.changed)),
    )


def _silent(subject: Subject, batch: Batch) -> tuple[float | None, str | None]:
    try:
        reply = subject.ask(batch)
    except UnsupportedError:
        return None, None
    except CallError as error:
        return None, str(error)
    first = reply.advantages[batch.group_ids == 0]
    return float(np.abs(first).max()), None  # NaN stays NaN


def _noise(subject: Subject) -> dict[float, tuple[int, float]]:
    found: dict[float, tuple[int, float]] = {}
    for value in probes.NOISE_CONSTANTS:
        for size in probes.NOISE_SIZES:
            reply = subject.try_ask(probes.constant_batch(value, size))
            if reply is None:
                continue
            largest = float(np.abs(reply.advantages).max())
            worst = found.get(value, (0, -1.0))[1]
            if largest > worst or (np.isnan(largest) and not np.isnan(worst)):  # NaN is the worst
                found[value] = (size, largest)
    return found


def _single(subject: Subject) -> str:
    """What one-rollout groups get, as words that the answer can show."""
    batch = probes.single_rollouts()
    try:
        reply = subject.ask(batch)
    except UnsupportedError:
        return "cannot be asked"
    except CallError as error:
        return str(error)
    values = reply.advantages
    if not np.isfinite(values).all():
        return "NaN or infinite"
    if np.abs(values).max() <= _TOL:
        return "0"
    if np.allclose(values, batch.rewards, rtol=1e-4):
        return "the raw reward"
    centred = batch.rewards - batch.rewards.mean()
    if np.allclose(values * centred[0], centred * values[0], atol=1e-4):
        return "a share of the batch: the batch mean is subtracted"
    pairs = zip(batch.rewards, values, strict=True)
    return f"other: {', '.join(f'{reward:g} → {a:.3g}' for reward, a in pairs)}"


def _leaks(subject: Subject) -> float | None:
    """How much a group changes when the rewards of the others do: the first, middle and last."""
    size = 8
    same = (np.arange(size) < 3).astype(float)
    others = [np.arange(size) < k for k in (1, 5)]
    spread = [np.linspace(0.0, 5.0, size), np.linspace(0.0, 0.1, size)]
    lengths = 1 + np.arange(3 * size) % 5
    found = []
    for place in range(3):
        asked = [[*beside[:place], same, *beside[place:]] for beside in (others, spread)]
        replies = [subject.try_ask(Batch.of(groups, lengths)) for groups in asked]
        own = [r.advantages[place * size : (place + 1) * size] for r in replies if r is not None]
        if len(own) == 2:
            found.append(float(np.abs(own[0] - own[1]).max()))
    return max(found, default=None)


def _reads_lengths(subject: Subject, base: Batch, reply: Reply | None) -> bool:
    longest = int(base.lengths.max())
    # Same width, so that only the lengths differ and not the random per-token inputs.
    other = np.where(base.lengths == longest, longest, 1 + (base.lengths * 3) % longest)
    return (_change(reply, subject.try_ask(base.with_lengths(other))) or 0.0) > 1e-5


def _reads(subject: Subject, base: Batch, reply: Reply | None) -> tuple[str, ...]:
    return tuple(
        name
        for name in subject.adapter.reads
        if (_change(reply, subject.try_ask(base.redraw(name))) or 0.0) > 1e-5
    )


def _order_matters(subject: Subject, base: Batch, reply: Reply | None) -> bool:
    order = np.random.default_rng(5).permutation(len(base.rewards))
    shuffled = subject.try_ask(base.permuted(order))
    if reply is None or shuffled is None:
        return False
    change = np.abs(shuffled.advantages - reply.advantages[order]).max()
    return bool(change > 1e-4 * max(1.0, float(np.abs(reply.advantages).max())))


def _change(one: Reply | None, two: Reply | None) -> float | None:
    if one is None or two is None:
        return None
    return _difference(one, two)


def _difference(one: Reply | None, two: Reply | None) -> float:
    if one is None or two is None:
        return 0.0
    a, b = _flat(one), _flat(two)
    if a.shape != b.shape:
        a, b = one.advantages, two.advantages
    both = np.isfinite(a) & np.isfinite(b)
    return float(np.abs(a - b)[both].max(initial=0.0))


def _flat(reply: Reply) -> Floats:
    # Only a per-token rule is compared token by token: other lengths show other tokens.
    return reply.advantages if reply.tokens is None or not reply.per_token else reply.tokens
