"""What an identified function does that its user should know."""

from __future__ import annotations

import math

from dissensus.audit.blackbox.behaviour import Behaviour
from dissensus.audit.blackbox.fit import Fit
from dissensus.audit.blackbox.identify import Identified
from dissensus.audit.findings import Finding

__all__ = ["NOISE", "ddof_costs", "findings_of"]

NOISE = 1e-3
"""Advantage of constant rewards from which on rounding is worth a finding."""


def findings_of(found: Identified, target: str) -> tuple[Finding, ...]:
    """Every finding about a function, each with what was measured."""
    behaviour, luck = found.behaviour, found.chance
    if behaviour is None:
        said = "; ".join(found.failures[:3]) or "every call failed"
        return (Finding.of("LOG630", where=target, evidence=said),)
    out = _identity(found, target)
    if luck is not None and (luck.is_random or luck.is_stateful):
        why = "a random generator" if luck.is_random else "what earlier calls left behind"
        said = f"two equal calls differ by {luck.spread:.3g}, because of {why}"
        out.append(Finding.of("LOG632", where=target, evidence=said))
    else:
        out += _silent(behaviour, target, found)
        out += _company(behaviour, target, found)
    if behaviour.modifies:
        said = f"after a call other values are in: {', '.join(behaviour.modifies)}"
        out.append(Finding.of("LOG634", where=target, evidence=said))
    return (*out, *_lone_correct(found, target))


def _identity(found: Identified, target: str) -> list[Finding]:
    out = []
    if found.formula is None and not found.running:
        near = found.closest
        said = "no rule of the family fits"
        if near is not None:
            said = f"closest: {near.candidate.formula}, which explains {near.share:.1%}"
        if found.contradicted is not None:
            said = found.contradicted
        out.append(Finding.of("LOG611", where=target, evidence=said))
    if found.failures:
        said = "; ".join(found.failures[:3])
        out.append(Finding.of("LOG631", where=target, evidence=said))
    if found.fit is not None and found.fit.candidate.ddof == 0:
        said = f"{found.fit.candidate.formula} explains every probe, ddof 1 does not"
        costs = ddof_costs(found.fit)
        out.append(Finding.of("EST104", where=target, evidence=said, consequence=costs))
    return out


def ddof_costs(fit: Fit) -> str | None:
    """What ddof 0 changes where the std is not the group's; None: the catalogue says it."""
    if not fit.candidate.denominator.startswith("batch_"):
        return None
    return "the advantages of a batch of N rollouts are sqrt(N/(N−1)) times those with ddof 1"


def _silent(behaviour: Behaviour, target: str, found: Identified) -> list[Finding]:
    out = []
    beside = behaviour.silent_beside
    # What a rule without a baseline gives to unanimous groups is the rule, not an accident.
    has_baseline = _has_baseline(found)
    whitened = found.special is not None or (found.fit is not None and found.fit.candidate.shift)
    largest = [(8, behaviour.silent_alone), (8, beside), *behaviour.noise.values()]
    invalid = [(size, each) for size, each in largest if each and not math.isfinite(each)]
    if invalid:
        said = f"{invalid[0][0]} equal rewards get an advantage of {invalid[0][1]}"
        fix = "give unanimous groups advantage 0, or add eps to the denominator"
        return [Finding.of("LOG609", where=target, evidence=said, fix=fix)]
    pushes = beside is not None and not beside <= NOISE
    if pushes and (has_baseline or whitened):
        said = f"8 equal rewards next to three split groups: largest |A| = {beside:.3g}"
        code = "SIL205" if whitened else "LOG601"
        costs = f"a silent group is pushed by up to {beside:.3g}, by what its neighbours are"
        out.append(Finding.of(code, where=target, evidence=said, consequence=costs))
    noisy = [(a, size, value) for value, (size, a) in behaviour.noise.items() if a > NOISE]
    if noisy and has_baseline and not pushes:
        worst, size, value = max(noisy)
        said = f"{size} rewards of {value:g} in float32: largest |A| = {worst:.3g}"
        out.append(
            Finding.of(
                "LOG610",
                where=target,
                evidence=said,
                consequence=f"groups without disagreement get advantages up to {worst:.3g}",
                severity="error" if worst >= 0.3 else None,
            )
        )
    return out


def _company(behaviour: Behaviour, target: str, found: Identified) -> list[Finding]:
    out = []
    if behaviour.single == "the raw reward" and _has_baseline(found):
        said = "a group of one rollout with reward 1 gets A = 1"
        out.append(Finding.of("LOG608", where=target, evidence=said))
    if behaviour.order_matters:
        said = "the same rollouts with their ids in another order get other advantages"
        out.append(Finding.of("LOG633", where=target, evidence=said))
    leak = behaviour.leaks
    if leak is not None and leak > NOISE and found.formula is None:
        said = f"other rewards in the other groups change a group's advantages by {leak:.3g}"
        out.append(Finding.of("LOG607", where=target, evidence=said, severity="warning"))
    return out


def _has_baseline(found: Identified) -> bool:
    return found.fit is not None and found.fit.candidate.numerator != "none"


def _lone_correct(found: Identified, target: str) -> tuple[Finding, ...]:
    """A lone correct rollout whose peers have no spread, and which is therefore not divided."""
    if found.fit is None or found.fit.candidate.denominator != "leave_one_out_std":
        return ()
    if found.signature is None:
        return ()
    lone, wrong = float(found.signature.positive[1]), float(found.signature.negative[1])
    said = f"1 correct of 8: the correct rollout gets {lone:+.3g}, each wrong one {wrong:+.3g}"
    instead = f"lone correct answer of 8 gets {lone:+.3g}, not +2.47"
    return (Finding.of("EST101", where=target, evidence=said, consequence=instead),)
