"""What is said about each rule and weight, gathered once for every view of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np

from dissensus.core import advantages, laws
from dissensus.core.advantages import AdvantageEstimator, Limit, Profile, Weight, Whiten
from dissensus.core.advantages.weights import WEIGHTS, power, schedule
from dissensus.views.estimators.docstring import Described, describe

__all__ = [
    "EVIDENCE",
    "IN_NEUTRAL",
    "Entry",
    "entries",
    "example_of",
    "rule_entry",
    "weight_entry",
]

EVIDENCE = {
    "code": "read in the method's own code",
    "library": "read in a training library",
    "paper": "read in the paper",
    "abstract": "read in the abstract only",
    "secondary": "read in somebody else's account",
    "recollection": "from memory, unverified",
    "derived": "derived here",
}

IN_NEUTRAL = " in the neutral batch"
_SHIFT = f"{IN_NEUTRAL}; else −mean/std of the batch for every group, unanimous ones too"

_KINDS = {
    "plain": "Rules of rewards, group by group",
    "batch": "Rules that look at the batch or remember",
    "more": "Rules that need more than rewards",
    "weight": "Weights by disagreement: weighted(RULE, WEIGHT)",
}
_SIZE = 8


@dataclass(frozen=True)
class Entry:
    """A rule or a weight, in words.

    Attributes:
        name: What it is found by.
        title: As the field writes it.
        kind: Title of the group of the list that it belongs to.
        written: With its parameters.
        described: Its docstring.
        silent: The k of G it is silent on, in words; of a weight, the k that it silences.
        push: Whether it pushes groups as a whole, in words.
        objective: What large groups climb, or u(p) of a weight; empty where no closed form is.
        shift: Why silent set and push hold in the neutral batch only, where a mean over the batch
            is subtracted; else empty.
        proviso: What the objective is stated for, where that differs from the estimator.
        evidence: Where the formula was read; a key of `EVIDENCE`.
        source: Paper and code.
        needs: What must be given beside rewards.
        properties: Further properties in words.
    """

    name: str
    title: str
    kind: str
    written: str
    described: Described
    silent: str
    push: str
    objective: str
    evidence: str
    source: str
    needs: tuple[str, ...]
    scope: str
    parameters: Mapping[str, Any]
    properties: tuple[str, ...] = ()
    proviso: str = ""
    shift: str = ""

    @property
    def shifts_with_batch(self) -> bool:
        """Whether silent set and push hold in the neutral batch only."""
        return bool(self.shift)

    @property
    def climbs(self) -> str:
        """What large groups climb, with all that qualifies it; empty where it is not known."""
        if not self.objective:
            return ""
        factor = ", up to a factor" if self.is_scaled else ""
        return f"{self.objective}{factor}{self.proviso and f', {self.proviso}'}"

    @property
    def paper(self) -> str:
        """The first paper of its source, or where it is from."""
        found = re.search(r"arXiv:\d{4}\.\d{4,5}", self.source)
        return found[0] if found else re.split(r"[,;]", self.source)[0]

    @property
    def is_scaled(self) -> bool:
        """Whether its objective holds up to a factor, which the batch decides."""
        return self.scope != "group"

    @property
    def is_weight(self) -> bool:
        """Whether it is a weight, which an estimator is needed for."""
        return self.kind == _KINDS["weight"]

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "name": self.name,
            "title": self.title,
            "kind": "weight" if self.is_weight else "rule",
            "written": self.written,
            "parameters": {key: _plain(value) for key, value in self.parameters.items()},
            "scope": self.scope,
            "summary": self.described.summary,
            "equation": "\n".join(self.described.equation),
            "silent": self.silent,
            "push": self.push,
            "shifts_with_batch": self.shifts_with_batch,
            "objective": self.objective or None,
            "objective_proviso": self.proviso or None,
            "evidence": self.evidence,
            "source": self.source,
            "needs": list(self.needs),
        }


def entries() -> list[Entry]:
    """Every registered rule and weight, by kind and then by name."""
    rules = [rule_entry(advantages.get(name)) for name in advantages.names()]
    found = [*rules, *(weight_entry(kind) for kind in WEIGHTS.values())]
    order = list(_KINDS.values())
    return sorted(found, key=lambda entry: (order.index(entry.kind), entry.name))


def rule_entry(estimator: AdvantageEstimator) -> Entry:
    """Describe an estimator: a registered rule, or one with weights or other parameters."""
    is_known = estimator.name in advantages.names()
    profile = advantages.profile(estimator.name) if is_known else Profile(title=estimator.name)
    weights = [step for step in estimator.transforms if isinstance(step, Weight)]
    limit, proviso = _limit(estimator)
    shift = _SHIFT if _shifts_with_batch(estimator) else ""
    if shift and weights:
        shift += ", times the weight"
    if shift and not is_known:
        shift += ", as far as the rule counts that whitens"
    push = "none (B = 0)" if profile.is_centred else "pushes groups as a whole (B ≠ 0)"
    return Entry(
        name=estimator.name,
        title=" × ".join([profile.title or estimator.name, *(type(w).__name__ for w in weights)]),
        kind=_kind(estimator),
        written=repr(estimator),
        described=describe(estimator.function),
        silent=_silent(profile) + (IN_NEUTRAL if shift else ""),
        push=push + shift,
        objective=limit.formula if limit else "",
        evidence=profile.evidence,
        source=estimator.source,
        needs=estimator.needs,
        scope=estimator.scope,
        parameters=estimator.parameters,
        properties=_properties(profile),
        proviso=proviso,
        shift=shift,
    )


def weight_entry(kind: type[Weight]) -> Entry:
    """Describe a weight at its default parameters."""
    example = example_of(kind)
    at = example.at(np.array([0.0, 0.5, 1.0]))
    silenced = (
        []
        if at is None
        else [w for w, u in zip(("k = 0", "k = G"), at[::2], strict=True) if u == 0]
    )
    return Entry(
        name=kind.__name__,
        title=describe(kind).summary.rstrip("."),
        kind=_KINDS["weight"],
        written=repr(example),
        described=describe(kind),
        silent=" and ".join(silenced) or "none",
        push="as the rule",
        objective=f"f′(p) · u(p), u(p) = {kind.formula}",
        evidence="derived",
        source=kind.source,
        needs=example.needs,
        scope=example.scope,
        parameters={
            field.name: getattr(example, field.name) for field in fields(cast("Any", example))
        },
    )


def example_of(kind: type[Weight]) -> Weight:
    """A weight at its default parameters; of what has none, an example."""
    if kind is schedule:
        return schedule(power(0.0), power())
    return kind()


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool | None) else repr(value)


def _kind(estimator: AdvantageEstimator) -> str:
    if set(estimator.needs) - {"state", "step"}:
        return _KINDS["more"]
    return _KINDS["plain" if estimator.scope == "group" else "batch"]


def _shifts_with_batch(estimator: AdvantageEstimator) -> bool:
    """Whether a rule, one inside it, or a step added to one that centres whitens by token."""
    inside = [v for v in estimator.parameters.values() if isinstance(v, AdvantageEstimator)]
    if estimator.name not in advantages.names():
        return any(map(_shifts_with_batch, inside))
    profile = advantages.profile(estimator.name)
    own = len(advantages.get(estimator.name).transforms)
    added = [s for s in estimator.transforms[own:] if isinstance(s, Whiten) and s.by == "token"]
    return profile.shifts_with_batch or (profile.is_centred and bool(added))


def _limit(estimator: AdvantageEstimator) -> tuple[Limit | None, str]:
    """The large-group objective, else the one at the default eps, and that it is this one."""
    found = advantages.limit(estimator)
    if found is not None or "eps" not in estimator.parameters:
        return found, ""
    if estimator.name not in advantages.names():
        return None, ""
    eps = advantages.get(estimator.name).parameters["eps"]
    usual = replace(estimator, parameters={**estimator.parameters, "eps": eps})
    return advantages.limit(usual), f"were eps {eps:g}"


def _silent(profile: Profile) -> str:
    """In words that hold for every G, where those for groups of 8 and of 11 agree."""
    small, large = (
        laws.silent_set(profile.is_silent(np.arange(size + 1), size)).replace(
            f"k = {size}", "k = G"
        )
        for size in (_SIZE, _SIZE + 3)
    )
    if small == "no k":
        return "none"
    return small if small == large else f"{small} of {_SIZE}"


def _properties(profile: Profile) -> tuple[str, ...]:
    rewards = "right-or-wrong rewards" if profile.rewards == "binary" else "any rewards"
    shift = "changes nothing" if profile.is_shift_invariant else "changes the advantages"
    scale = {
        "invariant": "changes nothing",
        "proportional": "multiplies the advantages",
        "neither": "changes the advantages in its own way",
    }[profile.scale]
    words = [rewards, f"adding a constant to them {shift}", f"a factor on them {scale}"]
    return (*words, "the order of the rollouts matters") if profile.is_ordered else tuple(words)
