"""From what was identified to the answer of an audit, with its findings."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Sequence
from typing import Any

from dissensus.audit.answer import Answer, EstimatorFacts
from dissensus.audit.blackbox.adapters import NUMPY_ADAPTERS
from dissensus.audit.blackbox.behaviour import Behaviour
from dissensus.audit.blackbox.findings import findings_of
from dissensus.audit.blackbox.fit import Fit
from dissensus.audit.blackbox.identify import Identified, identify
from dissensus.audit.blackbox.subject import Adapter
from dissensus.audit.blackbox.target import load_function
from dissensus.core.advantages import Signature

__all__ = ["answer_of", "audit_function", "common_facts"]

_PACKAGES = {
    "trl": ("trl", "trl"),
    "verl": ("verl", "verl"),
    "swift": ("ms_swift", "ms-swift"),
    "roll": ("roll", "roll"),
    "skyrl": ("skyrl", "skyrl"),
    "tinker_cookbook": ("tinker", "tinker-cookbook"),
    "areal": ("areal", "areal"),
    "nemo_rl": ("nemo_rl", "nemo-rl"),
    "openrlhf": ("openrlhf", "openrlhf"),
}


def audit_function(
    target: str,
    *,
    adapters: Sequence[Adapter] = NUMPY_ADAPTERS,
    adapter: str | None = None,
    budget_s: float = 120.0,
) -> Answer:
    """Import the function that a target names, identify it, and answer. Its module's code runs.

    Args:
        target: `package.module:function`, `file.py:function`, or either with `(key=value)`.
        adapters: Ways to call it.
        adapter: Name of the one to use; None: the first that accepts its parameters.
        budget_s: Longest time of all calls together.

    Raises:
        InputError: There is no such function, or nothing knows how to call it.
    """
    function = load_function(target)
    found = identify(function, adapters=adapters, adapter=adapter, budget_s=budget_s)
    return answer_of(found, target=target, function=function)


def answer_of(
    found: Identified, *, target: str, function: Callable[..., Any] | None = None
) -> Answer:
    """The answer about an identified function."""
    framework, version = _framework(function)
    estimator, ambiguous = _estimator(found)
    return Answer(
        target=target,
        kind="function",
        framework=framework,
        version=version,
        version_source=None if version is None else "installed",
        estimator=estimator,
        silent=_silent(found),
        silent_cost=_silent_cost(found.behaviour),
        unknown=(*_unknown(found), *ambiguous),
        findings=findings_of(found, target),
        extra=_extra(found),
    )


def estimator_facts(fit: Fit, name: str | None) -> EstimatorFacts:
    """A fit in the words of an answer."""
    candidate = fit.candidate
    numerator = "mean" if candidate.numerator == "length_mean" else candidate.numerator
    same = {"constant": "none", "own_std": "group_std"}
    denominator = same.get(candidate.denominator, candidate.denominator)
    eps = None if candidate.denominator == "constant" or candidate.limit else fit.eps
    return EstimatorFacts(name, numerator, denominator, candidate.ddof, eps)


def common_facts(fits: Sequence[Fit], name: str | None) -> tuple[EstimatorFacts, tuple[str, ...]]:
    """What fits that explain the same rows alike have in common, and where they disagree.

    Args:
        fits: The simplest first.
        name: What the first of them is called; left out where they disagree.

    Returns:
        Facts with None where the rules disagree, eps as wide as all of them allow; and one line
        for each such field.
    """
    # Rules of one family give the same advantages up to eps: they do not contradict the first.
    first = fits[0].candidate
    other = [
        fit
        for fit in fits
        if fit.candidate.family != first.family or fit.candidate.numerator == first.numerator
    ]
    each = [estimator_facts(fit, None) for fit in other]
    shared: dict[str, Any] = {}
    unknown = []
    for field in ("numerator", "denominator", "ddof"):
        values = list(dict.fromkeys(getattr(facts, field) for facts in each))
        shared[field] = values[0] if len(values) == 1 else None
        if len(values) > 1:
            words = " and ".join("none" if value is None else str(value) for value in values)
            unknown.append(f"{field}: {words} explain the advantages alike")
    bounds = [facts.eps for facts in each if isinstance(facts.eps, tuple)]
    if len(bounds) == len(each):
        shared["eps"] = (min(low for low, _ in bounds), max(high for _, high in bounds))
    return EstimatorFacts(None if unknown else name, **shared), tuple(unknown)


def _estimator(found: Identified) -> tuple[EstimatorFacts, tuple[str, ...]]:
    name = found.own or next(iter(found.names), None)
    if found.fit is not None:
        return common_facts([found.fit, *found.equivalent], name)
    if found.special is not None:
        rule = found.special.special
        return EstimatorFacts(name, rule.numerator, rule.denominator, rule.ddof, found.eps), ()
    return EstimatorFacts(numerator="running" if found.running else None), ()


def _silent(found: Identified) -> str | None:
    behaviour = found.behaviour
    if behaviour is None:
        return None
    if behaviour.silent_failure is not None:
        # Where no rule fits, the shape may be wrong for split groups just as well.
        drops = "another shape" in behaviour.silent_failure and found.formula is not None
        return "drop" if drops else None
    return "keep"


def _silent_cost(behaviour: Behaviour | None) -> str | None:
    if behaviour is None or behaviour.silent_alone is None:
        return None
    alone, beside = behaviour.silent_alone, behaviour.silent_beside
    if alone == 0 and beside in (0, None):
        return "advantage 0; they stay in the batch, so the loss still counts them"
    text = f"largest |advantage| {alone:.3g} in a batch of their own"
    return text if beside is None else f"{text}, {beside:.3g} next to split groups"


def _unknown(found: Identified) -> tuple[str, ...]:
    unknown = []
    if found.fit is None and found.special is None and not found.running:
        why = "equals no known rule" if found.behaviour else "never returned advantages"
        unknown.append(f"estimator: the function {why}")
    if found.behaviour is None:
        unknown.append("silent: the function never returned advantages")
    elif _silent(found) is None:
        unknown.append("silent: the call with a unanimous group failed")
    return tuple(unknown)


def _extra(found: Identified) -> dict[str, Any]:
    behaviour = found.behaviour
    extra: dict[str, Any] = {
        "rule": found.formula,
        "equals": [*([found.own] if found.own else []), *found.names],
        "error": found.error,
        "indistinguishable": [fit.candidate.formula for fit in found.equivalent],
        "closest": None if found.fit else _fit_json(found.closest),
        "runner_up": _fit_json(found.runner_up),
        "per_token": found.per_token,
        "adapter": found.adapter,
        "calls": found.calls,
        "failures": list(found.failures),
        "signature": _signature_json(found.signature),
    }
    if behaviour is not None:
        extra |= {
            "one_rollout_group": behaviour.single,
            "constant_float32": {
                str(value): _finite(largest) for value, (_, largest) in behaviour.noise.items()
            },
            "leak": behaviour.leaks,
            "modifies": list(behaviour.modifies),
            "reads": [*(["lengths"] if behaviour.reads_lengths else []), *behaviour.reads],
        }
    if found.limit is not None and found.fit is not None:
        extra["limit"] = {"kind": found.fit.candidate.limit, "bounds": [*map(_finite, found.limit)]}
    if found.contradicted is not None:
        extra["contradicted"] = found.contradicted
    if found.zero_below is not None:
        extra["silent_below"] = list(found.zero_below)
    return extra


def _fit_json(fit: Fit | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    return {"rule": fit.candidate.formula, "explained": round(fit.share, 4)}


def _signature_json(signature: Signature | None) -> dict[str, Any] | None:
    if signature is None:
        return None
    columns = {
        "positive": signature.positive,
        "negative": signature.negative,
        "contrast": signature.contrast,
        "push": signature.push,
    }
    return {
        "group_size": signature.group_size,
        **{name: [_finite(float(v)) for v in values] for name, values in columns.items()},
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _framework(function: Callable[..., Any] | None) -> tuple[str | None, str | None]:
    inner = getattr(function, "func", function)
    if inner is not None and not hasattr(inner, "__name__"):
        inner = type(inner)
    package = str(getattr(inner, "__module__", "")).partition(".")[0]
    if package not in _PACKAGES:
        return None, None
    framework, distribution = _PACKAGES[package]
    try:
        return framework, importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return framework, None
