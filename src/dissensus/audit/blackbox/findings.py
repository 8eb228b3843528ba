"""What an identified function does that its user should know."""

from __future__ import annotations

import math

from dissensus.audit.blackbox.behaviour import Behaviour
from dissensus.audit.blackbox.identify import Identified
from dissensus.audit.findings import Finding

__all__ = ["findings_of"]

NOISE = 1e-3
"""Advantage of constant rewards from which on rounding is worth a finding."""


def findings_of(found: Identified, target: str) -> tuple[Finding, ...]:
    """Every finding about a function, each with what was measured."""
    out: list[Finding] = []
    if found.behaviour is None:
        return (
            Finding.of(
                "LOG651", where=target, evidence="; ".join(found.failures[:3]) or "no reply"
            ),
        )
    out += _identity(found, target)
    out += _silent(found.behaviour, target, found)
    out += _chance(found, target)
    if found.behaviour.order_matters:
        out.append(
            Finding.of(
                "LOG657",
                where=target,
                evidence="the same rollouts in another order get other advantages",
            )
        )
    lone = _lone_correct(found)
    return tuple(out if lone is None else [*out, Finding.of("LOG658", where=target, evidence=lone)])


def _identity(found: Identified, target: str) -> list[Finding]:
    out = []
    if found.fit is None and found.special is None and not found.running:
        near = found.closest
        evidence = "no rule of the family fits"
        if near is not None:
            evidence = (
                f"closest: {near.candidate.formula} explains {near.share:.1%} of the rollouts"
            )
        out.append(Finding.of("LOG650", where=target, evidence=evidence))
    if found.failures:
        out.append(Finding.of("LOG652", where=target, evidence="; ".join(found.failures[:3])))
    return out


def _silent(behaviour: Behaviour, target: str, found: Identified) -> list[Finding]:
    out = []
    # What a rule without a baseline gives to unanimous groups is the rule, not an accident.
    centred = found.fit is not None and found.fit.candidate.numerator != "none"
    beside = behaviour.silent_beside
    if beside is not None and not beside <= NOISE and (centred or found.special is not None):
        out.append(
            Finding.of(
                "LOG653",
                where=target,
                evidence=f"8 equal rewards next to three split groups: largest |A| = {beside:.3g}",
            )
        )
    noisy = {k: v for k, v in behaviour.noise.items() if not v <= NOISE}
    if noisy and centred and not (beside is not None and beside > NOISE):
        worst = max(noisy, key=lambda k: -math.inf if math.isnan(noisy[k]) else noisy[k])
        out.append(
            Finding.of(
                "LOG654",
                where=target,
                evidence=f"8 rewards of {worst:g} in float32: largest |A| = {noisy[worst]:.3g}",
                severity="error" if not noisy[worst] < 0.3 else None,
            )
        )
    if behaviour.single == "the raw reward" and centred:
        out.append(
            Finding.of(
                "LOG655", where=target, evidence="a group of one rollout with reward 1 gets A = 1"
            )
        )
    return out


def _chance(found: Identified, target: str) -> list[Finding]:
    luck = found.chance
    if luck is None or not (luck.is_random or luck.is_stateful):
        return []
    why = "a random generator" if luck.is_random else "what earlier calls left behind"
    return [
        Finding.of(
            "LOG656",
            where=target,
            evidence=f"two equal calls differ by {luck.spread:.3g}, because of {why}",
        )
    ]


def _lone_correct(found: Identified) -> str | None:
    """A lone correct rollout whose peers have no spread, and which is therefore not divided."""
    if found.fit is None or found.fit.candidate.denominator != "leave_one_out_std":
        return None
    if found.signature is None:
        return None
    lone, wrong = float(found.signature.positive[1]), float(found.signature.negative[1])
    return f"1 correct of 8: the correct rollout gets {lone:+.3g}, each wrong one {wrong:+.3g}"
